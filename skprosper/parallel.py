"""Chunks of rows: mapped in parallel through joblib, summed in a fixed order.

The chunks depend on the data's shape alone, and BLAS runs on one thread inside a
worker: the result is the same to the bit for any number of workers.
"""

import threading
from contextlib import contextmanager

import numpy as np
from joblib import Parallel, delayed
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


_one_blas_thread = _OneBlasThread()


def _on_chunk(function, X, weights, rows):
    chunk = np.ascontiguousarray(X[rows])
    chunk_weights = None if weights is None else weights[rows]
    with _one_blas_thread():
        return function(chunk, chunk_weights)


class Workers:
    """Maps functions over the chunks of X; a context manager that keeps the pool.

    Parameters
    ----------
    n_jobs : int or None
        As in joblib. Threads by default; ``joblib.parallel_config`` chooses others.
    batch_size : int or "auto"
        Rows per chunk.
    """

    def __init__(self, n_jobs=None, batch_size="auto"):
        self.batch_size = batch_size
        self._parallel = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")

    def __enter__(self):
        self._parallel.__enter__()
        return self

    def __exit__(self, *error):
        return self._parallel.__exit__(*error)

    def map(self, function, X, weights=None):
        """Yield ``function(chunk, chunk_weights)`` in the order of the chunks."""
        chunks = chunk_rows(len(X), self.batch_size)
        task = delayed(_on_chunk)
        return self._parallel(task(function, X, weights, rows) for rows in chunks)

    def sum(self, function, X, weights=None):
        """Return the sum of ``function(chunk, chunk_weights)``, a dict of arrays."""
        total = None
        for part in self.map(function, X, weights):
            if total is None:
                total = part
                continue
            for name, value in part.items():
                total[name] += value
        return total

    def concatenate(self, function, X):
        """Return ``function(chunk)`` of all chunks, stacked in order."""
        return np.concatenate(list(self.map(_WithoutWeights(function), X)))


class _WithoutWeights:
    """A function of a chunk alone; a class, so that processes can unpickle it."""

    def __init__(self, function):
        self.function = function

    def __call__(self, X, weights):
        return self.function(X)
