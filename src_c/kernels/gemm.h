/* Matrix products: C (m, n) = A (m, k) B (k, n), or C += A B.
 *
 * Every element of C is one chain of fused multiply-adds over k in order, from zero or from C. Blocks of k leave the
 * chain's value in C between them, which changes no bit, so neither the block sizes nor the width of a vector nor the
 * path through this file can be seen in the result.
 *
 * The lanes of a vector run along n. A tile of C, up to TILE_ROWS rows by TILE_VECTORS vectors, stays in registers
 * for a block of k. B is read where it lies if its rows are contiguous and it is small; else a block of BLOCK_K x
 * BLOCK_COLUMNS is copied to the workspace ("packed") as panels as wide as a tile, and used by all rows of A. A is read
 * where it lies, an element at a time, with any strides, unless it is large and many panels of B use it: then a block
 * of BLOCK_ROWS x BLOCK_K is packed too. A C that is contiguous along m, or too narrow to fill a vector, is computed as
 * its transpose: C^T = B^T A^T. Products of one row have another way (gemv.h). */
#ifndef FASTNN_KERNELS_GEMM_H
#define FASTNN_KERNELS_GEMM_H

enum { TILE_COLUMNS = TILE_VECTORS * VLEN, MOST_ROWS = NARROW_ROWS > TILE_ROWS ? NARROW_ROWS : TILE_ROWS };
enum { PACK_BYTES = 128 * 1024 }; /* a larger B is packed even where its rows are contiguous */

/* A packed panel of A: a power of two that holds TILE_ROWS. A block is of BLOCK_ROWS, the last may have a tile more. */
enum { PACKED_ROWS = TILE_ROWS <= 8 ? 8 : 16, PACKED_A = (BLOCK_ROWS / TILE_ROWS + 1) * PACKED_ROWS * BLOCK_K + VLEN };

_Static_assert((int)MOST_ROWS <= 12, "tiles_of has 12 heights");
_Static_assert(TILE_VECTORS <= 4, "tiles_of has 4 widths");
_Static_assert((int)SHALLOW_ROWS <= (int)TILE_ROWS, "the lower tile is no higher");
_Static_assert((int)BLOCK_ROWS % (int)TILE_ROWS == 0, "a block is whole tiles");
_Static_assert((BLOCK_ROWS + TILE_ROWS + SHALLOW_ROWS - 1) / SHALLOW_ROWS * SHALLOW_K <=
                   (BLOCK_ROWS / TILE_ROWS + 1) * BLOCK_K,
               "a packed block of lower tiles has room");
_Static_assert((int)BLOCK_COLUMNS >= (int)TILE_COLUMNS, "a block holds a panel");

/* How the rows of a block are shared out among the tiles of a panel: evenly, so that the last one is no sliver. The
 * first `longer` tiles have one row more. A panel of one vector has tiles of NARROW_ROWS, so that there are chains
 * enough, others where k is short of SHALLOW_ROWS, unless too many of their rows stayed empty. */
typedef struct {
    int64_t rows, longer;
} tiling;

static tiling tiling_of(int64_t m, int64_t columns, int64_t k) {
    const uint32_t rows = (uint32_t)m, narrow = columns <= VLEN;
    const uint32_t shallow = (rows + SHALLOW_ROWS - 1) / SHALLOW_ROWS, most = narrow ? NARROW_ROWS : TILE_ROWS;
    const int is_shallow = !narrow && k <= SHALLOW_K && shallow * SHALLOW_ROWS <= rows + rows / 16;
    const uint32_t tiles = is_shallow ? shallow : (rows + most - 1) / most;
    return (tiling){rows / tiles, rows % tiles};
}

/* What happens to the elements of C on their way from the registers. */
typedef struct {
    enum { NO_EPILOGUE, RELU, RELU_BACKWARD } kind;
    const real *gate; /* backward: 0 where the element of this matrix, laid out as C, is not above 0 */
    int64_t gate_panel; /* from panel to panel */
} epilogue;

INLINE vec v_epilogue(vec sum, epilogue e, int64_t offset) {
    if (e.kind == RELU) return v_relu(sum);
    if (e.kind == RELU_BACKWARD) return v_relu_backward(sum, v_load(e.gate + offset), sum);
    return sum;
}

/* Ask for the tile below c, which is likely the next, while this one keeps the processor busy. */
INLINE void prefetch_next(target c, const int rows, const int vectors) {
    const real *row = c.at + rows * c.row;
    UNROLL
    for (int i = 0; i < rows; i++, row += c.row) {
        OPAQUE(row);
        UNROLL
        for (int v = 0; v < vectors; v++) PREFETCH(row + v * VLEN);
        PREFETCH(row + vectors * VLEN - 1);
    }
}

/* c (rows, vectors * VLEN) = [c +] a (rows, k) b (k, ...); of the last vector only the lanes in `last` where `partial`.
 * Where a is `packed`, so is b, and their strides are known. Where a's columns are a few cache lines apart, as those of
 * weights transposed, a processor may not foresee the next (Zen 3, 184 bytes, k from 200 on: 75 % of the peak, with the
 * prefetch 86). */
INLINE void tile(target c, matrix a, matrix b, int64_t k, int accumulate, epilogue e, vpart last, const int packed,
                 const int rows, const int vectors, const int partial) {
    enum { AHEAD = 8, LINES_APART = 256 / (int)sizeof(real) };
    const int asks = !packed && a.column > 1 && a.column < LINES_APART;
    vec sum[MOST_ROWS][TILE_VECTORS], line[TILE_VECTORS];
    const real
        *four[(MOST_ROWS + 3) / 4]; /* one for every four rows: all offsets from a single one fill the registers */
    if (packed) {
        a = (matrix){a.at, 1, PACKED_ROWS, 0, 0};
        b = (matrix){b.at, TILE_COLUMNS, 1, 0, 0};
        prefetch_next(c, rows, vectors);
    }
    if (accumulate) {
        const real *row = c.at;
        UNROLL
        for (int i = 0; i < rows; i++, row += c.row) {
            OPAQUE(row);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[i][v] = partial && v == vectors - 1 ? v_load_part(row + v * VLEN, last) : v_load(row + v * VLEN);
        }
    } else {
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < vectors; v++) sum[i][v] = v_zero();
        }
    }
    UNROLL
    for (int i = 0; i < rows; i += 4) four[i / 4] = a.at + i * a.row;
    while (k > 0) {
        int64_t run = a.run ? smaller(k, a.run) : k;
        k -= run;
        for (; run > 0; run--) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                line[v] = partial && v == vectors - 1 ? v_load_part(b.at + v * VLEN, last) : v_load(b.at + v * VLEN);
            UNROLL
            for (int i = 0; i < rows; i++) {
                const vec element = v_set1(four[i / 4][i % 4 * a.row]);
                UNROLL
                for (int v = 0; v < vectors; v++) sum[i][v] = v_fma(element, line[v], sum[i][v]);
            }
            if (asks) PREFETCH(four[0] + AHEAD * a.column);
            UNROLL
            for (int i = 0; i < rows; i += 4) four[i / 4] += a.column;
            b.at += b.row;
        }
        UNROLL
        for (int i = 0; i < rows; i += 4) four[i / 4] += a.jump;
    }
    if (!partial && e.kind != NO_EPILOGUE) {
        UNROLL
        for (int i = 0; i < rows; i++) {
            UNROLL
            for (int v = 0; v < vectors; v++) sum[i][v] = v_epilogue(sum[i][v], e, i * c.row + v * VLEN);
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++, c.at += c.row) {
        OPAQUE(c.at);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            if (partial && v == vectors - 1)
                v_store_part(c.at + v * VLEN, last, sum[i][v]);
            else
                v_store(c.at + v * VLEN, sum[i][v]);
        }
    }
}

static void copy_tile(target to, target from, int64_t rows, int64_t columns) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            to.at[i * to.row + j * to.column] = from.at[i * from.row + j * from.column];
}

/* One block of k of one panel of columns: what its tiles share. */
typedef struct {
    matrix b;
    int64_t k, columns;
    int accumulate;
    tiling by;
    epilogue e;
} panel;

/* The arguments of tiles one below the other. Each height and width of them is a function of its own: where one
 * function held them all, the compiler found no registers for the pointers of the loops over k. */
typedef struct {
    target c;
    matrix a, b;
    int64_t k;
    int accumulate;
    epilogue e;
    vpart last;
} tile_job;

/* Goes on to what is below the tiles. The loop over them is in here: to call each one took what lower tiles gain on
 * Zen 3. */
INLINE void tiles_below(tile_job *t, int64_t count, const int packed, const int rows, const int vectors,
                        const int partial) {
    tile_job here = *t; /* which no store can change */
    for (; count > 0; count--) {
        tile(here.c, here.a, here.b, here.k, here.accumulate, here.e, here.last, packed, rows, vectors, partial);
        here.a.at += packed ? PACKED_ROWS * here.k : rows * here.a.row;
        here.c.at += rows * here.c.row;
        if (here.e.kind == RELU_BACKWARD) here.e.gate += rows * here.c.row;
    }
    t->a.at = here.a.at;
    t->c.at = here.c.at;
    t->e.gate = here.e.gate;
}

#define TILE(rows, vectors, partial, packed)                                                                           \
    static NOINLINE void tiles_##rows##_##vectors##_##partial##_##packed(tile_job *t, int64_t count) {                 \
        if (rows <= (vectors == 1 && !packed ? MOST_ROWS : TILE_ROWS) && vectors <= TILE_VECTORS && partial < VLEN)    \
            tiles_below(t, count, packed, rows, vectors, partial);                                                     \
    }
#define WIDTHS(rows, f) f(rows, 1) f(rows, 2) f(rows, 3) f(rows, 4)
/* clang-format off */
#define HEIGHTS(f)                                                                                                     \
    WIDTHS(1, f) WIDTHS(2, f) WIDTHS(3, f) WIDTHS(4, f) WIDTHS(5, f) WIDTHS(6, f)                                      \
    WIDTHS(7, f) WIDTHS(8, f) WIDTHS(9, f) WIDTHS(10, f) WIDTHS(11, f) WIDTHS(12, f)
/* clang-format on */
#define DEFINED(r, v) TILE(r, v, 0, 0) TILE(r, v, 0, 1) TILE(r, v, 1, 0) TILE(r, v, 1, 1)
#define NAMED(r, v)                                                                                                    \
    [r - 1][v - 1] = {{tiles_##r##_##v##_0_0, tiles_##r##_##v##_0_1}, {tiles_##r##_##v##_1_0, tiles_##r##_##v##_1_1}},

HEIGHTS(DEFINED)

static void (*const tiles_of[12][4][2][2])(tile_job *, int64_t) = {HEIGHTS(NAMED)};

/* A panel of tiles, first those with a row more; a packed `a` has a panel of its own for each tile. This and
 * block_product are part of their callers: to pass their arguments on in memory took as long as a small tile. */
INLINE void panel_product(target c, matrix a, const panel *w, int64_t m, int packed) {
    const int64_t vectors = (w->columns + VLEN - 1) / VLEN;
    const int partial = w->columns % VLEN != 0;
    real dense[MOST_ROWS * TILE_COLUMNS];
    const target scratch = {dense, TILE_COLUMNS, 1}; /* for one tile of a C whose rows are not contiguous */
    tile_job job = {c, a, w->b, w->k, w->accumulate, w->e, v_first(w->columns - (vectors - 1) * VLEN)};
    for (int64_t done = 0, count; m > 0; done += count) {
        const int64_t rows = w->by.rows + (done < w->by.longer);
        count = c.column != 1 ? 1 : done < w->by.longer ? w->by.longer : m / rows;
        if (c.column != 1) job.c = scratch;
        if (c.column != 1 && w->accumulate) copy_tile(scratch, c, rows, w->columns);
        tiles_of[rows - 1][vectors - 1][partial][packed](&job, count);
        if (c.column != 1) copy_tile(c, scratch, rows, w->columns);
        c.at += rows * c.row;
        m -= rows * count;
    }
}

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

static void pack_block(real *packed, matrix b, int64_t k, int64_t n) {
    for (int64_t j = 0; j < n; j += TILE_COLUMNS)
        pack_panel(packed + j * k, beside(b, j), k, smaller(n - j, TILE_COLUMNS));
}

/* How k is divided: into blocks of about the same depth. There is one even for k = 0, which makes C zero. */
static int64_t block_count(int64_t k) { return k > 0 ? (k + BLOCK_K - 1) / BLOCK_K : 1; }

/* A tile of A is used by each panel of B; few uses do not pay for the copy. */
static int packs_a(int64_t m, int64_t n, int64_t k) {
    return n > 16 * TILE_COLUMNS && k * m * (int64_t)sizeof(real) > PACK_BYTES;
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
    real *const packed_a = packs_a(m, n, k) ? workspace : NULL;
    const int pack_b = b.column != 1 || packed_a || k * n * (int64_t)sizeof(real) > PACK_BYTES;
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

/* Enough for either orientation. */
static int64_t gemm_workspace(int64_t m, int64_t n, int64_t k) {
    const int64_t widest = smaller(m > n ? m : n, BLOCK_COLUMNS) + TILE_COLUMNS - 1;
    const int64_t packed_b = widest / TILE_COLUMNS * TILE_COLUMNS * smaller(k, BLOCK_K) + VLEN;
    const int64_t packed_a = packs_a(m, n, k) || packs_a(n, m, k) ? PACKED_A : 0;
    return (packed_a + packed_b) * (int64_t)sizeof(real);
}

#endif
