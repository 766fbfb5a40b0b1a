/* The book's network, one fused iteration at a time:
 *
 *     layer1 = sigmoid(x weights1)        output = sigmoid(layer1 weights2)
 *     delta2 = 2 (y - output) * output * (1 - output)
 *     delta1 = (delta2 weights2^T) * layer1 * (1 - layer1)
 *     weights1 += learning_rate x^T delta1        weights2 += learning_rate layer1^T delta2
 *
 * A chunk of ROWS rows goes forward and back while it is in the cache. Each gradient is one chain over all rows, carried from
 * chunk to chunk. A network as small as the book's is trained in registers, with the same operations in the same
 * order, so the same bits. */
#ifndef FASTNN_KERNELS_TWO_LAYER_H
#define FASTNN_KERNELS_TWO_LAYER_H

enum { ROWS = 128 };

typedef fastnn_two_layer two_layer;

typedef struct {
    real *delta2; /* (ROWS, n_outputs) */
    real *delta1; /* (ROWS, n_hidden) */
    real *gradient2; /* (n_hidden, n_outputs) */
    real *gradient1; /* (n_inputs, n_hidden) */
    real *gemm;
} two_layer_scratch;

/* Where each part of the workspace begins; `bytes` is the size of all. A NULL workspace only measures. */
static two_layer_scratch two_layer_parts(const two_layer *w, char *workspace, int64_t *bytes) {
    const int64_t rows = smaller(w->n_rows, ROWS);
    const int64_t products[] = {gemm_workspace(rows, w->n_hidden, w->n_inputs),
                                gemm_workspace(rows, w->n_outputs, w->n_hidden),
                                gemm_workspace(rows, w->n_hidden, w->n_outputs),
                                gemm_workspace(w->n_inputs, w->n_hidden, rows),
                                gemm_workspace(w->n_hidden, w->n_outputs, rows)};
    const int64_t sizes[] = {rows * w->n_outputs, rows * w->n_hidden, w->n_hidden * w->n_outputs,
                             w->n_inputs * w->n_hidden};
    real *parts[5] = {NULL};
    int64_t offset = 0, largest = 0;
    for (int i = 0; i < 4; i++) {
        parts[i] = workspace ? (real *)(workspace + offset) : NULL;
        offset += (sizes[i] * (int64_t)sizeof(real) + FASTNN_ALIGNMENT - 1) / FASTNN_ALIGNMENT * FASTNN_ALIGNMENT;
    }
    parts[4] = workspace ? (real *)(workspace + offset) : NULL;
    for (int i = 0; i < 5; i++) largest = products[i] > largest ? products[i] : largest;
    *bytes = offset + largest;
    return (two_layer_scratch){parts[0], parts[1], parts[2], parts[3], parts[4]};
}

static int64_t two_layer_workspace(const two_layer *w) {
    int64_t bytes;
    two_layer_parts(w, NULL, &bytes);
    return bytes;
}

static matrix row_major(const real *at, int64_t columns) { return (matrix){at, columns, 1}; }
static matrix transposed(const real *at, int64_t columns) { return (matrix){at, 1, columns}; }

static void forward_rows(const two_layer *w, const two_layer_scratch *s, int64_t first, int64_t rows) {
    const int64_t d = w->n_inputs, h = w->n_hidden, k = w->n_outputs;
    const real *x = (const real *)w->x + first * d;
    real *layer1 = (real *)w->layer1 + first * h, *output = (real *)w->output + first * k;
    product((target){layer1, h, 1}, row_major(x, d), row_major(w->weights1, h), 0, rows, h, d, s->gemm);
    sigmoid_forward(layer1, layer1, rows * h);
    product((target){output, k, 1}, row_major(layer1, h), row_major(w->weights2, k), 0, rows, k, h, s->gemm);
    sigmoid_forward(output, output, rows * k);
}

INLINE vec v_output_delta(vec y, vec output) {
    const vec error = v_sub(y, output);
    return v_mul(v_add(error, error), v_sigmoid_derivative(output));
}

static void output_delta(real *delta, const real *y, const real *output, int64_t n) {
    int64_t i = 0;
    for (; i + VLEN <= n; i += VLEN) v_store(delta + i, v_output_delta(v_load(y + i), v_load(output + i)));
    if (i < n) {
        const vpart rest = v_first(n - i);
        v_store_part(delta + i, rest, v_output_delta(v_load_part(y + i, rest), v_load_part(output + i, rest)));
    }
}

/* delta *= a (1 - a) */
static void multiply_sigmoid_derivative(real *delta, const real *a, int64_t n) {
    int64_t i = 0;
    for (; i + VLEN <= n; i += VLEN)
        v_store(delta + i, v_mul(v_load(delta + i), v_sigmoid_derivative(v_load(a + i))));
    if (i < n) {
        const vpart rest = v_first(n - i);
        v_store_part(delta + i, rest, v_mul(v_load_part(delta + i, rest), v_sigmoid_derivative(v_load_part(a + i, rest))));
    }
}

/* weights += learning_rate * gradient */
static void descend(real *weights, const real *gradient, double learning_rate, int64_t n) {
    const vec rate = v_set1((real)learning_rate);
    int64_t i = 0;
    for (; i + VLEN <= n; i += VLEN) v_store(weights + i, v_fma(rate, v_load(gradient + i), v_load(weights + i)));
    if (i < n) {
        const vpart rest = v_first(n - i);
        v_store_part(weights + i, rest, v_fma(rate, v_load_part(gradient + i, rest), v_load_part(weights + i, rest)));
    }
}

static void backward_rows(const two_layer *w, const two_layer_scratch *s, int64_t first, int64_t rows) {
    const int64_t d = w->n_inputs, h = w->n_hidden, k = w->n_outputs;
    const real *x = (const real *)w->x + first * d, *y = (const real *)w->y + first * k;
    const real *layer1 = (const real *)w->layer1 + first * h, *output = (const real *)w->output + first * k;
    output_delta(s->delta2, y, output, rows * k);
    product((target){s->gradient2, k, 1}, transposed(layer1, h), row_major(s->delta2, k), first > 0, h, k, rows, s->gemm);
    product((target){s->delta1, h, 1}, row_major(s->delta2, k), transposed(w->weights2, k), 0, rows, h, k, s->gemm);
    multiply_sigmoid_derivative(s->delta1, layer1, rows * h);
    product((target){s->gradient1, h, 1}, transposed(x, d), row_major(s->delta1, h), first > 0, d, h, rows, s->gemm);
}

static void update(const two_layer *w, const two_layer_scratch *s) {
    descend(w->weights1, s->gradient1, w->learning_rate, w->n_inputs * w->n_hidden);
    descend(w->weights2, s->gradient2, w->learning_rate, w->n_hidden * w->n_outputs);
}

static void two_layer_forward(const two_layer *w, void *workspace) {
    int64_t bytes;
    const two_layer_scratch s = two_layer_parts(w, workspace, &bytes);
    for (int64_t i = 0; i < w->n_rows; i += ROWS) forward_rows(w, &s, i, smaller(w->n_rows - i, ROWS));
}

static void two_layer_backward(const two_layer *w, void *workspace) {
    int64_t bytes;
    const two_layer_scratch s = two_layer_parts(w, workspace, &bytes);
    for (int64_t i = 0; i < w->n_rows; i += ROWS) backward_rows(w, &s, i, smaller(w->n_rows - i, ROWS));
    update(w, &s);
}

static void two_layer_train(const two_layer *w, void *losses, int64_t iterations, void *workspace) {
    int64_t bytes;
    const two_layer_scratch s = two_layer_parts(w, workspace, &bytes);
    for (int64_t t = 0; t < iterations; t++) {
        for (int64_t i = 0; i < w->n_rows; i += ROWS) {
            forward_rows(w, &s, i, smaller(w->n_rows - i, ROWS));
            backward_rows(w, &s, i, smaller(w->n_rows - i, ROWS));
        }
        ((real *)losses)[t] = (real)sum_squared_error(w->output, w->y, w->n_rows * w->n_outputs);
        update(w, &s);
    }
}

#endif
