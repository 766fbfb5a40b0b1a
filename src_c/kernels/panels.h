/* Products of matrices whose columns come in panels of TILE_COLUMNS, as a network's activations do: C (panels, m, columns) =
 * A (m, k) B (panels, k, columns), the same chains as in gemm.h. */
#ifndef FASTNN_KERNELS_PANELS_H
#define FASTNN_KERNELS_PANELS_H

enum { SHORT = 6 }; /* a k for which a panel of B fits in the registers, beside what a row of C needs */

/* One panel, for a short k: B stays in registers and C is written row by row, without a tile's beginning and end. */
INLINE void short_rows(real *c, matrix a, const real *b, epilogue e, int64_t m, const int k, const int vectors) {
    vec rows[SHORT][TILE_VECTORS];
    UNROLL
    for (int p = 0; p < k; p++) {
        UNROLL
        for (int v = 0; v < vectors; v++) rows[p][v] = v_load(b + p * TILE_COLUMNS + v * VLEN);
    }
    for (int64_t i = 0; i < m; i++, c += TILE_COLUMNS, a.at += a.row) {
        vec sum[TILE_VECTORS];
        UNROLL
        for (int v = 0; v < vectors; v++) sum[v] = v_zero();
        UNROLL
        for (int p = 0; p < k; p++) {
            const vec element = v_set1(a.at[p * a.column]);
            UNROLL
            for (int v = 0; v < vectors; v++) sum[v] = v_fma(element, rows[p][v], sum[v]);
        }
        UNROLL
        for (int v = 0; v < vectors; v++) v_store(c + v * VLEN, v_epilogue(sum[v], e, v * VLEN));
        if (e.kind == RELU_BACKWARD) e.gate += TILE_COLUMNS;
    }
}

INLINE void short_panel(real *c, matrix a, const real *b, epilogue e, int64_t m, int64_t k, const int vectors) {
    switch (k) {
#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        short_rows(c, a, b, e, m, n, vectors);                                                                         \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
#undef CASE
    }
}

static void short_product(real *c, int64_t c_panel, matrix a, const real *b, int64_t b_panel, epilogue e, int64_t m,
                          int64_t n, int64_t k) {
    for (; n > 0; n -= TILE_COLUMNS, c += c_panel, b += b_panel) {
        if (TILE_VECTORS > 1 && n <= VLEN)
            short_panel(c, a, b, e, m, k, 1);
        else
            short_panel(c, a, b, e, m, k, TILE_VECTORS);
        if (e.kind == RELU_BACKWARD) e.gate += e.gate_panel;
    }
}

/* The panels lie `c_panel` and `b_panel` elements apart; n columns, of which the last VLEN may be there for nothing. `copies`
 * says whether A is packed, which pays where its rows are strided and used by several panels. */
static void panels_product(real *c, int64_t c_panel, matrix a, const real *b, int64_t b_panel, epilogue e, int64_t m,
                           int64_t n, int64_t k, int copies, real *workspace) {
    const epilogue none = {NO_EPILOGUE, NULL, 0};
    const int64_t blocks = block_count(k), depth = (k + blocks - 1) / blocks;
    if (k <= SHORT) {
        short_product(c, c_panel, a, b, b_panel, e, m, n, k);
        return;
    }
    for (int64_t p = 0; p < k; p += depth)
        block_product((target){c, TILE_COLUMNS, 1}, c_panel, beside(a, p),
                      (matrix){b + p * TILE_COLUMNS, TILE_COLUMNS, 1, 0, 0}, b_panel, p > 0, p + depth < k ? none : e,
                      m, n, smaller(k - p, depth), copies ? workspace : NULL);
}

#endif
