/* The natural logarithm, and softplus.
 *
 * log((1 + f) 2^e) with f in [-1/4, 1/2]: with s = f / (2 + f), log(1 + f) = log((1 + s) / (1 - s)) = 2 s + s^3 L(s^2)
 * = f - (f^2/2 - s (f^2/2 + s^2 L(s^2))), which adds small corrections to the exact f. L is the minimax polynomial for
 * the relative error of log(1 + f) for |s| <= 1/5, found with Remez's algorithm in 200-bit arithmetic: 2^-28.4 in
 * float, 2^-55.9 in double.
 *
 * Error bounds over all positive finite arguments of log, subnormal ones included, and all finite ones of softplus:
 *     log       1 ULP      half an ULP for the last operation; f - (f^2/2 - ...) is rounded twice, but at most half as
 *                          large as the result unless e = 0, where the last operation is exact; 0.94 was seen
 *     softplus  1.75 ULP   e^-|z|'s 1.25, which the logarithm lessens as it grows, and the last addition's; 1.60 seen
 * tests/test_activation.py asserts them. NaN gives NaN; log 0 = -inf, of negative numbers NaN. */
#ifndef FASTNN_KERNELS_LOG_H
#define FASTNN_KERNELS_LOG_H

#if FASTNN_BITS == 32
static const real LOG_COEFFICIENTS[] = {0x1.5555b4p-1f, 0x1.992aaap-2f, 0x1.36ec80p-2f};
#define SMALLEST_NORMAL 0x1p-126f
#define MANTISSA_MASK 0x0.fffffep-126f
#define ONE_LESS_THREE_QUARTERS 0x1p-127f /* as integers, the bits of 1 less those of 3/4 */
#define INTEGER_BASE 0x1p+23f /* the bits of an integer below it, added to its bits, are the sum of the numbers */
#define EXPONENT_BIAS 127
#define NEGLIGIBLE_SQUARE 0x1p-28f /* t^2 / 2 is less than 1/16 ULP of so small a t */
#else
static const real LOG_COEFFICIENTS[] = {
    0x1.5555555555776p-1, 0x1.99999998f0b94p-2, 0x1.249249b2273e0p-2, 0x1.c71c01620ede3p-3,
    0x1.7474e30557a88p-3, 0x1.3852d1c874d93p-3, 0x1.3abe5197326e9p-3,
};
#define SMALLEST_NORMAL 0x1p-1022
#define MANTISSA_MASK 0x0.fffffffffffffp-1022
#define ONE_LESS_THREE_QUARTERS 0x1p-1023
#define INTEGER_BASE 0x1p+52
#define EXPONENT_BIAS 1023
#define NEGLIGIBLE_SQUARE 0x1p-57
#endif

/* log((1 + f) 2^e); g is f, or 0 where it is so small that its square does not count, but may be subnormal and slow. */
INLINE vec log_reduced(vec f, vec g, vec e) {
    const vec s = v_div(g, v_add(v_set1(2), g)), s2 = v_mul(s, s), half = v_mul(v_mul(g, g), v_set1((real)0.5));
    const vec l = polynomial(LOG_COEFFICIENTS, sizeof LOG_COEFFICIENTS / sizeof(real), s2);
    const vec low = v_fma(s, v_fma(s2, l, half), v_mul(e, v_set1(LN2_LOW)));
    return v_fma(e, v_set1(LN2_HIGH), v_sub(f, v_sub(half, low)));
}

INLINE vec v_log(vec x) {
    const vec infinity = v_set1((real)INFINITY);
    /* A subnormal number is made normal first. */
    const vmask small = v_less(x, v_set1(SMALLEST_NORMAL));
    const vec y = v_select(small, v_mul(x, v_set1(INTEGER_BASE)), x);
    const vec bias =
        v_select(small, v_set1(INTEGER_BASE + EXPONENT_BIAS + MANTISSA_BITS), v_set1(INTEGER_BASE + EXPONENT_BIAS));
    /* The exponent of y 4/3, and the mantissa of y in [3/4, 3/2). */
    const vec shifted = v_add_bits(y, v_set1(ONE_LESS_THREE_QUARTERS));
    const vec e = v_sub(v_add_bits(v_shift_right(shifted, MANTISSA_BITS), v_set1(INTEGER_BASE)), bias);
    const vec f = v_sub(v_add_bits(v_and(shifted, v_set1(MANTISSA_MASK)), v_set1((real)0.75)), v_set1(1));
    const vec log = log_reduced(f, f, e);
    const vec not_positive = v_select(v_less(x, v_zero()), v_set1((real)NAN), v_set1(-(real)INFINITY));
    return v_select(v_less(x, infinity), v_select(v_less(v_zero(), x), log, not_positive), x);
}

/* log(1 + t) for t from 0 to 1. 1 + t is (1 + f) 2^e without a rounding: 1 + t for t < 1/2, else (1 + (t - 1)/2) 2. */
INLINE vec log_one_plus(vec t) {
    const vec half = v_set1((real)0.5);
    const vmask low = v_less(t, half);
    const vec f = v_select(low, t, v_fma(t, half, v_set1((real)-0.5))), e = v_select(low, v_zero(), v_set1(1));
    const vec g = v_select(v_less(t, v_set1(NEGLIGIBLE_SQUARE)), v_zero(), f);
    return log_reduced(f, g, e);
}

/* log(1 + e^z) = max(z, 0) + log(1 + e^-|z|) */
INLINE vec v_softplus(vec z) {
    vec p, scale;
    return v_add(v_max(v_zero(), z), log_one_plus(exp_negative_abs(z, &p, &scale)));
}

static void log_forward(void *out, const void *x, int64_t n) { map_elements(out, x, n, v_log); }

#endif
