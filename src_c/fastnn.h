/* fastnn's C interface: one table of kernels per (instruction set, dtype).
 *
 * Every kernel of a table works on one dtype, float or double, named by `bits`; data pointers are `void *` so that one
 * caller serves both. Kernels allocate nothing, print nothing and keep no state: scratch memory is the caller's
 * `workspace`, of the size that the matching `*_workspace` function gives, aligned to FASTNN_ALIGNMENT bytes.
 * Outputs come first and sizes last. All sizes are int64_t and count elements, unless they are named bytes. */
#ifndef FASTNN_H
#define FASTNN_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { FASTNN_ALIGNMENT = 64 };

/* What a layer does to its sums z = x w + b: a = f(z). leaky_relu's slope is 0.01, elu's alpha 1, gelu the exact one. */
enum {
    FASTNN_IDENTITY,
    FASTNN_SIGMOID,
    FASTNN_TANH,
    FASTNN_RELU,
    FASTNN_LEAKY_RELU,
    FASTNN_ELU,
    FASTNN_SOFTPLUS,
    FASTNN_GELU,
    FASTNN_SILU,
    FASTNN_SIN,
    FASTNN_EXP,
    FASTNN_ACTIVATIONS
};

/* Whether f'(z) cannot be had from a, so that the forward pass has to keep it. */
static inline int fastnn_needs_slope(int activation) {
    return activation == FASTNN_GELU || activation == FASTNN_SILU || activation == FASTNN_SIN;
}

/* A matrix that is only read: element (i, j) is at data[i * row_stride + j * column_stride]. The strides may be zero or
 * negative, so a transposed, reversed or broadcast matrix costs no copy. */
typedef struct fastnn_matrix {
    const void *data;
    int64_t row_stride, column_stride;
} fastnn_matrix;

/* The two-layer network of the textbook: layer1 = sigmoid(x weights1), output = sigmoid(layer1 weights2), trained on the
 * sum of squared errors. All arrays are row-major and contiguous. */
typedef struct fastnn_two_layer {
    int64_t n_rows, n_inputs, n_hidden, n_outputs;
    const void *x; /* (n_rows, n_inputs) */
    const void *y; /* (n_rows, n_outputs) */
    void *weights1; /* (n_inputs, n_hidden) */
    void *weights2; /* (n_hidden, n_outputs) */
    void *layer1; /* (n_rows, n_hidden) */
    void *output; /* (n_rows, n_outputs) */
    double learning_rate;
} fastnn_two_layer;

typedef struct fastnn_kernels {
    const char *isa;
    int bits; /* 32: float, 64: double */

    /* Elementwise over n contiguous elements; out may be the input itself. */
    void (*exp_forward)(void *out, const void *x, int64_t n);
    void (*log_forward)(void *out, const void *x, int64_t n);
    void (*sigmoid_forward)(void *out, const void *x, int64_t n);
    void (*sigmoid_derivative)(void *out, const void *a, int64_t n); /* a (1 - a): takes the activation */

    /* a = f(z), where a may be z itself; f'(z) goes to `slope`, unless it is NULL, for those that fastnn_needs_slope, and
     * the others ignore it. Then delta *= f'(z), which is taken from slope or from a. */
    void (*activation_forward)(int activation, void *a, void *slope, const void *z, int64_t n);
    void (*activation_backward)(int activation, void *delta, const void *a, const void *slope, int64_t n);

    /* sum over n elements of (y - output)^2 */
    double (*sum_squared_error)(const void *output, const void *y, int64_t n);

    /* C (m, n) = A (m, k) B (k, n), or C += A B where `accumulate` is set; each element is one chain of fused
     * multiply-adds over k in order. C must not overlap A or B. */
    void (*gemm)(void *c, int64_t c_row_stride, int64_t c_column_stride, fastnn_matrix a, fastnn_matrix b,
                 int accumulate, int64_t m, int64_t n, int64_t k, void *workspace);
    int64_t (*gemm_workspace)(int64_t m, int64_t n, int64_t k); /* bytes */

    /* One iteration is forward, then backward; train does `iterations` of them and writes to losses[i], of the table's
     * dtype, the loss before update i. The bits are the same either way. */
    void (*two_layer_forward)(const fastnn_two_layer *network, void *workspace);
    void (*two_layer_backward)(const fastnn_two_layer *network, void *workspace);
    /* An iteration in parts, for one that takes long: the `rows` rows from `first` on go forward and back, from row 0 on
     * without a gap, which leaves the weights alone; then update moves them. */
    void (*two_layer_rows)(const fastnn_two_layer *network, int64_t first, int64_t rows, void *workspace);
    void (*two_layer_update)(const fastnn_two_layer *network, void *workspace);
    void (*two_layer_train)(const fastnn_two_layer *network, void *losses, int64_t iterations, void *workspace);
    int64_t (*two_layer_workspace)(const fastnn_two_layer *network); /* bytes */

    /* Independent fused multiply-adds in registers, to measure the peak; returns how many floating-point operations it
     * did, with a multiply-add counted as two. `sink` takes one element. */
    int64_t (*peak_flops)(void *sink, int64_t iterations);
} fastnn_kernels;

/* The instruction sets that were built, best first. */
int64_t fastnn_isa_count(void);
const char *fastnn_isa_name(int64_t index);
/* Whether this processor and operating system can run it. */
int fastnn_isa_runnable(int64_t index);
/* The table of one instruction set; NULL for an index out of range or other bits than 32 and 64. */
const fastnn_kernels *fastnn_table(int64_t index, int bits);

/* The compiler that built this, with its version. */
const char *fastnn_compiler(void);

#ifdef __cplusplus
}
#endif

#endif
