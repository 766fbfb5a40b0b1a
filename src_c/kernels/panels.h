/* Products of matrices whose columns come in panels of TILE_COLUMNS, as a network's activations do:
 * C (panels, m, columns) = A (m, k) B (panels, k, columns), the same chains as in gemm.h. */
#ifndef FASTNN_KERNELS_PANELS_H
#define FASTNN_KERNELS_PANELS_H

/* The k up to which a panel of B fits in the registers, beside the sums of two rows of C and an element of A. */
enum { SHORT = (REGISTERS - 2 * TILE_VECTORS - 1) / TILE_VECTORS };

_Static_assert((int)SHORT <= 13, "short_panel has 13 cases");

/* `rows` rows of C, for a short k: the rows of a panel of B are in registers. */
INLINE void short_rows(real *c, matrix a, vec b[SHORT][TILE_VECTORS], epilogue e, const int rows, const int k,
                       const int vectors) {
    vec sum[2][TILE_VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) sum[i][v] = v_zero();
    }
    UNROLL
    for (int p = 0; p < k; p++) {
        UNROLL
        for (int i = 0; i < rows; i++) {
            const vec element = v_set1(a.at[i * a.row + p * a.column]);
            UNROLL
            for (int v = 0; v < vectors; v++) sum[i][v] = v_fma(element, b[p][v], sum[i][v]);
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const int at = i * TILE_COLUMNS + v * VLEN;
            v_store(c + at, v_epilogue(sum[i][v], e, at));
        }
    }
}

/* One panel: C is written row by row, without a tile's beginning and end, and two at a time, for one chain after the
 * other leaves too little to choose from. */
INLINE void short_columns(real *c, matrix a, const real *b, epilogue e, int64_t m, const int k, const int vectors) {
    vec rows[SHORT][TILE_VECTORS];
    UNROLL
    for (int p = 0; p < k; p++) {
        UNROLL
        for (int v = 0; v < vectors; v++) rows[p][v] = v_load(b + p * TILE_COLUMNS + v * VLEN);
    }
    for (; m > 1; m -= 2) {
        short_rows(c, a, rows, e, 2, k, vectors);
        c += 2 * TILE_COLUMNS;
        a.at += 2 * a.row;
        if (e.kind == RELU_BACKWARD) e.gate += 2 * TILE_COLUMNS;
    }
    if (m > 0) short_rows(c, a, rows, e, 1, k, vectors);
}

INLINE void short_panel(real *c, matrix a, const real *b, epilogue e, int64_t m, int64_t k, const int vectors) {
    switch (k) {
#define CASE(n)                                                                                                        \
    case n:                                                                                                            \
        if (n <= SHORT) short_columns(c, a, b, e, m, n, vectors);                                                      \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
        CASE(9)
        CASE(10)
        CASE(11)
        CASE(12)
        CASE(13)
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

/* The panels lie `c_panel` and `b_panel` elements apart; n columns, of which the last VLEN may be there for nothing.
 * `copies` says whether A is packed, which pays where its rows are strided and used by several panels. */
INLINE void panels_product(real *c, int64_t c_panel, matrix a, const real *b, int64_t b_panel, epilogue e, int64_t m,
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
