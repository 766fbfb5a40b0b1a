"""A network's memory and its loops, which run without the GIL.

Python checks and converts; what comes here has the right dtype, shape and meaning already. Words become numbers here,
as src_c/fastnn.h counts them.
"""

import _signal  # the functions of `signal` make enumerations of numbers, which takes longer than a small network's step
import threading

import numpy as np

from fastnn._kernels import ACTIVATIONS
from fastnn.checks import as_floating

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from fastnn._kernels cimport (
    FASTNN_ADAM,
    FASTNN_ALIGNMENT,
    FASTNN_CONVENTION_OWN,
    FASTNN_CONVENTION_SCIKIT_LEARN,
    FASTNN_FINISHED,
    FASTNN_INT32,
    FASTNN_INT64,
    FASTNN_MOMENTUM,
    FASTNN_NESTEROV,
    FASTNN_NOT_FINITE,
    FASTNN_OUT_OF_TIME,
    FASTNN_PIECE_ROWS,
    FASTNN_PREDICTION_ROWS,
    FASTNN_RMSPROP,
    FASTNN_RUNNING,
    FASTNN_SGD,
    FASTNN_STOPPED_EARLY,
    Workspace,
    active_table,
    fastnn_batch,
    fastnn_fit,
    fastnn_fit_for,
    fastnn_kernels,
    fastnn_layer,
    fastnn_loss_and_gradient,
    fastnn_network,
    fastnn_pace,
    fastnn_part_behind,
    fastnn_parts,
    fastnn_predict,
    fastnn_prediction,
    fastnn_row_scale,
    fastnn_seconds,
    fastnn_team_start,
    fastnn_team_stop,
    fastnn_table_view,
    fastnn_training,
    two_layer_of,
)

LOSSES = ("sse", "mse", "mae", "huber", "quantile", "poisson", "binary_cross_entropy", "cross_entropy",
          "poisson_deviance")
CONVENTIONS = {"fastnn": FASTNN_CONVENTION_OWN, "scikit-learn": FASTNN_CONVENTION_SCIKIT_LEARN}
ELEMENT_TYPES = {np.dtype(name): number for number, name in enumerate((
    "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"))}
OPTIMIZERS = {"sgd": FASTNN_SGD, "momentum": FASTNN_MOMENTUM, "nesterov": FASTNN_NESTEROV, "rmsprop": FASTNN_RMSPROP,
              "adam": FASTNN_ADAM}

cdef enum:
    INTERRUPTED = 100
    LONG_ROW = 1_000_000  # parameters from which one row takes so long that other Python threads should run meanwhile
    TEXTBOOK_ROWS = 4
    UNINTERRUPTED_ELEMENTS = 1 << 22  # some milliseconds' work between two looks for Ctrl-C
    # What multiplying sparse rows by their elements costs, in columns of a dense row: see multiplies_elements.
    ELEMENT_COST = 2
    BACKWARD_COST = 3
    FAR_COST = 3
    FAR_BYTES = 2 * 1024 * 1024
    ROW_BYTES = 12_000
    ROW_WIDTH = 16
    SIGMOID = 1

ctypedef fused index:
    int32_t
    int64_t

cpdef enum:  # compressed sparse rows
    UNSOUND
    UNORDERED
    ORDERED

cdef object ndarray = np.ndarray
cdef object empty = np.empty

REASONS = {FASTNN_FINISHED: "finished", FASTNN_STOPPED_EARLY: "early_stopping", FASTNN_OUT_OF_TIME: "max_time",
           FASTNN_NOT_FINITE: "not_finite", INTERRUPTED: "interrupt"}

cdef double UNINTERRUPTED = 0.02  # seconds between two looks for Ctrl-C

cdef extern from *:
    """
    #include <stdint.h>
    /* numpy/random/bitgen.h, which is public and stable */
    typedef struct {
        void *state;
        uint64_t (*next_uint64)(void *state);
        uint32_t (*next_uint32)(void *state);
        double (*next_double)(void *state);
        uint64_t (*next_raw)(void *state);
    } fastnn_bit_generator;

    /* The head of NumPy's arrays, which all compiled code reads: its binary interface since 1.7. To ask for a buffer
       instead costs as much as the forward pass of a small network. */
    typedef struct {
        PyObject_HEAD
        char *data;
        int nd;
        Py_ssize_t *dimensions, *strides;
        PyObject *base, *descr;
    } fastnn_array_fields;
    """
    ctypedef struct array_fields "fastnn_array_fields":
        char *data
        int nd
        Py_ssize_t *dimensions
        Py_ssize_t *strides
        PyObject *descr

    ctypedef struct fastnn_bit_generator:
        void *state
        uint64_t (*next_uint64)(void *state) noexcept nogil
        uint32_t (*next_uint32)(void *state) noexcept nogil


cdef int64_t address(object array) except? -1:
    """Of the first element; of any address where there is none."""
    if not isinstance(array, ndarray):
        raise TypeError(f"array must be a numpy.ndarray; got {type(array).__name__}")
    return <int64_t> <uintptr_t> (<array_fields *> <void *> array).data


cdef bint is_plain(object array, object dtype, int64_t item_size) noexcept:
    """Whether it is a matrix of the dtype with rows and columns, contiguous and aligned."""
    cdef const array_fields *fields = <const array_fields *> <void *> array
    return (type(array) is ndarray and fields.nd == 2 and <void *> fields.descr == <void *> dtype
            and fields.dimensions[0] > 0 and fields.dimensions[1] > 0
            and (fields.dimensions[1] == 1 or fields.strides[1] == item_size)
            and (fields.dimensions[0] == 1 or fields.strides[0] == fields.dimensions[1] * item_size)
            and <uintptr_t> fields.data % item_size == 0)


def is_plain_and_finite(array, dtype not None):
    """Whether an array is plain and all its numbers are finite; what is not plain takes a closer look."""
    cdef const array_fields *fields = <const array_fields *> <void *> array
    cdef int64_t item_size = dtype.itemsize, n, done
    cdef const fastnn_kernels *table = active_table(8 * item_size)
    cdef bint finite = is_plain(array, dtype, item_size)
    if not finite:
        return False
    n = fields.dimensions[0] * fields.dimensions[1]
    for done in range(0, n, UNINTERRUPTED_ELEMENTS):
        with nogil:
            finite = table.all_finite(fields.data + done * item_size, min(UNINTERRUPTED_ELEMENTS, n - done))
        if not finite:
            return False
        PyErr_CheckSignals()
    return True


cdef object aligned_zeros(object n, object dtype):
    """An array of n zeros that begins on a cache line, so that no vector of whole parameters lies across two."""
    memory = np.zeros(n * dtype.itemsize + FASTNN_ALIGNMENT, np.uint8)
    first = (FASTNN_ALIGNMENT - address(memory) % FASTNN_ALIGNMENT) % FASTNN_ALIGNMENT
    return memory[first:first + n * dtype.itemsize].view(dtype)


cdef fastnn_table_view view_of(object array) except *:
    """A two-dimensional array of one of ELEMENT_TYPES as the kernels read it. The caller keeps the array alive."""
    cdef fastnn_table_view view
    view.data = <const void *> <uintptr_t> address(array)
    view.row_stride, view.column_stride = array.strides
    view.columns = array.shape[1]
    view.type = ELEMENT_TYPES[array.dtype]
    view.indices = view.row_starts = NULL
    view.index_type = FASTNN_INT32  # of none; a struct that is returned is copied whole
    view.by_elements = False
    return view


cdef fastnn_table_view sparse_view_of(object table) except *:
    """A fastnn.data.SparseTable as the kernels read it. The caller keeps it alive."""
    cdef fastnn_table_view view
    view.data = <const void *> <uintptr_t> address(table.elements)
    view.row_stride = view.column_stride = 0
    view.columns = table.shape[1]
    view.type = ELEMENT_TYPES[table.elements.dtype]
    view.indices = <const void *> <uintptr_t> address(table.indices)
    view.row_starts = <const void *> <uintptr_t> address(table.row_starts)
    view.index_type = FASTNN_INT32 if table.indices.dtype.itemsize == 4 else FASTNN_INT64
    view.by_elements = False
    return view


def row_order(const index[::1] indices, const index[::1] starts, int64_t n_columns):
    """Whether compressed sparse rows are sound, and the columns of each ascend: UNSOUND, UNORDERED or ORDERED."""
    cdef int order
    with nogil:
        order = order_of(indices, starts, n_columns)
    return order


cdef int order_of(const index[::1] indices, const index[::1] starts, int64_t n_columns) noexcept nogil:
    cdef int64_t i, j, first, last
    cdef int order = ORDERED
    for i in range(starts.shape[0] - 1):
        first, last = starts[i], starts[i + 1]
        if first < 0 or last < first or last > indices.shape[0]:
            return UNSOUND
        for j in range(first, last):
            if indices[j] < 0 or indices[j] >= n_columns:
                return UNSOUND
            if j > first and indices[j] <= indices[j - 1]:
                order = UNORDERED
    return order


cdef class Rows:
    """Inputs x (n, d), an array or a fastnn.data.SparseTable; if any, targets y (n, k), or class numbers (n, 1), and
    weights (n, 1) of float64.

    `weight_unit` is the power of two that the weights were multiplied by.
    """

    cdef readonly object x, y, weights
    cdef fastnn_batch batch
    cdef int64_t n_elements  # of sparse rows

    def __init__(self, x, y=None, weights=None, double weight_unit=1, bint labels=False):
        self.x, self.y, self.weights = x, y, weights
        self.batch.rows = x.shape[0]
        self.n_elements = 0
        if type(x) is ndarray:
            self.batch.x = view_of(x)
        else:
            self.batch.x = sparse_view_of(x)
            self.n_elements = x.n_elements
        if y is not None:
            self.batch.y = view_of(y)
        if weights is not None:
            self.batch.weights = view_of(weights)
        self.batch.labels, self.batch.drops = labels, False
        self.batch.scale, self.batch.weight_unit = 1, weight_unit


cdef class Optimizer:
    """The kind of step, its constants, and its state for one network: the moments and the powers of the betas."""

    cdef readonly str kind
    cdef readonly object first, second
    cdef double beta_1, beta_2, epsilon, weight_decay, clip_norm
    cdef bint rate_in_velocity, epsilon_hat
    cdef public double beta_1_power, beta_2_power

    def __init__(self, str kind, object parameters, *, double beta_1=0, double beta_2=0, double epsilon=0,
                 double weight_decay=0, double clip_norm=0, bint rate_in_velocity=False, bint epsilon_hat=False):
        self.kind = kind
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.weight_decay, self.clip_norm = weight_decay, clip_norm
        self.rate_in_velocity, self.epsilon_hat = rate_in_velocity, epsilon_hat
        self.beta_1_power = self.beta_2_power = 1
        n, dtype = parameters.size, parameters.dtype
        self.first = aligned_zeros(n, dtype) if kind in ("momentum", "nesterov", "adam") else None
        self.second = aligned_zeros(n, dtype) if kind in ("rmsprop", "adam") else None

    def __reduce__(self):
        constants = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon,
                     "weight_decay": self.weight_decay, "clip_norm": self.clip_norm,
                     "rate_in_velocity": self.rate_in_velocity, "epsilon_hat": self.epsilon_hat}
        return restored_optimizer, (self.kind, constants, self.first, self.second, self.beta_1_power, self.beta_2_power)


def restored_optimizer(kind, constants, first, second, beta_1_power, beta_2_power):
    """The optimizer that was pickled or copied, with a state of its own."""
    some = first if first is not None else second if second is not None else np.empty(0)
    cdef Optimizer optimizer = Optimizer(kind, some, **constants)
    for moment, saved in ((optimizer.first, first), (optimizer.second, second)):
        if saved is not None:
            moment[...] = saved
    optimizer.beta_1_power, optimizer.beta_2_power = beta_1_power, beta_2_power
    return optimizer


cdef class HeldInterrupts:
    """A context manager in which Ctrl-C raises nothing: `pending` tells that it came.

    So an epoch's weights, optimizer state and history are changed all or none. It holds what Python itself would make a
    KeyboardInterrupt of; a signal handler of the program's own is left alone, and other threads than the main one hear
    no signals. What such a handler raises while the engine runs is raised at the end of the block.

    It is compiled, for Python calls handlers between its own instructions: one that raises must not come between the
    two changes of SIGINT's, or Ctrl-C would be held for good.
    """

    cdef readonly bint pending
    cdef bint holds
    cdef object raised

    def __enter__(self):
        self.holds = (threading.current_thread() is threading.main_thread()
                      and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler)
        if self.holds:
            _signal.signal(_signal.SIGINT, self.note)
        return self

    def note(self, number, frame):
        """The handler of SIGINT meanwhile."""
        self.pending = True

    cdef int hold(self, object raised) except -1:
        """Keep what a signal's handler raised for the end of the block; a KeyboardInterrupt only ends the fit."""
        if not isinstance(raised, KeyboardInterrupt):
            self.raised = raised
        return 0

    def __exit__(self, kind, error, traceback):
        while self.holds:
            try:
                _signal.signal(_signal.SIGINT, _signal.default_int_handler)
                self.holds = False
            except BaseException as raised:  # by a handler that was due, before anything was changed
                self.hold(raised)
        held, self.raised = self.raised, None
        if held is not None and error is not None:
            raise held from error
        if held is not None:
            raise held


cdef class Watch:
    """What a fit looks at after each epoch: the loss of other rows, if any, and whether to stop.

    It goes on from one call of `Network.fit` to the next, which may do an epoch each; epochs count from the first. With
    `against_lowest` a loss must fall by min_delta below the lowest so far, else below the last one that counted.
    """

    cdef Rows rows
    cdef bint stops, on_validation, against_lowest
    cdef int64_t patience
    cdef public int64_t bad_epochs
    cdef double min_delta, best_loss
    cdef public double lowest_loss
    cdef readonly int64_t epoch, best_epoch
    cdef readonly object best_parameters

    def __init__(self, Rows rows=None, *, bint stops=False, bint on_validation=True, int64_t patience=0,
                 double min_delta=0, bint against_lowest=False, object kept=None):
        self.rows, self.stops, self.on_validation = rows, stops, on_validation
        self.patience, self.min_delta, self.against_lowest = patience, min_delta, against_lowest
        self.best_loss = self.lowest_loss = np.inf
        self.bad_epochs = self.epoch = 0
        self.best_epoch = -1
        self.best_parameters = kept


cdef class Network:
    """The parameters of a network, one flat block, and what is done with them.

    One thread may change the network, or any number read it; another gets an error.
    """

    cdef fastnn_network network
    cdef fastnn_layer *layers
    cdef readonly object parameters
    cdef void *first_parameter
    cdef object gradient, previous, description
    cdef int64_t workspace_bytes, order_bytes  # of the last training
    cdef fastnn_pace pace
    cdef int64_t paced_rows, paced_threads
    cdef int bits
    cdef bint busy
    cdef unsigned long owner
    cdef int readers
    cdef readonly object dtype

    def __cinit__(self, layer_sizes, activations, str loss, double loss_parameter, bint bias, double l2, double dropout,
                  dtype, str convention="fastnn"):
        cdef int64_t i, n_layers = len(layer_sizes) - 1, offset = 0, features = 0
        self.description = (layer_sizes, activations, loss, loss_parameter, bias, l2, dropout, dtype, convention)
        self.dtype = dtype
        self.bits = 8 * dtype.itemsize
        self.layers = <fastnn_layer *> calloc(n_layers, sizeof(fastnn_layer))
        if self.layers == NULL:
            raise MemoryError(f"cannot allocate {n_layers} layers")
        for i in range(n_layers):
            self.layers[i].n_inputs, self.layers[i].n_outputs = layer_sizes[i], layer_sizes[i + 1]
            self.layers[i].weights, self.layers[i].features, self.layers[i].bias = offset, features, bias
            softmax = activations[i] == "softmax"
            self.layers[i].activation = 0 if softmax else ACTIVATIONS.index(activations[i])
            self.layers[i].dropout = dropout if i < n_layers - 1 else 0
            offset += (self.layers[i].n_inputs + bias) * self.layers[i].n_outputs
            features += self.layers[i].n_inputs + 1
        self.network.n_layers, self.network.layers, self.network.n_parameters = n_layers, self.layers, offset
        if loss == "poisson" and convention == "scikit-learn":
            loss = "poisson_deviance"
        self.network.loss, self.network.loss_parameter = LOSSES.index(loss), loss_parameter
        self.network.convention = CONVENTIONS[convention]
        self.network.softmax = activations[n_layers - 1] == "softmax"
        self.network.l2 = l2
        self.parameters = aligned_zeros(offset, dtype)
        self.first_parameter = <void *> <uintptr_t> address(self.parameters)

    def __dealloc__(self):
        free(self.layers)

    def layer_views(self):
        """Pairs of the weights and the biases, or None, of each layer: views into the parameters."""
        views = []
        for i in range(self.network.n_layers):
            n_inputs, n = self.layers[i].n_inputs, self.layers[i].n_outputs
            start = self.layers[i].weights
            middle = start + n_inputs * n
            biases = self.parameters[middle:middle + n] if self.layers[i].bias else None
            views.append((self.parameters[start:middle].reshape(n_inputs, n), biases))
        return views

    def copy(self):
        """Another network with the same parameters, which shares nothing with this one."""
        self.check_idle()
        other = Network(*self.description)
        other.parameters[...] = self.parameters
        return other

    @property
    def n_bytes(self):
        """Bytes of memory by purpose, the last two while the last training ran."""
        return {
            "parameters": self.parameters.nbytes,
            "gradient": 0 if self.gradient is None else self.gradient.nbytes,
            "last finite parameters": 0 if self.previous is None else self.previous.nbytes,
            "workspace": self.workspace_bytes,
            "order of the rows": self.order_bytes,
        }

    def acquire(self):
        """Make this thread the only one that may use the network until it calls `release`."""
        if self.owner != 0:
            raise RuntimeError("the network is in use by another thread, or by the fit whose callback this is; give "
                               "each a network of its own")
        self.check_unused()
        self.owner = PyThread_get_thread_ident()

    def release(self):
        self.owner = 0

    cpdef int check_idle(self) except -1:
        """Raise an error while another thread changes the network."""
        if self.busy or (self.owner != 0 and self.owner != PyThread_get_thread_ident()):
            raise RuntimeError("the network is in use by another thread; give each thread a network of its own")
        return 0

    cpdef int check_unused(self) except -1:
        """Raise an error while another thread changes or reads the network."""
        self.check_idle()
        if self.readers:
            raise RuntimeError("the network is in use by another thread, which reads it; wait for it to end")
        return 0

    cpdef bint multiplies_elements(self, Rows rows, bint goes_back):
        """Whether sparse rows are multiplied element by element, as src_c/kernels/sparse.h does, and not as dense ones.

        That is faster where few elements are stored. Both ways were measured on rows of 100 to 10,000 columns
        and layers of 1 to 256 outputs, in both dtypes. Where the weights stay in the second cache, a long row
        took the same either way with a third to a half of its elements stored in a forward pass, and with an
        eighth to a third in a step of training; where they do not, with 15 to 30 % and with 8 to 15 %. Of a
        short row, what it costs besides its elements matters more, the less there is to do for each column:
        with 100 columns, 64 outputs took the same at 20 to 25 %, and one output never in float32. This is the
        simplest rule that fits: over all that was measured it loses 1.4 % in the geometric mean against the
        better of the two, and at worst takes 1.4 times as long where it chooses the elements and 1.9 times
        where it does not.
        """
        cdef int64_t n_rows = rows.batch.rows, n_inputs = self.layers[0].n_inputs, width = self.layers[0].n_outputs
        cdef int64_t item_size = self.bits // 8, element = ELEMENT_COST
        cdef int64_t row = ROW_BYTES // item_size // (ROW_WIDTH + width)
        if rows.batch.x.indices == NULL:
            return False
        if goes_back:
            element += BACKWARD_COST
        if n_inputs * width * item_size > FAR_BYTES:
            element += FAR_COST
        return element * rows.n_elements + row * n_rows < n_inputs * n_rows

    cdef fastnn_batch batch_of(self, Rows rows, bint goes_back):
        """The rows as a pass over them reads them that goes forward, or forward and back."""
        cdef fastnn_batch batch = rows.batch
        batch.x.by_elements = self.multiplies_elements(rows, goes_back)
        return batch

    cdef Workspace prepare(self, fastnn_training *t, Rows rows, int64_t batch_size, int64_t n_threads,
                           Rows validation=None):
        """Describe a training and return the memory that it has, also for a forward pass over the validation rows.

        It ends with the call: of many networks that are kept, none holds more than its parameters and what the next
        fit goes on with. It is one block, for of several glibc would return the last to the system with each call, and
        to get its pages again takes up to half as long as a step.
        """
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef bint by_elements = self.multiplies_elements(rows, True)
        cdef int64_t n_parts = fastnn_parts(&self.network, batch_size), unit = FASTNN_ALIGNMENT * 8 // self.bits
        cdef int64_t loss_rows, workspace_bytes, scratch_bytes, parts_bytes
        cdef Workspace room = Workspace()
        t.kernels, t.network, t.data = table, &self.network, self.batch_of(rows, True)
        t.batch_size, t.team = batch_size, NULL
        t.block_rows = table.network_block_rows(&self.network, by_elements,
                                                FASTNN_PIECE_ROWS if n_parts else batch_size)
        t.workspace_bytes = (table.network_workspace(&self.network, by_elements, t.block_rows) + FASTNN_ALIGNMENT - 1
                             ) // FASTNN_ALIGNMENT * FASTNN_ALIGNMENT
        t.scratch_bytes = table.network_scratch(&self.network, by_elements, t.block_rows)
        if validation is not None:
            t.scratch_bytes = max(t.scratch_bytes, table.network_scratch(
                &self.network, self.multiplies_elements(validation, False), validation.batch.rows))
        loss_rows = t.block_rows * n_threads
        if validation is not None:
            loss_rows = max(loss_rows, <int64_t> FASTNN_PREDICTION_ROWS)
        t.part_stride = (self.network.n_parameters + unit - 1) // unit * unit
        # All but the last are whole cache lines, so each begins on one.
        workspace_bytes = t.workspace_bytes * (n_threads if n_parts else 1)
        scratch_bytes = t.scratch_bytes * n_threads
        parts_bytes = n_parts * t.part_stride * self.bits // 8
        t.workspace = <char *> room.reserve(workspace_bytes + scratch_bytes + parts_bytes + loss_rows * sizeof(double)
                                            + 3 * FASTNN_ALIGNMENT)
        t.scratch = fastnn_part_behind(t.workspace + workspace_bytes)
        t.parts = fastnn_part_behind(t.scratch + scratch_bytes)
        t.row_losses = <double *> fastnn_part_behind(<char *> t.parts + parts_bytes)
        t.update.parameters = self.first_parameter
        self.workspace_bytes = room.n_bytes
        return room

    cdef int attach(self, fastnn_training *t, Optimizer optimizer) except -1:
        """Give the training a gradient, the optimizer's constants and its state."""
        self.reserve_gradient(t)
        t.clip_norm = optimizer.clip_norm
        t.update.optimizer = OPTIMIZERS[optimizer.kind]
        t.update.beta_1, t.update.beta_2, t.update.epsilon = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
        t.update.weight_decay = optimizer.weight_decay
        t.update.rate_in_velocity, t.update.epsilon_hat = optimizer.rate_in_velocity, optimizer.epsilon_hat
        t.update.beta_1_power, t.update.beta_2_power = optimizer.beta_1_power, optimizer.beta_2_power
        t.update.first = NULL if optimizer.first is None else <void *> <uintptr_t> address(optimizer.first)
        t.update.second = NULL if optimizer.second is None else <void *> <uintptr_t> address(optimizer.second)
        return 0

    cdef int reserve_gradient(self, fastnn_training *t) except -1:
        if self.gradient is None:
            self.gradient = aligned_zeros(self.parameters.size, self.dtype)
        t.gradient = <void *> <uintptr_t> address(self.gradient)
        t.update.gradient = t.gradient
        return 0

    cdef int describe_prediction(self, fastnn_prediction *p, Rows rows, const fastnn_training *t) except -1:
        """A forward pass over some rows with the memory of a training."""
        p.kernels, p.network, p.parameters = t.kernels, t.network, t.update.parameters
        p.data = self.batch_of(rows, False)
        p.output, p.output_row_bytes, p.row_losses = NULL, 0, t.row_losses
        p.scratch, p.scratch_bytes, p.team = t.scratch, t.scratch_bytes, t.team
        p.position = 0
        return 0

    def fit(self, Rows rows, int64_t batch_size, Optimizer optimizer, double[:, :] table, bit_generator,
            bint shuffle, Watch watch, double deadline, HeldInterrupts interrupts, int64_t n_threads,
            int64_t[::1] order=None):
        """Train for as many epochs as `table` has columns, which is laid out as fastnn.history.History.room.

        It holds their learning rates; their losses and seconds are written to it.

        With `order`, a permutation of the rows, each epoch shuffles that array further, as NumPy's RandomState.shuffle
        does; else, if `shuffle` is set and a step takes fewer rows than all, it draws a permutation of its own.

        Returns how many epochs were done, and why they ended: "finished", "early_stopping", "max_time", "interrupt"
        once `interrupts` has one pending or holds what a signal's handler raised, or "not_finite"; in the last case
        the parameters are those from before the epoch, which does not count as done.
        """
        cdef fastnn_fit f
        cdef fastnn_bit_generator *generator
        cdef int state = FASTNN_RUNNING
        cdef int64_t epoch
        cdef double start = fastnn_seconds()
        cdef Workspace order_room = Workspace()
        if (table.shape[1] < 1 or table.shape[0] != (3 if watch.rows is None else 4)
                or table.strides[1] != sizeof(double)):
            raise ValueError("fit: the table must have contiguous rows for what the epochs leave")
        if order is not None and order.shape[0] != rows.batch.rows:
            raise ValueError("fit: the order must be a permutation of the rows")
        memset(&f, 0, sizeof(f))
        self.check_unused()
        self.busy = True
        try:
            _room = self.prepare(&f.training, rows, batch_size, n_threads, watch.rows)  # keeps it alive
            self.attach(&f.training, optimizer)
            f.team = fastnn_team_start(n_threads)
            if self.paced_rows == batch_size and self.paced_threads == n_threads:
                f.pace = self.pace
            if self.previous is None:
                self.previous = np.empty_like(self.parameters)
            f.previous = <void *> <uintptr_t> address(self.previous)
            f.n_epochs = table.shape[1]
            f.losses, f.learning_rates, f.seconds = &table[0, 0], &table[1, 0], &table[2, 0]
            f.validation_losses = NULL
            f.deadline = deadline
            f.order = NULL
            if order is not None:
                f.order, f.shuffles_further = &order[0], True
            elif shuffle and batch_size < f.training.data.rows:
                f.order = <int64_t *> order_room.reserve(f.training.data.rows * sizeof(int64_t))
            self.order_bytes = order_room.n_bytes
            generator = <fastnn_bit_generator *> PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
            f.next_random, f.next_half, f.random_state = generator.next_uint64, generator.next_uint32, generator.state
            f.validation.data.rows = 0
            if watch.rows is not None:
                self.describe_prediction(&f.validation, watch.rows, &f.training)
                f.validation_losses = &table[3, 0]
            self.begin_watch(&f, watch)
            _arrays = self.describe_textbook(&f, rows, optimizer)  # keeps them alive
            with bit_generator.lock:
                while state == FASTNN_RUNNING:
                    with nogil:
                        state = fastnn_fit_for(&f, UNINTERRUPTED)
                    try:
                        PyErr_CheckSignals()
                    except BaseException as error:
                        interrupts.hold(error)
                        if state != FASTNN_NOT_FINITE:  # also after the last of these epochs: the caller may have more
                            state = INTERRUPTED
                    if interrupts.pending and state == FASTNN_RUNNING:
                        state = INTERRUPTED
            if optimizer.kind == "adam":  # to the others they mean nothing, and not every way of training counts them
                optimizer.beta_1_power = f.training.update.beta_1_power
                optimizer.beta_2_power = f.training.update.beta_2_power
            self.end_watch(&f, watch)
        finally:
            fastnn_team_stop(f.team)
            self.pace, self.paced_rows, self.paced_threads = f.pace, batch_size, n_threads
            self.busy = False
        for epoch in range(f.epoch):
            f.seconds[epoch], start = f.seconds[epoch] - start, f.seconds[epoch]
        return f.epoch, REASONS[state]

    cdef object describe_textbook(self, fastnn_fit *f, Rows rows, Optimizer optimizer):
        """Let two_layer_train do what it can do: returns the arrays that it reads and writes, or None."""
        cdef fastnn_layer *first = self.layers
        cdef fastnn_layer *second = self.layers + 1
        cdef const fastnn_kernels *table = f.training.kernels
        f.textbook.n_rows = 0
        if (self.network.n_layers != 2 or rows.batch.rows != TEXTBOOK_ROWS or f.training.batch_size < TEXTBOOK_ROWS
                or first.bias or first.activation != SIGMOID or second.activation != SIGMOID or first.dropout > 0
                or second.n_outputs != 1 or self.network.loss != LOSSES.index("sse") or self.network.l2 != 0
                or rows.weights is not None or rows.batch.x.indices != NULL
                or optimizer.kind != "sgd" or optimizer.clip_norm != 0 or f.watches
                or f.validation.data.rows != 0):
            return None
        x, y = np.ascontiguousarray(rows.x, self.dtype), np.ascontiguousarray(rows.y, self.dtype)
        hidden = np.empty((TEXTBOOK_ROWS, first.n_outputs), self.dtype)
        output = np.empty((TEXTBOOK_ROWS, 1), self.dtype)
        weights = [view for view, _ in self.layer_views()]
        if self.bits == 32:
            f.textbook = two_layer_of[float](x, y, weights[0], weights[1], hidden, output, 0)
        else:
            f.textbook = two_layer_of[double](x, y, weights[0], weights[1], hidden, output, 0)
        f.textbook.losses_in_double = True
        if not table.two_layer_in_registers(&f.textbook):
            f.textbook.n_rows = 0
        return x, y, hidden, output

    cdef int begin_watch(self, fastnn_fit *f, Watch watch) except -1:
        f.watches, f.on_validation, f.patience, f.min_delta = (watch.stops, watch.on_validation, watch.patience,
                                                               watch.min_delta)
        f.against_lowest = watch.against_lowest
        f.bad_epochs, f.best_loss, f.lowest_loss = watch.bad_epochs, watch.best_loss, watch.lowest_loss
        f.best_epoch = -1
        f.best_parameters = NULL
        if watch.best_parameters is not None:
            f.best_parameters = <void *> <uintptr_t> address(watch.best_parameters)
        return 0

    cdef int end_watch(self, const fastnn_fit *f, Watch watch) except -1:
        watch.bad_epochs, watch.best_loss, watch.lowest_loss = f.bad_epochs, f.best_loss, f.lowest_loss
        if f.best_epoch >= 0:
            watch.best_epoch = watch.epoch + f.best_epoch
        watch.epoch += f.epoch
        return 0

    def forward_work(self, Rows rows, bint goes_back=False):
        """Multiply-adds of a forward pass over the rows, or of the forward part of one that goes back too."""
        cdef int64_t n_rows = rows.batch.rows, of_layer = self.layers[0].n_inputs * self.layers[0].n_outputs
        if self.multiplies_elements(rows, goes_back):
            return n_rows * (self.network.n_parameters - of_layer) + rows.n_elements * self.layers[0].n_outputs
        return n_rows * self.network.n_parameters

    def predict(self, Rows rows, out, int64_t n_threads):
        """The outputs (n, k) into `out`, a C-ordered array of the network's dtype."""
        cdef fastnn_prediction p
        self.run_prediction(&p, rows, out, n_threads)

    def predict_plain(self, x, int64_t n_threads):
        """The outputs (n, k) for x (n, d), or None where x is not plain: contiguous, of the network's dtype and finite.

        One row takes half a microsecond beside its arithmetic.
        """
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef array_fields *fields = <array_fields *> <void *> x
        cdef int64_t item_size = self.bits // 8, n_inputs = self.layers[0].n_inputs, n
        cdef fastnn_prediction p
        cdef Workspace scratch
        if not is_plain(x, self.dtype, item_size) or fields.dimensions[1] != n_inputs:
            return None
        n = fields.dimensions[0]
        out = empty((n, self.layers[self.network.n_layers - 1].n_outputs), self.dtype)
        if n != 1 or self.network.n_parameters > LONG_ROW:
            self.run_prediction(&p, Rows(x), out, n_threads, checks=True)
            return out if p.not_finite == 0 else None
        self.check_idle()
        if not table.all_finite(fields.data, n_inputs):
            return None
        scratch = Workspace()
        table.network_forward_row(&self.network, self.first_parameter, fields.data,
                                  (<array_fields *> <void *> out).data,
                                  scratch.reserve(table.network_scratch(&self.network, False, 1)))
        return out

    def loss(self, Rows rows, int64_t n_threads):
        """The objective of some rows."""
        cdef fastnn_prediction p
        self.run_prediction(&p, rows, None, n_threads)
        return p.loss

    cdef int run_prediction(self, fastnn_prediction *p, Rows rows, object out, int64_t n_threads,
                            bint checks=False) except -1:
        """The outputs into `out`, or if that is None the loss into `p`; p.not_finite says what `checks` found."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef Workspace scratch = Workspace(), row_losses = Workspace()
        cdef bint done = rows.batch.rows == 0
        self.check_idle()
        p.kernels, p.network, p.data = table, &self.network, self.batch_of(rows, False)
        p.parameters = self.first_parameter
        p.scratch_bytes = table.network_scratch(&self.network, p.data.x.by_elements, rows.batch.rows)
        p.team, p.position, p.checks, p.not_finite = NULL, 0, checks, 0
        p.scratch = <char *> scratch.reserve(p.scratch_bytes * n_threads)
        p.output = p.row_losses = NULL
        p.loss = 0
        if out is None:
            p.row_losses = <double *> row_losses.reserve(FASTNN_PREDICTION_ROWS * sizeof(double))
        else:
            p.output = <char *> <uintptr_t> address(out)
            p.output_row_bytes = out.shape[1] * out.itemsize
        self.readers += 1
        try:
            p.team = fastnn_team_start(n_threads)
            while not done:
                with nogil:
                    done = fastnn_predict(p, UNINTERRUPTED)
                PyErr_CheckSignals()
        finally:
            fastnn_team_stop(p.team)
            self.readers -= 1
        return 0

    def loss_and_gradient(self, Rows rows, int64_t n_threads):
        """The objective of some rows as one batch, and its gradient in a new array."""
        cdef fastnn_training t
        cdef double loss
        self.check_unused()
        self.busy = True
        try:
            _room = self.prepare(&t, rows, rows.batch.rows, n_threads)  # keeps it alive
            self.reserve_gradient(&t)
            with nogil:
                t.team = fastnn_team_start(n_threads)
                loss = fastnn_loss_and_gradient(&t)
                fastnn_team_stop(t.team)
            return loss, self.gradient.copy()
        finally:
            self.busy = False

    def input_gradient(self, Rows rows, int64_t output, out):
        """The derivative of the loss, or where output >= 0 of that output, by each input: into `out` (n, d)."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef Workspace scratch = Workspace()
        cdef void *room = scratch.reserve(table.network_scratch(&self.network, False, rows.batch.rows))
        cdef char *to = <char *> <uintptr_t> address(out)
        cdef fastnn_batch batch = rows.batch
        cdef int64_t first = 0, last, row_stride = out.strides[0] // out.itemsize, row_bytes = out.strides[0]
        self.check_idle()
        batch.scale = fastnn_row_scale(&self.network, &batch)
        self.readers += 1
        try:
            while first < batch.rows:
                last = min(batch.rows, first + <int64_t> FASTNN_PREDICTION_ROWS)
                with nogil:
                    table.network_input_gradient(&self.network, self.first_parameter, &batch, first, last, output,
                                                 to + first * row_bytes, row_stride, room)
                first = last
                PyErr_CheckSignals()
        finally:
            self.readers -= 1


cdef class Predictor:
    """A network's forward pass for one row at a time, on parameters of its own."""

    cdef Network network
    cdef Workspace scratch
    cdef object dtype, shape
    cdef int64_t n_inputs, item_size
    cdef bint is_long

    def __init__(self, Network network not None):
        self.network = network
        self.dtype = network.dtype
        self.shape = (network.layers[network.network.n_layers - 1].n_outputs,)
        self.n_inputs, self.item_size = network.layers[0].n_inputs, network.bits // 8
        self.is_long = network.network.n_parameters > LONG_ROW
        self.scratch = Workspace()
        self.scratch.reserve(active_table(network.bits).network_scratch(&network.network, False, 1))

    def __reduce__(self):
        raise TypeError("a predictor cannot be pickled or copied; do that with the network, and call its predictor()")

    def __call__(self, x, out=None):
        """The output (n_outputs,) for one row x (n_inputs,)."""
        if not self.is_plain(x, self.n_inputs):
            with np.errstate(over="ignore", under="ignore"):
                x = np.ascontiguousarray(as_floating(x, "x"), self.dtype)
            if x.ndim != 1 or x.shape[0] != self.n_inputs:
                raise ValueError(f"x must have shape ({self.n_inputs},), one row; got {x.shape}")
        if out is None:
            out = empty(self.shape, self.dtype)
        else:
            if not self.is_plain(out, self.shape[0]) or not out.flags.writeable:
                raise ValueError(f"out must be a contiguous, writeable array of {self.dtype} and shape {self.shape}; "
                                 f"got {getattr(out, 'dtype', type(out).__name__)} and "
                                 f"{getattr(out, 'shape', 'no shape')}")
            if np.may_share_memory(x, out):
                x = x.copy()
        self.run((<array_fields *> <void *> x).data, (<array_fields *> <void *> out).data)
        return out

    cdef bint is_plain(self, object array, int64_t n):
        """Whether it is a vector of n elements that C can take as it lies."""
        cdef array_fields *fields = <array_fields *> <void *> array
        return (type(array) is ndarray and fields.nd == 1 and fields.dimensions[0] == n
                and (<void *> fields.descr == <void *> self.dtype or array.dtype == self.dtype)
                and (n == 1 or fields.strides[0] == self.item_size)
                and <uintptr_t> fields.data % self.item_size == 0)

    cdef int run(self, const void *x, void *out) except -1:
        cdef const fastnn_kernels *table = active_table(self.network.bits)
        cdef Workspace scratch
        if not table.all_finite(x, self.n_inputs):
            raise ValueError(f"x must be finite in {self.dtype}; got {x_as_array(x, self.n_inputs, self.dtype)}")
        if not self.is_long:
            table.network_forward_row(&self.network.network, self.network.first_parameter, x, out, self.scratch.data)
            return 0
        # Other threads may run meanwhile, and call this object too.
        scratch = Workspace()
        scratch.reserve(self.scratch.n_bytes)
        with nogil:
            table.network_forward_row(&self.network.network, self.network.first_parameter, x, out, scratch.data)
        return 0


cdef object x_as_array(const void *x, int64_t n, object dtype):
    """For an error message."""
    return np.frombuffer(PyBytes_FromStringAndSize(<const char *> x, n * dtype.itemsize), dtype)


def seconds():
    """Now, on the clock of deadlines."""
    return fastnn_seconds()
