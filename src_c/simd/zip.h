/* What instruction sets with a perfect shuffle of two vectors make of it. */
#ifndef FASTNN_SIMD_ZIP_H
#define FASTNN_SIMD_ZIP_H

/* Lane i of vector j <-> lane j of vector i, in log2(VLEN) perfect shuffles. */
INLINE void v_transpose(vec a[VLEN]) {
    vec next[VLEN];
    for (int stage = 1; stage < VLEN; stage *= 2) {
        for (int i = 0; i < VLEN / 2; i++) v_zip(a[i], a[i + VLEN / 2], &next[2 * i], &next[2 * i + 1]);
        for (int i = 0; i < VLEN; i++) a[i] = next[i];
    }
}

/* a[i] = the halves of the lanes of a[i] and of a[i + half], added, in turn */
INLINE void v_halve(vec *a, const int half) {
    UNROLL
    for (int i = 0; i < half; i++) {
        vec low, high;
        v_zip(a[i], a[i + half], &low, &high);
        a[i] = v_add(low, high);
    }
}

/* Lane i of the result is the sum of the lanes of vector i, by halving. A loop over the halves would not be
 * unrolled. */
INLINE vec v_sums(vec a[VLEN]) {
    if (VLEN > 8) v_halve(a, 8);
    if (VLEN > 4) v_halve(a, 4);
    if (VLEN > 2) v_halve(a, 2);
    v_halve(a, 1);
    return a[0];
}

#endif
