"""The kernels of the active instruction set, each behind one `def` that checks its arguments.

`sigmoid`, `sigmoid_derivative`, `exp` and `matmul` take what NumPy's functions take; all but `exp` are public, as
fastnn.sigmoid and so on. The others are for the tests and the benchmarks: they take typed memoryviews of exactly the
right kind.
"""

import os

import numpy as np

from fastnn.checks import as_floating
from fastnn.threads import threads_of_call

from cpython.buffer cimport PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport free, malloc

cdef object ndarray = np.ndarray
cdef object empty = np.empty
cdef object FLOAT32 = np.dtype(np.float32)
cdef object FLOAT64 = np.dtype(np.float64)

cdef int64_t active_index = 0
cdef const fastnn_kernels *active_float = NULL
cdef const fastnn_kernels *active_double = NULL


cdef const fastnn_kernels *active_table(int bits) noexcept nogil:
    return active_float if bits == 32 else active_double


cdef inline const fastnn_kernels *table_of(floating *dtype) noexcept nogil:
    """The active table for a C type, which the type of the pointer names."""
    return active_float if floating is float else active_double


def built_isas():
    """Names of the instruction sets that were built, best first."""
    return [fastnn_isa_name(i).decode() for i in range(fastnn_isa_count())]


def available_isas():
    """Names of the instruction sets that this machine can run, best first.

    Returns
    -------
    list of str
        Some of "avx512", "avx2", "neon" and "scalar". The environment variable FASTNN_ISA, read at import, makes
        fastnn use another than the first.
    """
    return [name for i, name in enumerate(built_isas()) if fastnn_isa_runnable(i)]


def isa():
    """Name of the instruction set in use.

    Returns
    -------
    str
    """
    return fastnn_isa_name(active_index).decode()


def compiler():
    """Name and version of the C compiler that built the kernels."""
    return fastnn_compiler().decode()


def select(str name not None):
    """Use another instruction set from now on, in the whole process; for tests. No kernel may be running."""
    global active_index, active_float, active_double
    if name not in available_isas():
        raise ValueError(f"instruction set {name!r} cannot run here; expected one of {', '.join(available_isas())}")
    active_index = built_isas().index(name)
    active_float = fastnn_table(active_index, 32)
    active_double = fastnn_table(active_index, 64)


def _select_at_import():
    cdef str name = os.environ.get("FASTNN_ISA", "")
    try:
        select(name or available_isas()[0])
    except ValueError as error:
        raise ImportError(f"FASTNN_ISA: {error}") from None


_select_at_import()


cdef class Workspace:
    def __cinit__(self):
        self.block = NULL
        self.data = NULL
        self.n_bytes = 0

    def __dealloc__(self):
        free(self.block)

    cdef void *reserve(self, int64_t n_bytes) except? NULL:
        """Make it hold at least n_bytes; what it held is lost."""
        if n_bytes > self.n_bytes:
            free(self.block)
            self.data = NULL
            self.n_bytes = 0
            self.block = malloc(<size_t> n_bytes + FASTNN_ALIGNMENT)
            if self.block == NULL:
                raise MemoryError(f"cannot allocate a workspace of {n_bytes} bytes")
            self.data = <void *> ((<uintptr_t> self.block + FASTNN_ALIGNMENT - 1) & ~<uintptr_t> (FASTNN_ALIGNMENT - 1))
            self.n_bytes = n_bytes
        return self.data


# Arguments

cdef inline object operand(object value, str name):
    """as_floating, with a short way through for the usual array."""
    if type(value) is ndarray:
        dtype = value.dtype
        if dtype is FLOAT64 or dtype is FLOAT32:
            flags = value.flags
            if flags.c_contiguous and flags.aligned:
                return value
    return as_floating(value, name)


cpdef object check_out(object out, tuple shape, object dtype):
    """Raise a TypeError or a ValueError unless `out` is an array that such a result can be written to."""
    if not isinstance(out, ndarray):
        raise TypeError(f"out must be a numpy.ndarray; got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"out must have dtype {dtype}; got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}; got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writeable; got a read-only array")


# Elementwise

ctypedef void (*elementwise)(void *out, const void *x, int64_t n) noexcept nogil

cdef enum:
    WITH_THE_GIL = 4096  # elements or multiply-adds: some microseconds, less than another thread would wait for
    ONE_THREADS_WORK = 1_000_000  # multiply-adds: fewer are not worth the question how many threads there may be


cdef bint map_view(floating[::1] out, const floating[::1] x, elementwise kernel) except -1:
    """Run the kernel, unless out and x overlap without being the same: then do nothing and return False."""
    cdef int64_t n = x.shape[0]
    if n == 0:
        return True
    if &out[0] != &x[0] and &out[0] < &x[0] + n and &x[0] < &out[0] + n:
        return False
    if n <= WITH_THE_GIL:
        kernel(&out[0], &x[0], n)
    else:
        with nogil:
            kernel(&out[0], &x[0], n)
    return True


cdef bint map_into(object out, object array, elementwise kernel32, elementwise kernel64) except -1:
    """map_view for contiguous arrays of any shape."""
    if array.ndim != 1:
        out, array = np.asarray(out).reshape(-1), array.reshape(-1)
    if array.dtype is FLOAT64:
        return map_view[double](out, array, kernel64)
    return map_view[float](out, array, kernel32)


cdef object map_array(object value, object out, str name, elementwise kernel32, elementwise kernel64):
    array = operand(value, name)
    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    dtype, shape = array.dtype, array.shape
    if out is not None:
        check_out(out, shape, dtype)
        flags = out.flags
        if flags.c_contiguous and flags.aligned and out.dtype is dtype and map_into(out, array, kernel32, kernel64):
            return out
    result = empty(shape, dtype)
    map_into(result, array, kernel32, kernel64)
    if out is None:
        return result if len(shape) else result[()]
    out[...] = result
    return out


def exp(x, out=None):
    """e to the power of x, within 1.25 ULP; see `sigmoid` for the arguments."""
    return map_array(x, out, "x", active_float.exp_forward, active_double.exp_forward)


def log(x, out=None):
    """Natural logarithm, within 1 ULP; see `sigmoid` for the arguments."""
    return map_array(x, out, "x", active_float.log_forward, active_double.log_forward)


def sqrt(x, out=None):
    """Square root, rounded to nearest; see `sigmoid` for the arguments."""
    return map_array(x, out, "x", active_float.sqrt_forward, active_double.sqrt_forward)


def sigmoid(x, out=None):
    """Compute the logistic sigmoid 1 / (1 + exp(-x)) of each element, within 1.75 ULP, without overflow or warnings.

    Parameters
    ----------
    x : array_like of real numbers, any shape
        float32 is computed in float32; float64, integers and booleans in float64.
    out : ndarray, optional
        Where to put the result: x's shape and the result's dtype. May be x itself.

    Returns
    -------
    ndarray or scalar
        The sigmoid, in x's shape; `out` if it was given. 0 for -inf, 1 for inf, NaN for NaN.

    Raises
    ------
    TypeError
        If x is not real numbers, or out is not an array of the result's dtype.
    ValueError
        If out has another shape or is read-only.
    """
    return map_array(x, out, "x", active_float.sigmoid_forward, active_double.sigmoid_forward)


def sigmoid_derivative(a, out=None):
    """Compute the derivative a (1 - a) of the sigmoid, as a function of its value a = sigmoid(x), not of x.

    Parameters
    ----------
    a : array_like of real numbers, any shape
        Activations.
    out : ndarray, optional
        Where to put the result: a's shape and the result's dtype. May be a itself.

    Returns
    -------
    ndarray or scalar
        a (1 - a), in a's shape; `out` if it was given.

    Raises
    ------
    TypeError
        If a is not real numbers, or out is not an array of the result's dtype.
    ValueError
        If out has another shape or is read-only.
    """
    return map_array(a, out, "a", active_float.sigmoid_derivative, active_double.sigmoid_derivative)


# The words for FASTNN_IDENTITY and so on, in their order
ACTIVATIONS = ("identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "softplus", "gelu", "silu", "sin", "exp")


cdef int activation_number(str name, bint has_slope, int64_t n, int64_t n_other, int64_t n_slope) except -1:
    if n_other != n or (has_slope and n_slope != n):
        raise ValueError("the arrays must be equally long")
    if name not in ACTIVATIONS:
        raise ValueError(f"name must be one of {', '.join(ACTIVATIONS)}; got {name!r}")
    return ACTIVATIONS.index(name)


def activation_forward(str name not None, floating[::1] a, const floating[::1] z, floating[::1] slope=None):
    """a = f(z), and slope = f'(z) for gelu, silu and sin."""
    cdef bint has_slope = slope is not None
    cdef int64_t n = a.shape[0]
    cdef int number = activation_number(name, has_slope, n, z.shape[0], slope.shape[0] if has_slope else 0)
    if n > 0:
        with nogil:
            table_of[floating](NULL).activation_forward(number, &a[0], &slope[0] if has_slope else NULL, &z[0], n)


def activation_backward(str name not None, floating[::1] delta, const floating[::1] a,
                        const floating[::1] slope=None):
    """delta *= f'(z), from a = f(z), or from the slope for gelu, silu and sin."""
    cdef bint has_slope = slope is not None
    cdef int64_t n = delta.shape[0]
    cdef int number = activation_number(name, has_slope, n, a.shape[0], slope.shape[0] if has_slope else 0)
    if fastnn_needs_slope(number) and not has_slope:
        raise ValueError(f"{name} needs its slope")
    if n > 0:
        with nogil:
            table_of[floating](NULL).activation_backward(number, &delta[0], &a[0],
                                                         &slope[0] if has_slope else NULL, n)


# Matrix products

cdef inline fastnn_matrix matrix_of(const floating[:, :] view) noexcept:
    cdef fastnn_matrix matrix
    matrix.data = &view[0, 0]
    matrix.row_stride = view.strides[0] // <int64_t> sizeof(floating)
    matrix.column_stride = view.strides[1] // <int64_t> sizeof(floating)
    return matrix


cdef int product(const fastnn_kernels *table, fastnn_matrix c, fastnn_matrix a, fastnn_matrix b, bint accumulate,
                 int64_t m, int64_t n, int64_t k, int64_t n_threads=1, int64_t repeats=1) except -1:
    """C = [C +] A B, `repeats` times; c too is described by a fastnn_matrix."""
    cdef Workspace workspace = Workspace.__new__(Workspace)
    cdef fastnn_multiplication w
    cdef int64_t _
    w.kernels, w.team, w.accumulate, w.m, w.n, w.k = table, NULL, accumulate, m, n, k
    w.c, w.c_row_stride, w.c_column_stride, w.a, w.b = <void *> c.data, c.row_stride, c.column_stride, a, b
    w.scratch_bytes = table.gemm_workspace(m, n, k) // FASTNN_ALIGNMENT * FASTNN_ALIGNMENT + FASTNN_ALIGNMENT
    w.scratch = <char *> workspace.reserve(n_threads * w.scratch_bytes)
    if m * n * k <= WITH_THE_GIL and repeats == 1:
        fastnn_multiply(&w)
        return 0
    with nogil:
        w.team = fastnn_team_start(n_threads)
        for _ in range(repeats):
            fastnn_multiply(&w)
        fastnn_team_stop(w.team)
    return 0


cdef int64_t threads_of(object n_threads, int64_t m, int64_t n, int64_t k) except -1:
    """How many threads a product starts: as any call, but no more than find something to do."""
    cdef double work = <double> m * n * k
    if work < ONE_THREADS_WORK and (n_threads is None or type(n_threads) is int and n_threads >= 1):
        return 1
    return min(threads_of_call(n_threads, work), (max(m, n, 1) - 1) // FASTNN_ROWS_UNIT + 1)


def gemm(floating[:, :] c, const floating[:, :] a, const floating[:, :] b, bint accumulate=False,
         int64_t repeats=1, int64_t n_threads=1):
    """C = A B, or C += A B: the kernel itself, `repeats` times over so that a benchmark can leave Python out."""
    cdef fastnn_matrix left, right
    if a.shape[1] != b.shape[0] or c.shape[0] != a.shape[0] or c.shape[1] != b.shape[1]:
        raise ValueError("gemm: the shapes of c, a and b do not fit together")
    if n_threads < 1:
        raise ValueError(f"gemm: n_threads must be at least 1; got {n_threads}")
    left = right = fastnn_matrix(NULL, 0, 0)
    if c.shape[0] > 0 and c.shape[1] > 0:
        if a.shape[1] > 0:
            left, right = matrix_of(a), matrix_of(b)
        product(table_of[floating](NULL), matrix_of[floating](c), left, right, accumulate, c.shape[0], c.shape[1],
                a.shape[1], n_threads, repeats)


# matmul reads its arrays through the buffer protocol itself: for a small product a typed memoryview, or a question to
# the array object, costs more than the arithmetic.

cdef bint is_direct(const Py_buffer *view) noexcept nogil:
    """Whether elements, if any, lie where C wants them: aligned, with strides of whole elements."""
    if view.shape[0] == 0 or view.shape[1] == 0:
        return True
    return (<uintptr_t> view.buf | <uintptr_t> view.strides[0] | <uintptr_t> view.strides[1]) % view.itemsize == 0


cdef fastnn_matrix matrix_in(const Py_buffer *view) noexcept nogil:
    cdef fastnn_matrix matrix
    matrix.data = view.buf
    matrix.row_stride = view.strides[0] // view.itemsize
    matrix.column_stride = view.strides[1] // view.itemsize
    return matrix


cdef void stretch(const Py_buffer *view, uintptr_t *ends) noexcept nogil:
    """The first and past-the-end address of a matrix that is not empty."""
    cdef int axis
    ends[0] = <uintptr_t> view.buf
    ends[1] = ends[0] + view.itemsize
    for axis in range(2):
        ends[view.strides[axis] >= 0] += (view.shape[axis] - 1) * view.strides[axis]


cdef bint overlap(const Py_buffer *a, const Py_buffer *b) noexcept nogil:
    """Whether the stretches of memory of two matrices touch."""
    cdef uintptr_t[2] first
    cdef uintptr_t[2] second
    stretch(a, first)
    stretch(b, second)
    return first[0] < second[1] and second[0] < first[1]


cdef object multiply(object a, object b, object out, object dtype, object n_threads):
    """The product of two matrices of dtype, in out or a new array; None where a or b has to be copied first."""
    cdef Py_buffer left, right
    PyObject_GetBuffer(a, &left, PyBUF_STRIDES)
    try:
        PyObject_GetBuffer(b, &right, PyBUF_STRIDES)
        try:
            if not is_direct(&left) or not is_direct(&right):
                return None
            return multiply_into(&left, &right, out, dtype, n_threads)
        finally:
            PyBuffer_Release(&right)
    finally:
        PyBuffer_Release(&left)


cdef object multiply_into(const Py_buffer *a, const Py_buffer *b, object out, object dtype, object n_threads):
    cdef Py_buffer c
    cdef int64_t m = a.shape[0], n = b.shape[1], k = a.shape[1], threads
    cdef bint direct = True
    cdef object result = out
    if k != b.shape[0]:
        raise ValueError(f"a's columns must be as many as b's rows; got shapes {(m, k)} and {(b.shape[0], n)}")
    if out is None:
        result = empty((m, n), dtype)
    else:
        check_out(out, (m, n), dtype)
    threads = threads_of(n_threads, m, n, k)
    if m == 0 or n == 0:
        return result
    PyObject_GetBuffer(result, &c, PyBUF_STRIDES | PyBUF_WRITABLE)
    try:
        if out is not None:
            direct = is_direct(&c) and not (k > 0 and (overlap(&c, a) or overlap(&c, b)))
        if direct:
            product(active_table(8 * a.itemsize), matrix_in(&c), matrix_in(a), matrix_in(b), False, m, n, k,
                    threads)
    finally:
        PyBuffer_Release(&c)
    if not direct:
        out[...] = multiply_into(a, b, None, dtype, threads)
    return result


def matmul(a, b, out=None, n_threads=None):
    """Multiply two matrices.

    Each element of the product is one chain of fused multiply-adds over the inner dimension in order, so the result has
    the same bits on every machine and for any number of threads, and a row of it does not depend on the rows around.

    Parameters
    ----------
    a : array_like, shape (m, k) or (k,)
    b : array_like, shape (k, n) or (k,)
        One-dimensional operands are taken as a row a and a column b, and their dimension is left out of the result, as
        numpy.matmul does. float32 with float32 is computed in float32, anything else in float64. Transposed and strided
        operands are read where they lie.
    out : ndarray, optional
        Where to put the result: its shape and dtype. May overlap a or b, at the cost of a copy.
    n_threads : int, optional
        At most so many threads; by default as many as the process may use, where the product is large enough to gain
        from them.

    Returns
    -------
    ndarray, shape (m, n), or scalar
        `out` if it was given.

    Raises
    ------
    TypeError
        If an operand is not real numbers, out is not an array of the result's dtype, or n_threads is not an integer.
    ValueError
        If the shapes do not fit, out is read-only, or n_threads is less than 1.
    """
    cdef object result = None
    # Most calls are of this kind, and quick: what is asked of an array object costs more than a small product.
    if type(a) is ndarray and type(b) is ndarray and a.dtype is b.dtype and a.ndim == 2 and b.ndim == 2:
        if a.dtype is FLOAT64 or a.dtype is FLOAT32:
            result = multiply(a, b, out, a.dtype, n_threads)
    return multiply_converted(a, b, out, n_threads) if result is None else result


cdef object multiply_converted(object a, object b, object out, object n_threads):
    """The product of whatever can be turned into matrices."""
    left, right = as_floating(a, "a"), as_floating(b, "b")
    for name, array in (("a", left), ("b", right)):
        if not 1 <= array.ndim <= 2:
            raise ValueError(f"{name} must have 1 or 2 dimensions; got shape {array.shape}")
    dtype = left.dtype if left.dtype == right.dtype else FLOAT64
    left, right = np.asarray(left, dtype), np.asarray(right, dtype)
    if left.shape[left.ndim - 1] != right.shape[0]:
        raise ValueError(f"a's columns must be as many as b's rows; got shapes {left.shape} and {right.shape}")
    shape = left.shape[:left.ndim - 1] + right.shape[1:]
    if out is not None:
        check_out(out, shape, dtype)
    left = left if left.ndim == 2 else left[None, :]
    right = right if right.ndim == 2 else right[:, None]
    result = multiply(left, right, None, dtype, n_threads).reshape(shape)
    if out is None:
        return result if len(shape) else result[()]
    out[...] = result
    return out


# The loss and the book's network

def sum_squared_error(const floating[::1] output, const floating[::1] y):
    """Sum of (y - output)^2 over all elements."""
    cdef const fastnn_kernels *table = table_of[floating](NULL)
    if output.shape[0] != y.shape[0]:
        raise ValueError(f"y must be as long as output ({output.shape[0]}); got {y.shape[0]}")
    if y.shape[0] == 0:
        return 0.0
    return table.sum_squared_error(&output[0], &y[0], y.shape[0])


cdef fastnn_two_layer two_layer_of(const floating[:, ::1] x, const floating[:, ::1] y, floating[:, ::1] weights1,
                                   floating[:, ::1] weights2, floating[:, ::1] layer1, floating[:, ::1] output,
                                   double learning_rate) except *:
    """Describe a network of at least one row, input, hidden unit and output to the kernels."""
    cdef fastnn_two_layer network
    network.n_rows, network.n_inputs = x.shape[0], x.shape[1]
    network.n_hidden, network.n_outputs = weights2.shape[0], weights2.shape[1]
    if min(network.n_rows, network.n_inputs, network.n_hidden, network.n_outputs) < 1:
        raise ValueError("x, weights1, weights2 and output must not be empty")
    for name, shape, rows, columns in (
        ("y", (y.shape[0], y.shape[1]), network.n_rows, network.n_outputs),
        ("weights1", (weights1.shape[0], weights1.shape[1]), network.n_inputs, network.n_hidden),
        ("layer1", (layer1.shape[0], layer1.shape[1]), network.n_rows, network.n_hidden),
        ("output", (output.shape[0], output.shape[1]), network.n_rows, network.n_outputs),
    ):
        if shape != (rows, columns):
            raise ValueError(f"{name} must have shape {(rows, columns)}; got {shape}")
    network.x, network.y = &x[0, 0], &y[0, 0]
    network.weights1, network.weights2 = &weights1[0, 0], &weights2[0, 0]
    network.layer1, network.output = &layer1[0, 0], &output[0, 0]
    network.learning_rate = learning_rate
    network.losses_in_double = False
    return network


def two_layer_forward(const floating[:, ::1] x, const floating[:, ::1] y, floating[:, ::1] weights1,
                      floating[:, ::1] weights2, floating[:, ::1] layer1, floating[:, ::1] output):
    """layer1 and output from x and the weights."""
    cdef fastnn_two_layer network = two_layer_of(x, y, weights1, weights2, layer1, output, 0)
    cdef const fastnn_kernels *table = table_of[floating](NULL)
    cdef Workspace workspace = Workspace()
    table.two_layer_forward(&network, workspace.reserve(table.two_layer_workspace(&network)))


def two_layer_backward(const floating[:, ::1] x, const floating[:, ::1] y, floating[:, ::1] weights1,
                       floating[:, ::1] weights2, floating[:, ::1] layer1, floating[:, ::1] output,
                       double learning_rate):
    """One update of the weights from layer1 and output."""
    cdef fastnn_two_layer network = two_layer_of(x, y, weights1, weights2, layer1, output, learning_rate)
    cdef const fastnn_kernels *table = table_of[floating](NULL)
    cdef Workspace workspace = Workspace()
    table.two_layer_backward(&network, workspace.reserve(table.two_layer_workspace(&network)))


def two_layer_train(const floating[:, ::1] x, const floating[:, ::1] y, floating[:, ::1] weights1,
                    floating[:, ::1] weights2, floating[:, ::1] layer1, floating[:, ::1] output,
                    double learning_rate, floating[::1] losses):
    """As many iterations as there are losses to fill."""
    cdef fastnn_two_layer network = two_layer_of(x, y, weights1, weights2, layer1, output, learning_rate)
    cdef const fastnn_kernels *table = table_of[floating](NULL)
    cdef Workspace workspace = Workspace()
    if losses.shape[0] > 0:
        table.two_layer_train(&network, &losses[0], losses.shape[0],
                              workspace.reserve(table.two_layer_workspace(&network)))


def peak_flops(int bits, int64_t iterations):
    """Run independent multiply-adds and return how many floating-point operations it were; for benchmarks."""
    cdef double sink
    cdef int64_t count
    cdef const fastnn_kernels *table = active_table(bits)
    with nogil:
        count = table.peak_flops(&sink, iterations)
    return count
