"""Callbacks for scikit-learn's callback system: checkpoints of a fit."""

import os
import pickle
import tempfile
from contextlib import suppress
from numbers import Integral
from pathlib import Path

from .learning.em import FitState
from .messages import warn_user

__all__ = ["Checkpoint"]


class Checkpoint:
    """Save a fit as it runs; an interrupted one goes on where it was.

    Set on an estimator, it writes the state of the run every few iterations. A `fit` of
    the same estimator to the same data that finds its file continues from it, and ends
    as it would have without the interruption, bit for bit. When a fit is done its file
    is removed.

    Every fit has a file of its own in the folder, named after the parameters and the data:
    the fits of a search, at the same time or not, do not meet. The fit of other parameters
    or other data begins anew and leaves the file of an interrupted one where it is.

    A file is replaced as a whole: an interruption while writing leaves the last one. Where
    it cannot be written, on a full disk, a warning says so and the fit goes on. It is a
    pickle: load only what you have written yourself.

    Parameters
    ----------
    folder : str or path-like
        Where the files are; made if it does not exist, ``~`` stands for the home folder.

    every : int, default=10
        Iterations of EM from one write to the next.

    keep : bool, default=False
        Whether the file of a fit stays when it is done. A search that is begun again takes
        the fits that were done from their files. Delete the folder in the end.

    Examples
    --------
    >>> from skprosper import BinarySparseCoding
    >>> from skprosper.callbacks import Checkpoint
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(200, size=3, random_state=0)
    >>> model = BinarySparseCoding(6, random_state=0)
    >>> model = model.set_callbacks(Checkpoint("checkpoints", every=20))
    >>> model = model.fit(X)  # doctest: +SKIP
    """

    def __init__(self, folder, every=10, keep=False):
        if not isinstance(every, Integral) or every < 1:
            raise ValueError(f"every={every!r} is not valid; give an integer of at least 1.")
        self.folder = folder
        self.every = every
        self.keep = keep

    def _path(self, estimator):
        # nothing of a fit is kept in self: clones share their callbacks
        folder = Path(self.folder).expanduser()
        return folder / f"{type(estimator).__name__}-{estimator._fit_state.fingerprint}.checkpoint"

    def setup(self, estimator, context):
        """Make the folder, or raise where there can be none, before there is any work."""
        if not hasattr(estimator, "_fit_state"):
            raise TypeError(
                f"Checkpoint saves fits of skprosper's estimators, not {type(estimator).__name__}."
            )
        folder = Path(self.folder).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            raise NotADirectoryError(
                f"folder={str(self.folder)!r} of Checkpoint is a file; give a folder."
            ) from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(
                f"folder={str(self.folder)!r} of Checkpoint cannot be written to; give another."
            )

    def teardown(self, estimator, context):
        """Do nothing: after an interruption the file stays."""

    def on_fit_task_begin(self, estimator, context):
        """Hand what was saved of a fit to the estimator."""
        if context.task_name != "fit":
            return
        path = self._path(estimator)
        try:
            saved = pickle.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError) as error:
            raise ValueError(_NO_CHECKPOINT.format(path)) from error
        if not isinstance(saved, FitState) or saved.fingerprint != estimator._fit_state.fingerprint:
            raise ValueError(_NO_CHECKPOINT.format(path))
        estimator._fit_state.go_on_from(saved)

    def on_fit_task_end(self, estimator, context):
        """Save the fit after some iterations and after each run; remove it at the end."""
        state, path = estimator._fit_state, self._path(estimator)
        if state.done and not self.keep:
            path.unlink(missing_ok=True)
        elif state.run is None or len(state.run.lower_bounds) % self.every == 0:
            _write(path, pickle.dumps(state, protocol=5))


_NO_CHECKPOINT = "{} is not a checkpoint of this version; delete it to begin anew."


def _write(path, content):
    """Replace a file, at once and for good; where that fails, warn and leave the old one."""
    name = None
    try:
        handle, name = tempfile.mkstemp(prefix=path.name, dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException as error:
        if name is not None:
            with suppress(OSError):
                os.unlink(name)
        if not isinstance(error, OSError):
            raise
        warn_user(
            f"The checkpoint {path} could not be written ({error}). The fit goes on; one that is "
            "interrupted now goes on from the checkpoint before, if there is one."
        )
