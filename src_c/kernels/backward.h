/* And back: the deltas of all layers, which the gradient of the parameters is then made of. */
#ifndef FASTNN_KERNELS_BACKWARD_H
#define FASTNN_KERNELS_BACKWARD_H

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
                 packs_a(m, g->rows, k, 1));
    if (l > 0 && !in_epilogue(g, l - 1)) multiply_by_slope(g, l, other);
}

/* The deltas of layer l where its gradient wants them. */
static void store_deltas(const group *g, int64_t l, real *delta) {
    const network *w = g->w;
    const int64_t lanes = g->block.lanes, n = w->layers[l].n_outputs, last = g->panels - 1;
    real *to = stored_deltas(w, l, g->activations, g->block);
    if (adds_in_lanes(w, l, g->data)) {
        const int64_t rows = rows_in_panel(g, last), size = panel_size(w, l, g->block);
        clear_lanes(delta + last * n * lanes, n, lanes, rows);
        clear_lanes(group_inputs(g, l) + last * size, size / lanes, lanes, rows);
    } else if (n > 1) {
        for (int64_t p = 0; p <= last; p++)
            transpose_panel(to, lanes * g->block.panels, (g->panel + p) * lanes, delta + p * n * lanes, lanes, n,
                            rows_in_panel(g, p));
        return;
    }
    memcpy(to + g->panel * n * lanes, delta, (size_t)(g->panels * n * lanes) * sizeof(real));
}

static void backpropagate_group(const group *g, double *row_losses) {
    const network *w = g->w;
    real *delta = g->s->delta, *other = g->s->other;
    forward_group(g, 1);
    output_delta(g, row_losses);
    for (int64_t l = w->n_layers - 1; l >= 0; l--) {
        store_deltas(g, l, delta);
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
    const network_scratch_parts s = scratch_parts(w, data->x.by_elements, block_rows, scratch, &bytes);
    const rows_layout r = layout_of(block_rows, data->x.by_elements);
    for (int64_t i = first, step = group_rows(w); i < last; i += step) {
        const int64_t rows = smaller(last - i, step);
        const group g = {w,         parameters, data, r, workspace, i / r.lanes, (rows + r.lanes - 1) / r.lanes,
                         block + i, rows,       &s};
        backpropagate_group(&g, row_losses + i);
    }
}

#endif
