"""Rows as blocks on dask: scattered chunks of NumPy data, or a dask array where it is.

Imported only where a dask array or joblib's dask backend is met.
"""

from contextlib import nullcontext

import dask
import dask.array as da
import numpy as np
from dask import delayed

from .chunks import added, first_half, in_one_piece, on_chunk, tree_sum

try:
    from distributed import CancelledError
except ImportError:  # dask's own threads and processes need no distributed

    class CancelledError(Exception):
        """Never raised."""


# A worker that dies takes its scattered chunks along; they are sent again.
_MAX_LOSSES = 10
# Seconds after which a look is taken whether workers can go on at all.
_PATIENCE = 15.0


def checked_rows(X, ensure_min_samples=1):
    """Return a dask array as blocks of whole rows, float64 or float32; nothing is read."""
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got a dask array of {X.ndim} dimensions; give it the shape "
            "(n_samples, n_features)."
        )
    if X.shape[0] < ensure_min_samples:
        raise ValueError(
            f"Found array with {X.shape[0]} sample(s) (shape={X.shape}) while a minimum of "
            f"{ensure_min_samples} is required."
        )
    if not isinstance(X._meta, np.ndarray):
        raise TypeError(
            f"The blocks of X are of type {type(X._meta).__name__}; give a dask array of NumPy "
            "arrays, X.map_blocks(...)."
        )
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: the dask array X has dtype {X.dtype}.")
    if X.dtype.kind not in "fiub":
        raise ValueError(f"X has dtype {X.dtype}; give numbers, X.astype('float64').")
    if X.dtype not in (np.float64, np.float32):
        X = X.astype(np.float64)
    return X if X.numblocks[1] == 1 else X.rechunk({1: -1})


def checked_weights(weights, X):
    """Return sample weights as a dask array in the blocks of X."""
    n_samples = X.shape[0]
    if not isinstance(weights, da.Array):
        weights = np.asarray(weights, dtype=np.float64)
        if np.isnan(n_samples):
            raise ValueError(
                "sample_weight needs to know the rows of each block of X; call "
                "X.compute_chunk_sizes() first."
            )
        if weights.ndim == 0:
            weights = np.full(n_samples, weights)
    if weights.shape != (n_samples,) and not np.isnan(n_samples):
        raise ValueError(
            f"sample_weight has shape {weights.shape}; give {(n_samples,)}, one for each row of X."
        )
    if not isinstance(weights, da.Array):
        return in_blocks(weights, X.chunks[0])
    weights = weights.astype(np.float64)
    return weights if np.isnan(n_samples) else weights.rechunk(X.chunks[:1])


def in_blocks(weights, sizes):
    """Return weights as a dask array of blocks of these sizes.

    It is held by the scheduler, not sent again with every pass.
    """
    return da.from_array(weights, chunks=(tuple(sizes),)).persist()


class Blocks:
    """The rows of X, with weights, as blocks that dask's workers hold or load.

    Parameters
    ----------
    X : ndarray or dask array
        Chunks of an ndarray are scattered once, neighbours to one worker, which sums
        them in one task: what travels is one sum for each thread.
    weights : ndarray, dask array or None
    chunks : list of slices
        Rows of each block of an ndarray.
    client : distributed.Client or None
        None: the scheduler that dask has for X.
    """

    def __init__(self, X, weights, chunks, client):
        self.X, self.weights = X, weights
        self._client = _active_client() if client is None else client
        self._chunks, self._scattered = chunks, None
        if isinstance(X, da.Array):
            blocks = X.to_delayed().ravel()
            w = [None] * len(blocks) if weights is None else weights.to_delayed().ravel()
            self._blocks = list(zip(blocks, w, strict=True))
        else:
            self._scattered = [None] * len(chunks)
            try:
                self._scatter()
            except BaseException:
                self.close()  # some may have been sent
                raise

    def map(self, function, arguments=None):
        """Yield ``function(chunk, chunk_weights, *arguments)`` in the order of the blocks."""

        def parts():
            return self._parts(function, arguments)

        if self._client is None:
            yield from dask.compute(*parts())
            return
        for i, future in enumerate(self._submitted(*parts())):
            yield self._result(future, lambda: parts()[i])  # noqa: B023

    def sum(self, function):
        """Return the sum over the blocks, in the order of `tree_sum`."""

        def total():
            return self._total(_sent_once(function), self._homes(), 0, len(self._blocks))

        if self._client is None:
            return total().compute()
        return self._result(*self._submitted(total()), total)

    def _total(self, function, homes, start, stop):
        """Return the task that sums these blocks: one for all that have one home."""
        if homes[start] == homes[stop - 1]:
            parts = [part for block in self._blocks[start:stop] for part in block]
            with _at(homes[start][1]):
                return _task(_sum_of_blocks)(function, *parts)
        middle = start + first_half(stop - start)
        left = self._total(function, homes, start, middle)
        return _task(added)(left, self._total(function, homes, middle, stop))

    def _homes(self):
        """Return the home of each block: the number of a thread, and its worker."""
        if self._scattered is None:
            # a dask array may be read as it is needed: no task holds more than a block
            return [(i, None) for i in range(len(self._blocks))]
        # asked each time: workers come and go
        threads = self._client.nthreads().items()
        workers = [worker for worker, n_threads in threads for _ in range(n_threads)] or [None]
        homes = [i * len(workers) // len(self._chunks) for i in range(len(self._chunks))]
        return [(home, workers[home]) for home in homes]

    def _parts(self, function, arguments=None):
        function = _sent_once(function)
        arguments = arguments or [()] * len(self._blocks)
        return [
            _task(_on_block)(function, x, w, own)
            for (x, w), own in zip(self._blocks, arguments, strict=True)
            if own is not None
        ]

    def _submitted(self, *parts):
        # what goes out is as large as the parameters: no reason to warn of it
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
            return self._client.compute(parts)

    def _result(self, future, again):
        """Return a result, computed again where a worker took chunks along as it died."""
        for losses in range(_MAX_LOSSES + 1):
            try:
                return self._awaited(future)
            except CancelledError:
                if self._scattered is None or losses == _MAX_LOSSES:
                    raise
            finally:
                future.release()  # an error holds on to it
            self._scatter()
            (future,) = self._submitted(again())

    def _awaited(self, future):
        """Return a result; raise where no worker can compute it for want of memory."""
        full = False
        while True:
            try:
                return future.result(timeout=_PATIENCE)
            except TimeoutError:
                if future.done():  # the task's own
                    raise
            # a worker may be paused for a moment, until it has written something to disk
            was_full, full = full, self._is_full()
            if was_full and full:
                raise self._out_of_memory()

    def _is_full(self):
        """Tell whether all workers are paused, for want of memory, and none is at work."""
        stuck = self._client.run(_is_stuck, on_error="ignore")
        return bool(stuck) and all(stuck.values())

    def _out_of_memory(self):
        n_workers = len(self._client.nthreads())
        return MemoryError(
            f"The memory of all {n_workers} workers of the dask cluster is full, and dask has "
            "paused them. Give them more memory (memory_limit), or take more workers; for a "
            "dask array smaller blocks help, too."
        )

    def _scatter(self):
        """Send the chunks that no worker holds."""
        for i, (rows, (_, worker)) in enumerate(zip(self._chunks, self._homes(), strict=True)):
            held = self._scattered[i]
            if held is None or any(future.status != "finished" for future in held):
                _release(held)
                chunk = [np.ascontiguousarray(self.X[rows])]
                if self.weights is not None:
                    chunk.append(self.weights[rows])
                self._scattered[i] = self._sent(chunk, worker)
        self._blocks = [(*held, None)[:2] for held in self._scattered]

    def close(self):
        """Let the workers forget the chunks, at once: errors hold on to those who hold them."""
        for held in self._scattered or ():
            _release(held)

    def _sent(self, chunk, worker):
        try:
            return self._client.scatter(chunk, workers=worker, hash=False, timeout=_PATIENCE)
        except (KeyError, OSError):  # that worker has died since, or all are paused
            if self._is_full():
                raise self._out_of_memory() from None
            return self._client.scatter(chunk, hash=False)


def _is_stuck(dask_worker):
    return dask_worker.status.name == "paused" and not dask_worker.state.executing


def _release(futures):
    for future in futures or ():
        future.release()


def map_lazily(function, X):
    """Return ``function(chunk)`` of all blocks as a dask array; nothing is computed."""
    # one row of zeros tells the shape and the type of what comes
    like = function(np.zeros((1, X.shape[1]), X.dtype))
    return X.map_blocks(
        _rows_of_block,
        function=_task(in_one_piece(function)),
        dtype=like.dtype,
        chunks=(X.chunks[0], *((size,) for size in like.shape[1:])),
        drop_axis=1 if like.ndim == 1 else None,
        meta=like[:0],
    )


def _rows_of_block(X, function):
    return _on_block(function, X)


def _on_block(function, X, weights=None, arguments=()):
    return on_chunk(function, X, weights, arguments)


def _sum_of_blocks(function, *parts):
    blocks = zip(parts[::2], parts[1::2], strict=True)
    return tree_sum((on_chunk(function, x, w) for x, w in blocks), len(parts) // 2)


def _sent_once(function):
    """Return a function as a task of its own: it goes out once, the workers pass it on."""
    return _task(in_one_piece(function))


def _task(function):
    return delayed(function, pure=False, traverse=False)


def _active_client():
    """Return the client that dask computes with, None for its local schedulers."""
    client = getattr(dask.base.get_scheduler(), "__self__", None)
    return client if hasattr(client, "scatter") else None


def _at(worker):
    """Return a context in which tasks are made for a worker, or any if it has died."""
    if worker is None:
        return nullcontext()
    return dask.annotate(workers=[worker], allow_other_workers=True)
