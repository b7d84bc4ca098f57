"""Start components: from the data's moments, from data points, or at random."""

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from problems import NAMED

from skprosper import SparseCoding, TernarySparseCoding
from skprosper.datasets import make_bars
from skprosper.learning.initialisation import INITIALISATIONS
from skprosper.learning.moments import data_moments
from skprosper.learning.problem import Problem
from skprosper.learning.sampling import rows_at
from skprosper.metrics import recovered_components
from skprosper.parallel.workers import Workers
from skprosper.priors import BinaryPrior

X, _, _ = make_bars(700, size=3, random_state=0)
WEIGHTS = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
FROM_DATA = ["random_from_data", "k-means++"]


def start(data, init, n_components=4, weights=None, random_state=0, **params):
    """Return start components; with one latent active on average they are in the data's unit."""
    params = dict(prior=BinaryPrior(1 / n_components)) | params
    model = SparseCoding(
        n_components, components_init=init, max_iter=0, random_state=random_state, **params
    )
    return model.fit(data, sample_weight=weights).components_


def rows_of(data, components):
    """Return the rows that components are, -1 where they are none."""
    same = np.all(np.abs(components[:, None] - data) < 1e-9 * np.abs(data).max(), axis=2)
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


@pytest.mark.parametrize("init", FROM_DATA)
@pytest.mark.parametrize("superposition", ["linear", "maximum", "magnitude-maximum"])
def test_they_are_different_data_points(init, superposition):
    components = start(X, init, 40, superposition=superposition)
    any_active = 1 - (1 - 1 / 40) ** 40
    expected = {
        "linear": X,
        "maximum": np.maximum(X - X.mean(axis=0) + X.mean(axis=0) / any_active, 0),
        "magnitude-maximum": X - X.mean(axis=0) + X.mean(axis=0) / any_active,
    }
    rows = rows_of(expected[superposition], components)
    assert np.all(rows >= 0) and len(set(rows)) == 40
    assert np.any(start(X, init, 40, random_state=1) != start(X, init, 40))


@pytest.mark.parametrize("init", FROM_DATA)
def test_an_offset_is_not_part_of_them(init):
    components = start(X, init, fit_offset=True)
    assert np.all(rows_of(X - X.mean(axis=0), components) >= 0)


def test_kmeans_plusplus_takes_one_data_point_of_each_distant_group():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), [500, 100, 20, 20, 20, 20])
    data = (100.0 * rng.standard_normal((6, 5)))[groups] + rng.standard_normal((680, 5))
    for seed in range(5):
        rows = rows_of(data, start(data, "k-means++", 6, random_state=seed))
        assert set(groups[rows]) == set(range(6))


def test_rows_take_the_share_of_the_whole_that_their_weights_have():
    data, weights = np.arange(1.0, 5.0)[:, None], np.array([0.0, 1.0, 0.0, 3.0])
    with Workers(batch_size=3) as workers:
        problem = Problem(
            data, weights, workers, None, None, data_moments(data, weights)["moments"]
        )
        drawn = rows_at(problem, np.array([0.9, 0.0, 0.2, 0.26, 0.5]))[:, 0]
    assert drawn.tolist() == [4.0, 2.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize("init", sorted(INITIALISATIONS))
def test_weight_of_two_equals_the_row_twice(init):
    weighted = start(X, init, weights=WEIGHTS, batch_size=100)
    repeated = start(np.repeat(X, WEIGHTS.astype(int), axis=0), init)
    assert_allclose(weighted, repeated, rtol=1e-9)
    assert_array_equal(start(X, init), start(X, init, weights=np.ones(len(X))))


@pytest.mark.parametrize("init", sorted(INITIALISATIONS))
def test_neither_unit_nor_precision_of_the_data_matter(init):
    components = start(X, init)
    for scale in (1e-3, 1e100):
        assert_allclose(start(scale * X, init) / scale, components, rtol=1e-9)
    single = start(X.astype(np.float32), init)
    assert single.dtype == np.float32
    assert_allclose(single, components, rtol=1e-5, atol=1e-5)


def test_random_ones_have_the_variance_of_the_data_but_not_their_correlations():
    rng = np.random.default_rng(0)
    data = rng.standard_normal((50, 3)) @ np.array([[3, 2, 1], [0, 1, 0], [0, 0, 0.1]])
    covariance = np.cov(data.T, bias=True)
    unit = np.trace(covariance) / 3
    for init, expected in ((None, covariance), ("random", unit * np.eye(3))):
        assert_allclose(np.cov(start(data, init, 3000).T), expected, atol=0.2 * unit)


@pytest.mark.parametrize("init", FROM_DATA)
def test_more_components_than_distinct_data_points(init):
    data = np.repeat(np.random.default_rng(0).standard_normal((3, 5)), 20, axis=0)
    components = start(data, init, 8)
    rows = rows_of(data[::20], components)
    assert sorted(rows[:3]) == [0, 1, 2] and np.all(rows[3:] == -1)
    assert len(np.unique(components, axis=0)) == 8
    for prior in ("binary", "ternary", "spike-slab"):
        model = SparseCoding(8, prior=prior, components_init=init, max_iter=20, random_state=0)
        assert np.all(np.isfinite(model.fit(data).components_))


@pytest.mark.parametrize("init", FROM_DATA)
@pytest.mark.parametrize("weights", [None, WEIGHTS / 7])
def test_same_bits_wherever_the_data_are(tmp_path, init, weights):
    da = pytest.importorskip("dask.array")
    params = dict(weights=weights, n_components=30, batch_size=100)
    alone = start(X, init, **params)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for backend in ("threading", "loky"):
        with parallel_config(backend=backend, n_jobs=2):
            assert_array_equal(start(mapped, init, **params), alone)
    blocks = da.from_array(X, chunks=(100, 4))
    assert_array_equal(start(blocks, init, **params), alone)
    unknown = blocks[da.ones(len(X), chunks=100, dtype=bool)]
    if weights is not None:
        params["weights"] = da.from_array(weights, chunks=100)
    assert_array_equal(start(unknown, init, **params), alone)
    distributed = pytest.importorskip("distributed")
    with distributed.Client(processes=False, dashboard_address=":0"):
        assert_array_equal(start(blocks, init, **params), alone)
        params["weights"] = weights
        with parallel_config(backend="dask"):
            assert_array_equal(start(X, init, **params), alone)


@pytest.mark.parametrize("init", sorted(INITIALISATIONS))
def test_a_stream_begins_from_its_first_batch(init):
    params = dict(components_init=init, annealing=None, max_iter=1, random_state=0)
    stepped = SparseCoding(6, **params).partial_fit(X, sample_weight=WEIGHTS)
    fitted = SparseCoding(6, **params).fit(X, sample_weight=WEIGHTS)
    assert_allclose(stepped.components_, fitted.components_, rtol=1e-9)


@pytest.mark.parametrize("init", sorted(INITIALISATIONS))
@pytest.mark.parametrize("model, kind, ignore_sign", NAMED)
def test_fits_from_any_of_them_find_the_bars(init, model, kind, ignore_sign):
    data, _, bars = make_bars(1000, random_state=0, **kind)
    estimator = model(10, components_init=init, random_state=0).fit(data)
    assert recovered_components(estimator.components_, bars, ignore_sign=ignore_sign) == 10


def test_an_unknown_one_is_an_error():
    with pytest.raises(ValueError, match="components_init.*'kmeans'"):
        TernarySparseCoding(4, components_init="kmeans").fit(X)
