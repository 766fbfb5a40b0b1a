/* AVX2 with FMA: 256-bit vectors. */
#ifndef FASTNN_SIMD_AVX2_H
#define FASTNN_SIMD_AVX2_H

#include <immintrin.h>

#define ISA_NAME avx2

#if FASTNN_BITS == 32
#define V(op) _mm256_##op##_ps
typedef __m256 vec;
#define VLEN 8
#else
#define V(op) _mm256_##op##_pd
typedef __m256d vec;
#define VLEN 4
#endif
typedef vec vmask;
typedef struct {
    __m256i mask;
    int64_t count;
} vpart;

/* 6 x 2 accumulators, two vectors of B and one of A use 15 of the 16 registers. A panel of B of BLOCK_K rows fills a
 * L1d of 32 KiB and streams through it; a shorter one would have C loaded and stored more often, which costs more (256:
 * 2 to 13 % on Zen 3). BLOCK_ROWS x BLOCK_K of A take two fifths of a L2 of 512 KiB.
 * On Zen 3 each of the stores at a tile's end but the first few takes 2 or 3 cycles from the next tile's multiply-adds,
 * whether it waits for them or not, except where these have no more chains than their latency of 4 cycles asks for:
 * 4 x 2. So there a short k gains (8: 15 of 100 points of the peak, 32: 6, 48: 3). Where the latency is 5, as on Zen 2,
 * these 8 chains reach four fifths of the peak at best. A panel of one vector wants 8 chains or more and can have up to
 * 12; 10 leave 10 outputs one tile and suit 16, 32 and 64 better than 12. */
enum { REGISTERS = 16, TILE_ROWS = 6, TILE_VECTORS = 2, NARROW_ROWS = 10, SHALLOW_ROWS = 4, SHALLOW_K = 48 };
enum { BLOCK_ROWS = FASTNN_BITS == 32 ? 72 : 36, BLOCK_K = 512, BLOCK_COLUMNS = 1024 };

INLINE vec v_zero(void) { return V(setzero)(); }
INLINE vec v_set1(real x) { return V(set1)(x); }
INLINE vec v_load(const real *p) { return V(loadu)(p); }
INLINE void v_store(real *p, vec a) { V(storeu)(p, a); }
INLINE vec v_load_part(const real *p, vpart part) { return V(maskload)(p, part.mask); }

INLINE vec v_add(vec a, vec b) { return V(add)(a, b); }
INLINE vec v_sub(vec a, vec b) { return V(sub)(a, b); }
INLINE vec v_mul(vec a, vec b) { return V(mul)(a, b); }
INLINE vec v_div(vec a, vec b) { return V(div)(a, b); }
INLINE vec v_sqrt(vec a) { return V(sqrt)(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return V(fmadd)(a, b, c); }
INLINE vec v_fnma(vec a, vec b, vec c) { return V(fnmadd)(a, b, c); }
INLINE vec v_max(vec a, vec b) { return V(max)(a, b); }
INLINE vec v_min(vec a, vec b) { return V(min)(a, b); }
INLINE vec v_abs(vec a) { return V(andnot)(V(set1)(-(real)0), a); }
INLINE vec v_negative_abs(vec a) { return V(or)(V(set1)(-(real)0), a); }
INLINE vec v_flip_sign(vec a, vec b) { return V(xor)(a, V (and)(b, V(set1)(-(real)0))); }
INLINE vec v_and(vec a, vec b) { return V (and)(a, b); }
INLINE vmask v_less(vec a, vec b) { return V(cmp)(a, b, _CMP_LT_OQ); }
INLINE vec v_select(vmask m, vec a, vec b) { return V(blendv)(b, a, m); }
INLINE int v_any(vmask m) { return V(movemask)(m) != 0; }

#if FASTNN_BITS == 32
INLINE vpart v_first(int64_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (vpart){_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane), n};
}
/* In pieces: a masked store is a dozen times slower on AMD's processors. */
INLINE void v_store_part(real *p, vpart part, vec a) {
    if (part.count >= 8) {
        v_store(p, a);
        return;
    }
    __m128 rest = _mm256_castps256_ps128(a);
    if (part.count & 4) {
        _mm_storeu_ps(p, rest);
        rest = _mm256_extractf128_ps(a, 1);
        p += 4;
    }
    if (part.count & 2) {
        _mm_storel_pi((__m64 *)p, rest);
        rest = _mm_movehl_ps(rest, rest);
        p += 2;
    }
    if (part.count & 1) _mm_store_ss(p, rest);
}
INLINE vec v_add_bits(vec a, vec b) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
INLINE vec v_shift_left(vec a, int count) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(a), count));
}
INLINE vec v_shift_right(vec a, int count) {
    return _mm256_castsi256_ps(_mm256_srli_epi32(_mm256_castps_si256(a), count));
}
#else
INLINE vpart v_first(int64_t n) {
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return (vpart){_mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane), n};
}
INLINE void v_store_part(real *p, vpart part, vec a) {
    if (part.count >= 4) {
        v_store(p, a);
        return;
    }
    __m128d rest = _mm256_castpd256_pd128(a);
    if (part.count & 2) {
        _mm_storeu_pd(p, rest);
        rest = _mm256_extractf128_pd(a, 1);
        p += 2;
    }
    if (part.count & 1) _mm_store_sd(p, rest);
}
INLINE vec v_add_bits(vec a, vec b) {
    return _mm256_castsi256_pd(_mm256_add_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(b)));
}
INLINE vec v_shift_left(vec a, int count) {
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(a), count));
}
INLINE vec v_shift_right(vec a, int count) {
    return _mm256_castsi256_pd(_mm256_srli_epi64(_mm256_castpd_si256(a), count));
}
#endif

/* Lane i of vector j <-> lane j of vector i. */
#if FASTNN_BITS == 32
INLINE void v_transpose(vec a[8]) {
    vec pairs[8], fours[8];
    for (int i = 0; i < 8; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        for (int j = 0; j < 2; j++) {
            fours[i + 2 * j] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0x44);
            fours[i + 2 * j + 1] = _mm256_shuffle_ps(pairs[i + j], pairs[i + j + 2], 0xee);
        }
    }
    for (int i = 0; i < 4; i++) {
        a[i] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20);
        a[i + 4] = _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31);
    }
}
/* Lane i of the result is the sum of the lanes of vector i, by halving. */
INLINE vec v_sums(vec a[8]) {
    for (int i = 0; i < 4; i++)
        a[i] = v_add(_mm256_permute2f128_ps(a[i], a[i + 4], 0x20), _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    for (int i = 0; i < 4; i += 2)
        a[i] = v_add(_mm256_shuffle_ps(a[i], a[i + 1], 0x44), _mm256_shuffle_ps(a[i], a[i + 1], 0xee));
    return v_add(_mm256_shuffle_ps(a[0], a[2], 0x88), _mm256_shuffle_ps(a[0], a[2], 0xdd));
}
#else
INLINE void v_transpose(vec a[4]) {
    vec pairs[4];
    for (int i = 0; i < 4; i += 2) {
        pairs[i] = _mm256_unpacklo_pd(a[i], a[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_pd(a[i], a[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        a[i] = _mm256_permute2f128_pd(pairs[i], pairs[i + 2], 0x20);
        a[i + 2] = _mm256_permute2f128_pd(pairs[i], pairs[i + 2], 0x31);
    }
}
INLINE vec v_sums(vec a[4]) {
    for (int i = 0; i < 2; i++)
        a[i] = v_add(_mm256_permute2f128_pd(a[i], a[i + 2], 0x20), _mm256_permute2f128_pd(a[i], a[i + 2], 0x31));
    return v_add(_mm256_unpacklo_pd(a[0], a[1]), _mm256_unpackhi_pd(a[0], a[1]));
}
#endif

/* v_transpose of VLEN vectors that lie `stride` elements apart. To put vectors together of halves of rows, of which the
 * upper ones lie `further`, is for any port, and takes the stage off the transpose that only one does. */
#if FASTNN_BITS == 32
INLINE vec v_load_halves(const real *low, int64_t further) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(low + further), 1);
}
INLINE void v_load_transposed(vec a[8], const real *p, int64_t stride) {
    for (int j = 0; j < 8; j += 4) {
        vec rows[4];
        for (int i = 0; i < 4; i++) rows[i] = v_load_halves(p + i * stride + j, 4 * stride);
        for (int i = 0; i < 2; i++) {
            const vec low = i ? _mm256_unpackhi_ps(rows[0], rows[1]) : _mm256_unpacklo_ps(rows[0], rows[1]);
            const vec high = i ? _mm256_unpackhi_ps(rows[2], rows[3]) : _mm256_unpacklo_ps(rows[2], rows[3]);
            a[j + 2 * i] = _mm256_shuffle_ps(low, high, 0x44);
            a[j + 2 * i + 1] = _mm256_shuffle_ps(low, high, 0xee);
        }
    }
}
#else
INLINE vec v_load_halves(const real *low, int64_t further) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(low)), _mm_loadu_pd(low + further), 1);
}
INLINE void v_load_transposed(vec a[4], const real *p, int64_t stride) {
    for (int j = 0; j < 4; j += 2) {
        const vec even = v_load_halves(p + j, 2 * stride), odd = v_load_halves(p + stride + j, 2 * stride);
        a[j] = _mm256_unpacklo_pd(even, odd);
        a[j + 1] = _mm256_unpackhi_pd(even, odd);
    }
}
#endif

#endif
