"""Chunks of rows and the fixed order in which their sums are added.

The chunks depend on the data's shape alone, BLAS runs on one thread inside a worker,
and sums are added as the binary tree over the chunks: the result is the same to the
bit for any number of workers, and for threads, processes and clusters.
"""

import sys
import threading
from contextlib import contextmanager

import numpy as np
from joblib import wrap_non_picklable_objects
from threadpoolctl import ThreadpoolController

_MIN_ROWS, _MAX_ROWS, _CHUNKS = 512, 8192, 8


def chunk_rows(n_samples, batch_size="auto"):
    """Return slices of rows that cover ``n_samples`` rows."""
    if batch_size == "auto":
        batch_size = min(max(-(-n_samples // _CHUNKS), _MIN_ROWS), _MAX_ROWS)
    starts = range(0, n_samples, batch_size)
    return [slice(start, min(start + batch_size, n_samples)) for start in starts]


class _OneBlasThread:
    """Holds BLAS to one thread while any worker of this process computes."""

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._controller = None

    @contextmanager
    def __call__(self):
        with self._lock:
            if self._inside == 0:
                if self._controller is None:
                    self._controller = ThreadpoolController()
                self._limiter = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if self._inside == 0:
                    self._limiter.restore_original_limits()


one_blas_thread = _OneBlasThread()


def on_chunk(function, X, weights, arguments=()):
    """Return ``function(X, weights, *arguments)``, BLAS on one thread.

    What comes in a message may lie at odd addresses, for which numba and numpy have other
    code, with other last bits.
    """
    X = np.require(without_mask(X), requirements=["C", "A"])
    if weights is not None:
        weights = np.require(without_mask(weights), requirements=["C", "A"])
    with one_blas_thread():
        return function(X, weights, *arguments)


def on_rows(function, X, weights, rows, arguments):
    return on_chunk(function, X[rows], None if weights is None else weights[rows], arguments)


def without_mask(X):
    """Return an array with NaN for what a mask hides: most of numpy would take it for data."""
    return X.filled(np.nan) if isinstance(X, np.ma.MaskedArray) else X


def in_one_piece(function):
    """Return a function that is pickled to bytes, its arrays inside them.

    They are unpickled at proper addresses; see `on_chunk`.
    """
    return wrap_non_picklable_objects(function)


def is_dask_array(X):
    """Return whether X is a dask array; dask is imported if it is."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(X, dask_array.Array)


def tree_sum(parts, n_parts):
    """Return the sum of dicts of arrays, that of the first half plus that of the second.

    Each half is summed the same way, as the parts come: one sum per level of the tree is
    held at a time. Adds to what the iterator ``parts`` gives.
    """
    if n_parts == 1:
        return next(parts)
    left = tree_sum(parts, first_half(n_parts))
    right = tree_sum(parts, n_parts - first_half(n_parts))
    for name, value in right.items():
        left[name] += value
    return left


def first_half(n_parts):
    """Return how many parts the first half of the tree has."""
    return n_parts - n_parts // 2


def added(left, right):
    """Return the sum of two dicts of arrays; the two may be needed again."""
    return {name: left[name] + value for name, value in right.items()}
