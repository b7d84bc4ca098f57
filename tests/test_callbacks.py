"""Checkpoints: an interrupted fit ends as one that was not."""

import errno
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV

from skprosper import BinarySparseCoding, GaussianSparseCoding, TernarySparseCoding
from skprosper.annealing import Annealing
from skprosper.callbacks import Checkpoint, Recorder
from skprosper.datasets import make_bars
from skprosper.image import denoise


class DieAfter:
    """Callback that raises, or kills the process, after some iterations in all."""

    def __init__(self, n_iter, kill=False):
        self.n_iter, self.kill, self.ended = n_iter, kill, 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name != "iteration":
            return
        self.ended += 1
        if self.ended == self.n_iter:
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt


def ternary():
    """A fit of two runs, with moves, noise and a random share of the data."""
    X, _, _ = make_bars(600, prior="ternary", random_state=3)
    annealing = Annealing(data_share=((0.2, 0.7), (0.3, 1.0)), prior_noise=((0, 0.2), (0.3, 0)))
    model = TernarySparseCoding(10, annealing=annealing, n_init=2, max_iter=60, random_state=0)
    return model, X


def assert_same_fit(one, other):
    for name in ("components_", "noise_variance_", "lower_bounds_", "lower_bound_", "usage_"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    for name, value in one.prior_.get_params().items():
        assert_array_equal(value, other.prior_.get_params()[name], err_msg=name)
    assert one.n_iter_ == other.n_iter_ and one.converged_ == other.converged_


# a process that is killed in the middle of a fit of the function above
KILLED = "import test_callbacks as t; m, X = t.ternary(); m.set_callbacks({callbacks}).fit(X)"


def test_a_killed_fit_goes_on_to_the_same_bits(tmp_path):
    path = tmp_path
    callbacks = f"t.Checkpoint({str(path)!r}, every=7), t.DieAfter(30, kill=True)"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED.format(callbacks=callbacks)],
        cwd=os.path.dirname(__file__),
    )
    assert ended.returncode == -signal.SIGKILL
    assert len(os.listdir(path)) == 1
    model, X = ternary()
    whole, _ = ternary()
    again = DieAfter(10**6)
    model.set_callbacks(Checkpoint(path), again).fit(X)
    total = DieAfter(10**6)
    whole.set_callbacks(total).fit(X)
    assert again.ended == total.ended - 28
    assert_same_fit(model, whole)
    assert os.listdir(path) == []


@pytest.mark.parametrize("n_iter", [1, 25, 33, 50])
def test_a_fit_interrupted_anywhere_goes_on_to_the_same_bits(tmp_path, n_iter):
    model, X = ternary()
    whole = ternary()[0].fit(X)
    checkpoint = Checkpoint(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(checkpoint, DieAfter(n_iter)).fit(X)
    assert not hasattr(model, "components_")
    resumed = ternary()[0].set_callbacks(checkpoint)
    assert_same_fit(resumed.fit(X), whole)
    assert os.listdir(tmp_path) == []


def test_slabs_resume_too(tmp_path):
    X, _, _ = make_bars(300, size=3, prior="spike-slab", random_state=0)
    params = dict(covariance="full", max_iter=20, random_state=0)
    whole = GaussianSparseCoding(6, **params).fit(X)
    model = GaussianSparseCoding(6, **params)
    checkpoint = Checkpoint(tmp_path, every=2)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(checkpoint, DieAfter(9)).fit(X)
    assert_same_fit(model.set_callbacks(checkpoint).fit(X), whole)


@pytest.mark.parametrize("other", ["data", "parameters", "start"])
def test_another_fit_begins_anew_and_leaves_the_file(tmp_path, other):
    model, X = ternary()
    if other == "start":
        model.set_params(warm_start=True, max_iter=3).fit(X)
    checkpoint = Checkpoint(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(checkpoint, DieAfter(2)).fit(X)
    (name,) = os.listdir(tmp_path)
    model.set_callbacks(checkpoint)
    if other == "data":
        X = 2 * X
    elif other == "parameters":
        model.set_params(max_iter=6)
    else:
        model.components_ = 1.1 * model.components_
    model.fit(X)
    assert os.listdir(tmp_path) == [name]


def test_what_leaves_the_result_leaves_the_file(tmp_path):
    model, X = ternary()
    checkpoint = Checkpoint(tmp_path, every=1)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(checkpoint, DieAfter(2)).fit(X)
    model.set_params(n_jobs=2, code="map", verbose=1).set_callbacks(checkpoint).fit(X)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"something else", pickle.dumps([1]), b""])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    X, _, _ = make_bars(50, size=3, random_state=0)
    model = BinarySparseCoding(6, max_iter=2, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(Checkpoint(tmp_path, every=1), DieAfter(2)).fit(X)
    (name,) = os.listdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match="delete it"):
        model.set_callbacks(Checkpoint(tmp_path)).fit(X)


def test_checkpoints_say_what_they_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="every=0"):
        Checkpoint(tmp_path, every=0)
    with pytest.raises(TypeError, match="PCA"):
        Checkpoint(tmp_path).setup(PCA(), None)


def test_a_fit_can_be_repeated_with_the_same_checkpoint(tmp_path):
    X, _, _ = make_bars(200, size=3, random_state=0)
    model = BinarySparseCoding(6, max_iter=5, random_state=0)
    model.set_callbacks(Checkpoint(tmp_path, every=1))
    first = model.fit(X).components_
    assert np.all(np.isfinite(first))
    assert_array_equal(model.fit(X).components_, first)


def test_the_folder_is_made_and_may_be_under_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    X, _, _ = make_bars(50, size=3, random_state=0)
    model = BinarySparseCoding(6, max_iter=3, random_state=0)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(Checkpoint("~/a/b", every=1), DieAfter(2)).fit(X)
    assert len(os.listdir(tmp_path / "a" / "b")) == 1


def test_a_folder_that_there_cannot_be_fails_before_the_work(tmp_path, monkeypatch):
    X, _, _ = make_bars(50, size=3, random_state=0)
    (tmp_path / "file").write_text("")
    counter = DieAfter(10**6)
    model = BinarySparseCoding(6, max_iter=3, random_state=0)
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(NotADirectoryError):
            model.set_callbacks(Checkpoint(folder), counter).fit(X)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="cannot be written"):
        model.set_callbacks(Checkpoint(tmp_path), counter).fit(X)
    assert counter.ended == 0


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_is_a_warning_and_the_fit_goes_on(tmp_path, monkeypatch, step):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    X, _, _ = make_bars(100, size=3, random_state=0)
    model = BinarySparseCoding(6, max_iter=5, random_state=0)
    whole = BinarySparseCoding(6, max_iter=5, random_state=0).fit(X)
    monkeypatch.setattr(os, step, full)
    with pytest.warns(UserWarning, match="could not be written.*No space left") as caught:
        model.set_callbacks(Checkpoint(tmp_path, every=1)).fit(X)
    assert {w.filename for w in caught if "written" in str(w.message)} == {__file__}
    assert_same_fit(model, whole)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_the_fits_of_a_search_have_a_file_each(tmp_path, backend):
    X, _, _ = make_bars(200, size=3, random_state=0)
    grid = {"n_components": [4, 5, 6]}
    params = dict(max_iter=8, random_state=0)
    plain = GridSearchCV(BinarySparseCoding(**params), grid, cv=2).fit(X)
    model = BinarySparseCoding(**params).set_callbacks(Checkpoint(tmp_path, every=1, keep=True))
    with parallel_config(backend=backend):
        search = GridSearchCV(model, grid, cv=2, n_jobs=2).fit(X)
    assert_array_equal(search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])
    assert_same_fit(search.best_estimator_, plain.best_estimator_)
    assert len(os.listdir(tmp_path)) == 7


def test_a_search_begun_again_does_not_fit_again_what_was_done(tmp_path):
    X, _, _ = make_bars(200, size=3, random_state=0)
    params, grid = dict(max_iter=8, tol=0, random_state=0), {"n_components": [4, 5, 6]}
    plain = GridSearchCV(BinarySparseCoding(**params), grid, cv=2).fit(X)
    counter = DieAfter(30)
    model = BinarySparseCoding(**params).set_callbacks(
        Checkpoint(tmp_path, every=1, keep=True), counter
    )
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(model, grid, cv=2).fit(X)
    search = GridSearchCV(model, grid, cv=2).fit(X)
    assert counter.ended == 7 * 8
    assert_same_fit(search.best_estimator_, plain.best_estimator_)


def test_an_interrupted_denoising_goes_on(tmp_path):
    noisy = 20 * np.random.default_rng(0).standard_normal((24, 24))
    noisy[:, ::4] += 100
    params = dict(fast=True, random_state=0)
    whole, counter = denoise(noisy, **params), DieAfter(10**6)
    denoise(noisy, callbacks=[counter], **params)
    total, stopped = counter.ended, DieAfter(counter.ended - 3)
    callbacks = [Checkpoint(tmp_path, every=1, keep=True), stopped]
    with pytest.raises(KeyboardInterrupt):
        denoise(noisy, callbacks=callbacks, **params)
    assert_array_equal(denoise(noisy, callbacks=callbacks, **params), whole)
    assert stopped.ended == total


def test_the_random_state_of_the_user_goes_on_too(tmp_path):
    X, _, _ = make_bars(100, size=3, random_state=0)
    params = dict(n_components=6, max_iter=10, tol=0)

    def two_fits(callbacks, interrupted):
        rng = np.random.RandomState(0)
        model = BinarySparseCoding(random_state=rng, **params)
        if interrupted:
            with pytest.raises(KeyboardInterrupt):
                model.set_callbacks(*callbacks, DieAfter(6)).fit(X)
            rng = np.random.RandomState(0)
            model = BinarySparseCoding(random_state=rng, **params)
        model.set_callbacks(*callbacks).fit(X)
        return BinarySparseCoding(random_state=rng, **params).fit(X).components_

    checkpoint = Checkpoint(tmp_path, every=1)
    assert_array_equal(two_fits([checkpoint], True), two_fits([], False))


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_records_hold_what_was_learned_after_each_iteration(tmp_path, suffix):
    model, X = ternary()
    path = tmp_path / "made" / f"run{suffix}"
    everything = ("components", "noise_variance", "offset", "prior")
    if suffix == ".npz":
        model.set_callbacks(Recorder(path, everything)).fit(X)
        run = np.load(path)
    else:
        h5py = pytest.importorskip("h5py")
        model.set_callbacks(Recorder(path, everything)).fit(X)
        with h5py.File(path) as file:
            run = {name: file[name][:] for name in file}
    best = (
        run["init"] == run["init"][np.argmax(run["components"][:, 0, 0] == model.components_[0, 0])]
    )
    assert_array_equal(run["lower_bound"][best], model.lower_bounds_)
    assert_array_equal(run["iteration"][best], 1 + np.arange(model.n_iter_))
    assert_array_equal(run["components"][best][-1], model.components_)
    assert_array_equal(run["noise_variance"][best][-1], model.noise_variance_)
    assert_array_equal(run["prior_probability"][best][-1], model.prior_.probability)
    assert run["offset"].shape == (len(run["init"]), X.shape[1])
    assert set(run["init"]) == {0, 1}


def test_records_leave_the_fit_as_it_is_and_come_every_few_iterations(tmp_path):
    model, X = ternary()
    whole = ternary()[0].fit(X)
    assert_same_fit(model.set_callbacks(Recorder(tmp_path / "run.npz", every=20)).fit(X), whole)
    run = np.load(tmp_path / "run.npz")
    last = [run["iteration"][run["init"] == init].max() for init in (0, 1)]
    assert set(run["iteration"]) <= {20, 40, 60, *last}


def test_records_go_on_with_a_checkpoint(tmp_path):
    model, X = ternary()
    whole = ternary()[0].set_callbacks(Recorder(tmp_path / "whole.npz")).fit(X)
    recorder = Recorder(tmp_path / "run.npz")
    callbacks = recorder, Checkpoint(tmp_path / "checkpoints", every=1)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(*callbacks, DieAfter(25)).fit(X)
    assert len(np.load(tmp_path / "run.npz")["init"]) >= 22
    model.set_callbacks(*callbacks).fit(X)
    one, other = np.load(tmp_path / "run.npz"), np.load(tmp_path / "whole.npz")
    for name in other:
        assert_array_equal(one[name], other[name], err_msg=name)
    assert_same_fit(model, whole)


def test_the_fits_of_a_search_have_records_each(tmp_path):
    X, _, _ = make_bars(200, size=3, random_state=0)
    model = BinarySparseCoding(max_iter=3, random_state=0)
    model.set_callbacks(Recorder(tmp_path / "run.npz", ["noise_variance"]))
    search = GridSearchCV(model, {"n_components": [4, 6]}, cv=2).fit(X)
    assert len(os.listdir(tmp_path)) == 5
    last = [np.load(tmp_path / name)["noise_variance"][-1] for name in os.listdir(tmp_path)]
    assert search.best_estimator_.noise_variance_ in last


def test_recorders_say_what_they_cannot_do(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="run.txt.*.npz"):
        Recorder("run.txt")
    with pytest.raises(ValueError, match="weights"):
        Recorder("run.npz", ("weights",))
    with pytest.raises(ValueError, match="tuple"):
        Recorder("run.npz", "prior")
    with pytest.raises(ValueError, match="every=0"):
        Recorder("run.npz", every=0)
    with pytest.raises(TypeError, match="PCA"):
        Recorder(tmp_path / "run.npz").setup(PCA(), None)
    X, _, _ = make_bars(50, size=3, random_state=0)
    model = BinarySparseCoding(6, max_iter=2, random_state=0)
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="folder.npz"):
        model.set_callbacks(Recorder(tmp_path / "folder.npz")).fit(X)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="pip install h5py"):
        model.set_callbacks(Recorder(tmp_path / "run.h5")).fit(X)
