/* Copies of blocks of A and B in the order in which the tiles of a product read them. */
#ifndef FASTNN_KERNELS_PACK_H
#define FASTNN_KERNELS_PACK_H

/* packed (k, stride) = a (rows, k) transposed, for at most `stride` rows; a's rows are contiguous. Whole vectors are
 * stored, in order, so up to VLEN elements past the end are overwritten too. */
INLINE void pack_transposed(real *packed, const int stride, const real *a, int64_t row, int64_t rows, int64_t k) {
    int64_t p = 0;
    for (; p + VLEN <= k; p += VLEN) {
        for (int64_t first = 0; first < rows; first += VLEN) {
            vec block[VLEN];
            if (first + VLEN <= rows) {
                v_load_transposed(block, a + first * row + p, row);
            } else {
                UNROLL
                for (int i = 0; i < VLEN; i++)
                    block[i] = first + i < rows ? v_load(a + (first + i) * row + p) : v_zero();
                v_transpose(block);
            }
            UNROLL
            for (int i = 0; i < VLEN; i++) v_store(packed + (p + i) * stride + first, block[i]);
        }
    }
    for (; p < k; p++)
        for (int64_t i = 0; i < rows; i++) packed[p * stride + i] = a[i * row + p];
}

/* packed (k, TILE_COLUMNS) = the first `columns` columns of b; where its rows are far apart, no processor foresees the
 * next. */
static void pack_panel(real *packed, matrix b, int64_t k, int64_t columns) {
    enum { AHEAD = 8 };
    if (b.row == 1 && columns == TILE_COLUMNS) {
        pack_transposed(packed, TILE_COLUMNS, b.at, b.column, TILE_COLUMNS, k);
    } else if (b.column == 1 && columns == TILE_COLUMNS) {
        for (int64_t p = 0; p < k; p++) {
            const real *row = b.at + p * b.row;
            PREFETCH(row + AHEAD * b.row);
            PREFETCH(row + AHEAD * b.row + TILE_COLUMNS - 1);
            UNROLL
            for (int v = 0; v < TILE_VECTORS; v++)
                v_store(packed + p * TILE_COLUMNS + v * VLEN, v_load(row + v * VLEN));
        }
    } else {
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = 0; j < columns; j++) packed[p * TILE_COLUMNS + j] = b.at[p * b.row + j * b.column];
    }
}

/* For each tile of rows, packed (k, PACKED_ROWS) = its rows of a, transposed. */
static void pack_rows(real *packed, matrix a, int64_t m, int64_t k) {
    const tiling by = tiling_of(m, TILE_COLUMNS, k);
    for (int64_t t = 0; m > 0; t++) {
        const int64_t rows = by.rows + (t < by.longer);
        if (a.column == 1) {
            pack_transposed(packed, PACKED_ROWS, a.at, a.row, rows, k);
        } else if (a.row == 1) {
            for (int64_t first = 0; first < rows; first += VLEN) {
                const vpart part = v_first(smaller(rows - first, VLEN));
                for (int64_t p = 0; p < k; p++)
                    v_store(packed + p * PACKED_ROWS + first, v_load_part(a.at + p * a.column + first, part));
            }
        } else {
            for (int64_t p = 0; p < k; p++)
                for (int64_t i = 0; i < rows; i++) packed[p * PACKED_ROWS + i] = a.at[i * a.row + p * a.column];
        }
        packed += PACKED_ROWS * k;
        a.at += rows * a.row;
        m -= rows;
    }
}

static void pack_block(real *packed, matrix b, int64_t k, int64_t n) {
    for (int64_t j = 0; j < n; j += TILE_COLUMNS)
        pack_panel(packed + j * k, beside(b, j), k, smaller(n - j, TILE_COLUMNS));
}

#endif
