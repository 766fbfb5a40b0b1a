"""Rows of which little is stored, on wide tables: only what is stored is multiplied, with the bits of dense rows."""

import numpy as np
import pytest

import fastnn
from fastnn import data
from fastnn._engine import Rows

sparse = pytest.importorskip("scipy.sparse", reason="sparse rows are SciPy's")

WIDE = 500
NO_ELEMENTS, ALL_ELEMENTS = 1, 2  # rows of wide_rows


def wide_rows(n, density=0.02, dtype="float64", seed=0):
    """Return rows of so many elements, sparse and dense; with an empty one, a full one, and zeros that are stored."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, WIDE)) < density, rng.normal(size=(n, WIDE)), 0)
    if n > 20:
        dense[NO_ELEMENTS], dense[ALL_ELEMENTS] = 0, rng.normal(size=WIDE)
    x = sparse.csr_array(dense.astype(dtype))
    x.data[::5] = 0
    return x, x.toarray()


def network(sizes, dtype, **arguments):
    return fastnn.MLP([WIDE, *sizes], seed=0, dtype=dtype, **arguments)


def engine_rows(x, y, net):
    return data.rows(x, y, None, ("X", "y", "sample_weight"), net.layer_sizes, "mse", net.dtype)


def assert_same(a, b):
    """As numbers: a sum that underflows may be 0 of the other sign."""
    np.testing.assert_array_equal(a, b)


# Of one output, of one vector and its neighbours, and of more vectors than stay in registers, on any instruction set.
@pytest.mark.parametrize("n_hidden", [1, 3, 4, 8, 9, 16, 17, 100, 128, 129, 300])
def test_predictions(isa, dtype, n_hidden):
    x, dense = wide_rows(70)
    net = network([n_hidden, 2], dtype)
    assert_same(net.predict(x), net.predict(dense))
    assert_same(net.predict(x[:1]), net.predict(dense[:1]))


@pytest.mark.parametrize("density", [0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.5])
def test_densities(dtype, density):
    """On both sides of where it pays."""
    x, dense = wide_rows(20, density)
    y = np.random.default_rng(1).normal(size=20)
    net = network([40, 1], dtype)
    assert_same(net.predict(x), net.predict(dense))
    assert_same(net.loss_and_gradient(x, y)[1], net.loss_and_gradient(dense, y)[1])


@pytest.mark.parametrize("sizes", [[1], [3], [17, 2], [33, 5, 1], [150, 2]], ids=str)
@pytest.mark.parametrize("n", [1, 2, 31, 33, 600])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients(isa, dtype, sizes, n, bias):
    """600 rows are more than one block, and of the smaller networks more than one part of the gradient."""
    x, dense = wide_rows(n)
    y = np.random.default_rng(1).normal(size=(n, sizes[-1]))
    net = network(sizes, dtype, bias=bias, activation="tanh", l2=0.1)
    (loss, gradient), (dense_loss, dense_gradient) = (net.loss_and_gradient(rows, y) for rows in (x, dense))
    assert loss == dense_loss
    assert_same(gradient, dense_gradient)
    assert net.loss(x, y) == net.loss(dense, y)


@pytest.mark.parametrize("threads", [2, 3, 16])
@pytest.mark.parametrize("n", [1, 64, 700])
def test_threads(dtype, threads, n):
    """Each has some columns of every row."""
    x, dense = wide_rows(n, 0.05)
    net = network([20, 1], dtype)
    rows, dense_rows = (engine_rows(each, np.ones(n), net) for each in (x, dense))
    loss, gradient = net._engine.loss_and_gradient(rows, threads)
    dense_loss, dense_gradient = net._engine.loss_and_gradient(dense_rows, 1)
    assert loss == dense_loss
    assert_same(gradient, dense_gradient)
    outputs, dense_outputs = np.empty((2, n, 1), dtype)
    net._engine.predict(rows, outputs, threads)
    net._engine.predict(dense_rows, dense_outputs, 1)
    assert_same(outputs, dense_outputs)


@pytest.mark.parametrize("elements", data.ELEMENT_TYPES)
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_types(dtype, elements, index):
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((50, WIDE)) < 0.02, rng.integers(1, 100, (50, WIDE)), 0).astype(elements)
    x = sparse.csr_array(dense)
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
    net = network([20, 3], dtype)
    y = np.ones((50, 3))
    assert_same(net.predict(x), net.predict(dense))
    assert_same(net.loss_and_gradient(x, y)[1], net.loss_and_gradient(dense, y)[1])


@pytest.mark.parametrize("batch_size", [1, 7, 64, None])
@pytest.mark.parametrize("optimizer", [fastnn.Adam(0.01), fastnn.SGD(0.01, clip_norm=1.0)], ids=["adam", "clipped"])
@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("validated_on", ["sparse", "dense"])
def test_fits(dtype, batch_size, optimizer, n_threads, validated_on):
    """With a permutation of the rows, weights, dropout, a penalty, and other rows to validate on."""
    x, dense = wide_rows(150)
    y = np.random.default_rng(1).normal(size=(150, 2))
    weights = np.random.default_rng(2).uniform(size=150)
    nets = [network([40, 2], dtype, l2=0.1, dropout=0.3) for _ in range(2)]
    validation = wide_rows(300, 0.05)[validated_on == "dense"], np.ones((300, 2))
    losses = []
    for net, inputs in zip(nets, (x, dense), strict=True):
        history = net.fit(
            inputs,
            y,
            epochs=3,
            batch_size=batch_size,
            optimizer=optimizer,
            sample_weight=weights,
            validation_data=validation,
            n_threads=n_threads,
        )
        losses.append([history.loss, history.validation_loss])
    assert_same(nets[0].parameters, nets[1].parameters)
    assert_same(*losses)


def test_validation_on_sparse_rows(dtype):
    """A fit on dense rows has memory for them too, and the other way round."""
    x, dense = wide_rows(150)
    histories = [
        network([40, 1], dtype).fit(inputs, np.ones(150), epochs=2, validation_data=(others, np.zeros(150)))
        for inputs, others in ((dense, x), (x, dense))
    ]
    assert_same(histories[0].loss, histories[1].loss)
    assert_same(histories[0].validation_loss, histories[1].validation_loss)


def shuffled(x, twice=()):
    """The same rows with the columns of each in another order, and some elements in two halves."""
    rng = np.random.default_rng(3)
    columns, elements, starts = [], [], [0]
    for i in range(x.shape[0]):
        part = slice(x.indptr[i], x.indptr[i + 1])
        halves = np.isin(np.arange(part.start, part.stop), twice)
        row = np.concatenate([x.indices[part], x.indices[part][halves]])
        values = np.concatenate([np.where(halves, x.data[part] / 2, x.data[part]), x.data[part][halves] / 2])
        order = rng.permutation(len(row))
        columns.append(row[order])
        elements.append(values[order])
        starts.append(starts[-1] + len(row))
    return sparse.csr_array((np.concatenate(elements), np.concatenate(columns), np.array(starts)), shape=x.shape)


@pytest.mark.parametrize("twice", [(), range(0, 1000, 3)], ids=["unsorted", "duplicates"])
@pytest.mark.parametrize("claims", [False, True])
def test_rows_in_disorder(dtype, twice, claims):
    """They have the bits of rows in order, and stay as they are; what their flags claim does not matter."""
    x, dense = wide_rows(60)
    disorderly = shuffled(x, twice)
    if claims:
        disorderly.has_sorted_indices = disorderly.has_canonical_format = True
    before = [part.copy() for part in (disorderly.data, disorderly.indices, disorderly.indptr)]
    net = network([40, 1], dtype)
    assert_same(net.predict(disorderly), net.predict(dense))
    rows, ordered = (engine_rows(each, np.ones(60), net) for each in (disorderly, dense))
    assert_same(net._engine.loss_and_gradient(rows, 3)[1], net._engine.loss_and_gradient(ordered, 1)[1])
    for part, was in zip((disorderly.data, disorderly.indices, disorderly.indptr), before, strict=True):
        np.testing.assert_array_equal(part, was)


def test_duplicates_whose_sum_is_not_finite():
    x = sparse.csr_array((np.full(2, 3e38, "float32"), np.array([5, 5]), np.array([0, 2])), shape=(1, WIDE))
    with pytest.raises(ValueError, match=r"X\.data must be finite in float32; got inf"):
        network([4, 1], "float32").predict(x)


def test_no_elements_at_all(isa, dtype):
    x, dense = sparse.csr_array((40, WIDE)), np.zeros((40, WIDE))
    net = network([20, 1], dtype)
    assert_same(net.predict(x), net.predict(dense))
    assert_same(net.loss_and_gradient(x, np.ones(40))[1], net.loss_and_gradient(dense, np.ones(40))[1])


def test_one_column(dtype):
    x, dense = sparse.csr_array((40, 1)), np.zeros((40, 1))
    net = fastnn.MLP([1, 5, 1], seed=0, dtype=dtype)
    assert_same(net.loss_and_gradient(x, np.ones(40))[1], net.loss_and_gradient(dense, np.ones(40))[1])


def test_input_gradients(dtype):
    """They are dense."""
    x, dense = wide_rows(40)
    y = np.random.default_rng(1).normal(size=(40, 2))
    net = network([30, 2], dtype)
    assert_same(net.input_gradient(x, y), net.input_gradient(dense, y))
    assert_same(net.jacobian(x), net.jacobian(dense))


def test_a_slice_of_a_table(dtype):
    """Its elements do not begin at the first of the arrays."""
    x, dense = wide_rows(60)
    part = sparse.csr_array((40, WIDE))
    part.data, part.indices, part.indptr = x.data, x.indices, x.indptr[10:51].copy()
    net = network([30, 2], dtype)
    assert_same(net.predict(part), net.predict(dense[10:50]))


def test_a_weight_that_is_not_finite_is_seen_by_rows_with_its_column(dtype):
    x, dense = wide_rows(60)
    net = network([30, 2], dtype)
    before = net.predict(x)
    net.weights[0][7] = np.nan
    after = net.predict(x)
    has_it = np.array([7 in x.indices[x.indptr[i] : x.indptr[i + 1]] for i in range(60)])
    assert has_it[ALL_ELEMENTS]
    assert np.isnan(after[has_it]).all()
    np.testing.assert_array_equal(after[~has_it], before[~has_it])
    assert np.isnan(net.predict(dense)).all()


def test_the_memory_of_a_fit_has_no_room_for_dense_rows(dtype):
    """Dense rows lie in whole panels, of 4 rows in scalar code and more elsewhere; the bound is one of the former.

    What there is instead does not grow with the columns: some hundred numbers for each of the 200 rows, and a packed
    block of weights, which together are half the bound.
    """
    x = sparse.random_array((2000, 50_000), density=1e-4, format="csr", rng=np.random.default_rng(0))
    net = fastnn.MLP([50_000, 10, 1], seed=0, dtype=dtype)
    net.fit(x, np.zeros(2000), epochs=1, batch_size=200)
    assert net._engine.n_bytes["workspace"] < 4 * 50_000 * dtype.itemsize


# Where one way was at least a third faster than the other, as measured: outputs of the first layer, columns, the share
# of elements that are stored, whether the pass goes back, and which way that was.
@pytest.mark.parametrize(
    ("n_hidden", "n_columns", "density", "goes_back", "expected"),
    [
        (100, 1000, 0.01, True, True),
        (100, 1000, 0.4, True, False),
        (2, 1000, 0.05, True, True),
        (16, 1000, 0.2, False, True),
        (1, 1000, 0.4, True, False),
        (16, 1000, 0.07, True, True),
        (64, 1000, 0.25, False, True),
        (1, 100, 0.05, True, False),
        (4, 100, 0.1, False, False),
        (64, 100, 0.02, True, True),
        (4, 30, 0.1, False, False),
        (256, 10_000, 0.05, True, True),
        (256, 10_000, 0.2, True, False),
        (256, 10_000, 0.3, False, False),
        (4, 10_000, 0.25, False, True),
    ],
)
def test_rows_are_multiplied_by_their_elements_where_that_pays(n_hidden, n_columns, density, goes_back, expected):
    net = fastnn.MLP([n_columns, n_hidden, 1], seed=0)
    x = sparse.random_array((50, n_columns), density=density, format="csr", rng=np.random.default_rng(0))
    assert net._engine.multiplies_elements(Rows(data.sparse_table(x, "X", net.dtype)), goes_back) is expected


def test_dense_rows_are_not_multiplied_by_their_elements():
    net = network([10, 1], "float32")
    assert net._engine.multiplies_elements(Rows(np.zeros((3, WIDE))), False) is False


def test_the_tests_here_multiply_elements(dtype):
    """Their rows, with the narrowest network, for which it pays least."""
    net = network([1], dtype)
    for n in (1, 31, 150, 700):
        rows = engine_rows(wide_rows(n)[0], np.ones(n), net)
        assert net._engine.multiplies_elements(rows, False)
        assert net._engine.multiplies_elements(rows, True)
