"""Chunks of rows: mapped in parallel through joblib or dask, summed in a fixed order.

The chunks depend on the data's shape alone, BLAS runs on one thread inside a worker,
and sums are added as the binary tree over the chunks: the result is the same to the
bit for any number of workers, and for threads, processes and clusters.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import numpy as np
from joblib import Parallel, delayed, parallel_config, wrap_non_picklable_objects
from joblib.parallel import get_active_backend
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


def on_chunk(function, X, weights, arguments=()):
    """Return ``function(X, weights, *arguments)``, BLAS on one thread.

    What comes in a message may lie at odd addresses, for which numba and numpy have other
    code, with other last bits.
    """
    X = np.require(X, requirements=["C", "A"])
    weights = None if weights is None else np.require(weights, requirements=["C", "A"])
    with _one_blas_thread():
        return function(X, weights, *arguments)


def _on_rows(function, X, weights, rows, arguments):
    return on_chunk(function, X[rows], None if weights is None else weights[rows], arguments)


def in_one_piece(function):
    """Return a function that is pickled to bytes, its arrays inside them.

    They are unpickled at proper addresses; see `on_chunk`.
    """
    return wrap_non_picklable_objects(function)


def is_dask_array(X):
    """Return whether X is a dask array; dask is imported if it is."""
    dask_array = sys.modules.get("dask.array")
    return dask_array is not None and isinstance(X, dask_array.Array)


def _inside_dask_task():
    worker = sys.modules.get("distributed.worker")
    return worker is not None and hasattr(worker.thread_state, "execution_state")


class _Threads:
    """Threads as joblib has them, without the 10 ms for which joblib sleeps on results."""

    def __init__(self, n_threads):
        self._executor = ThreadPoolExecutor(n_threads) if n_threads > 1 else None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def __call__(self, tasks):
        """Yield the results of joblib's delayed calls, in their order."""
        run = map if self._executor is None else self._executor.map
        return run(_call, tasks)


def _call(task):
    function, args, kwargs = task
    return function(*args, **kwargs)


class Workers:
    """Maps functions over the chunks of X; a context manager that keeps the workers.

    Under joblib's dask backend the chunks of an array are scattered once and stay with
    the workers while the context is open. The blocks of a dask array are its chunks.

    Parameters
    ----------
    n_jobs : int or None
        As in joblib. Threads by default; ``joblib.parallel_config`` chooses others.
        Dask takes all of its workers.
    batch_size : int or "auto"
        Rows per chunk.
    """

    def __init__(self, n_jobs=None, batch_size="auto"):
        self.batch_size = batch_size
        self._client = self._pool = self._blocks = None
        # A task of dask has its share of the cluster; asking for more could block it.
        inside = _inside_dask_task()
        with parallel_config(backend="threading") if inside else nullcontext():
            backend, n_configured = get_active_backend(prefer="threads")
        if type(backend).__name__ == "DaskDistributedBackend":
            self._client = backend.client
        elif getattr(backend, "supports_sharedmem", False):
            n_threads = backend.effective_n_jobs(n_configured if n_jobs is None else n_jobs)
            self._pool = _Threads(n_threads)
        else:
            self._pool = Parallel(n_jobs=n_jobs, return_as="generator")

    def __enter__(self):
        # all the while, so that what happens between the chunks rounds the same way too
        self._blas = _one_blas_thread()
        self._blas.__enter__()
        if self._pool is not None:
            self._pool.__enter__()
        return self

    def __exit__(self, *error):
        self._blocks = None
        if self._pool is not None:
            self._pool.__exit__(*error)
        self._blas.__exit__(*error)

    def _on_dask(self, X, weights):
        """Return the blocks of X on dask, None where the chunks go through joblib."""
        if self._client is None and not is_dask_array(X):
            return None
        held = self._blocks
        if held is None or held.X is not X or held.weights is not weights:
            from .dask_blocks import Blocks

            chunks = None if is_dask_array(X) else chunk_rows(len(X), self.batch_size)
            self._blocks = Blocks(X, weights, chunks, self._client)
        return self._blocks

    def map(self, function, X, weights=None, arguments=None):
        """Yield ``function(chunk, chunk_weights, *arguments)`` in the order of the chunks.

        ``arguments`` has a tuple for each chunk, None for those to leave out.
        """
        if (blocks := self._on_dask(X, weights)) is not None:
            return blocks.map(function, arguments)
        if isinstance(self._pool, Parallel):
            # joblib would leave a file behind for what changes with every iteration
            function = in_one_piece(function)
        chunks = chunk_rows(len(X), self.batch_size)
        task = delayed(_on_rows)
        arguments = arguments or [()] * len(chunks)
        return self._pool(
            task(function, X, weights, rows, own)
            for rows, own in zip(chunks, arguments, strict=True)
            if own is not None
        )

    def sum(self, function, X, weights=None):
        """Return the sum of ``function(chunk, chunk_weights)``, a dict of arrays."""
        if (blocks := self._on_dask(X, weights)) is not None:
            return blocks.sum(function)
        parts = self.map(function, X, weights)
        total = tree_sum(parts, len(chunk_rows(len(X), self.batch_size)))
        next(parts, None)  # joblib wants its generator to come to the end
        return total

    def concatenate(self, function, X):
        """Return ``function(chunk)`` of all chunks, stacked in order.

        Of a dask array it is a dask array: nothing is computed yet.
        """
        if is_dask_array(X):
            from .dask_blocks import map_lazily

            return map_lazily(_WithoutWeights(function), X)
        return np.concatenate(list(self.map(_WithoutWeights(function), X)))


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


class _WithoutWeights:
    """A function of a chunk alone; a class, so that processes can unpickle it."""

    def __init__(self, function):
        self.function = function

    def __call__(self, X, weights=None):
        return self.function(X)
