/* AVX-512 F, DQ, BW and VL: 512-bit vectors with mask registers. */
#ifndef FASTNN_SIMD_AVX512_H
#define FASTNN_SIMD_AVX512_H

#ifdef FASTNN_EMULATED
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#else
#include <immintrin.h>
#endif

#define ISA_NAME avx512
#define NARROWER_ISA avx2 /* with vectors half as long, on every processor that has this one */

#if FASTNN_BITS == 32
#define V(op) _mm512_##op##_ps
typedef __m512 vec;
typedef __mmask16 vmask;
typedef __mmask16 vpart;
#define VLEN 16
#else
#define V(op) _mm512_##op##_pd
typedef __m512d vec;
typedef __mmask8 vmask;
typedef __mmask8 vpart;
#define VLEN 8
#endif

/* 12 x 2 accumulators, two vectors of B and one of A use 27 of the 32 registers; a panel two vectors wide suits small
 * batches, whose rows are its columns. A panel of B of BLOCK_K rows streams from L2, which costs less than to have C
 * loaded and stored more often; a block of BLOCK_K x BLOCK_COLUMNS fills a 1 MiB L2. */
enum { REGISTERS = 32, TILE_ROWS = 12, TILE_VECTORS = 2, NARROW_ROWS = 12, SHALLOW_ROWS = 12, SHALLOW_K = 0 };
enum { BLOCK_ROWS = 96, BLOCK_K = 512, BLOCK_COLUMNS = 512 };

INLINE vec v_zero(void) { return V(setzero)(); }
INLINE vec v_set1(real x) { return V(set1)(x); }
INLINE vec v_load(const real *p) { return V(loadu)(p); }
INLINE void v_store(real *p, vec a) { V(storeu)(p, a); }
INLINE vpart v_first(int64_t n) { return (vpart)((1u << n) - 1u); }
#ifdef FASTNN_EMULATED /* SIMDe has no masked loads and stores */
INLINE vec v_load_part(const real *p, vpart part) {
    real lanes[VLEN];
    for (int i = 0; i < VLEN; i++) lanes[i] = part >> i & 1 ? p[i] : 0;
    return v_load(lanes);
}
INLINE void v_store_part(real *p, vpart part, vec a) {
    real lanes[VLEN];
    v_store(lanes, a);
    for (int i = 0; i < VLEN; i++)
        if (part >> i & 1) p[i] = lanes[i];
}
#else
INLINE vec v_load_part(const real *p, vpart part) { return V(maskz_loadu)(part, p); }
INLINE void v_store_part(real *p, vpart part, vec a) { V(mask_storeu)(p, part, a); }
#endif

INLINE vec v_add(vec a, vec b) { return V(add)(a, b); }
INLINE vec v_sub(vec a, vec b) { return V(sub)(a, b); }
INLINE vec v_mul(vec a, vec b) { return V(mul)(a, b); }
INLINE vec v_div(vec a, vec b) { return V(div)(a, b); }
INLINE vec v_fma(vec a, vec b, vec c) { return V(fmadd)(a, b, c); }
INLINE vec v_fnma(vec a, vec b, vec c) { return V(fnmadd)(a, b, c); }
INLINE vec v_max(vec a, vec b) { return V(max)(a, b); }
INLINE vec v_min(vec a, vec b) { return V(min)(a, b); }
INLINE vec v_abs(vec a) { return V(andnot)(V(set1)(-(real)0), a); }
INLINE vec v_negative_abs(vec a) { return V(or)(V(set1)(-(real)0), a); }
INLINE vec v_and(vec a, vec b) { return V (and)(a, b); }
INLINE vec v_select(vmask m, vec a, vec b) { return V(mask_blend)(m, b, a); }
INLINE int v_any(vmask m) { return m != 0; }

#if FASTNN_BITS == 32
INLINE vmask v_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
#ifndef FASTNN_EMULATED
INLINE vmask v_not_zero(vec a) { return _mm512_test_epi32_mask(_mm512_castps_si512(a), _mm512_castps_si512(a)); }
/* Of the lanes in m, those outside of [2^-102, infinity). */
INLINE vmask v_beyond_root(vmask m, vec a) {
    const __m512i least = _mm512_set1_epi32(0x0c800000), range = _mm512_set1_epi32(0x7f800000 - 0x0c800000);
    return _mm512_mask_cmpge_epu32_mask(m, _mm512_sub_epi32(_mm512_castps_si512(a), least), range);
}
#endif
/* a ^ (b & sign), in one instruction that no compiler makes of two on floating-point numbers */
INLINE vec v_flip_sign(vec a, vec b) {
    const __m512i sign = _mm512_set1_epi32((int)0x80000000);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b), sign, 0x78));
}
INLINE vec v_add_bits(vec a, vec b) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
INLINE vec v_shift_left(vec a, int count) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(a), (unsigned)count));
}
INLINE vec v_shift_right(vec a, int count) {
    return _mm512_castsi512_ps(_mm512_srli_epi32(_mm512_castps_si512(a), (unsigned)count));
}
INLINE void v_zip(vec a, vec b, vec *low, vec *high) {
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
    *low = _mm512_permutex2var_ps(a, first, b);
    *high = _mm512_permutex2var_ps(a, second, b);
}
#else
INLINE vmask v_less(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
#ifndef FASTNN_EMULATED
INLINE vmask v_not_zero(vec a) { return _mm512_test_epi64_mask(_mm512_castpd_si512(a), _mm512_castpd_si512(a)); }
/* Of the lanes in m, those outside of [2^-968, infinity). */
INLINE vmask v_beyond_root(vmask m, vec a) {
    const int64_t first = (int64_t)(1023 - 968) << 52, infinity = (int64_t)2047 << 52;
    const __m512i least = _mm512_set1_epi64(first), range = _mm512_set1_epi64(infinity - first);
    return _mm512_mask_cmpge_epu64_mask(m, _mm512_sub_epi64(_mm512_castpd_si512(a), least), range);
}
#endif
INLINE vec v_flip_sign(vec a, vec b) {
    const __m512i sign = _mm512_set1_epi64(INT64_MIN);
    return _mm512_castsi512_pd(_mm512_ternarylogic_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b), sign, 0x78));
}
INLINE vec v_add_bits(vec a, vec b) {
    return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b)));
}
INLINE vec v_shift_left(vec a, int count) {
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(a), (unsigned)count));
}
INLINE vec v_shift_right(vec a, int count) {
    return _mm512_castsi512_pd(_mm512_srli_epi64(_mm512_castpd_si512(a), (unsigned)count));
}
INLINE void v_zip(vec a, vec b, vec *low, vec *high) {
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    *low = _mm512_permutex2var_pd(a, first, b);
    *high = _mm512_permutex2var_pd(a, second, b);
}
#endif

#ifdef FASTNN_EMULATED
INLINE vec v_sqrt(vec a) { return V(sqrt)(a); }
#else
/* The root that the instruction gives, to the last bit, in a half (float64) to three quarters of its time: g and h go
 * from an estimate within 2^-14 to sqrt(a) and 1 / (2 sqrt(a)) (Goldschmidt), and the exact remainder a - g^2 rounds g
 * right (Markstein 1990). No float32 is rounded wrong for any estimate that good, nor is a float64 whose root lies so
 * close to the middle of two numbers that the error of h could tell, but for 1 + eps and estimates of more than 20
 * bits; tests/test_sqrt.py tries them with the estimates of the processor that it runs on.
 * Where the remainder would be subnormal, and for what is infinite, negative or NaN, the instruction does it. */
INLINE vec v_root(vec a, vec estimate) {
    enum { STEPS = FASTNN_BITS == 32 ? 1 : 2 };
    const vec half = V(set1)((real)0.5);
    vec g = v_mul(a, estimate), h = v_mul(half, estimate);
    UNROLL
    for (int i = 0; i < STEPS; i++) {
        const vec rest = v_fnma(g, h, half);
        g = v_fma(g, rest, g);
        h = v_fma(h, rest, h);
    }
    return v_fma(v_fnma(g, g, a), h, g);
}
INLINE vec v_sqrt(vec a) {
    if (v_any(v_beyond_root((vmask)-1, a))) {
        const vmask not_zero = v_not_zero(a);
        return v_any(v_beyond_root(not_zero, a)) ? V(sqrt)(a) : v_root(a, V(maskz_rsqrt14)(not_zero, a));
    }
    return v_root(a, V(rsqrt14)(a));
}
#endif

#include "zip.h"

/* v_transpose of VLEN vectors that lie `stride` elements apart. A transpose waits for the one port that shuffles; to
 * put together vectors of halves of rows is for the ports that load, and for any other, and takes a stage off it. */
#ifdef FASTNN_EMULATED
INLINE void v_load_transposed(vec a[VLEN], const real *p, int64_t stride) {
    for (int i = 0; i < VLEN; i++) a[i] = v_load(p + i * stride);
    v_transpose(a);
}
#elif FASTNN_BITS == 32
INLINE vec v_join_halves(const real *low, const real *high) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(low)), _mm256_loadu_ps(high), 1);
}
/* Eight columns of rows 0 to 3, and of rows 4 to 7: column j of them is the even quarters of four[j], j + 4 the odd
 * ones. */
INLINE void v_load_fours(vec four[4], const real *const row[4], int64_t offset, int64_t further) {
    __m512d pair[4];
    for (int i = 0; i < 4; i += 2) {
        const vec even = v_join_halves(row[i] + offset, row[i] + offset + further);
        const vec odd = v_join_halves(row[i + 1] + offset, row[i + 1] + offset + further);
        pair[i] = _mm512_castps_pd(_mm512_unpacklo_ps(even, odd));
        pair[i + 1] = _mm512_castps_pd(_mm512_unpackhi_ps(even, odd));
    }
    for (int i = 0; i < 2; i++) {
        four[2 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(pair[i], pair[i + 2]));
        four[2 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(pair[i], pair[i + 2]));
    }
}
INLINE void v_load_transposed(vec a[VLEN], const real *p, int64_t stride) {
    const real *row[4];
    int64_t further = 4 * stride;
    OPAQUE(further);
    for (int i = 0; i < 4; i++) {
        row[i] = p + i * stride;
        OPAQUE(row[i]);
    }
    for (int j = 0; j < VLEN; j += 8) {
        vec low[4], high[4];
        v_load_fours(low, row, j, further);
        v_load_fours(high, row, j + 2 * further, further);
        for (int i = 0; i < 4; i++) {
            a[j + i] = _mm512_shuffle_f32x4(low[i], high[i], 0x88);
            a[j + i + 4] = _mm512_shuffle_f32x4(low[i], high[i], 0xdd);
        }
    }
}
#else
INLINE vec v_join_halves(const real *low, const real *high) {
    return _mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_loadu_pd(low)), _mm256_loadu_pd(high), 1);
}
INLINE void v_load_transposed(vec a[VLEN], const real *p, int64_t stride) {
    for (int j = 0; j < VLEN; j += 4) {
        vec half[4]; /* of rows 0 and 2, 1 and 3, 4 and 6, 5 and 7 */
        for (int i = 0; i < 4; i++) {
            const real *row = p + (i / 2 * 4 + i % 2) * stride + j;
            half[i] = v_join_halves(row, row + 2 * stride);
        }
        const vec even0 = V(unpacklo)(half[0], half[1]), even4 = V(unpacklo)(half[2], half[3]);
        const vec odd0 = V(unpackhi)(half[0], half[1]), odd4 = V(unpackhi)(half[2], half[3]);
        a[j] = _mm512_shuffle_f64x2(even0, even4, 0x88);
        a[j + 1] = _mm512_shuffle_f64x2(odd0, odd4, 0x88);
        a[j + 2] = _mm512_shuffle_f64x2(even0, even4, 0xdd);
        a[j + 3] = _mm512_shuffle_f64x2(odd0, odd4, 0xdd);
    }
}
#endif

#endif
