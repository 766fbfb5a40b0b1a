/* tanh(x) = (1 - t) / (1 + t) with t = e^-2|x| = (1 + p) 2^n, and x's sign.
 *
 * The reduction takes ln 2 as one number: what its rounding does to t grows with n, but t falls by half each time, and
 * with it what t does to the result.
 *
 * Error bounds over all finite x: 2 ULP in float, where 1.91 is the worst of all inputs, and 2.25 in double, where 2.14
 * was seen in 10^8 and the sum of the worst cases is 2.7. 1 - t and 1 + t are one fused multiply-add each, of p
 * onto 1 -+ 2^n, which is exact until the term no longer counts. Near 1, where an ULP is half of one above 1, these two
 * and the quotient are rounded by 0.5, 1 and 0.5 ULP. Just below 1/4 and 1/2, where n is -1 and -2, an ULP is small and
 * 1 - t feels how r and p were rounded. tests/test_activation.py asserts the bounds.
 * NaN gives NaN, infinities +-1, -0 -0. */
#ifndef FASTNN_KERNELS_TANH_H
#define FASTNN_KERNELS_TANH_H

/* From here on tanh rounds to 1. */
#define TANH_SATURATION ((real)(FASTNN_BITS == 32 ? 9.1 : 19.1))
#define LN2 ((real)0x1.62e42fefa39efp-1)

INLINE vec v_tanh(vec x) {
    const vec one = v_set1(1), shift = v_set1(ROUND_AND_BIAS), y = v_max(v_set1(-TANH_SATURATION), v_negative_abs(x));
    const vec shifted = v_fma(y, v_set1(2 * LOG2_E), shift), scale = power_of_two(shifted);
    const vec p = exp_minus_one(v_fnma(v_sub(shifted, shift), v_set1(LN2), v_add(y, y)));
    const vec numerator = v_fnma(p, scale, v_sub(one, scale)), denominator = v_fma(p, scale, v_add(one, scale));
    return v_flip_sign(v_div(numerator, denominator), x);
}

#endif
