"""Saved models: pickle, joblib, skops, other processes, threads, other versions."""

import multiprocessing
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skprosper import BinarySparseCoding, GaussianSparseCoding, MaximalCausesAnalysis, SparseCoding
from skprosper.annealing import Annealing
from skprosper.callbacks import Checkpoint
from skprosper.datasets import make_bars
from skprosper.priors import DiscretePrior, SpikeSlabPrior
from skprosper.version import KEY

X, _, _ = make_bars(240, size=3, random_state=0)
HOLES = np.where(np.random.default_rng(0).uniform(size=X.shape) < 0.2, np.nan, X)
SHORT = dict(max_iter=3, tol=1e9, random_state=0)
MODELS = [
    BinarySparseCoding(6, noise="full", fit_offset=True, **SHORT),
    SparseCoding(
        6, prior=DiscretePrior((0, 1, 3)), noise="diagonal", annealing=Annealing(2.0), **SHORT
    ),
    SparseCoding(6, prior=SpikeSlabPrior(covariance="full"), n_init=2, **SHORT),
    MaximalCausesAnalysis(6, tied=True, **SHORT),
]


def through_pickle(model, path):
    return pickle.loads(pickle.dumps(model))


def through_joblib(model, path):
    joblib.dump(model, path / "model.joblib")
    return joblib.load(path / "model.joblib", mmap_mode="r")


def through_skops(model, path):
    io = pytest.importorskip("skops.io")
    io.dump(model, path / "model.skops")
    unknown = io.get_untrusted_types(file=path / "model.skops")
    assert all(name.startswith("skprosper.") for name in unknown), unknown
    return io.load(path / "model.skops", trusted=unknown)


WAYS = [through_pickle, through_joblib, through_skops]


def assert_same(one, other):
    for name in ("components_", "noise_variance_", "offset_", "lower_bounds_"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for data in (X, HOLES):
        for method in ("transform", "score_samples", "impute", "reconstruct"):
            assert_array_equal(getattr(one, method)(data), getattr(other, method)(data))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_fitted_model_comes_back_with_its_bits(model, way, tmp_path):
    model = SparseCoding.fit(pickle.loads(pickle.dumps(model)), HOLES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = way(model, tmp_path)
    assert_same(model, again)
    assert_same(model.fit(X), again.fit(X))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("n_rows", [60, 180])  # while rows are gathered, and after
def test_a_stream_goes_on_where_it_was_saved(model, way, n_rows, tmp_path):
    model = pickle.loads(pickle.dumps(model)).partial_fit(X[:n_rows])
    again = way(model, tmp_path)
    for batch in (X[n_rows:], HOLES[:100]):
        assert_same(model.partial_fit(batch), again.partial_fit(batch))


@pytest.mark.parametrize("saved, named", [("0.0.7", "skprosper 0.0.7"), (None, "an earlier")])
def test_a_model_of_another_version_is_a_warning(saved, named):
    model = BinarySparseCoding(6, **SHORT).fit(X)
    state = model.__getstate__() | {KEY: saved}
    if saved is None:
        del state[KEY]
    other = BinarySparseCoding.__new__(BinarySparseCoding)
    with pytest.warns(UserWarning, match=f"saved by {named}.*Fit it anew") as caught:
        other.__setstate__(state)
    assert caught[0].filename == __file__
    assert_same(model, other)


class Stop:
    """Callback that raises what Ctrl-C raises, at a task of a fit."""

    def __init__(self, task_name):
        self.task_name = task_name

    def setup(self, estimator, context):
        pass

    teardown = on_fit_task_begin = setup

    def on_fit_task_end(self, estimator, context):
        if context.task_name == self.task_name:
            raise KeyboardInterrupt


def test_a_checkpoint_of_another_version_is_an_error(tmp_path):
    model = BinarySparseCoding(6, **SHORT).set_callbacks(
        Checkpoint(tmp_path, every=1), Stop("iteration")
    )
    with pytest.raises(KeyboardInterrupt):
        model.fit(X)
    (file,) = tmp_path.iterdir()
    head, line, content = file.read_bytes().partition(b"\n")
    file.write_bytes(b"skprosper 0.0.7" + line + content)
    with pytest.raises(ValueError, match="checkpoint of skprosper 0.0.7.*delete the file"):
        model.fit(X)
    assert file.exists()


@pytest.mark.parametrize("task_name", ["iteration", "init 0"])
def test_an_interrupted_fit_leaves_what_was_fitted_before(task_name):
    fresh = GaussianSparseCoding(6, **SHORT).set_callbacks(Stop(task_name))
    before = sorted(vars(fresh))
    with pytest.raises(KeyboardInterrupt):
        fresh.fit(X)
    assert sorted(set(vars(fresh)) - {"_fit_state"}) == before and fresh._fit_state is None
    model = GaussianSparseCoding(6, **SHORT).partial_fit(X[:200])
    twin = pickle.loads(pickle.dumps(model))
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(Stop(task_name)).fit(2.0 * X)
    assert_same(model, twin)
    assert_same(model.partial_fit(X), twin.partial_fit(X))


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_threads_that_share_a_model_get_the_same_bits(model):
    model = pickle.loads(pickle.dumps(model)).fit(X)
    calls = [("transform", X), ("score_samples", HOLES), ("impute", HOLES), ("reconstruct", X)]
    expected = [getattr(model, method)(data) for method, data in calls]
    with ThreadPoolExecutor(4) as threads:
        jobs = [threads.submit(getattr(model, method), data) for method, data in 5 * calls]
        for job, array in zip(jobs, 5 * expected):
            assert_array_equal(job.result(), array)


def _transformed(model):
    return model.transform(HOLES), model.fit(X).components_


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes_of_any_kind_give_the_same_bits(method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} here")
    model = BinarySparseCoding(6, n_jobs=2, batch_size=60, **SHORT).fit(X)
    with multiprocessing.get_context(method).Pool(1) as pool:
        results = pool.map(_transformed, [model])
    for one, other in zip(results[0], _transformed(model)):
        assert_array_equal(one, other)
