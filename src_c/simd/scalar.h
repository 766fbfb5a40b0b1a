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
enum { TILE_ROWS = 4, TILE_VECTORS = 4 };
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
INLINE void v_transpose(vec a[1]) { (void)a; }

#if FASTNN_BITS == 32
INLINE vec v_fma(vec a, vec b, vec c) { return fmaf(a, b, c); }
INLINE vec v_fnma(vec a, vec b, vec c) { return fmaf(-a, b, c); }
INLINE vec v_negative_abs(vec a) { return -fabsf(a); }
INLINE vec v_exponent_from_mantissa(vec a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits <<= 23;
    memcpy(&a, &bits, sizeof bits);
    return a;
}
#else
INLINE vec v_fma(vec a, vec b, vec c) { return fma(a, b, c); }
INLINE vec v_fnma(vec a, vec b, vec c) { return fma(-a, b, c); }
INLINE vec v_negative_abs(vec a) { return -fabs(a); }
INLINE vec v_exponent_from_mantissa(vec a) {
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits <<= 52;
    memcpy(&a, &bits, sizeof bits);
    return a;
}
#endif

#endif
