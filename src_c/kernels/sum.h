/* Sums of arrays, and of squares.
 *
 * A sum of squares has one shape on every machine: element i belongs to lane i mod LANES of a logical vector of 64
 * bytes, each lane is a chain of fused multiply-adds, the lanes are added by halving, and chunks of SUM_CHUNK elements
 * are added in double. So all instruction sets give the same bits, and a long sum in float keeps its accuracy. */
#ifndef FASTNN_KERNELS_SUM_H
#define FASTNN_KERNELS_SUM_H

enum { LANES = 64 / (int)sizeof(real), SUM_CHUNK = 1024 };

_Static_assert(LANES % VLEN == 0 && SUM_CHUNK % LANES == 0, "the sum's shape must not depend on VLEN");

/* lanes[0] + ... + lanes[LANES - 1], by halving; overwrites lanes */
INLINE real sum_lanes(real *lanes) {
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    return lanes[0];
}

static real chunk_squared_error(const real *output, const real *y, int64_t n) {
    enum { VECTORS = LANES / VLEN };
    vec sums[VECTORS];
    real lanes[LANES];
    for (int v = 0; v < VECTORS; v++) sums[v] = v_zero();
    for (; n >= LANES; n -= LANES, output += LANES, y += LANES) {
        UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const vec error = v_sub(v_load(y + v * VLEN), v_load(output + v * VLEN));
            sums[v] = v_fma(error, error, sums[v]);
        }
    }
    for (int v = 0; v < VECTORS; v++) v_store(lanes + v * VLEN, sums[v]);
    for (int64_t i = 0; i < n; i++) {
        const real error = y[i] - output[i];
        lanes[i] = real_fma(error, error, lanes[i]);
    }
    return sum_lanes(lanes);
}

static double sum_squared_error(const void *output, const void *y, int64_t n) {
    const real *o = output, *target = y;
    double sum = 0;
    for (int64_t i = 0; i < n; i += SUM_CHUNK)
        sum += (double)chunk_squared_error(o + i, target + i, n - i < SUM_CHUNK ? n - i : SUM_CHUNK);
    return sum;
}

/* The squares of x - x are 0 or not a number. */
static int all_finite(const void *x, int64_t n) { return sum_squared_error(x, x, n) == 0; }

/* In double, for the squares of a gradient may lie outside a float's range; eight lanes, element i in lane i mod 8. */
static double sum_of_squares(const void *x, int64_t n) {
    const real *at = x;
    double lanes[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) lanes[j] += (double)at[i + j] * (double)at[i + j];
    for (; i < n; i++) lanes[i % 8] += (double)at[i] * (double)at[i];
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* out (n) = parts[0] + parts[1] + ..., each `stride` elements after the one before */
static void add_parts(real *out, const real *parts, int64_t stride, int64_t n_parts, int64_t n) {
    for (int64_t i = 0; i < n; i += VLEN) {
        const vpart part = v_first(n - i < VLEN ? n - i : VLEN);
        vec sum = v_load_part(parts + i, part);
        for (int64_t p = 1; p < n_parts; p++) sum = v_add(sum, v_load_part(parts + p * stride + i, part));
        v_store_part(out + i, part, sum);
    }
}

#endif
