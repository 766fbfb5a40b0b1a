/* The orders of the rows: a permutation made anew for each epoch, or the last one shuffled further. */
#include "fastnn.h"

/* Lemire's method (2019): uniform below n, without bias. */
static int64_t below(int64_t n, uint64_t (*next)(void *), void *state) {
    if (n > UINT32_MAX) { /* the bias of a remainder is beyond notice from 2^32 on only with all 64 bits: reject */
        const uint64_t limit = UINT64_MAX - UINT64_MAX % (uint64_t)n;
        uint64_t draw = next(state);
        while (draw >= limit) draw = next(state);
        return (int64_t)(draw % (uint64_t)n);
    }
    uint64_t product = (next(state) >> 32) * (uint64_t)n;
    if ((uint32_t)product < (uint32_t)n) {
        const uint32_t threshold = (uint32_t)(-(uint32_t)n) % (uint32_t)n;
        while ((uint32_t)product < threshold) product = (next(state) >> 32) * (uint64_t)n;
    }
    return (int64_t)(product >> 32);
}

void fastnn_shuffle(int64_t *order, int64_t n, uint64_t (*next)(void *state), void *state) {
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = below(i + 1, next, state);
        order[i] = order[j];
        order[j] = i;
    }
}

/* Each place is swapped with one up to it, which is drawn by rejection from as few bits as that needs. A draw that is
 * rejected swaps the place with itself: no branch, for half of the draws may be rejected and no processor foresees
 * which. */
void fastnn_shuffle_further(int64_t *order, int64_t n, uint64_t (*next)(void *state),
                            uint32_t (*next_half)(void *state), void *state) {
    int64_t i = n - 1, mask = i;
    for (int shift = 1; shift < 64; shift *= 2) mask |= mask >> shift;
    while (i > 0) {
        const int64_t draw = (int64_t)((mask <= UINT32_MAX ? next_half(state) : next(state)) & (uint64_t)mask);
        const int64_t j = draw <= i ? draw : i, row = order[i];
        order[i] = order[j];
        order[j] = row;
        i -= draw <= i;
        mask = i > mask >> 1 ? mask : mask >> 1;
    }
}
