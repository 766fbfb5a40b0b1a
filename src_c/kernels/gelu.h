/* The activations that weigh z with a distribution function: gelu(z) = z Phi(z), Phi(z) = (1 + erf(z / sqrt 2)) / 2, and
 * silu(z) = z sigmoid(z). Each gives its derivative too, for which the activation is not enough.
 *
 * gelu: with a = |z|, z Phi(z) = max(z, 0) - a Phi(-a), which loses nothing in the negative tail, and
 * Phi(-a) = e^(-a^2/2) R(t) / (a + K), t = (a - K) / (a + K) in [-1, 1). R is the minimax polynomial for the relative
 * error until gelu underflows. The square is taken exactly, for what is rounded off it changes e^(-a^2/2) by much. */
#ifndef FASTNN_KERNELS_GELU_H
#define FASTNN_KERNELS_GELU_H

#if FASTNN_BITS == 32
static const real TAIL_COEFFICIENTS[] = {
    0x1.754a76p-1f,  -0x1.04c72ap-1f,  0x1.d71386p-3f,   -0x1.832d0ap-5f, -0x1.56d604p-7f, 0x1.c8bd66p-8f,
    0x1.0ca544p-10f, -0x1.0ea994p-10f, -0x1.00a8b0p-12f, 0x1.132a58p-13f, 0x1.c8a280p-15f,
};
#define TAIL_K 3.0f
#define GELU_UNDERFLOW 15.0f /* gelu(-x) rounds to 0 from here up */
#define SILU_UNDERFLOW (-109.0f) /* silu rounds to 0 from here down */
#define INVERSE_SQRT_2_PI 0x1.988454p-2f
#else
static const real TAIL_COEFFICIENTS[] = {
    0x1.82b4bb8c94dcep-1,  -0x1.373e3a893c28ap-1,  0x1.8c6dbf2cfc306p-2,   -0x1.7dff2bff684a8p-3,
    0x1.eec4cc3e44653p-5,  -0x1.ee27610432ce6p-8,  -0x1.c81719c991002p-9,  0x1.ab825faf2b496p-10,
    0x1.17a4a61b04056p-13, -0x1.e4a42151d14b8p-13, -0x1.001134495877ap-19, 0x1.26d05b51cfcf8p-15,
    0x1.7fdbca17d63e4p-21, -0x1.8d483102def89p-18, -0x1.4faebd6cec5e1p-21, 0x1.1246afcd7cad4p-20,
    0x1.1ba835b6c19e1p-22, -0x1.50028ee35a51dp-23, -0x1.4b9435620e77bp-24, 0x1.128ab9f6e9d79p-26,
    0x1.f56da6fe78f12p-27, -0x1.571a42e4bfb8ap-32, -0x1.458771d55618bp-30,
};
#define TAIL_K 4.0
#define GELU_UNDERFLOW 39.0
#define SILU_UNDERFLOW (-753.0)
#define INVERSE_SQRT_2_PI 0x1.9884533d43651p-2
#endif

INLINE vec v_gelu(vec z, vec *slope) {
    enum { N = sizeof TAIL_COEFFICIENTS / sizeof(real) };
    const vec one = v_set1(1), half = v_set1((real)0.5), zero = v_zero();
    const vec a = v_min(v_set1(GELU_UNDERFLOW), v_abs(z)), square = v_mul(a, a),
              rest = v_fma(a, a, v_sub(zero, square));
    const vec bell = v_exp(v_mul(square, v_set1((real)-0.5))), e = v_fnma(bell, v_mul(rest, half), bell);
    const vec inverse = v_div(one, v_add(a, v_set1(TAIL_K))), t = v_fnma(v_set1(2 * TAIL_K), inverse, one);
    /* a times Phi(-a) without e last of all, for Phi(-a) is subnormal before the product is. */
    const vec weight = v_mul(polynomial(TAIL_COEFFICIENTS, N, t), inverse);
    const vec phi = v_select(v_less(z, zero), v_mul(weight, e), v_fnma(weight, e, one));
    *slope = v_fma(v_flip_sign(a, z), v_mul(e, v_set1(INVERSE_SQRT_2_PI)), phi);
    return v_fnma(v_mul(a, weight), e, v_max(zero, z));
}

/* With t = e^-|z| it is z / (1 + t) for z >= 0 and z t / (1 + t) below, where 2^n of t comes last, for t alone would be
 * subnormal before the product is. */
INLINE vec v_silu(vec z, vec *slope) {
    vec n, shifted;
    const vec one = v_set1(1), safe_scale = v_set1(SAFE_SCALE);
    const vec shift = v_set1(ROUND_AND_BIAS + SAFE_EXPONENT);
    const vec p = exp_reduced(v_max(v_set1(SILU_UNDERFLOW), v_negative_abs(z)), shift, &n, &shifted);
    const vec power = power_of_two(shifted), scale = v_mul(power, safe_scale);
    const vec inverse = v_div(one, v_fma(p, scale, v_add(scale, one)));
    const vec small = v_mul(v_fma(p, scale, scale), inverse);
    const vmask negative = v_less(z, v_zero());
    const vec y = v_mul(v_select(negative, v_mul(v_fma(p, power, power), inverse), inverse), z);
    const vec silu = v_mul(y, v_select(negative, safe_scale, one));
    *slope = v_fma(silu, v_select(negative, inverse, small), v_select(negative, small, inverse));
    return silu;
}

#endif
