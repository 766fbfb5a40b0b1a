/* The most multiply-adds that the processor can do, as the yardstick of the benchmarks. */
#ifndef FASTNN_KERNELS_PEAK_H
#define FASTNN_KERNELS_PEAK_H

static int64_t peak_flops(void *sink, int64_t iterations) {
    /* More chains than latency x issue width of any core we know, few enough for 16 registers. */
    enum { CHAINS = 12, UNROLLED = 4 };
    const vec a = v_set1((real)0.5), b = v_set1((real)1.0);
    vec chain[CHAINS], sum = v_zero();
    for (int c = 0; c < CHAINS; c++) chain[c] = v_set1((real)(c + 3)); /* a fixed point would be folded */
    for (int64_t i = 0; i < iterations; i++) {
        UNROLL
        for (int u = 0; u < UNROLLED; u++) {
            UNROLL
            for (int c = 0; c < CHAINS; c++) chain[c] = v_fma(chain[c], a, b);
        }
    }
    for (int c = 0; c < CHAINS; c++) sum = v_add(sum, chain[c]);
    v_store_part(sink, v_first(1), sum);
    return 2 * CHAINS * UNROLLED * VLEN * iterations;
}

#endif
