/* tanh(x) = (1 - t) / (1 + t) with t = e^-2|x| = (1 + p) 2^n, and x's sign.
 *
 * Error bound over all finite x: 2 ULP. 1 - t and 1 + t are each one fused multiply-add of p, onto 1 -+ 2^n, which is exact
 * until the term no longer counts. Near 1, where an ULP is half of one above 1, the roundings of the two and of the
 * quotient are 0.5, 1 and 0.5 ULP; further down the numerator and p take more, the denominator less. 1.98 was seen.
 * tests/test_activation.py asserts it. NaN gives NaN, infinities +-1, -0 -0. */
#ifndef FASTNN_KERNELS_TANH_H
#define FASTNN_KERNELS_TANH_H

/* From here on tanh rounds to 1. */
#define TANH_SATURATION ((real)(FASTNN_BITS == 32 ? 9.1 : 19.1))

INLINE vec v_tanh(vec x) {
    vec n, shifted;
    const vec one = v_set1(1), y = v_max(v_set1(-TANH_SATURATION), v_negative_abs(x));
    const vec p = exp_reduced(v_add(y, y), v_set1(ROUND_AND_BIAS), &n, &shifted), scale = power_of_two(shifted);
    const vec numerator = v_fnma(p, scale, v_sub(one, scale)), denominator = v_fma(p, scale, v_add(one, scale));
    return v_flip_sign(v_div(numerator, denominator), x);
}

#endif
