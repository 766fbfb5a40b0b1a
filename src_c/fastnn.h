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

enum {
    FASTNN_ALIGNMENT = 64,
    FASTNN_ROWS_UNIT = 32, /* in which rows, or a product's columns, may be shared out among threads */
    FASTNN_PIECE_ROWS = 256,
    FASTNN_PARTS = 16 /* of a large batch's gradient, see fastnn_parts */
};

#if defined(__SANITIZE_ADDRESS__)
#include <stddef.h>
void __asan_poison_memory_region(const volatile void *begin, size_t n_bytes);
#endif

/* A block of memory that is cut into parts leaves a gap of FASTNN_ALIGNMENT bytes behind each, whose end this is: where
 * the next begins. With AddressSanitizer, what touches the gap is found, as if the parts were blocks of their own. */
static inline char *fastnn_part_behind(char *end) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_poison_memory_region(end, FASTNN_ALIGNMENT);
#endif
    return end + FASTNN_ALIGNMENT;
}

/* What a layer does to its sums z = x w + b: a = f(z). leaky_relu's slope is 0.01, elu's alpha 1, gelu the exact
 * one. */
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

/* The two-layer network of the textbook: layer1 = sigmoid(x weights1), output = sigmoid(layer1 weights2), trained on
 * the sum of squared errors. All arrays are row-major and contiguous. */
typedef struct fastnn_two_layer {
    int64_t n_rows, n_inputs, n_hidden, n_outputs;
    const void *x; /* (n_rows, n_inputs) */
    const void *y; /* (n_rows, n_outputs) */
    void *weights1; /* (n_inputs, n_hidden) */
    void *weights2; /* (n_hidden, n_outputs) */
    void *layer1; /* (n_rows, n_hidden) */
    void *output; /* (n_rows, n_outputs) */
    double learning_rate;
    int losses_in_double; /* of train, in registers alone: double, and so summed, as fastnn_train has them */
} fastnn_two_layer;

/* A table that is only read, of any numeric type and any strides, which are in bytes. */
enum {
    FASTNN_FLOAT32,
    FASTNN_FLOAT64,
    FASTNN_INT8,
    FASTNN_INT16,
    FASTNN_INT32,
    FASTNN_INT64,
    FASTNN_UINT8,
    FASTNN_UINT16,
    FASTNN_UINT32,
    FASTNN_UINT64
};

typedef struct fastnn_table_view {
    const void *data;
    int64_t row_stride, column_stride, columns;
    int type;
    /* Compressed sparse rows, unless `indices` is NULL: row i has the elements data[j] in the columns indices[j], for j
     * from row_starts[i] to row_starts[i + 1], in ascending columns, and zeros. The strides mean nothing then. */
    const void *indices, *row_starts;
    int index_type; /* of both: FASTNN_INT32 or FASTNN_INT64 */
    int by_elements; /* whether a network multiplies them element by element, or as dense rows; see kernels/sparse.h */
} fastnn_table_view;

/* The same table from another row on. */
static inline fastnn_table_view fastnn_table_from(fastnn_table_view table, int64_t row) {
    if (table.indices)
        table.row_starts = (const char *)table.row_starts + row * (table.index_type == FASTNN_INT32 ? 4 : 8);
    else
        table.data = (const char *)table.data + row * table.row_stride;
    return table;
}

/* Losses; see kernels/loss.h */
enum {
    FASTNN_SSE,
    FASTNN_MSE,
    FASTNN_MAE,
    FASTNN_HUBER,
    FASTNN_QUANTILE,
    FASTNN_POISSON,
    FASTNN_BINARY_CROSS_ENTROPY,
    FASTNN_CROSS_ENTROPY,
    FASTNN_POISSON_DEVIANCE /* half of it: poisson with its constant, which is 0 where the output is the target */
};

/* What the rows' losses are multiplied by, with W the sum of the weights of a batch's rows and k the number of outputs:
 * 1 / W, and 1 / (W k) for means over outputs. scikit-learn takes half the squared error, computes the gradient of the
 * sum over outputs while it reports their mean, and divides the penalty by W too. */
enum { FASTNN_CONVENTION_OWN, FASTNN_CONVENTION_SCIKIT_LEARN };

typedef struct fastnn_layer {
    int64_t n_inputs, n_outputs;
    int64_t weights; /* where its (n_inputs, n_outputs) weights begin in the parameters; the biases follow */
    int64_t features; /* the inputs, and one more, of all layers before this one */
    int activation;
    int bias; /* 0 or 1 */
    double dropout; /* the rate at which its outputs are dropped in training */
} fastnn_layer;

/* A network of n_layers >= 1 layers, of which each takes the outputs of the one before. */
typedef struct fastnn_network {
    int64_t n_layers;
    const fastnn_layer *layers;
    int64_t n_parameters;
    int loss;
    int softmax; /* the output activation of cross_entropy, instead of the last layer's */
    double loss_parameter; /* huber's delta, quantile's q */
    double l2;
    int convention;
} fastnn_network;

/* Some rows that are taken together. The kernels work on a block of at most network_block_rows() of them at a
 * time. */
typedef struct fastnn_batch {
    fastnn_table_view x, y;
    fastnn_table_view weights; /* data is NULL: all 1 */
    double weight_unit; /* the power of two that the weights have been multiplied by, to keep off over- and underflow */
    int labels; /* y is a column of class numbers */
    const int64_t *order; /* which rows; NULL: as they lie */
    int64_t rows;
    double scale; /* what each row's loss is multiplied by, besides its weight */
    int drops; /* whether activations are dropped, as in training */
    uint64_t dropout_key; /* new for each step */
} fastnn_batch;

/* Optimizers; see kernels/optimizer.h */
enum { FASTNN_SGD, FASTNN_MOMENTUM, FASTNN_NESTEROV, FASTNN_RMSPROP, FASTNN_ADAM };

typedef struct fastnn_update {
    int optimizer;
    double learning_rate, beta_1, beta_2, epsilon, weight_decay;
    double beta_1_power, beta_2_power; /* beta^t, t the number of this step from 1 on */
    double gradient_scale;
    double l2; /* the gradient of each weight, not of the biases, grows by l2 times the weight first */
    int flushes; /* 0 instead of subnormal moments */
    int rate_in_velocity; /* momentum: the velocity is that of the parameters, not of the gradient */
    int epsilon_hat; /* adam: epsilon is not corrected for the bias */
    void *parameters, *first, *second;
    void *gradient; /* of the parameters from number gradient_from on */
    int64_t gradient_from;
} fastnn_update;

typedef struct fastnn_kernels {
    const char *isa;
    int bits; /* 32: float, 64: double */

    /* Elementwise over n contiguous elements; out may be the input itself. */
    void (*exp_forward)(void *out, const void *x, int64_t n);
    void (*log_forward)(void *out, const void *x, int64_t n);
    void (*sqrt_forward)(void *out, const void *x, int64_t n);
    void (*sigmoid_forward)(void *out, const void *x, int64_t n);
    void (*sigmoid_derivative)(void *out, const void *a, int64_t n); /* a (1 - a): takes the activation */

    /* a = f(z), where a may be z itself; f'(z) goes to `slope`, unless it is NULL, for those that fastnn_needs_slope,
     * and the others ignore it. Then delta *= f'(z), which is taken from slope or from a. */
    void (*activation_forward)(int activation, void *a, void *slope, const void *z, int64_t n);
    void (*activation_backward)(int activation, void *delta, const void *a, const void *slope, int64_t n);

    /* sum over n elements of (y - output)^2 */
    double (*sum_squared_error)(const void *output, const void *y, int64_t n);
    int (*all_finite)(const void *x, int64_t n); /* whether n contiguous elements are */

    /* C (m, n) = A (m, k) B (k, n), or C += A B where `accumulate` is set; each element is one chain of fused
     * multiply-adds over k in order. C must not overlap A or B. */
    void (*gemm)(void *c, int64_t c_row_stride, int64_t c_column_stride, fastnn_matrix a, fastnn_matrix b,
                 int accumulate, int64_t m, int64_t n, int64_t k, void *workspace);
    int64_t (*gemm_workspace)(int64_t m, int64_t n, int64_t k); /* bytes */

    /* One iteration is forward, then backward; train does `iterations` of them and writes to losses[i], of the table's
     * dtype unless losses_in_double, the loss before update i. The bits are the same either way. */
    void (*two_layer_forward)(const fastnn_two_layer *network, void *workspace);
    void (*two_layer_backward)(const fastnn_two_layer *network, void *workspace);
    /* An iteration in parts, for one that takes long: the `rows` rows from `first` on go forward and back, from row 0
     * on without a gap, which leaves the weights alone; then update moves them. */
    void (*two_layer_rows)(const fastnn_two_layer *network, int64_t first, int64_t rows, void *workspace);
    void (*two_layer_update)(const fastnn_two_layer *network, void *workspace);
    void (*two_layer_train)(const fastnn_two_layer *network, void *losses, int64_t iterations, void *workspace);
    int64_t (*two_layer_workspace)(const fastnn_two_layer *network); /* bytes */
    int (*two_layer_in_registers)(const fastnn_two_layer *network); /* whether train keeps all in registers */

    /* Networks of any depth. A batch goes through in blocks, each beginning at a multiple of network_block_rows() of it
     * or of a piece of it, and each in two phases. backpropagate takes a block's rows `first` to `last`, counted in the
     * block, forward and back; any division of the rows among calls, each beginning at a multiple of FASTNN_ROWS_UNIT,
     * gives the same bits. It writes each row's loss, times its weight, to row_losses[i]. gradient then adds the
     * block's share to the gradient of the weights' rows of slice `slice` of `slices`, or sets it where !accumulate.
     * Inputs that are multiplied `by_elements` need no room. */
    int64_t (*network_block_rows)(const fastnn_network *network, int by_elements, int64_t rows);
    int64_t (*network_workspace)(const fastnn_network *network, int by_elements, int64_t block_rows); /* bytes */
    void (*network_backpropagate)(const fastnn_network *network, const void *parameters, const fastnn_batch *batch,
                                  int64_t block, int64_t block_rows, int64_t first, int64_t last, double *row_losses,
                                  void *workspace, void *scratch);
    void (*network_gradient)(const fastnn_network *network, void *gradient, const fastnn_batch *batch, int64_t block,
                             int64_t block_rows, int accumulate, int64_t slice, int64_t slices, const void *workspace);
    /* gradient = the sum of n_parts gradients, which are `stride` elements apart, part by part; of the rows of a
     * slice. */
    void (*network_sum_parts)(const fastnn_network *network, void *gradient, const void *parts, int64_t stride,
                              int64_t n_parts, int64_t slice, int64_t slices);
    /* The output for rows first to last of a batch, row-major, to `output`, or the losses to row_losses, or both.
     * Returns 0 if it `checks` rows, contiguous and of the table's dtype, that are not all finite. */
    int (*network_forward)(const fastnn_network *network, const void *parameters, const fastnn_batch *batch,
                           int64_t first, int64_t last, void *output, double *row_losses, int checks, void *scratch);
    /* The same for one row x (n_inputs), contiguous, of the table's dtype. */
    void (*network_forward_row)(const fastnn_network *network, const void *parameters, const void *x, void *output,
                                void *scratch);
    /* d loss / d x (rows, n_inputs) of rows first to last; or where output >= 0 the derivative of that output. It takes
     * the inputs' place, so these are not multiplied by elements. */
    void (*network_input_gradient)(const fastnn_network *network, const void *parameters, const fastnn_batch *batch,
                                   int64_t first, int64_t last, int64_t output, void *gradient, int64_t row_stride,
                                   void *scratch);
    /* Bytes for one thread, for batches or blocks of at most so many rows. */
    int64_t (*network_scratch)(const fastnn_network *network, int by_elements, int64_t most_rows);

    /* gradient += l2 weights, unless it is NULL; returns the sum of squares of the weights */
    double (*network_penalty)(const fastnn_network *network, const void *parameters, void *gradient, double l2);
    double (*sum_of_squares)(const void *x, int64_t n);
    /* Move the parameters of a slice along their gradient; gradient of the same slice is all that it needs. */
    void (*network_update)(const fastnn_network *network, const fastnn_update *update, int64_t slice, int64_t slices);
    /* gradient of a block that is a whole batch, then update. The gradient's memory is used, but what it holds at the
     * end is not the gradient. */
    void (*network_step)(const fastnn_network *network, const fastnn_update *update, const fastnn_batch *batch,
                         int64_t slice, int64_t slices, const void *workspace);

    /* Independent fused multiply-adds in registers, to measure the peak; returns how many floating-point operations it
     * did, with a multiply-add counted as two. `sink` takes one element. */
    int64_t (*peak_flops)(void *sink, int64_t iterations);
} fastnn_kernels;

/* Threads that work together, of which thread 0 is the caller's; the others live from start to stop, but for one that
 * has not begun by then, which ends when it does. NULL is a team of one. */
typedef struct fastnn_team fastnn_team;
typedef void (*fastnn_work)(void *context, fastnn_team *team, int64_t thread);

/* If the system gives fewer threads than asked for, or no memory, the team is smaller. */
fastnn_team *fastnn_team_start(int64_t n_threads);
void fastnn_team_stop(fastnn_team *team);
int64_t fastnn_team_size(const fastnn_team *team);
/* Call work(context, team, thread) on each thread and wait for all. */
void fastnn_team_run(fastnn_team *team, fastnn_work work, void *context);
/* The same for work that any of the threads can do alone: those that have not begun when thread 0 returns stay out. */
void fastnn_team_share(fastnn_team *team, fastnn_work work, void *context);
/* Within the work of run, not of share: wait until all threads of the team have come here. */
void fastnn_team_wait(fastnn_team *team);
/* The counter's value, which grows by one: each thread that asks gets another. */
int64_t fastnn_team_claim(int64_t *counter);

/* A training in progress: the loops over the batches of one epoch. */
typedef struct fastnn_training {
    const fastnn_kernels *kernels;
    const fastnn_network *network;
    fastnn_batch data; /* all rows, in the order of the epoch */
    int64_t batch_size;
    fastnn_update update; /* of the next step, but for the powers, which are those of the step before */
    double clip_norm; /* 0: none */
    void *gradient;
    char *workspace, *scratch; /* of each thread, so many bytes apart; without parts, one workspace for all */
    int64_t workspace_bytes, scratch_bytes;
    double *row_losses; /* of one block, for each thread */
    int64_t block_rows;
    void *parts; /* FASTNN_PARTS gradients, part_stride elements apart, if a batch has any */
    int64_t part_stride;
    fastnn_team *team;
    int64_t first, last; /* the batches to do; first goes on with them */
    double until; /* on fastnn_seconds' clock: no step begins after this time but the first */
    double loss; /* the sum over the batches of rows times objective; the caller sets it to 0 */
    uint64_t dropout_key; /* of this epoch */
} fastnn_training;

/* How many parts the gradient of so many rows comes in, or 0. A large batch on a small network is cut into pieces of
 * FASTNN_PIECE_ROWS rows; part i takes pieces i, i + FASTNN_PARTS, ... in order, and the parts are added in order. So a
 * thread has whole pieces to itself, whose rows stay in its caches, and it does not matter to the result which. */
int64_t fastnn_parts(const fastnn_network *network, int64_t rows);
/* Take the steps of batches first to last; ends early when time is up or the loss is not finite, which `loss` then is
 * not. */
void fastnn_train(fastnn_training *training);
/* The objective of all rows as one batch, and its gradient, without a step. */
double fastnn_loss_and_gradient(fastnn_training *training);
/* What the loss of each row of a batch, times its weight, is multiplied by to make the batch's loss. */
double fastnn_row_scale(const fastnn_network *network, const fastnn_batch *batch);

/* order = a random permutation of 0 ... n - 1 (Fisher and Yates), from a generator of uniform 64-bit numbers. */
void fastnn_shuffle(int64_t *order, int64_t n, uint64_t (*next)(void *state), void *state);
/* Shuffle `order` further, in place, with the draws and swaps of numpy.random.RandomState.shuffle. */
void fastnn_shuffle_further(int64_t *order, int64_t n, uint64_t (*next)(void *state),
                            uint32_t (*next_half)(void *state), void *state);

/* C = [C +] A B, C (m, n), as the table's gemm has it, by several threads. */
typedef struct fastnn_multiplication {
    const fastnn_kernels *kernels;
    void *c;
    int64_t c_row_stride, c_column_stride;
    fastnn_matrix a, b;
    int accumulate;
    int64_t m, n, k;
    char *scratch; /* of each thread, scratch_bytes apart, which is at least gemm_workspace(m, n, k) */
    int64_t scratch_bytes;
    fastnn_team *team;
} fastnn_multiplication;

/* Of more threads than there are rows or columns of C in units of FASTNN_ROWS_UNIT, the others find nothing to do. */
void fastnn_multiply(const fastnn_multiplication *multiplication);

/* The forward pass of many rows by several threads, some rows at a time: the outputs (rows, n_outputs), unless output
 * is NULL, and the losses, unless row_losses, which has room for FASTNN_PREDICTION_ROWS, is NULL. */
enum { FASTNN_LOSS_LANES = 8, FASTNN_PREDICTION_ROWS = 4096 };

typedef struct fastnn_prediction {
    const fastnn_kernels *kernels;
    const fastnn_network *network;
    const void *parameters;
    fastnn_batch data;
    char *output;
    int64_t output_row_bytes;
    double *row_losses;
    char *scratch; /* of each thread, scratch_bytes apart */
    int64_t scratch_bytes;
    fastnn_team *team;
    int64_t position; /* the rows that are done; the caller sets it to 0 at first */
    int checks; /* the inputs, contiguous and of the kernels' dtype, may not be finite: look at them as they are read */
    int64_t not_finite; /* pieces of rows that are not; 0 at first */
    double losses[FASTNN_LOSS_LANES];
    double loss; /* at the end: the objective of the rows */
} fastnn_prediction;

/* Go on for so many seconds, and at least for some rows; returns whether it is done. */
int fastnn_predict(fastnn_prediction *prediction, double seconds);

/* The epochs of a fit. */
enum { FASTNN_RUNNING, FASTNN_FINISHED, FASTNN_STOPPED_EARLY, FASTNN_OUT_OF_TIME, FASTNN_NOT_FINITE };

/* Whether the team is faster than its first thread alone, as the steps themselves are measured to be: on a busy machine
 * it may not be. The bits are the same. Zero at first; it may go on with the next fit of such steps. */
typedef struct fastnn_pace {
    double step_seconds[2]; /* alone, together: what a step takes so; 0: not known */
    double trained; /* seconds spent on steps so far */
    double retry, interval; /* at how many the slower way is tried again, and how many after the last time */
    int64_t trial_steps; /* that are left of a trial, 0: none is going on */
    int trial_way;
    double trial_seconds; /* of its steps so far but the first */
} fastnn_pace;

typedef struct fastnn_fit {
    fastnn_training training;
    fastnn_team *team; /* that training and validation may use */
    fastnn_pace pace;
    fastnn_prediction validation; /* data.rows is 0: none */
    fastnn_two_layer textbook; /* the same training where two_layer_train can do it; else n_rows is 0 */
    int64_t n_epochs;
    const double *learning_rates;
    double *losses, *validation_losses, *seconds; /* of each epoch; seconds: when it ended, on fastnn_seconds' clock */
    int64_t epoch, batch; /* the next step */
    int64_t *order; /* room for a permutation of the rows; NULL: they are not shuffled */
    int shuffles_further; /* `order` is one already, and each epoch shuffles that of the last one further */
    uint64_t (*next_random)(void *state);
    uint32_t (*next_half)(void *state);
    void *random_state;
    double deadline; /* on fastnn_seconds' clock */
    void *previous; /* room for the parameters from before the epoch */
    /* Early stopping on the loss of the validation rows, or of the training if there are none. */
    int watches, on_validation;
    int against_lowest; /* falls count from the lowest loss, and one of min_delta itself is enough */
    int64_t patience, bad_epochs, best_epoch;
    double min_delta, best_loss; /* the last loss that counted as a fall by min_delta */
    double lowest_loss;
    void *best_parameters; /* those of the lowest loss; NULL: not kept */
} fastnn_fit;

/* Go on for so many seconds, and at least for one step. Returns FASTNN_RUNNING or why it ended. Where a loss or a
 * parameter is not finite after an epoch, the parameters are again those from before it. */
int fastnn_fit_for(fastnn_fit *fit, double seconds);

/* Seconds on a clock that never goes back. */
double fastnn_seconds(void);

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
