/* Dropout: each activation is zeroed with probability `rate`, or else scaled by 1 / (1 - rate) (Srivastava et al. 2014,
 * in the "inverted" form that leaves prediction alone).
 *
 * Whether an element lives is a hash of the step's key, the layer, its row in the batch and its feature: no state, so
 * the same for any division of the rows among blocks, threads and vectors. */
#ifndef FASTNN_KERNELS_DROPOUT_H
#define FASTNN_KERNELS_DROPOUT_H

/* The finalizer of SplitMix64 (Steele, Lea and Flood 2014) */
INLINE uint64_t mix64(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* That of MurmurHash3 (Appleby 2011) */
INLINE uint32_t mix32(uint32_t x) {
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

/* a and its slope (features, lanes) *= mask, for the rows of the batch from `row` on. */
static void dropout_panel(real *a, real *slope, int64_t features, int64_t lanes, double rate, uint64_t key,
                          int64_t row) {
    const uint32_t threshold = (uint32_t)(rate * 0x1p24), low = (uint32_t)key, high = (uint32_t)(key >> 32);
    const real scale = (real)(1 / (1 - rate));
    for (int64_t j = 0; j < features; j++) {
        const uint32_t feature = mix32(low + (uint32_t)j) ^ high;
        for (int64_t i = 0; i < lanes; i++) {
            const uint32_t hash = mix32(feature + (uint32_t)(row + i) * 0x9e3779b9u);
            const real mask = hash >> 8 < threshold ? 0 : scale;
            a[j * lanes + i] *= mask;
            slope[j * lanes + i] *= mask;
        }
    }
}

#endif
