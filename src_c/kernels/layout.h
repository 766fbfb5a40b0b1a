/* Where a network's blocks of rows lie in memory: activations, deltas, and what one thread works with.
 *
 * Activations are stored feature by feature, in panels of `lanes` rows: the rows are the lanes of the vectors, so no
 * width of a layer leaves lanes empty, and a panel is at once what a product takes and what it gives. Below the
 * features of a layer stands a row of ones, by which the biases, which follow the weights in the parameters, are one
 * more row of these. A block of one row has panels of one lane; then the lanes of the vectors run along the
 * features. */
#ifndef FASTNN_KERNELS_LAYOUT_H
#define FASTNN_KERNELS_LAYOUT_H

typedef fastnn_network network;
typedef fastnn_layer layer;
typedef fastnn_batch batch;

enum { ROWS_UNIT = FASTNN_ROWS_UNIT };

_Static_assert(ROWS_UNIT % TILE_COLUMNS == 0, "rows are shared out in whole panels");

/* How the rows of a block lie. */
typedef struct {
    int64_t rows, lanes, panels;
    int by_elements; /* the inputs have no panels */
} rows_layout;

static rows_layout layout_of(int64_t rows, int by_elements) {
    const int64_t lanes = rows == 1 ? 1 : TILE_COLUMNS;
    return (rows_layout){rows, lanes, (rows + lanes - 1) / lanes, by_elements};
}

static int64_t rounded_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

static const layer *last_layer(const network *w) { return w->layers + w->n_layers - 1; }

/* The features that have panels before layer l, or for l = n_layers before the output; the rows of ones included. */
static int64_t features_before(const network *w, int64_t l, int by_elements) {
    const layer *last = last_layer(w);
    const int64_t features = l < w->n_layers ? w->layers[l].features : last->features + last->n_inputs + 1;
    return by_elements ? features - (w->layers[0].n_inputs + 1) : features;
}

static int64_t feature_count(const network *w, int by_elements) {
    return features_before(w, w->n_layers, by_elements) + last_layer(w)->n_outputs + 1;
}

/* Where the inputs of layer l begin, or for l = n_layers the output, and how far apart their panels lie. */
static real *activations(const network *w, int64_t l, const real *base, rows_layout r) {
    return (real *)base + features_before(w, l, r.by_elements) * r.lanes * r.panels;
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

/* Sums over rows in the lanes take so many at a time, so blocks and pieces are multiples of it. */
enum { CHUNK_ROWS = 128 };

_Static_assert((int)FASTNN_PIECE_ROWS % (int)CHUNK_ROWS == 0, "pieces are whole chunks");

static int64_t network_block_rows(const network *w, int by_elements, int64_t rows) {
    enum { BLOCK_BYTES = 256 * 1024, LARGE_BYTES = 1024 * 1024, FEW = CHUNK_ROWS, MANY = 4 * CHUNK_ROWS };
    int64_t fit = BLOCK_BYTES / (int64_t)sizeof(real) / (2 * feature_count(w, by_elements));
    fit = w->n_parameters * (int64_t)sizeof(real) > LARGE_BYTES || fit > MANY ? MANY : fit < FEW ? FEW : fit;
    return smaller(rows, fit / CHUNK_ROWS * CHUNK_ROWS);
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
    real *delta, *other; /* (panels, n_outputs, lanes) of two neighbouring layers; forward, delta has the products of
                          * rows as they lie (rows, n_outputs) */
    real *targets; /* (n_outputs, lanes) */
    real *weights, *losses; /* (lanes) */
    real *packed;
} network_scratch_parts;

/* Whether the first layer multiplies rows as they lie, its outputs in the lanes, which pays where turning the products
 * into panels is less than to turn the inputs: by up to three times, even where the outputs do not fill a vector. */
static int takes_rows(const layer *first) {
    enum { MANY = 4 * TILE_COLUMNS };
    return first->n_inputs >= 2 * first->n_outputs && (first->n_outputs >= TILE_COLUMNS || first->n_inputs >= MANY);
}

/* Weights of up to so many bytes stay in the first cache and are never packed. */
enum { UNPACKED_BYTES = 32 * 1024 };

_Static_assert((int)UNPACKED_BYTES <= (int)PACK_BYTES, "what packs_a says yes to has room");

static int64_t packed_size(const network *w, rows_layout r) {
    const layer *first = w->layers;
    int64_t size = 0;
    if (r.lanes == 1) return 0;
    if (!r.by_elements && takes_rows(first))
        size = product_workspace(r.rows, first->n_outputs, first->n_inputs, 1) / (int64_t)sizeof(real);
    for (int64_t l = 0; l < w->n_layers; l++) {
        const layer *of = w->layers + l;
        if ((of->n_inputs + of->bias) * of->n_outputs * (int64_t)sizeof(real) > UNPACKED_BYTES && size < PACKED_A)
            size = PACKED_A;
    }
    return size;
}

static network_scratch_parts scratch_parts(const network *w, int by_elements, int64_t most_rows, char *scratch,
                                           int64_t *bytes) {
    const rows_layout r = layout_of(most_rows > 0 ? smaller(most_rows, group_rows(w)) : 1, by_elements);
    const int64_t rows = r.lanes * r.panels, features = feature_count(w, by_elements) * rows, k = most_outputs(w);
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

static int64_t network_scratch(const network *w, int by_elements, int64_t most_rows) {
    int64_t bytes;
    scratch_parts(w, by_elements, most_rows, NULL, &bytes);
    return bytes;
}

/* Of a block: the activations, then each layer's deltas. */
static int64_t network_workspace(const network *w, int by_elements, int64_t block_rows) {
    const int64_t rows = rounded_up(block_rows, TILE_COLUMNS);
    int64_t columns = feature_count(w, by_elements);
    for (int64_t l = 0; l < w->n_layers; l++) columns += rounded_up(w->layers[l].n_outputs, TILE_COLUMNS);
    return columns * rows * (int64_t)sizeof(real);
}

/* With fewer rows for each output, adding up the lanes takes longer than it saves. */
enum { FEW_OUTPUTS = 8, ROWS_PER_OUTPUT = 8 };

/* Whether the gradient of a layer's weights is added up in the lanes: where the outputs are too few to fill a vector,
 * and the batch has rows enough. Those of the first layer are chains, as sparse rows have them. */
static int adds_in_lanes(const network *w, int64_t l, const batch *data) {
    const int64_t n = w->layers[l].n_outputs;
    return l > 0 && n <= FEW_OUTPUTS && data->rows >= LANES && data->rows >= ROWS_PER_OUTPUT * n;
}

/* Where the deltas of layer l begin that its gradient is made of: in blocks of TILE_COLUMNS outputs, each (rows,
 * TILE_COLUMNS); of one output (rows) alone; where it is added up in the lanes (panels, n_outputs, lanes) */
static real *stored_deltas(const network *w, int64_t l, const real *workspace, rows_layout r) {
    const int64_t rows = r.lanes * r.panels;
    int64_t columns = feature_count(w, r.by_elements);
    for (int64_t i = 0; i < l; i++) columns += rounded_up(w->layers[i].n_outputs, TILE_COLUMNS);
    return (real *)workspace + columns * rows;
}

#endif
