"""The whole boundary to C: what src_c/fastnn.h declares, and what another Cython module needs to call it."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

ctypedef fused floating:
    float
    double


cdef extern from "fastnn.h" nogil:
    int FASTNN_ALIGNMENT, FASTNN_ROWS_UNIT
    char *fastnn_part_behind(char *end) noexcept nogil

    int FASTNN_IDENTITY, FASTNN_SIGMOID, FASTNN_TANH, FASTNN_RELU, FASTNN_LEAKY_RELU, FASTNN_ELU, FASTNN_SOFTPLUS
    int FASTNN_GELU, FASTNN_SILU, FASTNN_SIN, FASTNN_EXP

    int FASTNN_CONVENTION_OWN, FASTNN_CONVENTION_SCIKIT_LEARN

    int fastnn_needs_slope(int activation) noexcept

    ctypedef struct fastnn_matrix:
        const void *data
        int64_t row_stride, column_stride

    ctypedef struct fastnn_two_layer:
        int64_t n_rows, n_inputs, n_hidden, n_outputs
        const void *x
        const void *y
        void *weights1
        void *weights2
        void *layer1
        void *output
        double learning_rate
        bint losses_in_double

    int FASTNN_FLOAT32, FASTNN_FLOAT64, FASTNN_INT32, FASTNN_INT64

    ctypedef struct fastnn_table_view:
        const void *data
        int64_t row_stride, column_stride, columns
        int type
        const void *indices
        const void *row_starts
        int index_type, by_elements

    ctypedef struct fastnn_layer:
        int64_t n_inputs, n_outputs, weights, features
        int activation, bias
        double dropout

    ctypedef struct fastnn_network:
        int64_t n_layers
        const fastnn_layer *layers
        int64_t n_parameters
        int loss, softmax
        double loss_parameter, l2
        int convention

    ctypedef struct fastnn_batch:
        fastnn_table_view x, y, weights
        double weight_unit
        int labels
        const int64_t *order
        int64_t rows
        double scale
        int drops
        uint64_t dropout_key

    int FASTNN_SGD, FASTNN_MOMENTUM, FASTNN_NESTEROV, FASTNN_RMSPROP, FASTNN_ADAM

    ctypedef struct fastnn_update:
        int optimizer
        double learning_rate, beta_1, beta_2, epsilon, weight_decay
        double beta_1_power, beta_2_power, gradient_scale
        int rate_in_velocity, epsilon_hat
        void *parameters
        void *first
        void *second
        void *gradient

    ctypedef struct fastnn_kernels:
        const char *isa
        int bits
        void (*exp_forward)(void *out, const void *x, int64_t n) noexcept nogil
        void (*log_forward)(void *out, const void *x, int64_t n) noexcept nogil
        void (*sqrt_forward)(void *out, const void *x, int64_t n) noexcept nogil
        void (*sigmoid_forward)(void *out, const void *x, int64_t n) noexcept nogil
        void (*sigmoid_derivative)(void *out, const void *a, int64_t n) noexcept nogil
        void (*activation_forward)(int activation, void *a, void *slope, const void *z, int64_t n) noexcept nogil
        void (*activation_backward)(int activation, void *delta, const void *a, const void *slope,
                                    int64_t n) noexcept nogil
        double (*sum_squared_error)(const void *output, const void *y, int64_t n) noexcept nogil
        int (*all_finite)(const void *x, int64_t n) noexcept nogil
        void (*gemm)(void *c, int64_t c_row_stride, int64_t c_column_stride, fastnn_matrix a, fastnn_matrix b,
                     int accumulate, int64_t m, int64_t n, int64_t k, void *workspace) noexcept nogil
        int64_t (*gemm_workspace)(int64_t m, int64_t n, int64_t k) noexcept nogil
        void (*two_layer_forward)(const fastnn_two_layer *network, void *workspace) noexcept nogil
        void (*two_layer_backward)(const fastnn_two_layer *network, void *workspace) noexcept nogil
        void (*two_layer_rows)(const fastnn_two_layer *network, int64_t first, int64_t rows,
                               void *workspace) noexcept nogil
        void (*two_layer_update)(const fastnn_two_layer *network, void *workspace) noexcept nogil
        void (*two_layer_train)(const fastnn_two_layer *network, void *losses, int64_t iterations,
                                void *workspace) noexcept nogil
        int64_t (*two_layer_workspace)(const fastnn_two_layer *network) noexcept nogil
        int (*two_layer_in_registers)(const fastnn_two_layer *network) noexcept nogil
        int64_t (*network_block_rows)(const fastnn_network *network, bint by_elements, int64_t rows) noexcept nogil
        int64_t (*network_workspace)(const fastnn_network *network, bint by_elements,
                                     int64_t block_rows) noexcept nogil
        int64_t (*network_scratch)(const fastnn_network *network, bint by_elements, int64_t most_rows) noexcept nogil
        int (*network_forward)(const fastnn_network *network, const void *parameters, const fastnn_batch *batch,
                               int64_t first, int64_t last, void *output, double *row_losses, int checks,
                               void *scratch) noexcept nogil
        void (*network_forward_row)(const fastnn_network *network, const void *parameters, const void *x, void *output,
                                    void *scratch) noexcept nogil
        void (*network_input_gradient)(const fastnn_network *network, const void *parameters,
                                       const fastnn_batch *batch, int64_t first, int64_t last, int64_t output,
                                       void *gradient, int64_t row_stride, void *scratch) noexcept nogil
        int64_t (*peak_flops)(void *sink, int64_t iterations) noexcept nogil

    ctypedef struct fastnn_team:
        pass

    fastnn_team *fastnn_team_start(int64_t n_threads) noexcept nogil
    void fastnn_team_stop(fastnn_team *team) noexcept nogil

    ctypedef struct fastnn_multiplication:
        const fastnn_kernels *kernels
        void *c
        int64_t c_row_stride, c_column_stride
        fastnn_matrix a, b
        bint accumulate
        int64_t m, n, k
        char *scratch
        int64_t scratch_bytes
        fastnn_team *team

    void fastnn_multiply(const fastnn_multiplication *multiplication) noexcept nogil

    ctypedef struct fastnn_training:
        const fastnn_kernels *kernels
        const fastnn_network *network
        fastnn_batch data
        int64_t batch_size
        fastnn_update update
        double clip_norm
        void *gradient
        char *workspace
        char *scratch
        int64_t workspace_bytes, scratch_bytes
        double *row_losses
        int64_t block_rows
        void *parts
        int64_t part_stride
        fastnn_team *team
        int64_t first, last
        double until, loss
        uint64_t dropout_key

    int FASTNN_PIECE_ROWS
    int64_t fastnn_parts(const fastnn_network *network, int64_t rows) noexcept nogil

    int FASTNN_PREDICTION_ROWS

    ctypedef struct fastnn_prediction:
        const fastnn_kernels *kernels
        const fastnn_network *network
        const void *parameters
        fastnn_batch data
        char *output
        int64_t output_row_bytes
        double *row_losses
        char *scratch
        int64_t scratch_bytes
        fastnn_team *team
        int64_t position
        int checks
        int64_t not_finite
        double loss

    int FASTNN_RUNNING, FASTNN_FINISHED, FASTNN_STOPPED_EARLY, FASTNN_OUT_OF_TIME, FASTNN_NOT_FINITE

    ctypedef struct fastnn_pace:
        pass

    ctypedef struct fastnn_fit:
        fastnn_training training
        fastnn_team *team
        fastnn_pace pace
        fastnn_prediction validation
        fastnn_two_layer textbook
        int64_t n_epochs
        const double *learning_rates
        double *losses
        double *validation_losses
        double *seconds
        int64_t epoch, batch
        int64_t *order
        int shuffles_further
        uint64_t (*next_random)(void *state) noexcept nogil
        uint32_t (*next_half)(void *state) noexcept nogil
        void *random_state
        double deadline
        void *previous
        int watches, on_validation, against_lowest
        int64_t patience, bad_epochs, best_epoch
        double min_delta, best_loss, lowest_loss
        void *best_parameters

    double fastnn_row_scale(const fastnn_network *network, const fastnn_batch *batch)
    double fastnn_loss_and_gradient(fastnn_training *training)
    int fastnn_predict(fastnn_prediction *prediction, double seconds)
    int fastnn_fit_for(fastnn_fit *fit, double seconds)
    double fastnn_seconds()

    int64_t fastnn_isa_count()
    const char *fastnn_isa_name(int64_t index)
    int fastnn_isa_runnable(int64_t index)
    const fastnn_kernels *fastnn_table(int64_t index, int bits)
    const char *fastnn_compiler()


# The active table. Other modules reach it only through here: two copies of it would be two truths.
cdef const fastnn_kernels *active_table(int bits) noexcept nogil


cdef class Workspace:
    """Scratch memory for a kernel, aligned as kernels want it, freed with the object."""
    cdef void *block
    cdef void *data
    cdef int64_t n_bytes
    cdef void *reserve(self, int64_t n_bytes) except? NULL


cdef fastnn_two_layer two_layer_of(const floating[:, ::1] x, const floating[:, ::1] y, floating[:, ::1] weights1,
                                   floating[:, ::1] weights2, floating[:, ::1] layer1, floating[:, ::1] output,
                                   double learning_rate) except *
