"""Sparse rows: the bits of dense ones, without making them dense."""

import numpy as np
import pytest

import fastnn

sparse = pytest.importorskip("scipy.sparse", reason="sparse rows are SciPy's")

ELEMENTS = ["float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]


def rows(n, d=37, seed=0, dtype="float64"):
    """Return rows of which a tenth is not 0, among them empty ones, sparse and dense."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((n, d)) < 0.1, rng.integers(1, 100, (n, d)), 0).astype(dtype)
    if n > 2:
        dense[1] = 0
    return sparse.csr_array(dense), dense


def network(dtype, **arguments):
    return fastnn.MLP([37, 20, 3], seed=0, dtype=dtype, **arguments)


@pytest.mark.parametrize("n", [1, 2, 31, 32, 33, 200, 5000])
def test_predictions(isa, dtype, n):
    x, dense = rows(n)
    net = network(dtype)
    np.testing.assert_array_equal(net.predict(x), net.predict(dense))
    np.testing.assert_array_equal(net.jacobian(x[:40]), net.jacobian(dense[:40]))


def test_many_inputs(isa, dtype):
    """Of dense rows, predictions then multiply the rows as they lie."""
    x, dense = rows(70, d=200, dtype=dtype)
    net = fastnn.MLP([200, 64, 3], seed=0, dtype=dtype)
    np.testing.assert_array_equal(net.predict(x), net.predict(dense))


@pytest.mark.parametrize("n", [129, 300, 700])
def test_blocks(isa, dtype, n):
    """Without panels of inputs more rows fit in a block: few outputs' sums over rows do not show where blocks begin."""
    dense = rows(n, d=1000)[1]
    dense[:, 100:] = 0
    x = sparse.csr_array(dense)
    y = np.random.default_rng(1).normal(size=(n, 3))
    net = fastnn.MLP([1000, 40, 3], seed=0, dtype=dtype)
    loss, gradient = net.loss_and_gradient(x, y)
    expected_loss, expected = net.loss_and_gradient(dense, y)
    assert loss == expected_loss
    np.testing.assert_array_equal(gradient, expected)


@pytest.mark.parametrize("elements", ELEMENTS)
@pytest.mark.parametrize("index", ["int32", "int64"])
def test_types(dtype, elements, index):
    x, dense = rows(50, dtype=elements)
    x.indices, x.indptr = x.indices.astype(index), x.indptr.astype(index)
    np.testing.assert_array_equal(network(dtype).predict(x), network(dtype).predict(dense))


@pytest.mark.parametrize("batch_size", [1, 7, 64, None])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_fits(dtype, batch_size, shuffle, n_threads):
    x, dense = rows(150)
    y = np.random.default_rng(1).normal(size=(150, 3))
    weights = np.random.default_rng(2).uniform(size=150)
    nets = [network(dtype, l2=0.1) for _ in range(2)]
    for net, inputs in zip(nets, (x, dense), strict=True):
        net.fit(
            inputs,
            y,
            epochs=3,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=weights,
            validation_data=(inputs[:20], y[:20]),
            n_threads=n_threads,
        )
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)
    assert nets[0].loss(x, y) == nets[1].loss(dense, y)
    np.testing.assert_array_equal(nets[0].loss_and_gradient(x, y)[1], nets[1].loss_and_gradient(dense, y)[1])


def test_elements_of_one_column_add_up(dtype):
    x = sparse.csr_array((np.array([1.0, 2.0, 4.0]), np.array([5, 5, 1]), np.array([0, 3])), shape=(1, 37))
    np.testing.assert_array_equal(network(dtype).predict(x), network(dtype).predict(x.toarray()))


def test_the_textbook_network_too():
    """That case has a loop of its own, which reads dense rows."""
    x, dense = rows(4)
    nets = [
        fastnn.MLP([37, 4, 1], activation="sigmoid", output_activation="sigmoid", loss="sse", bias=False, seed=0)
        for _ in range(2)
    ]
    for net, inputs in zip(nets, (x, dense), strict=True):
        net.fit(inputs, [0, 1, 1, 0], epochs=5, batch_size=None, optimizer=fastnn.SGD(1.0))
    np.testing.assert_array_equal(nets[0].parameters, nets[1].parameters)


def test_no_rows_and_no_elements(dtype):
    assert network(dtype).predict(sparse.csr_array((0, 37))).shape == (0, 3)
    np.testing.assert_array_equal(
        network(dtype).predict(sparse.csr_array((2, 37))), network(dtype).predict(np.zeros((2, 37)))
    )


def broken(**parts):
    x, _ = rows(10)
    for name, value in parts.items():
        setattr(x, name, value(getattr(x, name)))
    return x


@pytest.mark.parametrize(
    "parts",
    [
        {"indices": lambda a: a + 37},
        {"indices": lambda a: a - 37},
        {"indices": lambda a: a[:-1]},
        {"data": lambda a: a[:-1]},
        {"indptr": lambda a: a[::-1].copy()},
        {"indptr": lambda a: a - 1},
        {"indptr": lambda a: a[:-1]},
    ],
)
def test_unsound(parts):
    """What would read or write outside of the arrays is an error."""
    with pytest.raises(ValueError, match="X must be sound compressed sparse rows"):
        network("float32").predict(broken(**parts))


@pytest.mark.parametrize("part", ["indices", "indptr"])
@pytest.mark.parametrize("wrong", [lambda a: a + 0.5, lambda a: a.reshape(1, -1)], ids=["floats", "2d"])
def test_indices_of_another_kind(part, wrong):
    with pytest.raises(TypeError, match=rf"X\.{part} must be integers, of one dimension; got"):
        network("float32").predict(broken(**{part: wrong}))


def test_errors():
    net = network("float32")
    with pytest.raises(ValueError, match="X must have 37 columns, the network's inputs; got shape"):
        net.predict(sparse.csr_array((2, 36)))
    with pytest.raises(ValueError, match=r"X must have 2 dimensions, \(rows, columns\); got shape \(37,\)"):
        net.predict(sparse.csr_array(np.ones(37)))
    with pytest.raises(TypeError, match=r"X must be a dense array or compressed sparse rows \(csr\); got csc_array"):
        net.predict(rows(3)[0].tocsc())
    with pytest.raises(TypeError, match=r"X must be a dense array or compressed sparse rows \(csr\); got coo_array"):
        net.predict(rows(3)[0].tocoo())
    with pytest.raises(TypeError, match=r"y must hold real numbers: got csr_array"):
        net.loss(rows(3)[0], rows(3)[0])
    with pytest.raises(ValueError, match=r"X\.data must be finite in float32; got nan"):
        net.predict(broken(data=lambda a: np.where(np.arange(len(a)) == 3, np.nan, a)))


@pytest.mark.parametrize("container", ["csr_array", "csr_matrix", "csc_array", "csc_matrix"])
@pytest.mark.parametrize("arguments", [{}, {"early_stopping": True}, {"solver": "lbfgs"}], ids=str)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators(container, arguments):
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    x, dense = rows(80)
    y = np.random.default_rng(1).integers(0, 3, 80)
    x = getattr(sparse, container)(x)
    a, b = (fastnn.MLPClassifier(8, max_iter=4, random_state=0, **arguments).fit(inputs, y) for inputs in (x, dense))
    np.testing.assert_array_equal(a.network_.parameters, b.network_.parameters)
    np.testing.assert_array_equal(a.predict_proba(x), b.predict_proba(dense))
    a.set_params(early_stopping=False)
    if a.solver != "lbfgs":
        a.partial_fit(x, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_an_estimator_refuses_in_sparse_rows():
    """scikit-learn's errors, though its validation is skipped where it would pass."""
    pytest.importorskip("sklearn", reason="the estimators need scikit-learn")
    x, dense = rows(80)
    a = fastnn.MLPRegressor(hidden_layer_sizes=8, max_iter=4, random_state=0).fit(x, dense[:, 0])
    np.testing.assert_array_equal(a.predict(x), a.predict(dense))
    np.testing.assert_array_equal(a.predict(x), a.predict(x.tocsc()))
    with pytest.raises(ValueError, match="X has 36 features, but MLPRegressor is expecting 37"):
        a.predict(sparse.csr_array((2, 36)))
    with pytest.raises(ValueError, match="0 sample"):
        a.predict(sparse.csr_array((0, 37)))
    with pytest.raises(ValueError, match="contains NaN"):
        a.predict(broken(data=lambda a: np.where(np.arange(len(a)) == 3, np.nan, a)))
    with pytest.raises(ValueError, match="Complex"):
        a.predict(x.astype(complex))
    with pytest.raises(ValueError, match="n_threads"):
        a.set_params(n_threads=0).predict(x)


def test_memory(dtype):
    """A hundred thousand rows of a thousand columns are not made dense: that would be 400 MB or 800."""
    tracemalloc = pytest.importorskip("tracemalloc")
    x = sparse.random_array((100_000, 1000), density=1e-4, format="csr", rng=np.random.default_rng(0))
    net = fastnn.MLP([1000, 2, 1], dtype=dtype)
    tracemalloc.start()
    net.predict(x)
    net.fit(x, np.zeros(100_000), batch_size=1000)
    assert tracemalloc.get_traced_memory()[1] < 30e6
    tracemalloc.stop()
