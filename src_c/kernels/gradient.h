/* The gradient of the parameters from the activations and deltas of a block, and the step along it, slice by slice. */
#ifndef FASTNN_KERNELS_GRADIENT_H
#define FASTNN_KERNELS_GRADIENT_H

/* Which rows of a layer's weights, the biases' row included, are in slice `slice` of `slices`. A slice is a stretch of
 * the parameters that costs as much as the others: of the rows of all layers, one after the other, each weighted with
 * its vectors. It begins between two tiles of a layer that has many. */
static void slice_rows(const network *w, int64_t l, int64_t slice, int64_t slices, int64_t *first, int64_t *last) {
    enum { MANY_TILES = 8 };
    int64_t cost = 0, before = 0;
    if (slices == 1) {
        *first = 0;
        *last = w->layers[l].n_inputs + w->layers[l].bias;
        return;
    }
    for (int64_t i = 0; i < w->n_layers; i++) {
        const layer *of = w->layers + i;
        if (i == l) before = cost;
        cost += (of->n_inputs + of->bias) * rounded_up(of->n_outputs, VLEN);
    }
    const layer *of = w->layers + l;
    const int64_t rows = of->n_inputs + of->bias, unit = rows < MANY_TILES * TILE_ROWS ? 1 : TILE_ROWS;
    int64_t ends[2];
    for (int i = 0; i < 2; i++) {
        const int64_t to = cost * (slice + i) / slices - before, each = rounded_up(of->n_outputs, VLEN) * unit;
        ends[i] = to <= 0 ? 0 : smaller(rows, (to + each / 2) / each * unit);
    }
    *first = ends[0];
    *last = slice == slices - 1 ? rows : ends[1];
}

enum { LANE_VECTORS = LANES / VLEN, LANE_PANELS = (LANE_VECTORS + TILE_VECTORS - 1) / TILE_VECTORS };

_Static_assert(LANE_VECTORS % TILE_VECTORS == 0 || TILE_VECTORS % LANE_VECTORS == 0,
               "each vector of a panel has its lanes");

/* The inputs and the deltas of a layer of few outputs, from one of each on. */
typedef struct {
    const real *inputs, *deltas;
    int64_t input_panel, delta_panel; /* from panel to panel */
    int64_t panels;
} lane_rows;

/* For so many inputs, the sums over the rows of input times delta. */
INLINE vec lane_sums(lane_rows of, const int inputs) {
    vec sum[LANE_VECTORS][VLEN];
    UNROLL
    for (int v = 0; v < LANE_VECTORS; v++) {
        UNROLL
        for (int i = 0; i < VLEN; i++) sum[v][i] = v_zero();
    }
    for (; of.panels > 0; of.panels -= LANE_PANELS) {
        UNROLL
        for (int v = 0; v < LANE_PANELS * TILE_VECTORS; v++) {
            const int64_t p = v / TILE_VECTORS, at = v % TILE_VECTORS * VLEN;
            if (p >= of.panels) break;
            const vec delta = v_load(of.deltas + p * of.delta_panel + at);
            UNROLL
            for (int i = 0; i < inputs; i++)
                sum[v % LANE_VECTORS][i] = v_fma(v_load(of.inputs + p * of.input_panel + i * TILE_COLUMNS + at), delta,
                                                 sum[v % LANE_VECTORS][i]);
        }
        of.inputs += LANE_PANELS * of.input_panel;
        of.deltas += LANE_PANELS * of.delta_panel;
    }
    UNROLL
    for (int half = LANE_VECTORS / 2; half > 0; half /= 2) {
        UNROLL
        for (int v = 0; v < half; v++) {
            UNROLL
            for (int i = 0; i < inputs; i++) sum[v][i] = v_add(sum[v][i], sum[v + half][i]);
        }
    }
    return v_add(v_zero(), v_sums(sum[0])); /* no -0, which would tell how many lanes were empty */
}

/* gradient (first to last, n) of weights, so many rows at a time; the last of them reach back, so that they are as
 * many. */
INLINE void few_outputs(real *gradient, lane_rows of, int accumulate, int64_t first, int64_t last, int64_t n,
                        const int inputs) {
    real columns[FEW_OUTPUTS * VLEN], sums[FEW_OUTPUTS * VLEN];
    for (int64_t i = first, count; i < last; i += count, gradient += count * n) {
        const int64_t begin = smaller(i, last - inputs);
        count = smaller(last - i, inputs);
        for (int64_t j = 0; j < n; j++) {
            lane_rows here = of;
            here.inputs += begin * TILE_COLUMNS;
            here.deltas += j * TILE_COLUMNS;
            v_store(columns + j * VLEN, lane_sums(here, inputs));
        }
        scatter_panel(accumulate ? sums : gradient, n, columns + (i - begin), VLEN, n, count);
        if (accumulate) map_pairs(gradient, gradient, sums, v_set1(1), count * n, v_add_product);
    }
}

/* The same of a single row, whose panels have one lane. */
static void few_outputs_of_row(real *gradient, const real *inputs, const real *deltas, int accumulate, int64_t first,
                               int64_t last, int64_t n) {
    for (int64_t i = first; i < last; i++, gradient += n)
        for (int64_t j = 0; j < n; j++) gradient[j] = (accumulate ? gradient[j] : 0) + (0 + inputs[i] * deltas[j]);
}

/* The gradient of a layer of few outputs, where the lanes are the rows. A sum over CHUNK_ROWS rows is LANES chains,
 * each over every LANES-th row, which are added by halving; and these sums are added in order. */
static void lanes_gradient(real *gradient, lane_rows of, int64_t lanes, int accumulate, int64_t first, int64_t last,
                           int64_t n) {
    enum { CHUNK_PANELS = CHUNK_ROWS / TILE_COLUMNS, FOUR = VLEN < 4 ? VLEN : 4 };
    if (lanes == 1) {
        few_outputs_of_row(gradient, of.inputs, of.deltas, accumulate, first, last, n);
        return;
    }
    for (int64_t left = of.panels; left > 0; left -= CHUNK_PANELS, accumulate = 1) {
        of.panels = smaller(left, CHUNK_PANELS);
        if (last >= VLEN)
            few_outputs(gradient, of, accumulate, first, last, n, VLEN);
        else if (last >= FOUR)
            few_outputs(gradient, of, accumulate, first, last, n, FOUR);
        else
            few_outputs(gradient, of, accumulate, first, last, n, 1);
        of.inputs += CHUNK_PANELS * of.input_panel;
        of.deltas += CHUNK_PANELS * of.delta_panel;
    }
}

/* The gradient of a layer of one output that is not added up in the lanes. */
static void column_gradient(real *gradient, const real *inputs, int64_t panel, const real *deltas, int accumulate,
                            int64_t m, rows_layout r) {
    for (int64_t p = 0; p < r.panels; p++)
        row_product(gradient, deltas + p * r.lanes, 1, (matrix){inputs + p * panel, 1, r.lanes, 0, 0},
                    accumulate || p > 0, m, smaller(r.rows - p * r.lanes, r.lanes));
}

/* Of rows `first` to `last` of layer l's weights the gradient, to c, from `depth` rows of the block at a time. */
static void layer_gradient(const network *w, int64_t l, real *c, const batch *data, rows_layout r, int accumulate,
                           int64_t first, int64_t last, int64_t depth, const void *workspace) {
    const int64_t n = w->layers[l].n_outputs, size = panel_size(w, l, r), rows = r.lanes * r.panels;
    const real *inputs = activations(w, l, workspace, r) + first * r.lanes;
    const real *deltas = stored_deltas(w, l, workspace, r);
    if (adds_in_lanes(w, l, data)) {
        const lane_rows of = {activations(w, l, workspace, r), deltas, size, n * r.lanes, r.panels};
        lanes_gradient(c, of, r.lanes, accumulate, first, last, n);
        return;
    }
    if (n == 1) {
        column_gradient(c, inputs, size, deltas, accumulate, last - first, r);
        return;
    }
    for (int64_t k = 0; k < r.rows; k += depth)
        block_product(
            (target){c, n, 1}, TILE_COLUMNS, (matrix){inputs + k / r.lanes * size, r.lanes, 1, r.lanes, size - r.lanes},
            (matrix){deltas + k * TILE_COLUMNS, TILE_COLUMNS, 1, 0, 0}, rows * TILE_COLUMNS, accumulate || k > 0,
            (epilogue){NO_EPILOGUE, NULL, 0}, last - first, n, smaller(r.rows - k, depth), NULL);
}

static void network_gradient(const network *w, void *gradient, const batch *data, int64_t block, int64_t block_rows,
                             int accumulate, int64_t slice, int64_t slices, const void *workspace) {
    const rows_layout r = layout_of(block_rows, data->x.by_elements);
    for (int64_t l = 0; l < w->n_layers; l++) {
        const int64_t n = w->layers[l].n_outputs;
        real *const of_layer = (real *)gradient + w->layers[l].weights;
        int64_t i, end;
        slice_rows(w, l, slice, slices, &i, &end);
        if (i < end && l == 0 && r.by_elements)
            sparse_gradient(of_layer, &data->x, data->order, block, stored_deltas(w, 0, workspace, r), r.rows,
                            r.lanes * r.panels, n, accumulate, i, end);
        else if (i < end)
            layer_gradient(w, l, of_layer + i * n, data, r, accumulate, i, end, r.rows, workspace);
    }
}

static void network_sum_parts(const network *w, void *gradient, const void *parts, int64_t stride, int64_t n_parts,
                              int64_t slice, int64_t slices) {
    for (int64_t l = 0; l < w->n_layers; l++) {
        const layer *of = w->layers + l;
        int64_t first, last;
        slice_rows(w, l, slice, slices, &first, &last);
        const int64_t at = of->weights + first * of->n_outputs;
        add_parts((real *)gradient + at, (const real *)parts + at, stride, n_parts, (last - first) * of->n_outputs);
    }
}

/* Update the parameters whose gradient is that of the slice. */
static void network_update(const network *w, const fastnn_update *u, int64_t slice, int64_t slices) {
    const sweep c = sweep_of(u);
    if (slices == 1 && u->l2 == 0) {
        update_parameters(u, &c, 0, w->n_parameters, 0);
        return;
    }
    for (int64_t l = 0; l < w->n_layers; l++) {
        const layer *of = w->layers + l;
        const int64_t n = of->n_outputs;
        int64_t first, last;
        slice_rows(w, l, slice, slices, &first, &last);
        const int64_t biases = smaller(last, first > of->n_inputs ? first : of->n_inputs);
        update_parameters(u, &c, of->weights + first * n, of->weights + biases * n, u->l2 != 0);
        update_parameters(u, &c, of->weights + biases * n, of->weights + last * n, 0);
    }
}

/* The gradient of a whole batch and at once the update. Of a network that takes much of the second cache, a piece of
 * the gradient is made and used while it is near, and the next one takes its place: so it pays to add it up from few
 * rows of the batch at a time, whose panels then stay in the first cache. */
static void network_step(const network *w, const fastnn_update *u, const batch *data, int64_t slice, int64_t slices,
                         const void *workspace) {
    enum { NEAR_BYTES = 256 * 1024, PIECE_BYTES = 96 * 1024, DEPTH = 128 };
    _Static_assert((int)DEPTH % (int)TILE_COLUMNS == 0, "whole panels");
    const rows_layout r = layout_of(data->rows, data->x.by_elements);
    if (r.by_elements || w->n_parameters * (int64_t)sizeof(real) <= NEAR_BYTES) {
        network_gradient(w, u->gradient, data, 0, data->rows, 0, slice, slices, workspace);
        network_update(w, u, slice, slices);
        return;
    }
    const sweep c = sweep_of(u);
    for (int64_t l = 0; l < w->n_layers; l++) {
        const int64_t n = w->layers[l].n_outputs, at = w->layers[l].weights, biases = w->layers[l].n_inputs;
        const int64_t tiles = PIECE_BYTES / (n * TILE_ROWS * (int64_t)sizeof(real)) + 1;
        int64_t first, last;
        slice_rows(w, l, slice, slices, &first, &last);
        real *const gradient = (real *)u->gradient + at + first * n;
        for (int64_t next; first < last; first = next) {
            const int penalized = u->l2 != 0 && first < biases;
            next = smaller(penalized ? smaller(last, biases) : last, first + tiles * TILE_ROWS);
            fastnn_update of_piece = *u;
            of_piece.gradient = gradient;
            of_piece.gradient_from = at + first * n;
            layer_gradient(w, l, gradient, data, r, 0, first, next, DEPTH, workspace);
            update_parameters(&of_piece, &c, at + first * n, at + next * n, penalized);
        }
    }
}

#endif
