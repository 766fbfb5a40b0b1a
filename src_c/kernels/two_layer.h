/* The book's network, one fused iteration at a time:
 *
 *     layer1 = sigmoid(x weights1)        output = sigmoid(layer1 weights2)
 *     delta2 = 2 (y - output) * output * (1 - output)
 *     delta1 = (delta2 weights2^T) * layer1 * (1 - layer1)
 *     weights1 += learning_rate x^T delta1        weights2 += learning_rate layer1^T delta2
 *
 * A chunk of ROWS rows goes forward and back while it is in the cache. Each gradient is one chain over all rows,
 * carried from chunk to chunk. A network as small as the book's is trained in registers, with the same operations in
 * the same order, so the same bits. */
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
    const int64_t products[] = {
        gemm_workspace(rows, w->n_hidden, w->n_inputs), gemm_workspace(rows, w->n_outputs, w->n_hidden),
        gemm_workspace(rows, w->n_hidden, w->n_outputs), gemm_workspace(w->n_inputs, w->n_hidden, rows),
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

static void forward_rows(const two_layer *w, const two_layer_scratch *s, int64_t first, int64_t rows) {
    const int64_t d = w->n_inputs, h = w->n_hidden, k = w->n_outputs;
    const real *x = (const real *)w->x + first * d;
    real *layer1 = (real *)w->layer1 + first * h, *output = (real *)w->output + first * k;
    product((target){layer1, h, 1}, row_major(x, d), row_major(w->weights1, h), 0, rows, h, d, s->gemm);
    sigmoid_forward(layer1, layer1, rows * h);
    product((target){output, k, 1}, row_major(layer1, h), row_major(w->weights2, k), 0, rows, k, h, s->gemm);
    sigmoid_forward(output, output, rows * k);
}

/* 2 (y - output) output (1 - output) */
INLINE vec v_output_delta(vec y, vec output, vec unused) {
    (void)unused;
    const vec error = v_sub(y, output);
    return v_mul(v_add(error, error), v_sigmoid_derivative(output));
}

/* delta a (1 - a) */
INLINE vec v_hidden_delta(vec delta, vec a, vec unused) {
    (void)unused;
    return v_mul(delta, v_sigmoid_derivative(a));
}

static void backward_rows(const two_layer *w, const two_layer_scratch *s, int64_t first, int64_t rows) {
    const int64_t d = w->n_inputs, h = w->n_hidden, k = w->n_outputs;
    const real *x = (const real *)w->x + first * d, *y = (const real *)w->y + first * k;
    const real *layer1 = (const real *)w->layer1 + first * h, *output = (const real *)w->output + first * k;
    map_pairs(s->delta2, y, output, v_zero(), rows * k, v_output_delta);
    product((target){s->gradient2, k, 1}, transposed(layer1, h), row_major(s->delta2, k), first > 0, h, k, rows,
            s->gemm);
    product((target){s->delta1, h, 1}, row_major(s->delta2, k), transposed(w->weights2, k), 0, rows, h, k, s->gemm);
    map_pairs(s->delta1, s->delta1, layer1, v_zero(), rows * h, v_hidden_delta);
    product((target){s->gradient1, h, 1}, transposed(x, d), row_major(s->delta1, h), first > 0, d, h, rows, s->gemm);
}

static void update(const two_layer *w, const two_layer_scratch *s) {
    const vec rate = v_set1((real)w->learning_rate);
    map_pairs(w->weights1, w->weights1, s->gradient1, rate, w->n_inputs * w->n_hidden, v_add_product);
    map_pairs(w->weights2, w->weights2, s->gradient2, rate, w->n_hidden * w->n_outputs, v_add_product);
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

static void two_layer_rows(const two_layer *w, int64_t first, int64_t rows, void *workspace) {
    int64_t bytes;
    const two_layer_scratch s = two_layer_parts(w, workspace, &bytes);
    for (int64_t i = first; i < first + rows; i += ROWS) {
        forward_rows(w, &s, i, smaller(first + rows - i, ROWS));
        backward_rows(w, &s, i, smaller(first + rows - i, ROWS));
    }
}

static void two_layer_update(const two_layer *w, void *workspace) {
    int64_t bytes;
    const two_layer_scratch s = two_layer_parts(w, workspace, &bytes);
    update(w, &s);
}

#if VLEN >= 4
enum { FEW_ROWS = 4, FEW_INPUTS = 8 };

/* FEW_ROWS rows, at most FEW_INPUTS inputs, hidden units that fit in one vector, one output: a vector holds the hidden
 * units of one row, so only the second layer needs a transpose, and the weights never leave the registers. In lanes
 * past the last hidden unit weights2 grows some nonsense, which no other lane reads and no masked store keeps. */
INLINE void train_in_registers(const two_layer *w, void *restrict losses, int64_t iterations, const int64_t d,
                               const int64_t h) {
    const int in_double = w->losses_in_double;
    const vpart hidden = v_first(h), rows = v_first(FEW_ROWS);
    const vec rate = v_set1((real)w->learning_rate), y = v_load_part(w->y, rows);
    vec x[FEW_ROWS][FEW_INPUTS]; /* each element in all lanes */
    vec weights1[FEW_INPUTS], weights2 = v_load_part(w->weights2, hidden), layer1[FEW_ROWS], output = v_zero();
    real lanes[VLEN];
    for (int p = 0; p < d; p++) weights1[p] = v_load_part((real *)w->weights1 + p * h, hidden);
    for (int i = 0; i < FEW_ROWS; i++) {
        layer1[i] = v_zero();
        for (int p = 0; p < d; p++) x[i][p] = v_set1(((const real *)w->x)[i * d + p]);
    }
    for (int64_t t = 0; t < iterations; t++) {
        vec by_unit[VLEN], z = v_zero(), gradient2 = v_zero();
        UNROLL
        for (int i = 0; i < FEW_ROWS; i++) {
            vec sum = v_zero();
            for (int p = 0; p < d; p++) sum = v_fma(x[i][p], weights1[p], sum);
            layer1[i] = sum;
        }
        UNROLL
        for (int i = 0; i < FEW_ROWS; i++) by_unit[i] = layer1[i] = v_sigmoid(layer1[i]);
        for (int i = FEW_ROWS; i < VLEN; i++) by_unit[i] = v_zero();
        v_transpose(by_unit);
        v_store(lanes, weights2);
        for (int j = 0; j < h; j++) z = v_fma(by_unit[j], v_set1(lanes[j]), z);
        output = v_sigmoid(z);

        const vec error = v_sub(y, output);
        v_store(lanes, v_fma(error, error, v_zero()));
        if (in_double)
            ((double *)losses)[t] = ((double)lanes[0] + (double)lanes[2]) + ((double)lanes[1] + (double)lanes[3]);
        else /* sum_lanes, the other lanes being zero */
            ((real *)losses)[t] = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);

        v_store(lanes, v_output_delta(y, output, v_zero()));
        vec delta1[FEW_ROWS];
        UNROLL
        for (int i = 0; i < FEW_ROWS; i++) {
            const vec delta2 = v_set1(lanes[i]);
            delta1[i] = v_hidden_delta(v_fma(delta2, weights2, v_zero()), layer1[i], v_zero());
            gradient2 = v_fma(layer1[i], delta2, gradient2);
        }
        weights2 = v_fma(rate, gradient2, weights2);
        for (int p = 0; p < d; p++) {
            vec gradient1 = v_zero();
            UNROLL
            for (int i = 0; i < FEW_ROWS; i++) gradient1 = v_fma(x[i][p], delta1[i], gradient1);
            weights1[p] = v_fma(rate, gradient1, weights1[p]);
        }
    }
    for (int p = 0; p < d; p++) v_store_part((real *)w->weights1 + p * h, hidden, weights1[p]);
    v_store_part(w->weights2, hidden, weights2);
    for (int i = 0; i < FEW_ROWS; i++) v_store_part((real *)w->layer1 + i * h, hidden, layer1[i]);
    v_store_part(w->output, rows, output);
}

static int two_layer_in_registers(const two_layer *w) {
    return w->n_rows == FEW_ROWS && w->n_outputs == 1 && w->n_inputs <= FEW_INPUTS && w->n_hidden <= VLEN;
}

#ifdef NARROWER_ISA
extern const fastnn_kernels TABLE(NARROWER_ISA, FASTNN_BITS);
#endif

/* Whether it fits; if so, it is done. The book's own shape is compiled with its sizes known. All waits for the
 * divisions of the sigmoids, and a vector half as long is divided in half the time: 0.093 us instead of 0.107 on
 * Sapphire Rapids. */
static int trained_in_registers(const two_layer *w, void *losses, int64_t iterations) {
    const int64_t d = w->n_inputs, h = w->n_hidden;
    if (iterations < 1 || !two_layer_in_registers(w)) return 0;
#ifdef NARROWER_ISA
    if (h <= VLEN / 2) {
        TABLE(NARROWER_ISA, FASTNN_BITS).two_layer_train(w, losses, iterations, NULL);
        return 1;
    }
#endif
    if (d == 3 && h == 4)
        train_in_registers(w, losses, iterations, 3, 4);
    else
        train_in_registers(w, losses, iterations, d, h);
    return 1;
}
#else
static int two_layer_in_registers(const two_layer *w) {
    (void)w;
    return 0;
}

static int trained_in_registers(const two_layer *w, void *losses, int64_t iterations) {
    (void)w, (void)losses, (void)iterations;
    return 0;
}
#endif

static void two_layer_train(const two_layer *w, void *losses, int64_t iterations, void *workspace) {
    if (trained_in_registers(w, losses, iterations)) return;
    for (int64_t t = 0; t < iterations; t++) {
        two_layer_rows(w, 0, w->n_rows, workspace);
        ((real *)losses)[t] = (real)sum_squared_error(w->output, w->y, w->n_rows * w->n_outputs);
        two_layer_update(w, workspace);
    }
}

#endif
