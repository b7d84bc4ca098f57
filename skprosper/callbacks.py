"""Callbacks for scikit-learn's callback system: checkpoints and records of a fit."""

import io
import os
import pickle
import tempfile
from contextlib import suppress
from numbers import Integral
from pathlib import Path

import numpy as np

from .learning.em import FitState
from .messages import warn_user
from .version import __version__, written_by

__all__ = ["Checkpoint", "Recorder"]


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
        _make_folder(Path(self.folder).expanduser(), f"folder={str(self.folder)!r} of Checkpoint")

    def teardown(self, estimator, context):
        """Do nothing: after an interruption the file stays."""

    def on_fit_task_begin(self, estimator, context):
        """Hand what was saved of a fit to the estimator."""
        if context.task_name != "fit":
            return
        path = self._path(estimator)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return
        head, _, content = content.partition(b"\n")
        version = head.removeprefix(_HEAD).decode(errors="replace")
        if head.startswith(_HEAD) and (other := written_by(version)) is not None:
            raise ValueError(
                f"{path} is a checkpoint of {other}, and this is {__version__}: go on with that "
                "version, or delete the file to begin anew."
            )
        try:
            saved = pickle.loads(content)
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
            head = _HEAD + __version__.encode() + b"\n"
            _write(path, head + pickle.dumps(state, protocol=5))


class Recorder:
    """Write what EM has learned after each iteration to a file that other tools read.

    The file holds one array per quantity, its first axis being the iterations that were
    recorded, and besides

    ``init``
        (n_records,) the run of ``n_init`` that the record belongs to, from 0,
    ``iteration``
        (n_records,) the EM iteration within its run, from 1,
    ``lower_bound``
        (n_records,) lower bound at the E-step of the iteration, nats per data point.

    What is recorded is what the next iteration starts from. The file is written anew each
    time the records have grown by a tenth, and when a run or the fit ends; until then they
    are held in memory. A fit inside another estimator, a search or a pipeline, writes to a file
    of its own, whose name has the numbers of the tasks it stands in appended, as in
    ``run-3-1.npz``. A later fit of the same place begins the file anew. Where it
    cannot be written, on a full disk, a warning says so and the fit goes on.

    Set before a `Checkpoint`, ``set_callbacks(Recorder(..), Checkpoint(..))``, its records
    are part of what the checkpoint saves.

    Parameters
    ----------
    path : str or path-like
        The file: ``.npz`` for `numpy.load`, or ``.h5`` or ``.hdf5`` for HDF5, which needs
        h5py. Its folder is made if it does not exist, ``~`` stands for the home folder.

    quantities : tuple of str, default=("noise_variance", "prior")
        What is recorded besides the lower bound: "components" (n_components,
        n_features), "noise_variance", "offset" (n_features,), and "prior", which stands
        for all numbers of the prior, each under its own name, as in ``prior_probability``.

    every : int, default=1
        Iterations from one record to the next; the last one of a run is always recorded.

    Raises
    ------
    ValueError
        If an argument is not valid.

    See Also
    --------
    Checkpoint : Saves a fit so that it can go on.
    sklearn.callback.ScoringMonitor : Logs scores of each iteration.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> from skprosper import BinarySparseCoding
    >>> from skprosper.callbacks import Recorder
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(200, size=3, random_state=0)
    >>> path = os.path.join(tempfile.mkdtemp(), "run.npz")
    >>> model = BinarySparseCoding(6, random_state=0).set_callbacks(Recorder(path)).fit(X)
    >>> run = np.load(path)
    >>> sorted(run)
    ['init', 'iteration', 'lower_bound', 'noise_variance', 'prior_probability']
    >>> run["prior_probability"].shape == (model.n_iter_, 6)
    True
    """

    def __init__(self, path, quantities=("noise_variance", "prior"), every=1):
        if Path(path).suffix not in _WRITERS:
            raise ValueError(
                f"path={str(path)!r} of Recorder must end in one of {sorted(_WRITERS)}, which "
                "says how it is written."
            )
        wrong = [q for q in quantities if q not in _QUANTITIES]
        if isinstance(quantities, str) or wrong:
            raise ValueError(
                f"quantities={quantities!r} of Recorder is not valid; give a tuple of some of "
                f"{_QUANTITIES}."
            )
        if not isinstance(every, Integral) or every < 1:
            raise ValueError(f"every={every!r} is not valid; give an integer of at least 1.")
        self.path = path
        self.quantities = quantities
        self.every = every

    def setup(self, estimator, context):
        """Make the folder, or raise where there can be none, before there is any work."""
        if not hasattr(estimator, "_fit_state"):
            raise TypeError(
                f"Recorder records fits of skprosper's estimators, not {type(estimator).__name__}."
            )
        path = self._path(context)
        if path.suffix != ".npz":
            _import_h5py()
        _make_folder(path.parent, f"The folder of path={str(self.path)!r} of Recorder")
        if path.is_dir():
            raise IsADirectoryError(
                f"path={str(self.path)!r} of Recorder is a folder; give a file."
            )

    def teardown(self, estimator, context):
        """Do nothing: after an interruption the file stays."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing: the records begin with the first iteration."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Record an iteration; write the file where it is due."""
        state = estimator._fit_state
        # nothing of a fit is kept in self: clones share their callbacks
        records = state.records.setdefault(str(self.path), [])
        if context.task_name == "iteration":
            run = state.run
            n_iter = len(run.lower_bounds)
            if n_iter % self.every == 0 or run.finished or n_iter == estimator.max_iter:
                records.append(self._record(state.init, fitted_estimator))
        due = context.task_name != "iteration" or len(records) >= state.written.get(
            str(self.path), 0
        )
        if records and due:
            state.written[str(self.path)] = int(1.1 * len(records)) + 1
            path = self._path(context)
            arrays = {name: np.array([r[name] for r in records]) for name in records[0]}
            _write(path, _WRITERS[path.suffix](arrays), "record")

    def _path(self, context):
        """Return the file of the fit that a task belongs to."""
        path = Path(self.path).expanduser()
        while context.task_name != "fit":
            context = context.parent
        places = []
        while context.parent is not None:
            places.insert(0, str(context.task_id))
            context = context.parent
        return path.with_stem("-".join([path.stem, *places]))

    def _record(self, init, fitted):
        record = {
            "init": init,
            "iteration": fitted.n_iter_,
            "lower_bound": fitted.lower_bound_,
        }
        for name in self.quantities:
            if name != "prior":
                record[name] = getattr(fitted, f"{name}_")
                continue
            for key, value in fitted.prior_.get_params(deep=False).items():
                if np.issubdtype(np.asarray(value).dtype, np.floating):
                    record[f"prior_{key}"] = value
        return record


_QUANTITIES = ("components", "noise_variance", "offset", "prior")


def _npz(arrays):
    """Return the content of an npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def _hdf5(arrays):
    """Return the content of an HDF5 file."""
    file = io.BytesIO()
    with _import_h5py().File(file, "w") as datasets:
        for name, array in arrays.items():
            datasets[name] = array
    return file.getvalue()


_WRITERS = {".npz": _npz, ".h5": _hdf5, ".hdf5": _hdf5}


def _import_h5py():
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            "HDF5 needs h5py: pip install h5py. Or let the file end in .npz."
        ) from error
    return h5py


_NO_CHECKPOINT = "{} is damaged or no checkpoint; delete it to begin anew."
# How a file begins; the version follows, and the pickle in the next line.
_HEAD = b"skprosper "


def _make_folder(folder, what):
    """Make a folder, or raise where there can be none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(f"{what} is a file; give a folder.") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{what} cannot be written to; give another.")


def _write(path, content, what="checkpoint"):
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
            f"The {what} {path} could not be written ({error}). The fit goes on; after an "
            f"interruption there is the {what} before, if there is one."
        )
