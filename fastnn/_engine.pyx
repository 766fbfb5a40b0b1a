"""A network's memory and its loops, which run without the GIL.

Python checks and converts; here arrays are of the right dtype, shape and order already.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t

from fastnn._kernels cimport (Workspace, active_table, fastnn_kernels, fastnn_two_layer, floating, two_layer_of)

cdef enum:
    # Multiply-adds in one iteration below which releasing the GIL costs more than it gives.
    WITH_THE_GIL = 4096
    # Multiply-adds between two looks for Ctrl-C: some milliseconds, even for scalar code.
    UNINTERRUPTED = 2_000_000
    # What one sigmoid costs, in multiply-adds.
    SIGMOID = 30
    # Rows of the hidden layer that predict keeps at a time.
    PREDICTED_ROWS = 1024


cdef class TwoLayer:
    """The book's network: its arrays, described to the kernels by raw pointers.

    `parameters` is one block, weights1 and weights2 are views into it. The arrays may be edited in place at any time,
    for the pointers are to their memory; they are only replaced here.
    """

    cdef readonly object input, y, parameters, weights1, weights2, layer1, output
    cdef fastnn_two_layer network
    cdef Workspace workspace
    cdef int bits
    cdef int64_t cost
    cdef readonly bint has_activations
    cdef bint busy, paired

    def __init__(self, x, y, int64_t n_hidden, double learning_rate):
        cdef int64_t n_inputs = x.shape[1], n_outputs = y.shape[1]
        self.bits = 8 * x.dtype.itemsize
        self.workspace = Workspace()
        self.busy = False
        self.parameters = np.zeros((n_inputs + n_outputs) * n_hidden, x.dtype)
        self.weights1 = self.parameters[:n_inputs * n_hidden].reshape(n_inputs, n_hidden)
        self.weights2 = self.parameters[n_inputs * n_hidden:].reshape(n_hidden, n_outputs)
        self.set_data(x, y)
        self.network.learning_rate = learning_rate

    def set_data(self, x, y):
        """Take other rows; layer1 and output are made anew if their number changed."""
        self.check_idle()
        if self.input is None or x.shape[0] != self.input.shape[0]:
            # Both before either is replaced: where memory is short, the pointers must stay true.
            layer1 = np.zeros((x.shape[0], self.weights2.shape[0]), x.dtype)
            output = np.zeros((x.shape[0], self.weights2.shape[1]), x.dtype)
            self.layer1, self.output, self.has_activations = layer1, output, False
        self.input, self.y = x, y
        if self.bits == 32:
            self.describe[float]()
        else:
            self.describe[double]()

    def mark_activations(self):
        """layer1 and output hold what backward may work on."""
        self.has_activations = True

    @property
    def learning_rate(self):
        return self.network.learning_rate

    @learning_rate.setter
    def learning_rate(self, double value):
        self.check_idle()
        self.network.learning_rate = value

    cdef int describe(self, floating *dtype=NULL) except -1:
        cdef double learning_rate = self.network.learning_rate
        self.paired = self.y.shape[0] == self.input.shape[0]
        # forward does not read y, so anything of the right shape will do until there is a y for these rows.
        y = self.y if self.paired else self.output
        self.network = two_layer_of[floating](self.input, y, self.weights1, self.weights2, self.layer1, self.output,
                                              learning_rate)
        self.cost = self.network.n_rows * (
            3 * self.network.n_hidden * (self.network.n_inputs + self.network.n_outputs)
            + SIGMOID * (self.network.n_hidden + self.network.n_outputs))
        return 0

    cpdef void check_idle(self) except *:
        """Raise an error while another thread is at work on the network."""
        if self.busy:
            raise RuntimeError("the network is in use by another thread; give each thread a network of its own")

    cdef int check_paired(self) except -1:
        if not self.paired:
            raise ValueError(f"y must have as many rows as input ({self.input.shape[0]}); got {self.y.shape[0]}")
        return 0

    cdef void *scratch(self, const fastnn_kernels *table) except? NULL:
        return self.workspace.reserve(table.two_layer_workspace(&self.network))

    def forward(self):
        """layer1 and output from input and the weights."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef void *scratch
        self.check_idle()
        scratch = self.scratch(table)
        if self.cost <= WITH_THE_GIL:
            table.two_layer_forward(&self.network, scratch)
        else:
            self.busy = True
            with nogil:
                table.two_layer_forward(&self.network, scratch)
            self.busy = False
        self.has_activations = True

    def backward(self):
        """The weights after one update, from layer1 and output as they are."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef void *scratch
        self.check_idle()
        self.check_paired()
        if not self.has_activations:
            raise RuntimeError("backprop() needs the activations of a feedforward(); call that first")
        scratch = self.scratch(table)
        if self.cost <= WITH_THE_GIL:
            table.two_layer_backward(&self.network, scratch)
        else:
            self.busy = True
            with nogil:
                table.two_layer_backward(&self.network, scratch)
            self.busy = False

    def train(self, int64_t iterations):
        """Run the iterations and return the loss before each. Ctrl-C stops between two of them."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef int64_t done = 0, chunk, chunk_size = max(1, UNINTERRUPTED // self.cost)
        cdef void *scratch
        cdef char[::1] losses
        self.check_idle()
        self.check_paired()
        result = np.empty(iterations, self.input.dtype)
        if iterations == 0:
            return result
        losses = result.view(np.int8)
        scratch = self.scratch(table)
        self.busy = True
        try:
            while done < iterations:
                chunk = min(chunk_size, iterations - done)
                with nogil:
                    table.two_layer_train(&self.network, &losses[done * (self.bits // 8)], chunk, scratch)
                done += chunk
                self.has_activations = True
                PyErr_CheckSignals()
        finally:
            self.busy = False
        return result

    def predict(self, x):
        """The output for other rows, which leaves layer1 and output alone."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef fastnn_two_layer network = self.network
        cdef int64_t n_rows = x.shape[0], size = self.bits // 8, first = 0
        cdef int64_t n_kept = min(n_rows, PREDICTED_ROWS)
        cdef Workspace hidden = Workspace(), scratch = Workspace()
        cdef const char[::1] rows
        cdef char[::1] predictions
        self.check_idle()
        result = np.empty((n_rows, network.n_outputs), x.dtype)
        if n_rows == 0:
            return result
        rows = x.reshape(-1).view(np.int8)
        predictions = result.reshape(-1).view(np.int8)
        network.n_rows = n_kept
        network.layer1 = hidden.reserve(n_kept * network.n_hidden * size)
        scratch.reserve(table.two_layer_workspace(&network))
        with nogil:
            while first < n_rows:
                network.n_rows = min(PREDICTED_ROWS, n_rows - first)
                network.x = &rows[first * network.n_inputs * size]
                network.output = &predictions[first * network.n_outputs * size]
                table.two_layer_forward(&network, scratch.data)
                first += network.n_rows
        return result

    def loss(self):
        """Sum of squared errors of output."""
        self.check_idle()
        self.check_paired()
        return active_table(self.bits).sum_squared_error(
            self.network.output, self.network.y, self.network.n_rows * self.network.n_outputs)
