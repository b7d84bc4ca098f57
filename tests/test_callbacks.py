"""Checkpoints: an interrupted fit ends as one that was not."""

import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.decomposition import PCA

from skprosper import BinarySparseCoding, GaussianSparseCoding, TernarySparseCoding
from skprosper.annealing import Annealing
from skprosper.callbacks import Checkpoint
from skprosper.datasets import make_bars


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
        self.ended += context.task_name == "iteration"
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
    path = tmp_path / "fit"
    callbacks = f"t.Checkpoint({str(path)!r}, every=7), t.DieAfter(30, kill=True)"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED.format(callbacks=callbacks)],
        cwd=os.path.dirname(__file__),
    )
    assert ended.returncode == -signal.SIGKILL
    assert path.exists()
    model, X = ternary()
    whole, _ = ternary()
    again = DieAfter(10**6)
    model.set_callbacks(Checkpoint(path), again).fit(X)
    total = DieAfter(10**6)
    whole.set_callbacks(total).fit(X)
    assert again.ended == total.ended - 28
    assert_same_fit(model, whole)
    assert not path.exists()


@pytest.mark.parametrize("n_iter", [1, 25, 33, 50])
def test_a_fit_interrupted_anywhere_goes_on_to_the_same_bits(tmp_path, n_iter):
    model, X = ternary()
    whole = ternary()[0].fit(X)
    checkpoint = Checkpoint(tmp_path / "fit", every=1)
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
    checkpoint = Checkpoint(tmp_path / "fit", every=2)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(checkpoint, DieAfter(9)).fit(X)
    assert_same_fit(model.set_callbacks(checkpoint).fit(X), whole)


@pytest.mark.parametrize("other", ["data", "parameters"])
def test_the_checkpoint_of_another_fit_is_refused(tmp_path, other):
    model, X = ternary()
    checkpoint = Checkpoint(tmp_path / "fit", every=1)
    with pytest.raises(KeyboardInterrupt):
        model.set_callbacks(checkpoint, DieAfter(2)).fit(X)
    model.set_callbacks(checkpoint)
    if other == "data":
        X = 2 * X
    else:
        model.set_params(max_iter=61)
    with pytest.raises(ValueError, match="checkpoint of another fit"):
        model.fit(X)
    assert (tmp_path / "fit").exists()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    X, _, _ = make_bars(50, size=3, random_state=0)
    model = BinarySparseCoding(6, max_iter=2)
    (tmp_path / "fit").write_bytes(b"something else")
    with pytest.raises(ValueError, match="delete it"):
        model.set_callbacks(Checkpoint(tmp_path / "fit")).fit(X)
    (tmp_path / "fit").write_bytes(pickle.dumps([1]))
    with pytest.raises(ValueError, match="another fit"):
        model.set_callbacks(Checkpoint(tmp_path / "fit")).fit(X)


def test_checkpoints_say_what_they_cannot_do(tmp_path):
    with pytest.raises(ValueError, match="every=0"):
        Checkpoint(tmp_path / "fit", every=0)
    with pytest.raises(TypeError, match="PCA"):
        Checkpoint(tmp_path / "fit").setup(PCA(), None)


def test_a_fit_can_be_repeated_with_the_same_checkpoint(tmp_path):
    X, _, _ = make_bars(200, size=3, random_state=0)
    model = BinarySparseCoding(6, max_iter=5, random_state=0)
    model.set_callbacks(Checkpoint(tmp_path / "fit", every=1))
    first = model.fit(X).components_
    assert np.all(np.isfinite(first))
    assert_array_equal(model.fit(X).components_, first)
