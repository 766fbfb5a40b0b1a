/* Networks of any depth: a block of rows forward and back, and the gradient of the parameters.
 *
 *     a_0 = x     z_l = W_l^T a_l-1 + b_l     a_l = f_l(z_l)     delta_L = d loss / d z_L
 *     delta_l-1 = (W_l delta_l) * f'_l-1     gradient of W_l = a_l-1 delta_l^T     gradient of b_l = sum of delta_l
 *
 * Activations are stored feature by feature, in panels of `lanes` rows: the rows are the lanes of the vectors, so no width of a
 * layer leaves lanes empty, and a panel is at once what a product takes and what it gives. Below the features of a layer
 * stands a row of ones, by which the biases, which follow the weights in the parameters, are one more row of these. A block of one
 * row has panels of one lane; then the lanes of the vectors run along the features.
 *
 * Every sum over inputs or outputs is one chain of fused multiply-adds in order, and so is every sum over rows, carried
 * from block to block. */
#ifndef FASTNN_KERNELS_NETWORK_H
#define FASTNN_KERNELS_NETWORK_H

typedef fastnn_network network;
typedef fastnn_layer layer;
typedef fastnn_batch batch;

enum { ROWS_UNIT = FASTNN_ROWS_UNIT };

_Static_assert(ROWS_UNIT % TILE_COLUMNS == 0, "rows are shared out in whole panels");

/* How the rows of a block lie. */
typedef struct {
    int64_t rows, lanes, panels;
} rows_layout;

static rows_layout layout_of(int64_t rows) {
    const int64_t lanes = rows == 1 ? 1 : TILE_COLUMNS;
    return (rows_layout){rows, lanes, (rows + lanes - 1) / lanes};
}

static int64_t rounded_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

static const layer *last_layer(const network *w) { return w->layers + w->n_layers - 1; }

/* Features of all layers, the rows of ones included. */
static int64_t feature_count(const network *w) {
    const layer *last = last_layer(w);
    return last->features + last->n_inputs + 1 + last->n_outputs + 1;
}

/* Where the inputs of layer l begin, or for l = n_layers the output, and how far apart their panels lie. */
static real *activations(const network *w, int64_t l, const real *base, rows_layout r) {
    const layer *last = last_layer(w);
    const int64_t features = l < w->n_layers ? w->layers[l].features : last->features + last->n_inputs + 1;
    return (real *)base + features * r.lanes * r.panels;
}

static int64_t panel_size(const network *w, int64_t l, rows_layout r) {
    return ((l < w->n_layers ? w->layers[l].n_inputs : last_layer(w)->n_outputs) + 1) * r.lanes;
}

static int64_t most_outputs(const network *w) {
    int64_t n = 1;
    for (int64_t l = 0; l < w->n_layers; l++)
        if (w->layers[l].n_outputs > n) n = w->layers[l].n_outputs;
    return n;
}

/* Whether a backward pass multiplies by slopes that the forward pass stored. */
static int keeps_slopes(const network *w) {
    for (int64_t l = 0; l < w->n_layers; l++)
        if (fastnn_needs_slope(w->layers[l].activation) || w->layers[l].dropout > 0) return 1;
    return 0;
}

static int is_fused(int loss) {
    return loss == FASTNN_POISSON || loss == FASTNN_POISSON_DEVIANCE || loss == FASTNN_BINARY_CROSS_ENTROPY ||
           loss == FASTNN_CROSS_ENTROPY;
}

static int64_t network_block_rows(const network *w, int64_t rows) {
    enum { BLOCK_BYTES = 256 * 1024, LARGE_BYTES = 1024 * 1024, FEW = 128, MANY = 512 };
    int64_t fit = BLOCK_BYTES / (int64_t)sizeof(real) / (2 * feature_count(w));
    fit = w->n_parameters * (int64_t)sizeof(real) > LARGE_BYTES || fit > MANY ? MANY : fit < FEW ? FEW : fit;
    return smaller(rows, fit / 64 * 64);
}

/* How many rows go through the whole network together: few enough to stay in the first cache where the weights do. */
static int64_t group_rows(const network *w) {
    enum { NEAR_PARAMETERS = 4096, NEAR = 64, FAR = 256 };
    return w->n_parameters <= NEAR_PARAMETERS ? NEAR : FAR;
}

/* What one thread works with. */
typedef struct {
    real *activations; /* of a group, where they are not the block's */
    real *slopes; /* laid out as the activations */
    real *delta, *other; /* (panels, n_outputs, lanes) of two neighbouring layers */
    real *targets; /* (n_outputs, lanes) */
    real *weights, *losses; /* (lanes) */
    real *packed;
} network_scratch_parts;

/* Whether the first layer multiplies rows as they lie, its outputs in the lanes, which pays where turning the products into
 * panels is less than to turn the inputs. */
static int takes_rows(const layer *first) {
    return first->n_outputs >= TILE_COLUMNS && first->n_inputs >= 2 * first->n_outputs;
}

static int64_t packed_size(const network *w, rows_layout r) {
    const layer *first = w->layers;
    if (r.lanes == 1) return 0;
    if (!takes_rows(first)) return PACKED_A;
    const int64_t product = gemm_workspace(r.rows, first->n_outputs, first->n_inputs) / (int64_t)sizeof(real);
    return product > PACKED_A ? product : PACKED_A;
}

static network_scratch_parts scratch_parts(const network *w, int64_t most_rows, char *scratch, int64_t *bytes) {
    const rows_layout r = layout_of(most_rows > 0 ? smaller(most_rows, group_rows(w)) : 1);
    const int64_t rows = r.lanes * r.panels, features = feature_count(w) * rows, k = most_outputs(w);
    const int64_t sizes[] = {
        features,         keeps_slopes(w) ? features : 0, k * rows, k * rows, k * r.lanes, TILE_COLUMNS, TILE_COLUMNS,
        packed_size(w, r)};
    real *parts[8];
    int64_t offset = 0;
    for (int i = 0; i < 8; i++) {
        parts[i] = scratch ? (real *)(scratch + offset) : NULL;
        offset += rounded_up(sizes[i] * (int64_t)sizeof(real), FASTNN_ALIGNMENT);
    }
    *bytes = offset;
    return (network_scratch_parts){parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6], parts[7]};
}

static int64_t network_scratch(const network *w, int64_t most_rows) {
    int64_t bytes;
    scratch_parts(w, most_rows, NULL, &bytes);
    return bytes;
}

/* Of a block: the activations, then each layer's deltas, transposed. */
static int64_t network_workspace(const network *w, int64_t block_rows) {
    const int64_t rows = rounded_up(block_rows, TILE_COLUMNS);
    int64_t columns = feature_count(w);
    for (int64_t l = 0; l < w->n_layers; l++) columns += rounded_up(w->layers[l].n_outputs, TILE_COLUMNS);
    return columns * rows * (int64_t)sizeof(real);
}

/* Where the transposed deltas of layer l begin: in blocks of TILE_COLUMNS outputs, each (rows, TILE_COLUMNS); of one output
 * (rows) alone */
static real *transposed_deltas(const network *w, int64_t l, const real *workspace, rows_layout r) {
    const int64_t rows = r.lanes * r.panels;
    int64_t columns = feature_count(w);
    for (int64_t i = 0; i < l; i++) columns += rounded_up(w->layers[i].n_outputs, TILE_COLUMNS);
    return (real *)workspace + columns * rows;
}

/* Some panels on their way through the network. */
typedef struct {
    const network *w;
    const real *parameters;
    const batch *data;
    rows_layout block; /* the rows that the activations are laid out for */
    real *activations; /* of that block */
    int64_t panel, panels; /* the group: its first panel in the block, and how many */
    int64_t first, rows; /* its rows in the batch */
    const network_scratch_parts *s;
} group;

static real *group_inputs(const group *g, int64_t l) {
    return activations(g->w, l, g->activations, g->block) + g->panel * panel_size(g->w, l, g->block);
}

static real *group_slopes(const group *g, int64_t l) {
    const rows_layout r = {g->rows, g->block.lanes, g->panels};
    return activations(g->w, l, g->s->slopes, r);
}

static int64_t rows_in_panel(const group *g, int64_t panel) {
    return smaller(g->rows - panel * g->block.lanes, g->block.lanes);
}

static void fill_ones(real *row, int64_t lanes) {
    for (int64_t i = 0; i < lanes; i++) row[i] = 1;
}

static void gather_inputs(const group *g) {
    const int64_t lanes = g->block.lanes, size = panel_size(g->w, 0, g->block), d = g->w->layers[0].n_inputs;
    real *x = group_inputs(g, 0);
    for (int64_t p = 0; p < g->panels; p++, x += size) {
        gather_panel(x, lanes, &g->data->x, g->data->order, g->first + p * lanes, rows_in_panel(g, p));
        fill_ones(x + d * lanes, lanes);
    }
}

/* c (panels, m, lanes) = a (m, k) b (panels, k, lanes), with so many elements from panel to panel */
static void panels_times(const group *g, real *c, int64_t c_panel, matrix a, const real *b, int64_t b_panel, epilogue e,
                         int64_t m, int64_t k, int copies) {
    if (g->block.lanes == 1)
        row_product(c, b, 1, (matrix){a.at, a.column, a.row, 0, 0}, 0, m, k);
    else
        panels_product(c, c_panel, a, b, b_panel, e, m, rounded_up(g->rows, VLEN), k, copies, g->s->packed);
}

/* Whether the hidden layer's activation is taken in the products' epilogues. */
static int in_epilogue(const group *g, int64_t l) {
    const layer *of = g->w->layers + l;
    const int dropped = g->data->drops && of->dropout > 0;
    return of->activation == FASTNN_RELU && !dropped && l < g->w->n_layers - 1 && g->block.lanes > 1;
}

/* Layer l's z, and below it the ones for the next layer's biases. Weights that leave the first cache are packed if their rows
 * are so far apart that a column's fall on few of the cache's sets; else it gained nothing (n = 512: 3 %, 320: -3 %). */
static void forward_products(const group *g, int64_t l) {
    enum { FEW_PANELS = 4, NEAR_BYTES = 32 * 1024, FAR_APART = 2048 };
    const layer *of = g->w->layers + l;
    const int64_t lanes = g->block.lanes, n = of->n_outputs, k = of->n_inputs + of->bias;
    const int64_t size = panel_size(g->w, l + 1, g->block);
    const int64_t row_bytes = n * (int64_t)sizeof(real);
    const int copies = g->panels >= FEW_PANELS && k * row_bytes > NEAR_BYTES && row_bytes >= FAR_APART;
    real *z = group_inputs(g, l + 1);
    panels_times(g, z, size, transposed(g->parameters + of->weights, n), group_inputs(g, l),
                 panel_size(g->w, l, g->block), (epilogue){in_epilogue(g, l) ? RELU : NO_EPILOGUE, NULL, 0}, n, k,
                 copies);
    for (int64_t p = 0; p < g->panels; p++) fill_ones(z + p * size + n * lanes, lanes);
}

static void activate(const group *g, int64_t l) {
    const layer *of = g->w->layers + l;
    const int64_t lanes = g->block.lanes, n = of->n_outputs * lanes, size = panel_size(g->w, l + 1, g->block);
    const int dropped = g->data->drops && of->dropout > 0;
    real *a = group_inputs(g, l + 1), *slope = group_slopes(g, l + 1);
    for (int64_t p = 0; p < g->panels; p++, a += size, slope += size) {
        if (l == g->w->n_layers - 1 && g->w->softmax) {
            softmax_panel(a, of->n_outputs, lanes);
            continue;
        }
        activation_forward(of->activation, a, fastnn_needs_slope(of->activation) ? slope : NULL, a, n);
        if (!dropped) continue;
        if (!fastnn_needs_slope(of->activation)) {
            fill_ones(slope, n);
            activation_backward(of->activation, slope, a, NULL, n);
        }
        dropout_panel(a, slope, of->n_outputs, lanes, of->dropout, mix64(g->data->dropout_key + (uint64_t)l),
                      g->first + p * lanes);
    }
}

/* The first layer's z from rows as they lie, the same chains with the bias at their end; its inputs' panels stay empty. */
static void forward_rows_product(const group *g) {
    const layer *of = g->w->layers;
    const int64_t lanes = g->block.lanes, n = of->n_outputs, d = of->n_inputs, size = panel_size(g->w, 1, g->block);
    const table_view *x = &g->data->x;
    const int64_t row = x->row_stride / (int64_t)sizeof(real);
    const real *weights = g->parameters + of->weights, *biases = weights + d * n;
    real *z = group_inputs(g, 1);
    const table_view products = {.data = g->s->delta,
                                 .row_stride = n * (int64_t)sizeof(real),
                                 .column_stride = sizeof(real),
                                 .columns = n,
                                 .type = x->type};
    product((target){g->s->delta, n, 1}, (matrix){(const real *)x->data + g->first * row, row, 1, 0, 0},
            row_major(weights, n), 0, g->rows, n, d, g->s->packed);
    for (int64_t p = 0; p < g->panels; p++, z += size) {
        gather_panel(z, lanes, &products, NULL, p * lanes, rows_in_panel(g, p));
        for (int64_t j = 0; of->bias && j < n; j++)
            map_pairs(z + j * lanes, z + j * lanes, z + j * lanes, v_set1(biases[j]), lanes, v_add_constant);
        if (in_epilogue(g, 0)) activation_forward(of->activation, z, NULL, z, n * lanes);
        fill_ones(z + n * lanes, lanes);
    }
}

/* All layers, but for the output activation. */
static void forward_group(const group *g, int keeps_inputs) {
    const int by_rows =
        !keeps_inputs && g->block.lanes > 1 && !g->data->order && takes_rows(g->w->layers) && is_plain(&g->data->x);
    if (!by_rows) gather_inputs(g);
    for (int64_t l = 0; l < g->w->n_layers; l++) {
        if (l == 0 && by_rows)
            forward_rows_product(g);
        else
            forward_products(g, l);
        if (l < g->w->n_layers - 1 && !in_epilogue(g, l)) activate(g, l);
    }
}

/* delta *= f' of the layer whose outputs are the inputs of layer l. */
static void multiply_by_slope(const group *g, int64_t l, real *delta) {
    const layer *of = g->w->layers + l - 1;
    const int64_t n = of->n_outputs * g->block.lanes, size = panel_size(g->w, l, g->block);
    const int dropped = g->data->drops && of->dropout > 0;
    const real *a = group_inputs(g, l), *slope = group_slopes(g, l);
    for (int64_t p = 0; p < g->panels; p++, a += size, slope += size)
        activation_backward(dropped ? FASTNN_SIN : of->activation, delta + p * n, a, slope, n);
}

/* The output's delta, unless it is NULL, and each row's loss times its weight. */
static void output_delta(const group *g, double *row_losses) {
    const network *w = g->w;
    const int64_t lanes = g->block.lanes, k = last_layer(w)->n_outputs, size = panel_size(w, w->n_layers, g->block);
    const network_scratch_parts *s = g->s;
    if (!is_fused(w->loss)) activate(g, w->n_layers - 1);
    for (int64_t p = 0; p < g->panels; p++) {
        const int64_t first = g->first + p * lanes, rows = rows_in_panel(g, p);
        real *output = group_inputs(g, w->n_layers) + p * size;
        gather_panel(s->targets, lanes, &g->data->y, g->data->order, first, rows);
        if (g->data->weights.data)
            gather_panel(s->weights, lanes, &g->data->weights, g->data->order, first, rows);
        else
            fill_ones(s->weights, lanes);
        real scaled[TILE_COLUMNS];
        for (int64_t i = 0; i < lanes; i++) scaled[i] = s->weights[i] * (real)g->data->scale;
        loss_backward(w->loss, w->loss_parameter, g->data->labels,
                      (loss_panel){output, s->targets, scaled, s->delta + p * k * lanes, s->losses}, k, lanes);
        for (int64_t i = 0; i < rows; i++) row_losses[p * lanes + i] = (double)s->losses[i] * (double)s->weights[i];
    }
    if (!is_fused(w->loss)) multiply_by_slope(g, w->n_layers, s->delta);
}

/* The deltas of the layer before: other = W_l delta, times the slope; for the first layer the inputs' gradient. */
static void backward_products(const group *g, int64_t l, const real *delta, real *other) {
    const layer *of = g->w->layers + l;
    const int64_t lanes = g->block.lanes, m = of->n_inputs, k = of->n_outputs;
    epilogue e = {NO_EPILOGUE, NULL, 0};
    if (l > 0 && in_epilogue(g, l - 1))
        e = (epilogue){RELU_BACKWARD, group_inputs(g, l), panel_size(g->w, l, g->block)};
    panels_times(g, other, m * lanes, row_major(g->parameters + of->weights, k), delta, k * lanes, e, m, k,
                 packs_a(m, g->rows, k));
    if (l > 0 && !in_epilogue(g, l - 1)) multiply_by_slope(g, l, other);
}

static void backpropagate_group(const group *g, double *row_losses) {
    const network *w = g->w;
    const int64_t lanes = g->block.lanes;
    real *delta = g->s->delta, *other = g->s->other;
    forward_group(g, 1);
    output_delta(g, row_losses);
    for (int64_t l = w->n_layers - 1; l >= 0; l--) {
        const int64_t n = w->layers[l].n_outputs;
        real *packed = transposed_deltas(w, l, g->activations, g->block);
        if (n == 1) memcpy(packed + g->panel * lanes, delta, (size_t)(g->panels * lanes) * sizeof(real));
        for (int64_t p = 0; n > 1 && p < g->panels; p++)
            transpose_panel(packed, lanes * g->block.panels, (g->panel + p) * lanes, delta + p * n * lanes, lanes, n,
                            rows_in_panel(g, p));
        if (l == 0) break;
        backward_products(g, l, delta, other);
        real *const swapped = delta;
        delta = other;
        other = swapped;
    }
}

static void network_backpropagate(const network *w, const void *parameters, const batch *data, int64_t block,
                                  int64_t block_rows, int64_t first, int64_t last, double *row_losses, void *workspace,
                                  void *scratch) {
    int64_t bytes;
    const network_scratch_parts s = scratch_parts(w, block_rows, scratch, &bytes);
    const rows_layout r = layout_of(block_rows);
    for (int64_t i = first, step = group_rows(w); i < last; i += step) {
        const int64_t rows = smaller(last - i, step);
        const group g = {w,         parameters, data, r, workspace, i / r.lanes, (rows + r.lanes - 1) / r.lanes,
                         block + i, rows,       &s};
        backpropagate_group(&g, row_losses + i);
    }
}

/* Which rows of a layer's weights, the biases' row included, are in slice `slice` of `slices`. A slice is a stretch of the
 * parameters that costs as much as the others: of the rows of all layers, one after the other, each weighted with its vectors.
 * It begins between two tiles of a layer that has many. */
static void slice_rows(const network *w, int64_t l, int64_t slice, int64_t slices, int64_t *first, int64_t *last) {
    enum { MANY_TILES = 8 };
    int64_t cost = 0, before = 0;
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

/* The gradient of a layer of one output. */
static void column_gradient(real *gradient, const real *inputs, int64_t panel, const real *deltas, int accumulate,
                            int64_t m, rows_layout r) {
    for (int64_t p = 0; p < r.panels; p++)
        row_product(gradient, deltas + p * r.lanes, 1, (matrix){inputs + p * panel, 1, r.lanes, 0, 0},
                    accumulate || p > 0, m, smaller(r.rows - p * r.lanes, r.lanes));
}

/* Of rows `first` to `last` of layer l's weights the gradient, to c, from `depth` rows of the block at a time. */
static void layer_gradient(const network *w, int64_t l, real *c, rows_layout r, int accumulate, int64_t first,
                           int64_t last, int64_t depth, const void *workspace) {
    const int64_t n = w->layers[l].n_outputs, size = panel_size(w, l, r), rows = r.lanes * r.panels;
    const real *inputs = activations(w, l, workspace, r) + first * r.lanes;
    const real *deltas = transposed_deltas(w, l, workspace, r);
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

static void network_gradient(const network *w, void *gradient, int64_t block_rows, int accumulate, int64_t slice,
                             int64_t slices, const void *workspace) {
    for (int64_t l = 0; l < w->n_layers; l++) {
        int64_t first, last;
        slice_rows(w, l, slice, slices, &first, &last);
        if (first < last)
            layer_gradient(w, l, (real *)gradient + w->layers[l].weights + first * w->layers[l].n_outputs,
                           layout_of(block_rows), accumulate, first, last, block_rows, workspace);
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
    for (int64_t l = 0; slices > 1 && l < w->n_layers; l++) {
        const layer *of = w->layers + l;
        int64_t first, last;
        slice_rows(w, l, slice, slices, &first, &last);
        update_parameters(u, of->weights + first * of->n_outputs, of->weights + last * of->n_outputs);
    }
    if (slices == 1) update_parameters(u, 0, w->n_parameters);
}

/* The same update from parameter `from` on, whose gradient is at `gradient`. */
static fastnn_update update_from(const fastnn_update *u, int64_t from, real *gradient) {
    fastnn_update rest = *u;
    rest.parameters = (real *)u->parameters + from;
    if (u->first) rest.first = (real *)u->first + from;
    if (u->second) rest.second = (real *)u->second + from;
    rest.gradient = gradient;
    return rest;
}

/* The gradient of a whole batch and at once the update. Of a network that takes much of the second cache, a piece of the
 * gradient is made and used while it is near, and the next one takes its place: so it pays to add it up from few rows of the
 * batch at a time, whose panels then stay in the first cache. */
static void network_step(const network *w, const fastnn_update *u, int64_t rows, int64_t slice, int64_t slices,
                         const void *workspace) {
    enum { NEAR_BYTES = 256 * 1024, PIECE_BYTES = 96 * 1024, DEPTH = 128 };
    if (w->n_parameters * (int64_t)sizeof(real) <= NEAR_BYTES) {
        network_gradient(w, u->gradient, rows, 0, slice, slices, workspace);
        network_update(w, u, slice, slices);
        return;
    }
    for (int64_t l = 0; l < w->n_layers; l++) {
        const int64_t n = w->layers[l].n_outputs, at = w->layers[l].weights;
        const int64_t tiles = PIECE_BYTES / (n * TILE_ROWS * (int64_t)sizeof(real)) + 1;
        int64_t first, last;
        slice_rows(w, l, slice, slices, &first, &last);
        real *const gradient = (real *)u->gradient + at + first * n;
        for (int64_t next; first < last; first = next) {
            next = smaller(last, first + tiles * TILE_ROWS);
            const fastnn_update of_piece = update_from(u, at + first * n, gradient);
            layer_gradient(w, l, gradient, layout_of(rows), 0, first, next, DEPTH, workspace);
            update_parameters(&of_piece, 0, (next - first) * n);
        }
    }
}

/* A group of a batch that no gradient is wanted of lies in the scratch memory. */
static group scratch_group(const network *w, const void *parameters, const batch *data, int64_t first, int64_t rows,
                           const network_scratch_parts *s) {
    const rows_layout r = layout_of(rows);
    return (group){w, parameters, data, r, s->activations, 0, r.panels, first, rows, s};
}

static void network_forward(const network *w, const void *parameters, const batch *data, int64_t first, int64_t last,
                            void *output, double *row_losses, void *scratch) {
    int64_t bytes;
    const network_scratch_parts s = scratch_parts(w, data->rows, scratch, &bytes);
    const int64_t k = last_layer(w)->n_outputs;
    for (int64_t i = first, step = group_rows(w); i < last; i += step) {
        const group g = scratch_group(w, parameters, data, i, smaller(last - i, step), &s);
        forward_group(&g, 0);
        if (row_losses) output_delta(&g, row_losses + i - first);
        if (!output) continue;
        if (!row_losses || is_fused(w->loss)) activate(&g, w->n_layers - 1);
        for (int64_t p = 0; p < g.panels; p++)
            scatter_panel((real *)output + (i - first + p * g.block.lanes) * k, k,
                          group_inputs(&g, w->n_layers) + p * panel_size(w, w->n_layers, g.block), g.block.lanes, k,
                          rows_in_panel(&g, p));
    }
}

/* The output for one row x, without panels or blocks: all that a small network takes is a fraction of a microsecond. */
static void network_forward_row(const network *w, const void *parameters, const void *x, void *output, void *scratch) {
    const real *inputs = x, *const at = parameters;
    real *const room[] = {scratch, (real *)scratch + most_outputs(w)};
    static const real one = 1;
    for (int64_t l = 0; l < w->n_layers; l++) {
        const layer *of = w->layers + l;
        const int64_t d = of->n_inputs, n = of->n_outputs;
        real *z = l == w->n_layers - 1 ? output : room[l % 2];
        row_product(z, inputs, 1, row_major(at + of->weights, n), 0, n, d);
        if (of->bias) row_product(z, &one, 1, row_major(at + of->weights + d * n, n), 1, n, 1);
        if (l == w->n_layers - 1 && w->softmax)
            softmax_panel(z, n, 1);
        else
            activation_forward(of->activation, z, NULL, z, n);
        inputs = z;
    }
}

/* delta = d output_j / d z, for the output activation */
static void output_slope(const group *g, int64_t j) {
    const network *w = g->w;
    const int64_t lanes = g->block.lanes, k = last_layer(w)->n_outputs, size = panel_size(w, w->n_layers, g->block);
    activate(g, w->n_layers - 1);
    for (int64_t p = 0; p < g->panels; p++) {
        const real *a = group_inputs(g, w->n_layers) + p * size;
        real *delta = g->s->delta + p * k * lanes;
        for (int64_t m = 0; m < k; m++)
            for (int64_t i = 0; i < lanes; i++)
                delta[m * lanes + i] =
                    !w->softmax ? (real)(m == j) : a[j * lanes + i] * ((real)(m == j) - a[m * lanes + i]);
    }
    if (!w->softmax) multiply_by_slope(g, w->n_layers, g->s->delta);
}

static void network_input_gradient(const network *w, const void *parameters, const batch *data, int64_t first,
                                   int64_t last, int64_t output, void *gradient, int64_t row_stride, void *scratch) {
    int64_t bytes;
    const network_scratch_parts s = scratch_parts(w, data->rows, scratch, &bytes);
    for (int64_t i = first, step = smaller(group_rows(w), 64); i < last; i += step) {
        double row_losses[64];
        const group g = scratch_group(w, parameters, data, i, smaller(last - i, step), &s);
        real *delta = s.delta, *other = s.other;
        forward_group(&g, 0);
        if (output >= 0)
            output_slope(&g, output);
        else
            output_delta(&g, row_losses);
        for (int64_t l = w->n_layers - 1; l > 0; l--) {
            backward_products(&g, l, delta, other);
            real *const swapped = delta;
            delta = other;
            other = swapped;
        }
        real *inputs = group_inputs(&g, 0); /* no longer needed: their gradient takes their place */
        const int64_t d = w->layers[0].n_inputs;
        backward_products(&g, 0, delta, inputs);
        for (int64_t p = 0; p < g.panels; p++)
            scatter_panel((real *)gradient + (i - first + p * g.block.lanes) * row_stride, row_stride,
                          inputs + p * d * g.block.lanes, g.block.lanes, d, rows_in_panel(&g, p));
    }
}

static double network_penalty(const network *w, const void *parameters, void *gradient, double l2) {
    double sum = 0;
    for (int64_t l = 0; l < w->n_layers; l++) {
        const layer *of = w->layers + l;
        const int64_t n = of->n_inputs * of->n_outputs;
        const real *weights = (const real *)parameters + of->weights;
        real *g = (real *)gradient + of->weights;
        if (gradient) map_pairs(g, g, weights, v_set1((real)l2), n, v_add_product);
        sum += sum_of_squares(weights, n);
    }
    return sum;
}

#endif
