/* The instruction set whose vectors hold one element: plain C11, right everywhere, the reference for the others. */
#ifndef FASTNN_SIMD_SCALAR_H
#define FASTNN_SIMD_SCALAR_H

#include <math.h>
#include <string.h>

#define ISA_NAME scalar

typedef real vec;
typedef int vmask;
typedef int vpart;

#define VLEN 1
enum { REGISTERS = 16, TILE_ROWS = 4, TILE_VECTORS = 4, NARROW_ROWS = 4, SHALLOW_ROWS = 4, SHALLOW_K = 0 };
enum { BLOCK_ROWS = 96, BLOCK_K = 256, BLOCK_COLUMNS = 512 };

INLINE vec v_zero(void) { return 0; }
INLINE vec v_set1(real x) { return x; }
INLINE vec v_load(const real *p) { return *p; }
INLINE void v_store(real *p, vec a) { *p = a; }
INLINE vpart v_first(int64_t n) { return n > 0; }
INLINE vec v_load_part(const real *p, vpart part) { return part ? *p : 0; }
INLINE void v_store_part(real *p, vpart part, vec a) {
    if (part) *p = a;
}

INLINE vec v_add(vec a, vec b) { return a + b; }
INLINE vec v_sub(vec a, vec b) { return a - b; }
INLINE vec v_mul(vec a, vec b) { return a * b; }
INLINE vec v_div(vec a, vec b) { return a / b; }
INLINE vec v_max(vec a, vec b) { return a > b ? a : b; }
INLINE vec v_min(vec a, vec b) { return a < b ? a : b; }
INLINE vmask v_less(vec a, vec b) { return a < b; }
INLINE vec v_select(vmask m, vec a, vec b) { return m ? a : b; }
INLINE int v_any(vmask m) { return m; }
INLINE void v_transpose(vec a[1]) { (void)a; }
INLINE vec v_sums(vec a[1]) { return a[0]; }

#if FASTNN_BITS == 32
typedef uint32_t word;
INLINE vec v_fma(vec a, vec b, vec c) { return fmaf(a, b, c); }
INLINE vec v_fnma(vec a, vec b, vec c) { return fmaf(-a, b, c); }
INLINE vec v_sqrt(vec a) { return sqrtf(a); }
INLINE vec v_abs(vec a) { return fabsf(a); }
INLINE vec v_negative_abs(vec a) { return -fabsf(a); }
#else
typedef uint64_t word;
INLINE vec v_fma(vec a, vec b, vec c) { return fma(a, b, c); }
INLINE vec v_fnma(vec a, vec b, vec c) { return fma(-a, b, c); }
INLINE vec v_sqrt(vec a) { return sqrt(a); }
INLINE vec v_abs(vec a) { return fabs(a); }
INLINE vec v_negative_abs(vec a) { return -fabs(a); }
#endif

INLINE word bits_of(vec a) {
    word bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
INLINE vec vec_of(word bits) {
    vec a;
    memcpy(&a, &bits, sizeof a);
    return a;
}
INLINE vec v_flip_sign(vec a, vec b) { return vec_of(bits_of(a) ^ (bits_of(b) & bits_of(-(real)0))); }
INLINE vec v_and(vec a, vec b) { return vec_of(bits_of(a) & bits_of(b)); }
INLINE vec v_add_bits(vec a, vec b) { return vec_of(bits_of(a) + bits_of(b)); }
INLINE vec v_shift_left(vec a, int count) { return vec_of(bits_of(a) << count); }
INLINE vec v_shift_right(vec a, int count) { return vec_of(bits_of(a) >> count); }

/* v_transpose of VLEN vectors that lie `stride` elements apart. */
INLINE void v_load_transposed(vec a[VLEN], const real *p, int64_t stride) {
    for (int i = 0; i < VLEN; i++) a[i] = v_load(p + i * stride);
    v_transpose(a);
}

#endif
