"""Workers: map and sum functions over the chunks of X, through joblib or dask."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend

from .chunks import chunk_rows, in_one_piece, is_dask_array, on_rows, one_blas_thread, tree_sum


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
            in_passing = getattr(backend, "supports_return_generator", False)
            self._pool = Parallel(n_jobs=n_jobs, return_as="generator" if in_passing else "list")

    def __enter__(self):
        # all the while, so that what happens between the chunks rounds the same way too
        self._blas = one_blas_thread()
        self._blas.__enter__()
        if self._pool is not None:
            self._pool.__enter__()
        return self

    def __exit__(self, *error):
        self._hold(None)
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
            self._hold(Blocks(X, weights, chunks, self._client))
        return self._blocks

    def _hold(self, blocks):
        if self._blocks is not None:
            self._blocks.close()
        self._blocks = blocks

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
        task = delayed(on_rows)
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
        parts = iter(self.map(function, X, weights))
        total = tree_sum(parts, len(chunk_rows(len(X), self.batch_size)))
        next(parts, None)  # joblib wants its generator to come to the end
        return total

    def take(self, X, rows):
        """Return the rows of these numbers, which rise, as an array.

        Of a dask array, whose blocks may not know their rows, only these leave their blocks.
        """
        if not is_dask_array(X):
            return np.asarray(X[rows])
        sizes = X.chunks[0]
        if np.isnan(X.shape[0]):
            sizes = list(self.map(_n_rows, X))
        ends = np.cumsum(sizes)
        arguments = [
            (own - start,) if (own := rows[(rows >= start) & (rows < end)]).size else None
            for start, end in zip(ends - sizes, ends)
        ]
        return np.concatenate(list(self.map(_rows, X, None, arguments)))

    def concatenate(self, function, X):
        """Return ``function(chunk)`` of all chunks, stacked in order.

        Of a dask array it is a dask array: nothing is computed yet.
        """
        if is_dask_array(X):
            from .dask_blocks import map_lazily

            return map_lazily(_WithoutWeights(function), X)
        return np.concatenate(list(self.map(_WithoutWeights(function), X)))


def _n_rows(X, weights):
    return len(X)


def _rows(X, weights, rows):
    return X[rows]


class _WithoutWeights:
    """A function of a chunk alone; a class, so that processes can unpickle it."""

    def __init__(self, function):
        self.function = function

    def __call__(self, X, weights=None):
        return self.function(X)
