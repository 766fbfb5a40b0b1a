/* Matrix products: C (m, n) = A (m, k) B (k, n), or C += A B.
 *
 * Every element of C is one chain of fused multiply-adds over k in order, from zero or from C. Blocks of k leave the
 * chain's value in C between them, which changes no bit, so neither the block sizes nor the width of a vector nor the
 * path through this file can be seen in the result.
 *
 * The lanes of a vector run along n. A tile of C, up to TILE_ROWS rows by TILE_VECTORS vectors, stays in registers
 * for a block of k; A is read where it lies, an element at a time, with any strides. B is read where it lies if its rows
 * are contiguous and it is small; else a block of BLOCK_K x BLOCK_COLUMNS is copied to the workspace ("packed") as panels as
 * wide as a tile, and used by all rows of A. A C that is contiguous along m, or too narrow to fill a vector, is computed as
 * its transpose: C^T = B^T A^T. */
#ifndef FASTNN_KERNELS_GEMM_H
#define FASTNN_KERNELS_GEMM_H

typedef struct {
    const real *at;
    int64_t row, column; /* strides */
} matrix;

typedef struct {
    real *at;
    int64_t row, column;
} target;

enum { TILE_COLUMNS = TILE_VECTORS * VLEN };
enum { PACK_BYTES = 128 * 1024 }; /* a larger B is packed even where its rows are contiguous */

INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* c (rows, vectors * VLEN) = [c +] a (rows, k) b (k, ...); of the last vector only the lanes in `last` where `partial`. */
INLINE void tile(target c, matrix a, matrix b, int64_t k, int accumulate, vpart last, const int rows, const int vectors,
                 const int partial) {
    vec sum[TILE_ROWS][TILE_VECTORS], line[TILE_VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const real *from = c.at + i * c.row + v * VLEN;
            if (!accumulate)
                sum[i][v] = v_zero();
            else
                sum[i][v] = partial && v == vectors - 1 ? v_load_part(from, last) : v_load(from);
        }
    }
    for (; k > 0; k--) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            line[v] = partial && v == vectors - 1 ? v_load_part(b.at + v * VLEN, last) : v_load(b.at + v * VLEN);
        UNROLL
        for (int i = 0; i < rows; i++) {
            const vec element = v_set1(a.at[i * a.row]);
            UNROLL
            for (int v = 0; v < vectors; v++) sum[i][v] = v_fma(element, line[v], sum[i][v]);
        }
        a.at += a.column;
        b.at += b.row;
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            real *to = c.at + i * c.row + v * VLEN;
            if (partial && v == vectors - 1)
                v_store_part(to, last, sum[i][v]);
            else
                v_store(to, sum[i][v]);
        }
    }
}

/* tile() for a number of rows known only at run time; each case is compiled with its accumulators in registers. */
INLINE void tile_of_rows(target c, matrix a, matrix b, int64_t k, int accumulate, vpart last, int64_t rows,
                         const int vectors, const int partial) {
    switch (rows) {
#define CASE(r)                                                                                                        \
    case r:                                                                                                            \
        if (r <= TILE_ROWS) tile(c, a, b, k, accumulate, last, r, vectors, partial);                                   \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
        CASE(5)
        CASE(6)
        CASE(7)
        CASE(8)
#undef CASE
    }
}

/* c (rows, columns) = [c +] a b for at most TILE_ROWS rows and TILE_COLUMNS columns; c's rows are contiguous. */
static void dense_tile(target c, matrix a, matrix b, int64_t k, int accumulate, int64_t rows, int64_t columns) {
    const vpart last = v_first((columns - 1) % VLEN + 1);
    const int partial = columns % VLEN != 0;
    switch ((columns - 1) / VLEN * 2 + partial) {
#define CASE(v)                                                                                                        \
    case 2 * (v - 1):                                                                                                  \
        if (v <= TILE_VECTORS) tile_of_rows(c, a, b, k, accumulate, last, rows, v, 0);                                 \
        break;                                                                                                         \
    case 2 * (v - 1) + 1:                                                                                              \
        if (v <= TILE_VECTORS && VLEN > 1) tile_of_rows(c, a, b, k, accumulate, last, rows, v, 1);                     \
        break;
        CASE(1)
        CASE(2)
        CASE(3)
        CASE(4)
#undef CASE
    }
}

/* The same for a c of any strides, through a tile on the stack. */
static void strided_tile(target c, matrix a, matrix b, int64_t k, int accumulate, int64_t rows, int64_t columns) {
    real dense[TILE_ROWS * TILE_COLUMNS];
    for (int64_t i = 0; accumulate && i < rows; i++)
        for (int64_t j = 0; j < columns; j++) dense[i * TILE_COLUMNS + j] = c.at[i * c.row + j * c.column];
    dense_tile((target){dense, TILE_COLUMNS, 1}, a, b, k, accumulate, rows, columns);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) c.at[i * c.row + j * c.column] = dense[i * TILE_COLUMNS + j];
}

/* Lane i of vector j <-> lane j of vector i, in log2(VLEN) perfect shuffles. */
INLINE void transpose(vec rows[VLEN]) {
    vec next[VLEN];
    for (int stage = 1; stage < VLEN; stage *= 2) {
        UNROLL
        for (int i = 0; i < VLEN / 2; i++) v_zip(rows[i], rows[i + VLEN / 2], &next[2 * i], &next[2 * i + 1]);
        UNROLL
        for (int i = 0; i < VLEN; i++) rows[i] = next[i];
    }
}

/* panel (k, TILE_COLUMNS) = the first `columns` columns of b; the rest of the panel is never used. */
static void pack_panel(real *panel, matrix b, int64_t k, int64_t columns) {
    int64_t j = 0;
    if (b.column == 1) {
        for (int64_t p = 0; p < k; p++) memcpy(panel + p * TILE_COLUMNS, b.at + p * b.row, (size_t)columns * sizeof(real));
        return;
    }
    for (; b.row == 1 && j + VLEN <= columns; j += VLEN) {
        int64_t p = 0;
        for (; p + VLEN <= k; p += VLEN) {
            vec block[VLEN];
            UNROLL
            for (int i = 0; i < VLEN; i++) block[i] = v_load(b.at + (j + i) * b.column + p);
            transpose(block);
            UNROLL
            for (int i = 0; i < VLEN; i++) v_store(panel + (p + i) * TILE_COLUMNS + j, block[i]);
        }
        for (; p < k; p++)
            for (int i = 0; i < VLEN; i++) panel[p * TILE_COLUMNS + j + i] = b.at[p + (j + i) * b.column];
    }
    for (; j < columns; j++)
        for (int64_t p = 0; p < k; p++) panel[p * TILE_COLUMNS + j] = b.at[p * b.row + j * b.column];
}

/* c (m, columns) for one panel of b. The rows are shared out evenly, so that the last tile is not a sliver. */
static void panel_product(target c, matrix a, matrix b, int64_t k, int accumulate, int64_t m, int64_t columns) {
    int64_t tiles = (m + TILE_ROWS - 1) / TILE_ROWS;
    for (; m > 0; tiles--) {
        const int64_t rows = (m + tiles - 1) / tiles;
        (c.column == 1 ? dense_tile : strided_tile)(c, a, b, k, accumulate, rows, columns);
        a.at += rows * a.row;
        c.at += rows * c.row;
        m -= rows;
    }
}

/* One block of k and of columns, so of B at most BLOCK_K x BLOCK_COLUMNS; `packed` is NULL for a B read in place. */
static void block_product(target c, matrix a, matrix b, int64_t k, int accumulate, int64_t m, int64_t n, real *packed) {
    for (int64_t j = 0; packed && j < n; j += TILE_COLUMNS)
        pack_panel(packed + j * k, (matrix){b.at + j * b.column, b.row, b.column}, k, smaller(n - j, TILE_COLUMNS));
    for (int64_t i = 0; i < m; i += BLOCK_ROWS) {
        for (int64_t j = 0; j < n; j += TILE_COLUMNS) {
            const target c_panel = {c.at + i * c.row + j * c.column, c.row, c.column};
            const matrix a_rows = {a.at + i * a.row, a.row, a.column};
            const matrix in_place = {b.at + j * b.column, b.row, 1}, panel = {packed + j * k, TILE_COLUMNS, 1};
            panel_product(c_panel, a_rows, packed ? panel : in_place, k, accumulate, smaller(m - i, BLOCK_ROWS),
                          smaller(n - j, TILE_COLUMNS));
        }
    }
}

static void product(target c, matrix a, matrix b, int accumulate, int64_t m, int64_t n, int64_t k, real *workspace) {
    if (m <= 0 || n <= 0) return;
    if (c.column != 1 ? c.row == 1 : n < VLEN && m >= VLEN && c.row == 1) {
        product((target){c.at, c.column, c.row}, (matrix){b.at, b.column, b.row}, (matrix){a.at, a.column, a.row},
                accumulate, n, m, k, workspace);
        return;
    }
    const int pack = b.column != 1 || k * n * (int64_t)sizeof(real) > PACK_BYTES;
    for (int64_t j = 0; j < n; j += BLOCK_COLUMNS) {
        int64_t p = 0;
        do { /* also once for k = 0, which makes C zero */
            block_product((target){c.at + j * c.column, c.row, c.column}, (matrix){a.at + p * a.column, a.row, a.column},
                          (matrix){b.at + p * b.row + j * b.column, b.row, b.column}, smaller(k - p, BLOCK_K),
                          accumulate || p > 0, m, smaller(n - j, BLOCK_COLUMNS), pack ? workspace : NULL);
            p += BLOCK_K;
        } while (p < k);
    }
}

static void gemm(void *c, int64_t c_row_stride, int64_t c_column_stride, fastnn_matrix a, fastnn_matrix b, int accumulate,
                 int64_t m, int64_t n, int64_t k, void *workspace) {
    product((target){c, c_row_stride, c_column_stride}, (matrix){a.data, a.row_stride, a.column_stride},
            (matrix){b.data, b.row_stride, b.column_stride}, accumulate, m, n, k, workspace);
}

/* Enough for either orientation. */
static int64_t gemm_workspace(int64_t m, int64_t n, int64_t k) {
    const int64_t widest = smaller(m > n ? m : n, BLOCK_COLUMNS) + TILE_COLUMNS - 1;
    return widest / TILE_COLUMNS * TILE_COLUMNS * smaller(k, BLOCK_K) * (int64_t)sizeof(real);
}

#endif
