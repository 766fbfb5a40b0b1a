/* Products of sparse rows that cost what their stored elements cost: C (rows, n) = X (rows, k) B (k, n), and X^T C.
 *
 * The chains are those of gemm.h, without the links whose factor is a zero that is not stored: such a link adds 0 to
 * the sum and leaves it as it is, so the bits are those of dense rows, but for the sign of a zero. For that a row's
 * elements come in ascending columns. Where an element of B is not finite, a dense row's 0 would make NaN of it; here
 * only the rows that have that column see it, as in any product of sparse matrices. A network that is trained has no
 * such weights.
 *
 * The lanes of the vectors run along n. An element's row of B is asked for some elements ahead, for no processor
 * foresees it; for X^T C, which also writes it, that gained nothing. */
#ifndef FASTNN_KERNELS_SPARSE_H
#define FASTNN_KERNELS_SPARSE_H

/* Vectors of a row of C that stay in registers for some elements. */
enum { SPARSE_VECTORS = 8, SPARSE_AHEAD = 4 };

_Static_assert((int)SPARSE_VECTORS % (int)TILE_VECTORS == 0, "whole blocks of transposed deltas");

/* The row of `b` that the element so many places further on needs. */
INLINE void prefetch_row(const elements *x, int64_t i, const real *b, int64_t n, const int vectors) {
    const real *row = b + x->columns[smaller(i + SPARSE_AHEAD, x->count - 1)] * n;
    UNROLL
    for (int v = 0; v < vectors; v += LANES / VLEN) PREFETCH(row + v * VLEN);
}

/* c += the elements times their rows of b, which are n elements apart. */
INLINE void add_rows(real *c, const elements *x, const real *b, int64_t n, vpart last, const int vectors,
                     const int partial) {
    vec sum[SPARSE_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++) sum[v] = load_lanes(c + v * VLEN, last, partial && v == vectors - 1);
    for (int64_t i = 0; i < x->count; i++) {
        const real *row = b + x->columns[i] * n;
        const vec element = v_set1(x->values[i]);
        prefetch_row(x, i, b, n, vectors);
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[v] = v_fma(element, load_lanes(row + v * VLEN, last, partial && v == vectors - 1), sum[v]);
    }
    UNROLL
    for (int v = 0; v < vectors; v++) store_lanes(c + v * VLEN, last, sum[v], partial && v == vectors - 1);
}

/* The elements' rows of b, which are n elements apart, += the elements times c, whose blocks of TILE_COLUMNS lie
 * `c_block` elements apart. */
INLINE void add_to_rows(real *b, const elements *x, const real *c, int64_t c_block, int64_t n, vpart last,
                        const int vectors, const int partial) {
    vec line[SPARSE_VECTORS];
    UNROLL
    for (int v = 0; v < vectors; v++)
        line[v] =
            load_lanes(c + v / TILE_VECTORS * (c_block - TILE_COLUMNS) + v * VLEN, last, partial && v == vectors - 1);
    for (int64_t i = 0; i < x->count; i++) {
        real *row = b + x->columns[i] * n;
        const vec element = v_set1(x->values[i]);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const vec sum = v_fma(element, line[v], load_lanes(row + v * VLEN, last, partial && v == vectors - 1));
            store_lanes(row + v * VLEN, last, sum, partial && v == vectors - 1);
        }
    }
}

/* Calls f(..., last, vectors, partial) with constants for the last two, for a row of so many elements. */
#define WITH_WIDTH(columns, f, ...)                                                                                    \
    do {                                                                                                               \
        const int64_t whole = (columns) / VLEN, rest = (columns) % VLEN;                                               \
        const vpart last = v_first(rest ? rest : VLEN);                                                                \
        switch (2 * (whole + (rest != 0)) + (rest != 0)) {                                                             \
            WIDTH_CASES(1, f, __VA_ARGS__)                                                                             \
            WIDTH_CASES(2, f, __VA_ARGS__)                                                                             \
            WIDTH_CASES(3, f, __VA_ARGS__)                                                                             \
            WIDTH_CASES(4, f, __VA_ARGS__)                                                                             \
            WIDTH_CASES(5, f, __VA_ARGS__)                                                                             \
            WIDTH_CASES(6, f, __VA_ARGS__)                                                                             \
            WIDTH_CASES(7, f, __VA_ARGS__)                                                                             \
            WIDTH_CASES(8, f, __VA_ARGS__)                                                                             \
        }                                                                                                              \
    } while (0)
#define WIDTH_CASES(vectors, f, ...)                                                                                   \
    case 2 * vectors:                                                                                                  \
        f(__VA_ARGS__, last, vectors, 0);                                                                              \
        break;                                                                                                         \
    case 2 * vectors + 1:                                                                                              \
        f(__VA_ARGS__, last, vectors, 1);                                                                              \
        break;

static void add_product(real *c, const elements *x, const real *b, int64_t n) {
    for (int64_t j = 0; j < n; j += SPARSE_VECTORS * VLEN)
        WITH_WIDTH(smaller(n - j, SPARSE_VECTORS * VLEN), add_rows, c + j, x, b + j, n);
}

static void add_outer_product(real *b, const elements *x, const real *c, int64_t c_block, int64_t n) {
    if (n <= VLEN / 2) { /* where columns are neighbours, a vector would wait for the last one's store */
        for (int64_t i = 0; i < x->count; i++) {
            real *row = b + x->columns[i] * n;
            for (int64_t j = 0; j < n; j++) row[j] = real_fma(x->values[i], c[j], row[j]);
        }
        return;
    }
    for (int64_t j = 0; j < n; j += SPARSE_VECTORS * VLEN)
        WITH_WIDTH(smaller(n - j, SPARSE_VECTORS * VLEN), add_to_rows, b + j, x, c + j / TILE_COLUMNS * c_block,
                   c_block, n);
}

/* c (rows, n) = rows order[first] and so on of a table times b. */
static void sparse_product(real *c, const table_view *x, const int64_t *order, int64_t first, int64_t rows,
                           const real *b, int64_t n) {
    elements some;
    for (int64_t i = first; i < first + rows; i++, c += n) {
        sparse_row row = sparse_row_of(x, order ? order[i] : i);
        memset(c, 0, (size_t)n * sizeof(real));
        while (row.first < row.last) {
            take_elements(&some, x, &row);
            add_product(c, &some, b, n);
        }
    }
}

/* The first of a row's elements from column `from` on. */
static int64_t element_from(const table_view *x, sparse_row row, int64_t from) {
    while (row.first < row.last) {
        const int64_t middle = row.first + (row.last - row.first) / 2;
        if (index_at(x->indices, x->index_type, middle) < from)
            row.first = middle + 1;
        else
            row.last = middle;
    }
    return row.first;
}

/* Rows `from` to `to` of the gradient (columns + 1, n) = or += rows order[first] and so on of a table, a column of ones
 * added, times the rows' deltas, which lie as stored_deltas has them, with room for `stride` rows. */
static void sparse_gradient(real *gradient, const table_view *x, const int64_t *order, int64_t first,
                            const real *deltas, int64_t rows, int64_t stride, int64_t n, int accumulate, int64_t from,
                            int64_t to) {
    const elements one = {.count = 1, .columns = {x->columns}, .values = {1}};
    const int64_t delta = n == 1 ? 1 : TILE_COLUMNS;
    elements some;
    if (!accumulate) memset(gradient + from * n, 0, (size_t)((to - from) * n) * sizeof(real));
    for (int64_t i = first; i < first + rows; i++, deltas += delta) {
        sparse_row row = sparse_row_of(x, order ? order[i] : i);
        row = (sparse_row){element_from(x, row, from), element_from(x, row, to)};
        while (row.first < row.last) {
            take_elements(&some, x, &row);
            add_outer_product(gradient, &some, deltas, stride * TILE_COLUMNS, n);
        }
        if (to > x->columns) add_outer_product(gradient, &one, deltas, stride * TILE_COLUMNS, n);
    }
}

#endif
