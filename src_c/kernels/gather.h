/* Rows of a table of any numeric type, picked by number and turned into panels: a panel holds `lanes` rows, feature by
 * feature. The lanes past the last row are filled with zeros.
 *
 * Elements are read byte by byte, as it were, so neither alignment nor strides matter. Sparse rows, whose arrays are
 * aligned, are written into a panel of zeros. */
#ifndef FASTNN_KERNELS_GATHER_H
#define FASTNN_KERNELS_GATHER_H

typedef fastnn_table_view table_view;

/* Each type that a table may have, and C's name of it. */
#define ELEMENT_TYPES(DO)                                                                                              \
    DO(FASTNN_FLOAT32, float)                                                                                          \
    DO(FASTNN_FLOAT64, double)                                                                                         \
    DO(FASTNN_INT8, int8_t)                                                                                            \
    DO(FASTNN_INT16, int16_t)                                                                                          \
    DO(FASTNN_INT32, int32_t)                                                                                          \
    DO(FASTNN_INT64, int64_t)                                                                                          \
    DO(FASTNN_UINT8, uint8_t)                                                                                          \
    DO(FASTNN_UINT16, uint16_t)                                                                                        \
    DO(FASTNN_UINT32, uint32_t)                                                                                        \
    DO(FASTNN_UINT64, uint64_t)

INLINE const char *row_of(const table_view *from, const int64_t *order, int64_t i) {
    return (const char *)from->data + (order ? order[i] : i) * from->row_stride;
}

/* One lane of a panel. */
static void gather_row(real *panel, int64_t lanes, const table_view *from, const char *row) {
    switch (from->type) {
#define CASE(name, type)                                                                                               \
    case name:                                                                                                         \
        for (int64_t j = 0; j < from->columns; j++, row += from->column_stride) {                                      \
            type element;                                                                                              \
            memcpy(&element, row, sizeof element);                                                                     \
            panel[j * lanes] = (real)element;                                                                          \
        }                                                                                                              \
        break;
        ELEMENT_TYPES(CASE)
#undef CASE
    }
}

INLINE int64_t index_at(const void *indices, int type, int64_t i) {
    return type == FASTNN_INT32 ? ((const int32_t *)indices)[i] : ((const int64_t *)indices)[i];
}

/* Where in a table's arrays the elements of a sparse row begin, and where they end. */
typedef struct {
    int64_t first, last;
} sparse_row;

INLINE sparse_row sparse_row_of(const table_view *from, int64_t row) {
    return (sparse_row){index_at(from->row_starts, from->index_type, row),
                        index_at(from->row_starts, from->index_type, row + 1)};
}

/* Some elements of a sparse row. */
typedef struct {
    int64_t count;
    int64_t columns[64];
    real values[64];
} elements;

/* As many as there is room for, or as the row has, which is then without them. */
static void take_elements(elements *to, const table_view *from, sparse_row *row) {
    to->count = smaller(row->last - row->first, sizeof to->values / sizeof *to->values);
    for (int64_t i = 0; i < to->count; i++) to->columns[i] = index_at(from->indices, from->index_type, row->first + i);
    switch (from->type) {
#define CASE(name, type)                                                                                               \
    case name:                                                                                                         \
        for (int64_t i = 0; i < to->count; i++) to->values[i] = (real)((const type *)from->data)[row->first + i];      \
        break;
        ELEMENT_TYPES(CASE)
#undef CASE
    }
    row->first += to->count;
}

/* Into a lane of zeros. */
static void gather_sparse_row(real *panel, int64_t lanes, const table_view *from, sparse_row row) {
    elements some;
    while (row.first < row.last) {
        take_elements(&some, from, &row);
        for (int64_t i = 0; i < some.count; i++) panel[some.columns[i] * lanes] = some.values[i];
    }
}

/* VLEN whole rows of the dtype itself, their elements contiguous: squares are transposed in registers. */
INLINE void gather_vectors(real *panel, int64_t lanes, const real *const rows[VLEN], int64_t columns) {
    vec square[VLEN];
    int64_t j = 0;
    for (; j + VLEN <= columns; j += VLEN) {
        UNROLL
        for (int i = 0; i < VLEN; i++) square[i] = v_load(rows[i] + j);
        v_transpose(square);
        UNROLL
        for (int i = 0; i < VLEN; i++) v_store(panel + (j + i) * lanes, square[i]);
    }
    if (j < columns) {
        const vpart rest = v_first(columns - j);
        UNROLL
        for (int i = 0; i < VLEN; i++) square[i] = v_load_part(rows[i] + j, rest);
        v_transpose(square);
        for (int i = 0; j + i < columns; i++) v_store(panel + (j + i) * lanes, square[i]);
    }
}

static int is_plain(const table_view *from) {
    const int type = sizeof(real) == 4 ? FASTNN_FLOAT32 : FASTNN_FLOAT64;
    return !from->indices && from->type == type && from->column_stride == (int64_t)sizeof(real) &&
           ((uintptr_t)from->data | (uintptr_t)from->row_stride) % sizeof(real) == 0;
}

/* Zeros in the lanes of a panel past its rows. */
static void clear_lanes(real *panel, int64_t features, int64_t lanes, int64_t rows) {
    if (rows == lanes) return;
    for (int64_t j = 0; j < features; j++, panel += lanes) {
        int64_t i = rows;
        for (; i % VLEN != 0; i++) panel[i] = 0;
        for (; i < lanes; i += VLEN) v_store(panel + i, v_zero());
    }
}

/* panel (columns, lanes) = rows order[first] to order[first + rows - 1], rows <= lanes, and zeros. Of plain rows the
 * last is repeated to fill a vector, which are then cleared. */
static void gather_panel(real *panel, int64_t lanes, const table_view *from, const int64_t *order, int64_t first,
                         int64_t rows) {
    if (from->indices) {
        memset(panel, 0, (size_t)(from->columns * lanes) * sizeof(real));
        for (int64_t i = 0; i < rows; i++)
            gather_sparse_row(panel + i, lanes, from, sparse_row_of(from, order ? order[first + i] : first + i));
        return;
    }
    if (is_plain(from) && lanes > 1) {
        for (int64_t i = 0; i < rows; i += VLEN) {
            const real *whole[VLEN];
            for (int v = 0; v < VLEN; v++)
                whole[v] = (const real *)row_of(from, order, first + smaller(i + v, rows - 1));
            gather_vectors(panel + i, lanes, whole, from->columns);
        }
    } else {
        for (int64_t i = 0; i < rows; i++) gather_row(panel + i, lanes, from, row_of(from, order, first + i));
    }
    clear_lanes(panel, from->columns, lanes, rows);
}

/* out (rows, columns), its rows contiguous = the first rows of a panel */
static void scatter_panel(real *out, int64_t row, const real *panel, int64_t lanes, int64_t columns, int64_t rows) {
    enum { FEW = 4 };
    int64_t i = 0;
    for (; i + VLEN <= rows; i += VLEN) {
        real *to = out + i * row;
        int64_t j = 0;
        for (; j + VLEN <= columns; j += VLEN) {
            vec square[VLEN];
            UNROLL
            for (int v = 0; v < VLEN; v++) square[v] = v_load(panel + (j + v) * lanes + i);
            v_transpose(square);
            UNROLL
            for (int v = 0; v < VLEN; v++) v_store(to + v * row + j, square[v]);
        }
        if (columns - j >= FEW) {
            const vpart rest = v_first(columns - j);
            vec square[VLEN];
            UNROLL
            for (int v = 0; v < VLEN; v++) square[v] = j + v < columns ? v_load(panel + (j + v) * lanes + i) : v_zero();
            v_transpose(square);
            UNROLL
            for (int v = 0; v < VLEN; v++) v_store_part(to + v * row + j, rest, square[v]);
            continue;
        }
        for (; j < columns; j++)
            for (int v = 0; v < VLEN; v++) to[v * row + j] = panel[j * lanes + i + v];
    }
    for (; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) out[i * row + j] = panel[j * lanes + i];
}

/* packed: for each TILE_COLUMNS features a block of `stride` rows of so many elements, of which `first` and the
 * following are the first `rows` lanes of panel (features, lanes). The features past the last are undefined. */
static void transpose_panel(real *packed, int64_t stride, int64_t first, const real *panel, int64_t lanes,
                            int64_t features, int64_t rows) {
    for (int64_t j = 0; j < features; j += VLEN) {
        real *to = packed + j / TILE_COLUMNS * stride * TILE_COLUMNS + first * TILE_COLUMNS + j % TILE_COLUMNS;
        const int64_t count = smaller(features - j, VLEN);
        if (lanes == 1) {
            v_store_part(to, v_first(count), v_load_part(panel + j, v_first(count)));
            continue;
        }
        for (int64_t i = 0; i < rows; i += VLEN) {
            vec square[VLEN];
            UNROLL
            for (int v = 0; v < VLEN; v++) square[v] = v < count ? v_load(panel + (j + v) * lanes + i) : v_zero();
            v_transpose(square);
            UNROLL
            for (int v = 0; v < VLEN; v++) v_store(to + (i + v) * TILE_COLUMNS, square[v]);
        }
    }
}

#endif
