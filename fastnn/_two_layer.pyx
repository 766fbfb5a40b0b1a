"""The memory of the book's network and its loops, which run without the GIL.

Python checks and converts; here arrays are of the right dtype, shape and order already.
"""

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t

from fastnn._kernels cimport (Workspace, active_table, fastnn_kernels, fastnn_two_layer, two_layer_of)

cdef enum:
    # Multiply-adds in one iteration below which releasing the GIL costs more than it gives.
    SMALL_COST = 4096
    # Multiply-adds between two looks for Ctrl-C: some milliseconds, even for scalar code.
    UNINTERRUPTED = 2_000_000
    # What one sigmoid costs, in multiply-adds.
    SIGMOID = 30
    # Rows of the hidden layer that predict keeps at a time, and the least that train does between two looks.
    BLOCK_ROWS = 1024


cdef class TwoLayer:
    """The book's network: its arrays, described to the kernels by raw pointers and by sizes that are taken once.

    `parameters` is one block, the weights are views into it. What is handed out are views too, made anew each time:
    their elements may be edited at any time, but whoever resizes or reshapes one has changed nothing here.
    """

    cdef object x, targets, parameters, first_weights, second_weights, hidden, outputs
    cdef readonly object dtype
    cdef fastnn_two_layer network
    cdef Workspace workspace
    cdef int bits
    cdef int64_t cost
    # One thread may change the network, or any number read it.
    cdef bint busy
    cdef int readers
    cdef bint paired, has_layer1, has_output

    def __cinit__(self, x, y, n_hidden, double learning_rate):
        n_inputs, n_outputs = x.shape[1], y.shape[1]
        self.dtype = x.dtype
        self.bits = 8 * x.dtype.itemsize
        self.workspace = Workspace()
        self.parameters = np.zeros((n_inputs + n_outputs) * n_hidden, x.dtype)
        self.first_weights = self.parameters[:n_inputs * n_hidden].reshape(n_inputs, n_hidden)
        self.second_weights = self.parameters[n_inputs * n_hidden:].reshape(n_hidden, n_outputs)
        self.network.learning_rate = learning_rate
        self.replace(x, y)

    @property
    def shape(self):
        """Numbers of rows, inputs, hidden units and outputs."""
        return self.network.n_rows, self.network.n_inputs, self.network.n_hidden, self.network.n_outputs

    @property
    def input(self):
        return self.x.view()

    @input.setter
    def input(self, x):
        self.replace(x, self.targets)
        self.has_layer1 = self.has_output = False

    @property
    def y(self):
        return self.targets.view()

    @y.setter
    def y(self, y):
        self.replace(self.x, y)

    @property
    def weights1(self):
        return self.first_weights.view()

    @property
    def weights2(self):
        return self.second_weights.view()

    @property
    def layer1(self):
        return self.hidden.view()

    @property
    def output(self):
        return self.outputs.view()

    @property
    def has_activations(self):
        """Whether layer1 and output hold what backward may work on."""
        return self.has_layer1 and self.has_output

    @property
    def learning_rate(self):
        return self.network.learning_rate

    @learning_rate.setter
    def learning_rate(self, double value):
        self.check_unused()
        self.network.learning_rate = value

    def overwrite(self, str name not None, values):
        """Set weights1, weights2, layer1 or output to an array of its shape."""
        self.check_unused()
        getattr(self, name)[...] = values
        self.has_layer1 = self.has_layer1 or name == "layer1"
        self.has_output = self.has_output or name == "output"

    cdef int replace(self, x, y) except -1:
        """Take other rows; layer1 and output are made anew if their number changed. On failure all is as before."""
        self.check_unused()
        hidden, outputs = self.hidden, self.outputs
        if hidden is None or x.shape[0] != hidden.shape[0]:
            hidden = np.zeros((x.shape[0], self.second_weights.shape[0]), self.dtype)
            outputs = np.zeros((x.shape[0], self.second_weights.shape[1]), self.dtype)
        paired = y.shape[0] == x.shape[0]
        # forward does not read y, so anything of the right shape will do until there is a y for these rows.
        described_y = y if paired else outputs
        if self.bits == 32:
            self.network = two_layer_of[float](x, described_y, self.first_weights, self.second_weights, hidden,
                                               outputs, self.network.learning_rate)
        else:
            self.network = two_layer_of[double](x, described_y, self.first_weights, self.second_weights, hidden,
                                                outputs, self.network.learning_rate)
        self.x, self.targets, self.hidden, self.outputs, self.paired = x, y, hidden, outputs, paired
        self.cost = self.network.n_rows * (
            3 * self.network.n_hidden * (self.network.n_inputs + self.network.n_outputs)
            + SIGMOID * (self.network.n_hidden + self.network.n_outputs))
        return 0

    cpdef void check_idle(self) except *:
        """Raise an error while another thread changes the network."""
        if self.busy:
            raise RuntimeError("the network is in use by another thread; give each thread a network of its own")

    cdef int check_unused(self) except -1:
        """Raise an error while another thread changes or reads the network."""
        self.check_idle()
        if self.readers:
            raise RuntimeError("the network is in use by another thread, which predicts; wait for it to end")
        return 0

    cdef int check_paired(self) except -1:
        if not self.paired:
            raise ValueError(f"y must have as many rows as input ({self.x.shape[0]}); got {self.targets.shape[0]}")
        return 0

    cdef void *scratch(self, const fastnn_kernels *table) except? NULL:
        return self.workspace.reserve(table.two_layer_workspace(&self.network))

    def forward(self):
        """layer1 and output from input and the weights."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef void *scratch
        self.check_unused()
        scratch = self.scratch(table)
        if self.cost <= SMALL_COST:
            table.two_layer_forward(&self.network, scratch)
        else:
            self.busy = True
            with nogil:
                table.two_layer_forward(&self.network, scratch)
            self.busy = False
        self.has_layer1 = self.has_output = True

    def backward(self):
        """The weights after one update, from layer1 and output as they are."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef void *scratch
        self.check_unused()
        self.check_paired()
        if not (self.has_layer1 and self.has_output):
            raise RuntimeError("backprop() needs the activations of a feedforward(); call that first")
        scratch = self.scratch(table)
        if self.cost <= SMALL_COST:
            table.two_layer_backward(&self.network, scratch)
        else:
            self.busy = True
            with nogil:
                table.two_layer_backward(&self.network, scratch)
            self.busy = False

    def train(self, int64_t iterations):
        """Run the iterations and return the loss before each.

        Ctrl-C stops between two of them; a long one is abandoned, which leaves the weights as the last left them.
        """
        cdef int64_t done = 0, chunk, chunk_size = UNINTERRUPTED // self.cost
        cdef unsigned char[::1] losses
        self.check_unused()
        self.check_paired()
        result = np.empty(iterations, self.dtype)
        if iterations == 0:
            return result
        losses = result.view(np.uint8)
        self.scratch(active_table(self.bits))
        self.busy = True
        try:
            while done < iterations:
                chunk = min(max(1, chunk_size), iterations - done)
                self.train_chunk(&losses[done * (self.bits // 8)], chunk, chunk_size > 0)
                done += chunk
                PyErr_CheckSignals()
        finally:
            self.busy = False
        return result

    cdef int train_chunk(self, void *losses, int64_t iterations, bint whole) except -1:
        """Some iterations, or, unless they are so short as to be done whole, one in blocks of rows."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef void *scratch = self.workspace.data
        cdef int64_t first, n_rows = self.network.n_rows
        if whole:
            with nogil:
                table.two_layer_train(&self.network, losses, iterations, scratch)
        else:
            self.has_layer1 = self.has_output = False
            for first in range(0, n_rows, BLOCK_ROWS):
                with nogil:
                    table.two_layer_rows(&self.network, first, min(<int64_t> BLOCK_ROWS, n_rows - first), scratch)
                PyErr_CheckSignals()
            with nogil:
                if self.bits == 32:
                    (<float *> losses)[0] = <float> self.squared_error(table)
                else:
                    (<double *> losses)[0] = self.squared_error(table)
                table.two_layer_update(&self.network, scratch)
        self.has_layer1 = self.has_output = True
        return 0

    cdef double squared_error(self, const fastnn_kernels *table) noexcept nogil:
        return table.sum_squared_error(self.network.output, self.network.y,
                                       self.network.n_rows * self.network.n_outputs)

    def predict(self, x):
        """The output for other rows, which leaves layer1 and output alone."""
        cdef const fastnn_kernels *table = active_table(self.bits)
        cdef fastnn_two_layer network = self.network
        cdef int64_t n_rows = x.shape[0], size = self.bits // 8, first = 0
        cdef int64_t n_kept = min(n_rows, <int64_t> BLOCK_ROWS)
        cdef Workspace hidden = Workspace(), scratch = Workspace()
        cdef const unsigned char[::1] rows
        cdef unsigned char[::1] predictions
        self.check_idle()
        result = np.empty((n_rows, network.n_outputs), self.dtype)
        if n_rows == 0:
            return result
        rows = x.reshape(-1).view(np.uint8)
        predictions = result.reshape(-1).view(np.uint8)
        network.n_rows = n_kept
        network.layer1 = hidden.reserve(n_kept * network.n_hidden * size)
        scratch.reserve(table.two_layer_workspace(&network))
        self.readers += 1
        with nogil:
            while first < n_rows:
                network.n_rows = min(<int64_t> BLOCK_ROWS, n_rows - first)
                network.x = &rows[first * network.n_inputs * size]
                network.output = &predictions[first * network.n_outputs * size]
                table.two_layer_forward(&network, scratch.data)
                first += network.n_rows
        self.readers -= 1
        return result

    def loss(self):
        """Sum of squared errors of output."""
        cdef double loss
        self.check_idle()
        self.check_paired()
        self.readers += 1
        with nogil:
            loss = self.squared_error(active_table(self.bits))
        self.readers -= 1
        return loss
