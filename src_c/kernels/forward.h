/* Some rows of a block on their way forward through a network. */
#ifndef FASTNN_KERNELS_FORWARD_H
#define FASTNN_KERNELS_FORWARD_H

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
    const rows_layout r = {g->rows, g->block.lanes, g->panels, g->block.by_elements};
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
INLINE void panels_times(const group *g, real *c, int64_t c_panel, matrix a, const real *b, int64_t b_panel, epilogue e,
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

/* Layer l's z, and below it the ones for the next layer's biases. Weights that leave the first cache are packed if
 * their rows are so far apart that a column's fall on few of the cache's sets; else it gained nothing (n = 512: 3 %,
 * 320: -3 %). */
static void forward_products(const group *g, int64_t l) {
    enum { FEW_PANELS = 4, FAR_APART = 2048 };
    const layer *of = g->w->layers + l;
    const int64_t lanes = g->block.lanes, n = of->n_outputs, k = of->n_inputs + of->bias;
    const int64_t size = panel_size(g->w, l + 1, g->block);
    const int64_t row_bytes = n * (int64_t)sizeof(real);
    const int copies = g->panels >= FEW_PANELS && k * row_bytes > UNPACKED_BYTES && row_bytes >= FAR_APART;
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

/* z (rows, n) = the first layer's products of rows as they lie. */
static void rows_product(const group *g, real *z) {
    const layer *of = g->w->layers;
    const int64_t n = of->n_outputs;
    const table_view *x = &g->data->x;
    const int64_t row = x->row_stride / (int64_t)sizeof(real);
    const real *weights = g->parameters + of->weights;
    if (x->by_elements)
        sparse_product(z, x, g->data->order, g->first, g->rows, weights, n);
    else
        product((target){z, n, 1}, (matrix){(const real *)x->data + g->first * row, row, 1, 0, 0},
                row_major(weights, n), 0, g->rows, n, of->n_inputs, g->s->packed);
}

/* The first layer's z from rows as they lie, the same chains with the bias at their end; its inputs' panels stay
 * empty. */
static void forward_as_they_lie(const group *g) {
    const layer *of = g->w->layers;
    const int64_t lanes = g->block.lanes, n = of->n_outputs, size = panel_size(g->w, 1, g->block);
    const real *biases = g->parameters + of->weights + of->n_inputs * n;
    real *const products = g->s->delta, *z = group_inputs(g, 1);
    const table_view rows = {.data = products,
                             .row_stride = n * (int64_t)sizeof(real),
                             .column_stride = sizeof(real),
                             .columns = n,
                             .type = sizeof(real) == 4 ? FASTNN_FLOAT32 : FASTNN_FLOAT64};
    rows_product(g, products);
    for (int64_t i = 0; of->bias && i < g->rows; i++)
        map_pairs(products + i * n, products + i * n, biases, v_set1(1), n, v_add_product);
    for (int64_t p = 0; p < g->panels; p++, z += size) {
        gather_panel(z, lanes, &rows, NULL, p * lanes, rows_in_panel(g, p));
        if (in_epilogue(g, 0)) activation_forward(of->activation, z, NULL, z, n * lanes);
        fill_ones(z + n * lanes, lanes);
    }
}

/* Whether the first layer takes the rows of a group as they lie. */
static int goes_by_rows(const group *g, int keeps_inputs) {
    if (g->block.by_elements) return 1;
    return !keeps_inputs && g->block.lanes > 1 && !g->data->order && takes_rows(g->w->layers) && is_plain(&g->data->x);
}

/* All layers, but for the output activation. */
static void forward_group(const group *g, int keeps_inputs) {
    const int by_rows = goes_by_rows(g, keeps_inputs);
    if (!by_rows) gather_inputs(g);
    for (int64_t l = 0; l < g->w->n_layers; l++) {
        if (l == 0 && by_rows)
            forward_as_they_lie(g);
        else
            forward_products(g, l);
        if (l < g->w->n_layers - 1 && !in_epilogue(g, l)) activate(g, l);
    }
}

#endif
