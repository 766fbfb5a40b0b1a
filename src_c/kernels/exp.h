/* e^x and the logistic sigmoid on vectors.
 *
 * e^x = 2^n e^r with n = round(x / ln 2) and |r| <= ln(2)/2 (Cody and Waite's reduction: ln 2 in two parts, each
 * subtracted by one fused multiply-add), and e^r = 1 + (r + r^2 P(r)). P is the minimax polynomial for the relative
 * error of e^r on that interval, found with Remez's algorithm in 200-bit arithmetic: 2^-34 in float, 2^-57.9 in double.
 * P is summed by Estrin's scheme, for its latency is what a small network waits for.
 *
 * Error bounds against the exact value, over all finite x, subnormal results included:
 *     exp       1.25 ULP   half an ULP for the last operation; r and p are each rounded once, which is a quarter of an
 *                          ULP of the result as both are at most 0.42, and the rest of P, r^2 and Remez's error 0.2
 *     expm1     1.25 ULP   over x <= 0: half an ULP for the last operation, a quarter for p, half for 2^n - 1
 *     sigmoid   1.5 ULP in float, 1.75 in double   exp's, and half an ULP for the last addition
 * tests/test_elementwise.py and, for expm1, tests/test_activation.py assert them. NaN gives NaN; e^-inf = 0,
 * e^inf = inf. */
#ifndef FASTNN_KERNELS_EXP_H
#define FASTNN_KERNELS_EXP_H

/* 1 / s for s in [1, 2], within 4.3 %: the best straight line */
#define INVERSE_0 ((real)1.457107)
#define INVERSE_1 ((real)-0.485281)

#if FASTNN_BITS == 32
#define MANTISSA_BITS 23
#define LOG2_E 0x1.715476p+0f
#define LN2_HIGH 0x1.62e4p-1f /* 15 bits: n LN2_HIGH and its difference to x are exact */
#define LN2_LOW 0x1.7f7d1cp-20f
/* Adding it rounds to an integer n and leaves n + BIAS in the low bits of the mantissa. */
#define ROUND_AND_BIAS (0x1.8p+23f + 127)
#define EXPONENT_MIN (-126.0f)
#define EXPONENT_MAX 127.0f
#define SAFE_EXPONENT 64 /* keeps n + SAFE_EXPONENT normal for n from EXP_UNDERFLOW's to 0 */
#define SAFE_SCALE 0x1p-64f
#define EXP_UNDERFLOW (-104.0f) /* e^x rounds to 0 from here down, */
#define EXP_OVERFLOW 89.0f /* and to infinity from here up */
#define EXPM1_SATURATION (-18.0f) /* e^x - 1 rounds to -1 from here down */

/* e^r - 1 */
INLINE vec exp_minus_one(vec r) {
    const vec r2 = v_mul(r, r), r4 = v_mul(r2, r2);
    const vec p01 = v_fma(v_set1(0x1.555554p-3f), r, v_set1(0x1p-1f));
    const vec p23 = v_fma(v_set1(0x1.111270p-7f), r, v_set1(0x1.55548ep-5f));
    const vec p45 = v_fma(v_set1(0x1.9f08a2p-13f), r, v_set1(0x1.6d8cf6p-10f));
    return v_fma(v_fma(p45, r4, v_fma(p23, r2, p01)), r2, r);
}
#else
#define MANTISSA_BITS 52
#define LOG2_E 0x1.71547652b82fep+0
#define LN2_HIGH 0x1.62e42fefa4p-1 /* 41 bits */
#define LN2_LOW (-0x1.8432a1b0e2634p-43)
#define ROUND_AND_BIAS (0x1.8p+52 + 1023)
#define EXPONENT_MIN (-1022.0)
#define EXPONENT_MAX 1023.0
#define SAFE_EXPONENT 128
#define SAFE_SCALE 0x1p-128
#define EXP_UNDERFLOW (-746.0)
#define EXP_OVERFLOW 710.0
#define EXPM1_SATURATION (-38.0)

/* e^r - 1 */
INLINE vec exp_minus_one(vec r) {
    const vec r2 = v_mul(r, r), r4 = v_mul(r2, r2);
    const vec p01 = v_fma(v_set1(0x1.55555555554fap-3), r, v_set1(0x1.000000000000ap-1));
    const vec p23 = v_fma(v_set1(0x1.1111111127ba2p-7), r, v_set1(0x1.555555555088ap-5));
    const vec p45 = v_fma(v_set1(0x1.a01a012a67fffp-13), r, v_set1(0x1.6c16c18426c8bp-10));
    const vec p67 = v_fma(v_set1(0x1.71df253c733fcp-19), r, v_set1(0x1.a0199a15d9e2bp-16));
    const vec p89 = v_fma(v_set1(0x1.ad7f79dc81172p-26), r, v_set1(0x1.28ad69a3189a2p-22));
    const vec p03 = v_fma(p23, r2, p01), p47 = v_fma(p67, r2, p45);
    return v_fma(v_fma(v_fma(p89, r4, p47), r4, p03), r2, r);
}
#endif

/* 2^(n + offset), given n + offset + ROUND_AND_BIAS; the exponent must be a normal number's. */
INLINE vec power_of_two(vec shifted) { return v_shift_left(shifted, MANTISSA_BITS); }

/* e^x = (1 + p) 2^n: returns p, in [-0.3, 0.42], and stores n and shifted = n + shift. */
INLINE vec exp_reduced(vec x, vec shift, vec *n, vec *shifted) {
    *shifted = v_fma(x, v_set1(LOG2_E), shift);
    *n = v_sub(*shifted, shift);
    return exp_minus_one(v_fnma(*n, v_set1(LN2_LOW), v_fnma(*n, v_set1(LN2_HIGH), x)));
}

INLINE vec v_exp(vec x) {
    vec n, shifted;
    /* max and min give their second operand where one is NaN, so NaN goes through. */
    x = v_min(v_set1(EXP_OVERFLOW), v_max(v_set1(EXP_UNDERFLOW), x));
    const vec shift = v_set1(ROUND_AND_BIAS), p = exp_reduced(x, shift, &n, &shifted);
    /* 2^n in two factors, as n may lie outside the exponents of normal numbers. */
    const vec near = v_min(v_max(n, v_set1(EXPONENT_MIN)), v_set1(EXPONENT_MAX));
    const vec scale = power_of_two(v_add(near, shift));
    return v_mul(v_fma(p, scale, scale), power_of_two(v_add(v_sub(n, near), shift)));
}

/* e^-|x| = scale + p scale, with p as exp_reduced gives it */
INLINE vec exp_negative_abs(vec x, vec *p, vec *scale) {
    vec n, shifted;
    const vec shift = v_set1(ROUND_AND_BIAS + SAFE_EXPONENT);
    *p = exp_reduced(v_max(v_set1(EXP_UNDERFLOW), v_negative_abs(x)), shift, &n, &shifted);
    *scale = v_mul(power_of_two(shifted), v_set1(SAFE_SCALE));
    return v_fma(*p, *scale, *scale);
}

/* e^x - 1 for x <= 0: p 2^n + (2^n - 1) */
INLINE vec v_expm1(vec x) {
    vec n, shifted;
    const vec p = exp_reduced(v_max(v_set1(EXPM1_SATURATION), x), v_set1(ROUND_AND_BIAS), &n, &shifted);
    const vec scale = power_of_two(shifted);
    return v_fma(p, scale, v_sub(scale, v_set1(1)));
}

/* 1 / (1 + e^-x). With t = e^-|x|, which cannot overflow, it is 1 / (1 + t) for x >= 0 and t / (1 + t) below: no
 * cancellation on either side. s = 1 + t is rounded, by e = t - (s - 1), and the quotient y = numerator / s is rounded
 * too; both are put back by y + (numerator - y (s + e)) / s. What can be done beside the division is: there 1 / s is
 * needed to a few bits only. */
INLINE vec v_sigmoid(vec x) {
    vec p, scale;
    const vec one = v_set1(1), t = exp_negative_abs(x, &p, &scale), s = v_fma(p, scale, v_add(scale, one));
    const vec numerator = v_select(v_less(x, v_zero()), t, one), y = v_div(numerator, s);
    const vec e = v_sub(t, v_sub(s, one)), inverse = v_fma(v_set1(INVERSE_1), s, v_set1(INVERSE_0));
    return v_fma(v_fnma(y, e, v_fnma(y, s, numerator)), inverse, y);
}

#endif
