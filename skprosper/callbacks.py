"""Callbacks for scikit-learn's callback system: checkpoints of a fit."""

import os
import pickle
import tempfile
from numbers import Integral
from pathlib import Path

__all__ = ["Checkpoint"]


class Checkpoint:
    """Save a fit as it runs; an interrupted one goes on where it was.

    Set on an estimator, it writes the state of the run every few iterations. A `fit` of
    the same estimator to the same data that finds the file continues from it, and ends
    as it would have without the interruption, bit for bit. When a fit is done the file
    is removed.

    The file is replaced as a whole: an interruption while writing leaves the last one.
    It is a pickle: load only what you have written yourself.

    Parameters
    ----------
    path : str or path-like
        The file. Fits that run at the same time need one each.

    every : int, default=10
        Iterations of EM from one write to the next.

    Examples
    --------
    >>> from skprosper import BinarySparseCoding
    >>> from skprosper.callbacks import Checkpoint
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(200, size=3, random_state=0)
    >>> model = BinarySparseCoding(6, random_state=0)
    >>> model = model.set_callbacks(Checkpoint("fit.checkpoint", every=20)).fit(X)
    """

    def __init__(self, path, every=10):
        if not isinstance(every, Integral) or every < 1:
            raise ValueError(f"every={every!r} is not valid; give an integer of at least 1.")
        self.path = path
        self.every = every

    def setup(self, estimator, context):
        """Hand what was saved to the estimator."""
        if not hasattr(estimator, "_resume"):
            raise TypeError(
                f"Checkpoint saves fits of skprosper's estimators, not {type(estimator).__name__}."
            )
        path = Path(self.path)
        if path.exists():
            try:
                estimator._resume(pickle.loads(path.read_bytes()), path)
            except (pickle.UnpicklingError, EOFError, AttributeError, ImportError) as error:
                raise ValueError(
                    f"{path} is not a checkpoint of this version; delete it to begin anew."
                ) from error

    def teardown(self, estimator, context):
        """Do nothing: after an interruption the file stays."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing: there is nothing new to save."""

    def on_fit_task_end(self, estimator, context):
        """Save the fit after some iterations and after each run; remove it at the end."""
        state = estimator._fit_state
        if state is None:
            Path(self.path).unlink(missing_ok=True)
        elif state.run is None or len(state.run.lower_bounds) % self.every == 0:
            _write(Path(self.path), pickle.dumps(state, protocol=5))


def _write(path, content):
    """Replace a file, at once and for good."""
    handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
