/* The activations that weigh z with a distribution function: gelu(z) = z Phi(z), Phi(z) = (1 + erf(z / sqrt 2)) / 2,
 * and silu(z) = z sigmoid(z). Each gives its derivative too, for which the activation is not enough.
 *
 * gelu: with a = |z|, z Phi(z) = max(z, 0) - a Phi(-a), which loses nothing in the negative tail, and Phi(-a) =
 * e^(-a^2/2) R(t) / (a + K) with t = (a - K) / (a + K) in [-1, 1). R interpolates at Chebyshev's points until gelu
 * underflows, found in 120-bit arithmetic; of many K, that was taken whose coefficients lose least by being rounded:
 * its relative error is 2^-27.3 in float and 2^-55.4 in double. a^2 and t are as good as exact, for e^(-a^2/2)
 * multiplies what is rounded off by up to a^2/2, and R / (a + K) by up to 3.
 *
 * Error bounds, over all finite z, subnormal results included:
 *     gelu      5 ULP   of two exponentials' worth: e^x 1.25, R 1.5 for a sum of terms of both signs, half an ULP each
 *                       for five products and quotients, any of which may count double where a product's mantissa is
 *                       small; 4.6 was seen
 *     silu      4 ULP   four or five roundings in the same way; 3.7 was seen
 *     slopes    4 units of the machine's epsilon, absolutely: they pass through 0
 * tests/test_activation.py asserts them. NaN gives NaN; 0 is the limit at -inf, infinity that at inf. */
#ifndef FASTNN_KERNELS_GELU_H
#define FASTNN_KERNELS_GELU_H

#if FASTNN_BITS == 32
static const real TAIL_COEFFICIENTS[] = {
    0x1.7d8ba6p-1f,  -0x1.231b34p-1f,  0x1.47fd20p-2f,  -0x1.ed8238p-4f, 0x1.434266p-6f,   0x1.89e4e6p-8f,
    -0x1.b9d73ep-9f, -0x1.6c206ap-12f, 0x1.ddb05cp-12f, 0x1.f7391cp-15f, -0x1.c058a8p-16f,
};
#define TAIL_K 3.53125f
#define GELU_UNDERFLOW 15.0f /* gelu(-x) rounds to 0 from here up */
#define SILU_UNDERFLOW (-109.0f) /* silu rounds to 0 from here down */
#define INVERSE_SQRT_2_PI 0x1.988454p-2f
#else
static const real TAIL_COEFFICIENTS[] = {
    0x1.821acfbf528d2p-1,  -0x1.34d8ef87d379cp-1,  0x1.83fb4cdadf564p-2,   -0x1.6c3b5dd50c491p-3,
    0x1.be15c26e4cc05p-5,  -0x1.4b709d9f0600dp-8,  -0x1.f62b5c6278fd9p-9,  0x1.7042add6fc9a2p-10,
    0x1.fe8d1ab71fe0bp-13, -0x1.c2b6d969a10aap-13, -0x1.7831f5c2f7eaep-16, 0x1.197ff61347bfap-15,
    0x1.311a580104f85p-18, -0x1.70a7e09b1c549p-18, -0x1.6ed3bebd81e25p-20, 0x1.ca585e5e2eec2p-21,
    0x1.b2a8d1a3c40a6p-22, -0x1.9fd737febd6a2p-24, -0x1.bb9020c144a8cp-24, -0x1.1cf6427d26301p-29,
    0x1.585c4684d76efp-26, 0x1.2b19833c4c3eap-28,  -0x1.2bceabec1f5cbp-29, -0x1.c0da682379797p-31,
};
#define TAIL_K 3.9375
#define GELU_UNDERFLOW 39.0
#define SILU_UNDERFLOW (-753.0)
#define INVERSE_SQRT_2_PI 0x1.9884533d43651p-2
#endif

INLINE vec v_gelu(vec z, vec *slope) {
    enum { N = sizeof TAIL_COEFFICIENTS / sizeof(real) };
    const vec one = v_set1(1), half = v_set1((real)0.5), zero = v_zero();
    vec p, scale;
    const vec a = v_min(v_set1(GELU_UNDERFLOW), v_abs(z)), square = v_mul(a, a);
    const vec rest = v_mul(half, v_fma(a, a, v_sub(zero, square)));
    const vec bell = exp_negative_abs(v_mul(half, square), &p, &scale), e = v_fnma(bell, rest, bell);
    const vec k = v_set1(TAIL_K), sum = v_add(a, k), inverse = v_div(one, sum),
              twice = v_mul(v_set1(2 * TAIL_K), inverse);
    /* What the rounding of a + K and of its inverse did to a product that should be 1. */
    const vec off = v_fnma(inverse, v_sub(a, v_sub(sum, k)), v_fnma(inverse, sum, one));
    const vec t = v_fnma(twice, off, v_fnma(v_set1(2 * TAIL_K), inverse, one));
    /* a times Phi(-a) without e last of all, for Phi(-a) is subnormal before the product is. */
    const vec weight = v_mul(polynomial(TAIL_COEFFICIENTS, N, t), inverse);
    const vec phi = v_select(v_less(z, zero), v_mul(weight, e), v_fnma(weight, e, one));
    *slope = v_fma(v_flip_sign(a, z), v_mul(e, v_set1(INVERSE_SQRT_2_PI)), phi);
    return v_fnma(v_mul(a, weight), e, v_max(zero, z));
}

/* With t = e^-|z| it is z / (1 + t) for z >= 0 and z t / (1 + t) below, where 2^n of t comes last, for t alone would be
 * subnormal before the product is. The derivative is sigmoid(z) + z t / (1 + t)^2. */
INLINE vec v_silu(vec z, vec *slope) {
    vec n, shifted;
    const vec one = v_set1(1), safe_scale = v_set1(SAFE_SCALE), y = v_max(v_set1(SILU_UNDERFLOW), v_negative_abs(z));
    const vec p = exp_reduced(y, v_set1(ROUND_AND_BIAS + SAFE_EXPONENT), &n, &shifted);
    const vec power = power_of_two(shifted), scale = v_mul(power, safe_scale);
    const vec inverse = v_div(one, v_fma(p, scale, v_add(scale, one)));
    const vec small = v_mul(v_fma(p, scale, scale), inverse);
    const vmask negative = v_less(z, v_zero());
    *slope = v_fnma(v_mul(v_flip_sign(y, z), small), inverse, v_select(negative, small, inverse));
    const vec numerator = v_select(negative, v_mul(v_fma(p, power, power), y), z);
    return v_mul(v_mul(numerator, inverse), v_select(negative, safe_scale, one));
}

#endif
