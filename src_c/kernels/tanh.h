/* tanh(x) = (1 - t) / (1 + t) with t = e^-2|x| = (1 + p) 2^n, and x's sign. */
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
