/* Products of one row: c (n) = [c +] a (k) B (k, n), the same chains as in gemm.h.
 *
 * A tile of one row would wait for its few accumulators, so here they are many, and B, which is used once, is not
 * packed: where its columns are contiguous, as in the product of a row-major matrix and a column, squares of VLEN x
 * VLEN are transposed in registers on their way. */
#ifndef FASTNN_KERNELS_GEMV_H
#define FASTNN_KERNELS_GEMV_H

/* `vectors` vectors of c; B's rows are contiguous. Of the last vector only the lanes in `last` where `partial`. */
INLINE void row_by_rows(real *c, const real *a, int64_t a_stride, const real *b, int64_t b_row, int64_t k,
                        int accumulate, vpart last, const int vectors, const int partial) {
    vec sum[8];
    UNROLL
    for (int v = 0; v < vectors; v++)
        sum[v] = !accumulate ? v_zero() : partial ? v_load_part(c + v * VLEN, last) : v_load(c + v * VLEN);
    for (; k > 0; k--, a += a_stride, b += b_row) {
        const vec element = v_set1(*a);
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[v] = v_fma(element, partial ? v_load_part(b + v * VLEN, last) : v_load(b + v * VLEN), sum[v]);
    }
    UNROLL
    for (int v = 0; v < vectors; v++) {
        if (partial)
            v_store_part(c + v * VLEN, last, sum[v]);
        else
            v_store(c + v * VLEN, sum[v]);
    }
}

/* VLEN steps of k, but for the first `done`, for VLEN columns; B's columns are contiguous, and so is a. */
INLINE vec square_step(vec sum, const real *a, const real *b, int64_t b_column, int64_t done) {
    vec square[VLEN];
    OPAQUE(a); /* or its elements are kept for the next square, in registers that there are not */
    v_load_transposed(square, b, b_column);
    UNROLL
    for (int i = 0; i < VLEN; i++)
        if (i >= done) sum = v_fma(v_set1(a[i]), square[i], sum);
    return sum;
}

/* At most VLEN elements of c, where no whole square can be read; B's columns are contiguous. */
static void few_columns(real *c, const real *a, const real *b, int64_t b_column, int accumulate, int64_t columns,
                        int64_t k) {
    const vpart part = v_first(columns);
    vec sum = accumulate ? v_load_part(c, part) : v_zero();
    for (int64_t p = 0; p < k; p += VLEN) {
        const int64_t depth = smaller(k - p, VLEN);
        vec square[VLEN];
        UNROLL
        for (int i = 0; i < VLEN; i++)
            square[i] = i < columns ? v_load_part(b + i * b_column + p, v_first(depth)) : v_zero();
        v_transpose(square);
        UNROLL
        for (int i = 0; i < VLEN; i++)
            if (i < depth) sum = v_fma(v_set1(a[p + i]), square[i], sum);
    }
    v_store_part(c, part, sum);
}

/* One or two vectors of c, `apart` elements apart, and k >= VLEN; B's columns are contiguous. The second is two cache
 * lines behind the first: where columns lie a power of two apart, all their elements of the same k fall on the few ways
 * of one set, and those of twice VLEN columns would drive each other out before all of a line is used. Not one line, for
 * a square may reach over the end of one. */
INLINE void row_by_columns(real *c, const real *a, const real *b, int64_t b_column, int accumulate, int64_t k,
                           int64_t apart, const int vectors) {
    const int64_t whole = k / VLEN * VLEN, behind = vectors == 2 ? smaller(128 / (int64_t)sizeof(real), whole) : 0;
    const real *const other = b + apart * b_column;
    vec sum[2];
    int64_t p = 0;
    UNROLL
    for (int v = 0; v < vectors; v++) sum[v] = accumulate ? v_load(c + v * apart) : v_zero();
    for (; p < behind; p += VLEN) sum[0] = square_step(sum[0], a + p, b + p, b_column, 0);
    for (; p < whole; p += VLEN) {
        sum[0] = square_step(sum[0], a + p, b + p, b_column, 0);
        if (vectors == 2) sum[1] = square_step(sum[1], a + p - behind, other + p - behind, b_column, 0);
    }
    for (p -= behind; p < whole; p += VLEN) sum[1] = square_step(sum[1], a + p, other + p, b_column, 0);
    if (p < k) { /* the last square reaches back into the one before */
        const int64_t from = k - VLEN;
        UNROLL
        for (int v = 0; v < vectors; v++)
            sum[v] = square_step(sum[v], a + from, b + v * apart * b_column + from, b_column, p - from);
    }
    UNROLL
    for (int v = 0; v < vectors; v++) v_store(c + v * apart, sum[v]);
}

/* Two vectors at a time, for the chain of one does not keep the processor busy. The last one reaches back into the one
 * before, and computes some elements again; they are a pair, so both begin from the c that was. */
static void row_by_column_pairs(real *c, const real *a, const real *b, int64_t b_column, int accumulate, int64_t n,
                                int64_t k) {
    int64_t j = 0;
    if (n < VLEN || k < VLEN) {
        for (; j < n; j += VLEN) few_columns(c + j, a, b + j * b_column, b_column, accumulate, smaller(n - j, VLEN), k);
        return;
    }
    if ((n + VLEN - 1) / VLEN % 2) {
        row_by_columns(c, a, b, b_column, accumulate, k, 0, 1);
        j = VLEN;
    }
    for (; j < n; j += 2 * VLEN)
        row_by_columns(c + j, a, b + j * b_column, b_column, accumulate, k, smaller(VLEN, n - VLEN - j), 2);
}

/* For an a that is not contiguous: its elements are copied, so many at a time. */
static void row_by_columns_of_strided(real *c, const real *a, int64_t a_stride, const real *b, int64_t b_column,
                                      int accumulate, int64_t n, int64_t k) {
    enum { COPIED = 256 };
    real copy[COPIED];
    for (int64_t p = 0; p == 0 || p < k; p += COPIED) {
        const int64_t depth = smaller(k - p, COPIED);
        for (int64_t i = 0; i < depth; i++) copy[i] = a[(p + i) * a_stride];
        row_by_column_pairs(c, copy, b + p, b_column, accumulate || p > 0, n, depth);
    }
}

/* Of a B beyond the inner caches a few rows at a time, or each vector of c would walk through all of B's pages. */
static void row_by_row_blocks(real *c, const real *a, int64_t a_stride, matrix b, int accumulate, int64_t n,
                              int64_t k) {
    enum { NEAR_BYTES = 64 * 1024, FEW_ROWS = 8 };
    const vpart whole = v_first(VLEN);
    const int64_t step = k * n * (int64_t)sizeof(real) > NEAR_BYTES ? FEW_ROWS : k + 1;
    for (int64_t p = 0; p == 0 || p < k; p += step) { /* once even for k = 0, which makes c zero */
        const real *a_block = a + p * a_stride, *rows = b.at + p * b.row;
        const int64_t depth = smaller(k - p, step);
        const int add = accumulate || p > 0;
        int64_t j = 0;
        for (; j + 8 * VLEN <= n; j += 8 * VLEN)
            row_by_rows(c + j, a_block, a_stride, rows + j, b.row, depth, add, whole, 8, 0);
        for (; j + 2 * VLEN <= n; j += 2 * VLEN)
            row_by_rows(c + j, a_block, a_stride, rows + j, b.row, depth, add, whole, 2, 0);
        for (; j + VLEN <= n; j += VLEN)
            row_by_rows(c + j, a_block, a_stride, rows + j, b.row, depth, add, whole, 1, 0);
        if (j < n) row_by_rows(c + j, a_block, a_stride, rows + j, b.row, depth, add, v_first(n - j), 1, 1);
    }
}

static void row_product(real *c, const real *a, int64_t a_stride, matrix b, int accumulate, int64_t n, int64_t k) {
    if (b.column == 1) {
        row_by_row_blocks(c, a, a_stride, b, accumulate, n, k);
        return;
    }
    if (a_stride == 1)
        row_by_column_pairs(c, a, b.at, b.column, accumulate, n, k);
    else
        row_by_columns_of_strided(c, a, a_stride, b.at, b.column, accumulate, n, k);
}

#endif
