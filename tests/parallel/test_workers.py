"""Where the rows are and who works on them changes no bit: joblib, dask, memory maps."""

import os
import signal

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from numpy.testing import assert_allclose, assert_array_equal

from skprosper import SparseCoding
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars
from skprosper.parallel.chunks import added, tree_sum
from skprosper.parallel.workers import Workers
from skprosper.priors import SpikeSlabPrior

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

X, _, _ = make_bars(700, size=3, random_state=0)
WEIGHTS = np.random.default_rng(0).uniform(0, 2, len(X))
PARAMS = dict(n_components=6, batch_size=100, max_iter=4, tol=0, random_state=0)
BLOCKS = da.from_array(X, chunks=(100, 5))


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def fitted(data, prior="binary", weights=None, **params):
    model = SparseCoding(prior=prior, noise="full", fit_offset=True, **{**PARAMS, **params})
    return model.fit(data, sample_weight=weights)


def assert_same_bits(one, other):
    for name in ("components_", "noise_variance_", "offset_", "lower_bounds_", "lower_bound_"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name, value in vars(one.prior_).items():
        assert_array_equal(getattr(other.prior_, name), value, err_msg=name)


@pytest.mark.parametrize("prior", ["binary", SpikeSlabPrior(covariance="full")])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_all_ways_to_the_same_bits(client, tmp_path, prior, dtype):
    data = X.astype(dtype)
    np.save(tmp_path / "X.npy", data)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    blocks = da.from_array(data, chunks=(100, 5))
    alone = fitted(data, prior, WEIGHTS)
    assert alone.components_.dtype == dtype
    for backend in ("threading", "loky", "dask"):
        with parallel_config(backend=backend, n_jobs=2):
            for rows in (data, mapped):
                assert_same_bits(fitted(rows, prior, WEIGHTS), alone)
    for weights in (WEIGHTS, da.from_array(WEIGHTS, chunks=130)):
        assert_same_bits(fitted(blocks, prior, weights), alone)
        assert_same_bits(fitted(blocks.persist(), prior, weights), alone)
    import dask

    with dask.config.set(scheduler="threads"):
        assert_same_bits(fitted(blocks, prior, WEIGHTS), alone)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score_samples"])
def test_dask_arrays_give_dask_arrays_that_compute_the_same(client, method):
    model = fitted(X)
    lazy = getattr(model, method)(BLOCKS)
    expected = getattr(model, method)(X)
    assert isinstance(lazy, da.Array)
    assert lazy.shape == expected.shape and lazy.dtype == expected.dtype
    assert lazy.chunks[0] == (100,) * 7
    assert_array_equal(lazy.compute(), expected)
    assert_array_equal(lazy[150:160].compute(), expected[150:160])
    with parallel_config(backend="dask"):
        assert_array_equal(getattr(model, method)(X), expected)


def test_the_other_methods_take_dask_arrays(client):
    model = fitted(X)
    assert model.score(BLOCKS, sample_weight=WEIGHTS) == model.score(X, sample_weight=WEIGHTS)
    assert_allclose(
        model.score(X, sample_weight=WEIGHTS),
        np.average(model.score_samples(X), weights=WEIGHTS),
    )
    one, other = model.posterior(X, 3), model.posterior(BLOCKS, 3)
    assert_array_equal(one.probabilities, other.probabilities)
    assert_array_equal(one.marginals, other.marginals)
    codes = model.transform(BLOCKS)
    assert_array_equal(
        model.inverse_transform(codes).compute(), model.inverse_transform(model.transform(X))
    )
    assert isinstance(fitted(X).fit_transform(BLOCKS), da.Array)


def test_dask_arrays_are_read_lazily_and_never_whole():
    seen = []

    def load(block_info=None):
        seen.append(block_info[None]["chunk-location"][0])
        start, stop = block_info[None]["array-location"][0]
        return X[start:stop]

    lazy = da.map_blocks(load, chunks=((100,) * 7, (9,)), dtype=float, meta=np.empty((0, 9)))
    import dask

    with dask.config.set(scheduler="synchronous"):
        model = fitted(lazy, annealing=Annealing(reseed=False))
        # the moments, once for each iteration, and for the diagnostics
        assert sorted(seen) == sorted(list(range(7)) * (2 + model.n_iter_))
        seen.clear()
        codes = model.transform(lazy)
        assert seen == []
        codes[:10].compute()
        assert seen == [0]


def test_integers_of_a_dask_array_become_floats():
    counts = np.random.default_rng(0).integers(0, 9, (60, 3))
    blocks = da.from_array(counts, chunks=(20, 3))
    params = dict(batch_size=20, max_iter=2, tol=1e9)
    assert_same_bits(fitted(counts, **params), fitted(blocks, **params))


def test_rows_of_unknown_number():
    known = da.from_array(X, chunks=(100, 9))
    unknown = known[da.from_array(np.ones(700, bool), chunks=100)]
    assert np.isnan(unknown.shape[0])
    weights = da.from_array(WEIGHTS, chunks=100)
    assert_same_bits(fitted(unknown, weights=weights), fitted(X, weights=WEIGHTS))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        fitted(unknown, weights=WEIGHTS)


def changed(value):
    data = X.copy()
    data[350, 2] = value
    return da.from_array(data, chunks=(100, 9))


@pytest.mark.parametrize(
    "data, weights, message",
    [
        (changed(np.inf), None, "X contains infinity"),
        (BLOCKS[:, 0], None, "Expected 2D array"),
        (BLOCKS[:1], None, "minimum of 2 is required"),
        (1j * BLOCKS, None, "Complex data"),
        (BLOCKS.astype(str), None, "X has dtype <U"),
        (1e-160 * BLOCKS, None, "rescale X"),
        (BLOCKS, WEIGHTS[:50], r"sample_weight has shape \(50,\)"),
        (BLOCKS, -WEIGHTS, "Negative values in sample_weight"),
        (BLOCKS, 0 * WEIGHTS, "zero everywhere"),
        (BLOCKS, np.full(700, np.nan), "sample_weight contains NaN"),
    ],
)
def test_bad_dask_arrays_give_one_clear_error(data, weights, message):
    with pytest.raises(ValueError, match=message):
        fitted(data, weights=weights)


def test_bad_dask_arrays_of_a_fitted_model(client):
    model = fitted(X)
    with pytest.raises(ValueError, match="X contains infinity"):
        model.transform(changed(np.inf)).compute()
    with pytest.raises(ValueError, match="X contains infinity"):
        model.score(changed(np.inf))
    with pytest.raises(ValueError, match="4 features"):
        model.transform(BLOCKS[:, :4])
    with pytest.raises(ValueError, match="codes of this model have 6"):
        model.inverse_transform(BLOCKS)


class KillsAWorker:
    """Callback that kills a worker of the cluster with SIGKILL after two iterations."""

    def __init__(self, client):
        self.client, self.n_iter, self.killed = client, 0, None

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        self.n_iter += context.task_name == "iteration"
        if self.n_iter == 2 and self.killed is None:
            worker, self.killed = sorted(self.client.run(os.getpid).items())[0]
            os.kill(self.killed, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["array", "dask array"])
def test_a_worker_that_dies_changes_nothing(kind):
    alone = fitted(X, weights=WEIGHTS)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
        parallel_config(backend="dask"),
    ):
        killer = KillsAWorker(client)
        model = SparseCoding(noise="full", fit_offset=True, **PARAMS).set_callbacks(killer)
        data = X if kind == "array" else BLOCKS.persist()
        model.fit(data, sample_weight=WEIGHTS)
        assert killer.killed is not None
    assert_same_bits(model, alone)


def _fit_inside(data):
    return fitted(data)


def test_a_fit_inside_a_task_of_dask_does_not_wait_for_itself(client):
    with parallel_config(backend="dask"):
        inside = Parallel()(delayed(_fit_inside)(X) for _ in range(4))
    for model in inside:
        assert_same_bits(model, fitted(X))


def test_only_parameters_go_out_and_statistics_come_back(client):
    with Workers() as local, parallel_config(backend="dask"), Workers() as workers:
        workers.sum(_Moments(), X)
        sent = client.scheduler_comm.byte_count
        for _ in range(3):
            total = workers.sum(_Moments(), X)
        assert client.scheduler_comm.byte_count - sent < X.nbytes
        assert_array_equal(total["sum"], local.sum(_Moments(), X)["sum"])


def test_workers_that_come_later_take_their_share():
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
        Workers(batch_size=100) as local,
        parallel_config(backend="dask"),
        Workers(batch_size=100) as workers,
    ):
        expected = local.sum(_Moments(), X)["sum"]
        for n_workers in (1, 3):
            cluster.scale(n_workers)
            client.wait_for_workers(n_workers)
            assert_array_equal(workers.sum(_Moments(), X)["sum"], expected)
            assert all(client.has_what().values())


class _Moments:
    def __call__(self, data, weights):
        return {"sum": data.sum(axis=0)}


def halved(parts):
    if len(parts) == 1:
        return parts[0]
    middle = (len(parts) + 1) // 2
    return added(halved(parts[:middle]), halved(parts[middle:]))


@pytest.mark.parametrize("n_parts", range(1, 18))
def test_the_sum_in_passing_is_that_of_the_tree(n_parts):
    rng = np.random.default_rng(n_parts)
    parts = [{"a": 10.0 ** rng.integers(-8, 8) * rng.standard_normal(3)} for _ in range(n_parts)]
    in_passing = tree_sum(({"a": part["a"].copy()} for part in parts), n_parts)
    assert_array_equal(in_passing["a"], halved(parts)["a"])
