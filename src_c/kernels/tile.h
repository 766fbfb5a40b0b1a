/* Tiles of a matrix product, the heart of gemm.h: C (m, columns) = [C +] A (m, k) B (k, columns), where the columns fit
 * in a panel, whose sums stay in registers for all of k, some rows at a time. */
#ifndef FASTNN_KERNELS_TILE_H
#define FASTNN_KERNELS_TILE_H

enum { TILE_COLUMNS = TILE_VECTORS * VLEN, MOST_ROWS = NARROW_ROWS > TILE_ROWS ? NARROW_ROWS : TILE_ROWS };

/* A packed panel of A: a power of two that holds TILE_ROWS. A block is of BLOCK_ROWS, the last may have a tile more. */
enum { PACKED_ROWS = TILE_ROWS <= 8 ? 8 : 16, PACKED_A = (BLOCK_ROWS / TILE_ROWS + 1) * PACKED_ROWS * BLOCK_K + VLEN };

_Static_assert((int)MOST_ROWS <= 12, "tiles_of has 12 heights");
_Static_assert(TILE_VECTORS <= 4, "tiles_of has 4 widths");
_Static_assert((int)SHALLOW_ROWS <= (int)TILE_ROWS, "the lower tile is no higher");
_Static_assert((int)BLOCK_ROWS % (int)TILE_ROWS == 0, "a block is whole tiles");
_Static_assert((BLOCK_ROWS + TILE_ROWS + SHALLOW_ROWS - 1) / SHALLOW_ROWS * SHALLOW_K <=
                   (BLOCK_ROWS / TILE_ROWS + 1) * BLOCK_K,
               "a packed block of lower tiles has room");

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

#endif
