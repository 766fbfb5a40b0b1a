"""The whole boundary to C: what src_c/fastnn.h declares, and what another Cython module needs to call it."""

from libc.stdint cimport int64_t

ctypedef fused floating:
    float
    double


cdef extern from "fastnn.h" nogil:
    int FASTNN_ALIGNMENT

    int FASTNN_IDENTITY, FASTNN_SIGMOID, FASTNN_TANH, FASTNN_RELU, FASTNN_LEAKY_RELU, FASTNN_ELU, FASTNN_SOFTPLUS
    int FASTNN_GELU, FASTNN_SILU, FASTNN_SIN, FASTNN_EXP, FASTNN_ACTIVATIONS

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

    ctypedef struct fastnn_kernels:
        const char *isa
        int bits
        void (*exp_forward)(void *out, const void *x, int64_t n) noexcept nogil
        void (*log_forward)(void *out, const void *x, int64_t n) noexcept nogil
        void (*sigmoid_forward)(void *out, const void *x, int64_t n) noexcept nogil
        void (*sigmoid_derivative)(void *out, const void *a, int64_t n) noexcept nogil
        void (*activation_forward)(int activation, void *a, void *slope, const void *z, int64_t n) noexcept nogil
        void (*activation_backward)(int activation, void *delta, const void *a, const void *slope,
                                    int64_t n) noexcept nogil
        double (*sum_squared_error)(const void *output, const void *y, int64_t n) noexcept nogil
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
        int64_t (*peak_flops)(void *sink, int64_t iterations) noexcept nogil

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
