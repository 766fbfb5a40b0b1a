/* Networks of any depth: a block of rows forward and back, and the gradient of the parameters.
 *
 *     a_0 = x     z_l = W_l^T a_l-1 + b_l     a_l = f_l(z_l)     delta_L = d loss / d z_L
 *     delta_l-1 = (W_l delta_l) * f'_l-1     gradient of W_l = a_l-1 delta_l^T     gradient of b_l = sum of delta_l
 *
 * Every sum over inputs or outputs is one chain of fused multiply-adds in order, and so is every sum over rows, carried
 * from block to block, but for those of a layer of few outputs (lanes_gradient). layout.h has what lies where,
 * forward.h, backward.h and gradient.h the parts of a step; here are the passes over whole batches. */
#ifndef FASTNN_KERNELS_NETWORK_H
#define FASTNN_KERNELS_NETWORK_H

/* A group of a batch that no gradient is wanted of lies in the scratch memory. */
static group scratch_group(const network *w, const void *parameters, const batch *data, int64_t first, int64_t rows,
                           const network_scratch_parts *s) {
    const rows_layout r = layout_of(rows, data->x.by_elements);
    return (group){w, parameters, data, r, s->activations, 0, r.panels, first, rows, s};
}

/* Whether the inputs of a group that went forward are all finite, its rows being dense and contiguous. What is not,
 * makes all products with it not finite, so where the rows were multiplied as they lie, and have not passed through the
 * caches once more, the fewer products tell. */
static int has_finite_inputs(const group *g) {
    const int64_t d = g->w->layers[0].n_inputs;
    if (goes_by_rows(g, 0) && all_finite(g->s->delta, g->rows * g->w->layers[0].n_outputs)) return 1;
    return all_finite((const real *)g->data->x.data + g->first * d, g->rows * d);
}

static int network_forward(const network *w, const void *parameters, const batch *data, int64_t first, int64_t last,
                           void *output, double *row_losses, int checks, void *scratch) {
    int finite = 1;
    int64_t bytes;
    const network_scratch_parts s = scratch_parts(w, data->x.by_elements, data->rows, scratch, &bytes);
    const int64_t k = last_layer(w)->n_outputs;
    for (int64_t i = first, step = group_rows(w); i < last; i += step) {
        const group g = scratch_group(w, parameters, data, i, smaller(last - i, step), &s);
        forward_group(&g, 0);
        if (checks && !has_finite_inputs(&g)) finite = 0;
        if (row_losses) output_delta(&g, row_losses + i - first);
        if (!output) continue;
        if (!row_losses || is_fused(w->loss)) activate(&g, w->n_layers - 1);
        for (int64_t p = 0; p < g.panels; p++)
            scatter_panel((real *)output + (i - first + p * g.block.lanes) * k, k,
                          group_inputs(&g, w->n_layers) + p * panel_size(w, w->n_layers, g.block), g.block.lanes, k,
                          rows_in_panel(&g, p));
    }
    return finite;
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
    const network_scratch_parts s = scratch_parts(w, data->x.by_elements, data->rows, scratch, &bytes);
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
