"""A fit on a cluster of processes: bits, bytes, a death, and the gain of a second worker.

Binary components on patches of two photographs, with ``joblib.parallel_config("dask")``.
Prints whether array, memory map and dask array give the same bits on threads,
processes and dask; the bytes that move in an iteration, read from dask's own counters,
beside the formula of the user guide; whether a worker that is killed with SIGKILL
changes the result; and the time of an iteration with one worker over that with two.
"""

import argparse
import os
import signal
import tempfile
import warnings
from contextlib import contextmanager
from time import perf_counter, sleep

import dask.array as da
import numpy as np
from dask.distributed import Client, LocalCluster
from joblib import parallel_config
from threadpoolctl import threadpool_limits

from skprosper import BinarySparseCoding
from skprosper.datasets import load_image_patches


@contextmanager
def cluster(n_workers):
    with (
        LocalCluster(
            n_workers=n_workers, threads_per_worker=1, dashboard_address=":0", silence_logs=50
        ) as processes,
        Client(processes) as client,
    ):
        yield client


class EachIteration:
    """Callback that calls a function after each iteration and keeps what it returns."""

    def __init__(self, function):
        self.function, self.seen = function, []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "iteration":
            self.seen.append(self.function(len(self.seen)))


def fit(X, options, after=None, n_iter=None):
    model = BinarySparseCoding(
        options.components,
        max_iter=n_iter or options.iterations,
        tol=0,
        batch_size=options.batch,
        random_state=0,
    )
    if after is not None:
        model.set_callbacks(after)
    return model.fit(X)


def same(one, other):
    return np.array_equal(one.components_, other.components_) and np.array_equal(
        one.lower_bounds_, other.lower_bounds_
    )


def bits(X, options):
    """Print whether all kinds of data on all backends give the same fit."""
    alone = fit(X, options)
    with tempfile.TemporaryDirectory() as folder, cluster(2):
        path = os.path.join(folder, "X.npy")
        np.save(path, X)
        mapped = np.load(path, mmap_mode="r")
        blocks = blocks_of_file(path, X, options)
        for backend in ("threading", "loky", "dask"):
            with parallel_config(backend=backend, n_jobs=2):
                for kind, rows in (("array", X), ("memory map", mapped), ("dask array", blocks)):
                    print(f"  {backend:10} {kind:11} same bits: {same(fit(rows, options), alone)}")
    return alone


def blocks_of_file(path, X, options):
    """Return a dask array whose blocks the workers read from the file that holds X."""
    rows = da.core.normalize_chunks(options.batch, X.shape[:1])[0]
    chunks = (rows, X.shape[1:])
    return da.map_blocks(_rows_of_file, path, chunks=chunks, dtype=X.dtype, meta=X[:0])


def _rows_of_file(path, block_info=None):
    start, stop = block_info[None]["array-location"][0]
    return np.load(path, mmap_mode="r")[start:stop]


def counters(client):
    """Return bytes: client to scheduler, scheduler to workers, workers out, between workers."""
    sleep(0.05)  # for the last messages to be counted

    def of_worker(dask_worker):
        incoming = sum(entry["total"] for entry in dask_worker.transfer_incoming_log)
        return dask_worker.transfer_outgoing_bytes_total, incoming

    def of_scheduler(dask_scheduler):
        return sum(stream.byte_count for stream in dask_scheduler.stream_comms.values())

    out, between = np.sum(list(client.run(of_worker).values()), axis=0)
    to_workers = client.run_on_scheduler(of_scheduler)
    return np.array([client.scheduler_comm.byte_count, to_workers, out - between, between])


def traffic(X, options):
    """Print the bytes of an iteration after the first, and the formula."""
    n_features = X.shape[1]
    H, itemsize = options.components, X.dtype.itemsize
    out = (2 * H * n_features + H * H) * itemsize
    back = (H * n_features + H * H) * 8
    print(f"  formula: parameters {out / 1e6:.3f} MB out, statistics {back / 1e6:.3f} MB back")
    for n_samples in (len(X) // 2, len(X)):
        with cluster(2) as client, parallel_config(backend="dask"):
            after = EachIteration(lambda _: counters(client))
            fit(X[:n_samples], options, after, n_iter=5)
        steps = np.diff(after.seen, axis=0)[1:].mean(axis=0)
        names = ("client to scheduler", "scheduler to workers", "workers to client", "in between")
        measured = ", ".join(f"{n} {b / 1e6:.3f}" for n, b in zip(names, steps))
        print(f"  {n_samples} rows, MB: {measured}")
        print(
            f"  over the formula: out {steps[0] / out:.3f}, back {steps[2] / back:.3f}", flush=True
        )


def death(X, options, alone):
    """Print whether killing one of two workers in mid-fit changes the result."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X.npy")
        np.save(path, X)
        for kind in ("array", "dask array"):
            with cluster(2) as client, parallel_config(backend="dask"):

                def kill(iteration):
                    if iteration == 1:
                        os.kill(min(client.run(os.getpid).values()), signal.SIGKILL)

                data = X if kind == "array" else blocks_of_file(path, X, options).persist()
                model = fit(data, options, EachIteration(kill))
            print(f"  {kind:11} same bits: {same(model, alone)}", flush=True)


def gain(X, options):
    """Print the seconds of an iteration with one worker and with two."""
    seconds = []
    for n_workers in (1, 2):
        with cluster(n_workers) as client, parallel_config(backend="dask"), threadpool_limits(1):
            client.wait_for_workers(n_workers)
            after = EachIteration(lambda _: perf_counter())
            fit(X, options, after, n_iter=options.timed + 1)
        seconds.append(np.median(np.diff(after.seen)))
    print(
        f"  an iteration: {seconds[0]:.2f} s with one worker, {seconds[1]:.2f} s with two: "
        f"{seconds[0] / seconds[1]:.2f} times"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500_000, help="rows of the timing")
    parser.add_argument("--few", type=int, default=20_000, help="rows of all else")
    parser.add_argument("--components", type=int, default=400)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--batch", type=int, default=5000, help="rows per chunk")
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--timed", type=int, default=3, help="iterations of the timing")
    parser.add_argument("--parts", nargs="+", default=["bits", "bytes", "death", "gain"])
    options = parser.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # that a few iterations are no fit
    half = {"n_patches": options.samples // 2, "patch_size": options.patch, "random_state": 0}
    both = [load_image_patches(image=image, **half) for image in ("china", "flower")]
    # in turn: patches of one cost more than those of the other
    patches = np.stack(both, axis=1).reshape(-1, both[0].shape[1])
    few = patches[: options.few]
    sizes = f"H = {options.components}, D = {patches.shape[1]}"
    reference = None
    if "bits" in options.parts:
        print(f"bits, {len(few)} rows, {sizes}")
        reference = bits(few, options)
    if "bytes" in options.parts:
        print(f"bytes of an iteration, {sizes}")
        traffic(few, options)
    if "death" in options.parts:
        print(f"a worker is killed after two iterations, {len(few)} rows")
        death(few, options, fit(few, options) if reference is None else reference)
    if "gain" in options.parts:
        print(f"two workers, {len(patches)} rows, {sizes}")
        gain(patches, options)
