/* sin and cos, for all finite x.
 *
 * |x| = n pi/2 + r with |r| <= pi/4, and sin x and cos x are +-sin r or +-cos r, as n mod 4 says. Up to REDUCTION_LIMIT
 * r is found with Cody and Waite's reduction, pi/2 in three parts, each subtracted by one fused multiply-add: the first
 * difference is exact, the second decides r unless it cancels, and no number below the limit is so near a multiple of
 * pi/2 that the third could not make up for it. Beyond, Payne and Hanek's reduction finds r in integers, one lane at a
 * time.
 *
 * sin r = r + r^3 S(r^2) and cos r = 1 - r^2/2 + r^4 C(r^2) with the minimax polynomials for the relative error, found
 * with Remez's algorithm in 200-bit arithmetic: 2^-28 and 2^-33 in float, 2^-58 and 2^-64 in double.
 *
 * Error bound over all finite x: 1.75 ULP. r is rounded twice in Cody and Waite's reduction, one ULP of r if both
 * count, and half an ULP for the last operation; the rest is r^3 S's and r^2 (r^2 C - 1/2)'s. 1.53 was seen.
 * tests/test_activation.py asserts it. NaN and infinities give NaN, sin(-0) is -0. */
#ifndef FASTNN_KERNELS_SIN_H
#define FASTNN_KERNELS_SIN_H

#if FASTNN_BITS == 32
static const real SIN_COEFFICIENTS[] = {-0x1.555546p-3f, 0x1.11077cp-7f, -0x1.9955b6p-13f};
static const real COS_COEFFICIENTS[] = {0x1.55554ap-5f, -0x1.6c0c1ap-10f, 0x1.99e0f2p-16f};
#define HALF_PI_1 0x1.921fb6p+0f
#define HALF_PI_2 (-0x1.777a5cp-25f)
#define HALF_PI_3 (-0x1.ee59dap-50f)
#define REDUCTION_LIMIT 0x1p+15f
#else
static const real SIN_COEFFICIENTS[] = {
    -0x1.5555555555549p-3, 0x1.111111110f8a4p-7,   -0x1.a01a019c15b2bp-13,
    0x1.71de357aaae1ap-19, -0x1.ae5e68388ac4cp-26, 0x1.5d93837fda82cp-33,
};
static const real COS_COEFFICIENTS[] = {
    0x1.555555555554cp-5,   -0x1.6c16c16c1521dp-10, 0x1.a01a019cbf0dap-16,
    -0x1.27e4f81265fbbp-22, 0x1.1ee9f11183167p-29,  -0x1.8fb10acd95963p-37,
};
#define HALF_PI_1 0x1.921fb54442d18p+0
#define HALF_PI_2 0x1.1a62633145c07p-54
#define HALF_PI_3 (-0x1.f1976b7ed8fbcp-110)
#define REDUCTION_LIMIT 0x1p+32
#endif
#define TWO_OVER_PI ((real)0x1.45f306dc9c883p-1)
#define ROUND (INTEGER_BASE * (real)1.5) /* adding it rounds to an integer, which then stands in the low bits */

/* The bits of 2/pi, after 64 zeros. */
static const uint32_t two_over_pi[] = {
    0x00000000, 0x00000000, 0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab,
    0xdebbc561, 0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e, 0xe88235f5, 0x2ebb4484,
    0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4, 0x9c845f8b, 0xbdf9283b, 0x1ff897ff, 0xde05980f, 0xef2f118b,
    0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d, 0x7527bac7, 0xebe5f17b, 0x3d0739f7, 0x8a5292ea,
    0x6bfb5fb1, 0x1f8d5d08, 0x56033046, 0xfc7b6bab, 0xf0cfbc20,
};

#define QUARTER_TURN 0x1.921fb54442d18p+0 /* pi/2 as two doubles, in float too */
#define QUARTER_TURN_LOW 0x1.1a62633145c07p-54

/* Payne and Hanek's reduction. x = m 2^e with an integer m of 53 bits; of 2/pi's bits those whose product with m 2^e is
 * a multiple of 4 are left out, and the 192 bits after them make m 2^e 2/pi mod 4 with 139 bits behind the point. No
 * double is nearer to a multiple of pi/2 than 2^-62, so r has at least 75 right bits before it is rounded. Returns n
 * mod 4. */
static int reduce_large(double x, real *r) {
    enum { WORDS = 6 };
    int e;
    const uint64_t m = (uint64_t)ldexp(frexp(x, &e), 53);
    const int skipped = e - 53 + 62;
    const uint32_t *source = two_over_pi + skipped / 32;
    uint32_t product[WORDS];
    uint64_t carry = 0;
    for (int i = WORDS - 1; i >= 0; i--) {
        const uint64_t pair = (uint64_t)source[i] << 32 | source[i + 1], word = pair << skipped % 32 >> 32;
        carry += (m & 0xffffffff) * word;
        product[i] = (uint32_t)carry;
        carry >>= 32;
    }
    carry = 0;
    for (int i = WORDS - 1; i > 0; i--) {
        const uint64_t pair = (uint64_t)source[i] << 32 | source[i + 1], word = pair << skipped % 32 >> 32;
        carry += (m >> 32) * word + product[i - 1];
        product[i - 1] = (uint32_t)carry;
        carry >>= 32;
    }
    /* Two bits before the point; from 1/2 on the fraction counts from the next integer down. */
    const int n = (int)(product[0] >> 30), down = (int)(product[0] >> 29 & 1);
    carry = (uint64_t)down;
    for (int i = WORDS - 1; i >= 0; i--) {
        carry += down ? ~product[i] : product[i];
        product[i] = (uint32_t)carry;
        carry >>= 32;
    }
    product[0] &= 0x3fffffff;
    double fraction = 0, unit = 0x1p-30;
    for (int i = WORDS - 1; i >= 0; i--) fraction = fraction * 0x1p-32 + product[i];
    fraction *= unit;
    double rest = -fraction; /* becomes what the last sum rounded off */
    for (int i = 0; i < WORDS; i++, unit *= 0x1p-32) rest += product[i] * unit;
    const double angle = fma(fraction, QUARTER_TURN, fma(fraction, QUARTER_TURN_LOW, rest * QUARTER_TURN));
    *r = (real)(down ? -angle : angle);
    return (n + down) & 3;
}

/* The same for those lanes of a vector that need it. */
static void reduce_large_lanes(const real *x, real *r, real *shifted) {
    for (int i = 0; i < VLEN; i++)
        if (x[i] > REDUCTION_LIMIT && x[i] < (real)INFINITY) shifted[i] = ROUND + (real)reduce_large(x[i], &r[i]);
}

/* r, and shifted = n + ROUND, for x >= 0 */
INLINE vec reduce_angle(vec x, vec *shifted) {
    *shifted = v_fma(x, v_set1(TWO_OVER_PI), v_set1(ROUND));
    const vec n = v_sub(*shifted, v_set1(ROUND));
    vec r = v_fnma(n, v_set1(HALF_PI_2), v_fnma(n, v_set1(HALF_PI_1), x));
    r = v_fnma(n, v_set1(HALF_PI_3), r);
    if (v_any(v_less(v_set1(REDUCTION_LIMIT), x))) {
        real lanes[3][VLEN];
        v_store(lanes[0], x);
        v_store(lanes[1], r);
        v_store(lanes[2], *shifted);
        reduce_large_lanes(lanes[0], lanes[1], lanes[2]);
        r = v_load(lanes[1]);
        *shifted = v_load(lanes[2]);
    }
    return r;
}

/* sin x; its derivative, cos x, goes to `cosine`. */
INLINE vec v_sin_cos(vec x, vec *cosine) {
    enum { N_SIN = sizeof SIN_COEFFICIENTS / sizeof(real), N_COS = sizeof COS_COEFFICIENTS / sizeof(real) };
    const int to_sign = FASTNN_BITS - 1; /* of the lowest bit */
    const vec one = v_set1(1);
    vec shifted;
    const vec r = reduce_angle(v_abs(x), &shifted), r2 = v_mul(r, r);
    const vec s = v_fma(v_mul(r, r2), polynomial(SIN_COEFFICIENTS, N_SIN, r2), r);
    const vec c = v_fma(v_fma(polynomial(COS_COEFFICIENTS, N_COS, r2), r2, v_set1((real)-0.5)), r2, one);
    const vmask odd = v_less(v_flip_sign(one, v_shift_left(shifted, to_sign)), v_zero());
    *cosine = v_flip_sign(v_select(odd, s, c), v_shift_left(v_add(shifted, one), to_sign - 1));
    return v_flip_sign(v_flip_sign(v_select(odd, c, s), v_shift_left(shifted, to_sign - 1)), x);
}

#endif
