/* Matrix products: C (m, n) = A (m, k) B (k, n), or C += A B.
 *
 * Every element of C is one chain of fused multiply-adds over k in order, from zero or from C. Blocks of k leave the
 * chain's value in C between them, which changes no bit, so neither the block sizes nor the width of a vector nor the
 * path through this file can be seen in the result.
 *
 * The lanes of a vector run along n. A tile of C, up to TILE_ROWS rows by TILE_VECTORS vectors, stays in registers
 * for a block of k. B is read where it lies if its rows are contiguous, near each other and few; else a block of
 * BLOCK_K x BLOCK_COLUMNS is copied to the workspace ("packed") as panels as wide as a tile, and used by all rows of
 * A. A is read where it lies, an element at a time, with any strides, unless it is large and many panels of B use it,
 * or some if its rows are not contiguous: then a block of BLOCK_ROWS x BLOCK_K is packed too. A C that is contiguous
 * along m, or too narrow to fill a vector, is computed as its transpose: C^T = B^T A^T. Products of one row have
 * another way (gemv.h). */
#ifndef FASTNN_KERNELS_GEMM_H
#define FASTNN_KERNELS_GEMM_H

/* A B that takes up more memory, its gaps included, is packed even where its rows are contiguous: they lie in so many
 * pages, or in so few sets of a cache. */
enum { PACK_BYTES = 128 * 1024 };

_Static_assert((int)BLOCK_COLUMNS >= (int)TILE_COLUMNS, "a block holds a panel");

/* One block of k: the panels of C and B lie `panel` elements apart. packed_a is NULL for an A that is read in place. A
 * few rows that are left belong to the last block: a sliver of their own would take all of B's panels for them. */
INLINE void block_product(target c, int64_t c_panel, matrix a, matrix b, int64_t b_panel, int accumulate, epilogue e,
                          int64_t m, int64_t n, int64_t k, real *packed_a) {
    for (int64_t i = 0, rows; i < m; i += rows) {
        rows = m - i <= BLOCK_ROWS + TILE_ROWS ? m - i : BLOCK_ROWS;
        const tiling by = tiling_of(rows, TILE_COLUMNS, k);
        matrix a_rows = below(a, i);
        if (packed_a) {
            pack_rows(packed_a, a_rows, rows, k);
            a_rows = (matrix){packed_a, 1, PACKED_ROWS, 0, 0};
        }
        for (int64_t j = 0; j < n; j += TILE_COLUMNS) {
            const int64_t at = j / TILE_COLUMNS, columns = smaller(n - j, TILE_COLUMNS);
            panel w = {{b.at + at * b_panel, b.row, 1, 0, 0}, k, columns, accumulate, by, e};
            if (columns <= VLEN && !packed_a) w.by = tiling_of(rows, columns, k);
            if (e.kind == RELU_BACKWARD) w.e.gate += i * c.row + at * e.gate_panel;
            panel_product((target){c.at + i * c.row + at * c_panel, c.row, c.column}, a_rows, &w, rows,
                          packed_a != NULL);
        }
    }
}

/* How k is divided: into blocks of about the same depth. There is one even for k = 0, which makes C zero. */
static int64_t block_count(int64_t k) { return k > 0 ? (k + BLOCK_K - 1) / BLOCK_K : 1; }

/* A tile of A is used by each panel of B; few uses do not pay for the copy, but sooner where rows are not contiguous. */
static int packs_a(int64_t m, int64_t n, int64_t k, int is_row_major) {
    return n > (is_row_major ? 16 : 4) * TILE_COLUMNS && k * m * (int64_t)sizeof(real) > PACK_BYTES;
}

static void product(target c, matrix a, matrix b, int accumulate, int64_t m, int64_t n, int64_t k, real *workspace) {
    if (m <= 0 || n <= 0) return;
    if ((c.column != 1 || n == 1) && c.row == 1 && m > 1) {
        product((target){c.at, c.column, c.row}, (matrix){b.at, b.column, b.row, 0, 0},
                (matrix){a.at, a.column, a.row, 0, 0}, accumulate, n, m, k, workspace);
        return;
    }
    if (m == 1 && c.column == 1 && (b.column == 1 || b.row == 1)) {
        row_product(c.at, a.at, a.column, b, accumulate, n, k);
        return;
    }
    if (k == 1 && c.column == 1 && b.column == 1) { /* C is written as it lies in memory, and nothing else counts */
        for (int64_t i = 0; i < m; i++) row_product(c.at + i * c.row, a.at + i * a.row, a.column, b, accumulate, n, k);
        return;
    }
    real *const packed_a = packs_a(m, n, k, a.column == 1) ? workspace : NULL;
    const int64_t b_row = b.row < 0 ? -b.row : b.row, b_bytes = k * (b_row > n ? b_row : n) * (int64_t)sizeof(real);
    const int pack_b = b.column != 1 || packed_a || b_bytes > PACK_BYTES;
    real *const packed_b = workspace + (packed_a ? PACKED_A : 0);
    const int64_t blocks = block_count(k), depth = (k + blocks - 1) / blocks;
    for (int64_t j = 0; j < n; j += BLOCK_COLUMNS) {
        for (int64_t block = 0; block < blocks; block++) {
            const int64_t p = block * depth, deep = smaller(k - p, depth), columns = smaller(n - j, BLOCK_COLUMNS);
            matrix b_block = {b.at + p * b.row + j * b.column, b.row, b.column, 0, 0};
            int64_t b_panel = TILE_COLUMNS;
            if (pack_b) {
                pack_block(packed_b, b_block, deep, columns);
                b_block = (matrix){packed_b, TILE_COLUMNS, 1, 0, 0};
                b_panel = TILE_COLUMNS * deep;
            }
            block_product((target){c.at + j * c.column, c.row, c.column}, TILE_COLUMNS * c.column, beside(a, p),
                          b_block, b_panel, accumulate || block > 0, (epilogue){NO_EPILOGUE, NULL, 0}, m, columns, deep,
                          packed_a);
        }
    }
}

static void gemm(void *c, int64_t c_row_stride, int64_t c_column_stride, fastnn_matrix a, fastnn_matrix b,
                 int accumulate, int64_t m, int64_t n, int64_t k, void *workspace) {
    product((target){c, c_row_stride, c_column_stride}, (matrix){a.data, a.row_stride, a.column_stride, 0, 0},
            (matrix){b.data, b.row_stride, b.column_stride, 0, 0}, accumulate, m, n, k, workspace);
}

/* Enough for either orientation, unless A is known to be row-major and C not to be transposed. */
static int64_t product_workspace(int64_t m, int64_t n, int64_t k, int is_row_major) {
    const int64_t widest = smaller(m > n ? m : n, BLOCK_COLUMNS) + TILE_COLUMNS - 1;
    const int64_t packed_b = widest / TILE_COLUMNS * TILE_COLUMNS * smaller(k, BLOCK_K) + VLEN;
    const int packs = packs_a(m, n, k, is_row_major) || (!is_row_major && packs_a(n, m, k, 0));
    return ((packs ? PACKED_A : 0) + packed_b) * (int64_t)sizeof(real);
}

static int64_t gemm_workspace(int64_t m, int64_t n, int64_t k) { return product_workspace(m, n, k, 0); }

#endif
