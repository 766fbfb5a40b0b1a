/* NEON of 64-bit Arm: 128-bit vectors, no masked loads. */
#ifndef FASTNN_SIMD_NEON_H
#define FASTNN_SIMD_NEON_H

#include <string.h>

#ifdef FASTNN_EMULATED
#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_ARM_NEON_FORCE_NATIVE_TYPES
#include <simde/arm/neon.h>
#ifndef vdivq_f32 /* SIMDe before 0.8 */
#define vdivq_f32 _mm_div_ps
#define vdivq_f64 _mm_div_pd
#define vfmsq_f32(c, a, b) _mm_fnmadd_ps(a, b, c)
#define vfmsq_f64(c, a, b) _mm_fnmadd_pd(a, b, c)
#define vsqrtq_f32 _mm_sqrt_ps
#define vsqrtq_f64 _mm_sqrt_pd
#endif
#else
#include <arm_neon.h>
#endif

#define ISA_NAME neon

#if FASTNN_BITS == 32
#define V(op) op##q_f32
typedef float32x4_t vec;
typedef uint32x4_t vmask;
#define VLEN 4
#else
#define V(op) op##q_f64
typedef float64x2_t vec;
typedef uint64x2_t vmask;
#define VLEN 2
#endif
typedef int64_t vpart; /* how many of the first lanes */

/* 6 x 4 accumulators, four vectors of B and one of A use 29 of the 32 registers. A panel of B of BLOCK_K rows stays in
 * L1d, a block of BLOCK_K x BLOCK_COLUMNS in half of a 512 KiB L2. */
enum { REGISTERS = 32, TILE_ROWS = 6, TILE_VECTORS = 4, NARROW_ROWS = 6, SHALLOW_ROWS = 6, SHALLOW_K = 0 };
enum { BLOCK_ROWS = FASTNN_BITS == 32 ? 144 : 72, BLOCK_K = 256, BLOCK_COLUMNS = 1024 };

#if FASTNN_BITS == 32
INLINE vec v_set1(real x) { return vdupq_n_f32(x); }
INLINE uint32x4_t bits_of(vec a) { return vreinterpretq_u32_f32(a); }
INLINE vec vec_of(uint32x4_t bits) { return vreinterpretq_f32_u32(bits); }
INLINE vec v_flip_sign(vec a, vec b) {
    return vec_of(veorq_u32(bits_of(a), vandq_u32(bits_of(b), bits_of(v_set1(-(real)0)))));
}
INLINE vec v_and(vec a, vec b) { return vec_of(vandq_u32(bits_of(a), bits_of(b))); }
INLINE vec v_add_bits(vec a, vec b) { return vec_of(vaddq_u32(bits_of(a), bits_of(b))); }
INLINE vec v_shift_left(vec a, int count) { return vec_of(vshlq_u32(bits_of(a), vdupq_n_s32(count))); }
INLINE vec v_shift_right(vec a, int count) { return vec_of(vshlq_u32(bits_of(a), vdupq_n_s32(-count))); }
INLINE int v_any(vmask m) { return vmaxvq_u32(m) != 0; }
#else
INLINE vec v_set1(real x) { return vdupq_n_f64(x); }
INLINE uint64x2_t bits_of(vec a) { return vreinterpretq_u64_f64(a); }
INLINE vec vec_of(uint64x2_t bits) { return vreinterpretq_f64_u64(bits); }
INLINE vec v_flip_sign(vec a, vec b) {
    return vec_of(veorq_u64(bits_of(a), vandq_u64(bits_of(b), bits_of(v_set1(-(real)0)))));
}
INLINE vec v_and(vec a, vec b) { return vec_of(vandq_u64(bits_of(a), bits_of(b))); }
INLINE vec v_add_bits(vec a, vec b) { return vec_of(vaddq_u64(bits_of(a), bits_of(b))); }
INLINE vec v_shift_left(vec a, int count) { return vec_of(vshlq_u64(bits_of(a), vdupq_n_s64(count))); }
INLINE vec v_shift_right(vec a, int count) { return vec_of(vshlq_u64(bits_of(a), vdupq_n_s64(-count))); }
INLINE int v_any(vmask m) { return vmaxvq_u32(vreinterpretq_u32_u64(m)) != 0; }
#endif
INLINE vec v_zero(void) { return v_set1(0); }
INLINE vec v_load(const real *p) { return V(vld1)(p); }
INLINE void v_store(real *p, vec a) { V(vst1)(p, a); }
INLINE vpart v_first(int64_t n) { return n; }
INLINE vec v_load_part(const real *p, vpart part) {
    real lanes[VLEN] = {0};
    memcpy(lanes, p, (size_t)part * sizeof(real));
    return v_load(lanes);
}
INLINE void v_store_part(real *p, vpart part, vec a) {
    real lanes[VLEN];
    v_store(lanes, a);
    memcpy(p, lanes, (size_t)part * sizeof(real));
}

INLINE vec v_add(vec a, vec b) { return V(vadd)(a, b); }
INLINE vec v_sub(vec a, vec b) { return V(vsub)(a, b); }
INLINE vec v_mul(vec a, vec b) { return V(vmul)(a, b); }
INLINE vec v_div(vec a, vec b) { return V(vdiv)(a, b); }
INLINE vec v_sqrt(vec a) { return V(vsqrt)(a); }
INLINE vec v_fma(vec a, vec b, vec c) { return V(vfma)(c, a, b); }
INLINE vec v_fnma(vec a, vec b, vec c) { return V(vfms)(c, a, b); }
INLINE vec v_max(vec a, vec b) { return V(vbsl)(V(vcgt)(a, b), a, b); }
INLINE vec v_min(vec a, vec b) { return V(vbsl)(V(vclt)(a, b), a, b); }
INLINE vec v_abs(vec a) { return V(vabs)(a); }
INLINE vec v_negative_abs(vec a) { return V(vneg)(V(vabs)(a)); }
INLINE vmask v_less(vec a, vec b) { return V(vclt)(a, b); }
INLINE vec v_select(vmask m, vec a, vec b) { return V(vbsl)(m, a, b); }
INLINE void v_zip(vec a, vec b, vec *low, vec *high) {
    *low = V(vzip1)(a, b);
    *high = V(vzip2)(a, b);
}

#include "zip.h"

/* v_transpose of VLEN vectors that lie `stride` elements apart. */
INLINE void v_load_transposed(vec a[VLEN], const real *p, int64_t stride) {
    for (int i = 0; i < VLEN; i++) a[i] = v_load(p + i * stride);
    v_transpose(a);
}

#endif
