"""Workers of a cluster that die, come late, or run out of memory: the same bits, no litter."""

import os
import signal
import time

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_array_equal

from skprosper import SparseCoding, sparse_coding
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars
from skprosper.learning import em

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

X, _, _ = make_bars(300, size=3, random_state=0)
ANNEALING = Annealing(temperature=((0.0, 2.0), (0.2, 1.0)), components_noise=0.0)
PHASES = {
    "start": (sparse_coding, "start_moments"),
    "hot": (em, "m_step"),
    "moves": (em, "escape"),
    "last": (sparse_coding, "diagnose"),
}


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def alone():
    return model().fit(X)


def model():
    return SparseCoding(
        6, annealing=ANNEALING, batch_size=50, max_iter=12, tol=0, n_init=1, random_state=0
    )


def tasks_of(dask_scheduler):
    return list(dask_scheduler.tasks)


def left_behind(client):
    """Return what the scheduler still holds, once what is on its way has arrived."""
    for _ in range(50):
        if not (tasks := client.run_on_scheduler(tasks_of)):
            break
        time.sleep(0.1)
    return tasks


@pytest.mark.parametrize(
    "phase, kind", [*((phase, "array") for phase in PHASES), ("moves", "dask array")]
)
def test_a_worker_killed_in_any_phase_changes_nothing(cluster, alone, monkeypatch, phase, kind):
    module, name = PHASES[phase]
    original, killed = getattr(module, name), []

    def kill(*args, **kwargs):
        if not killed:
            killed.append(sorted(client.run(os.getpid).values())[0])
            os.kill(killed[0], signal.SIGKILL)
        return original(*args, **kwargs)

    with distributed.Client(cluster) as client:
        client.wait_for_workers(2)
        monkeypatch.setattr(module, name, kill)
        data = X if kind == "array" else da.from_array(X, chunks=(50, 9))
        with parallel_config(backend="dask"):
            fitted = model().fit(data)
        assert killed
        assert_same_bits(fitted, alone)
        assert left_behind(client) == []


def test_a_worker_that_comes_late_changes_nothing(cluster, alone, monkeypatch):
    original, n_workers = em.m_step, []

    def grow(*args, **kwargs):
        if not n_workers:
            cluster.scale(3)
            client.wait_for_workers(3)
            n_workers.append(3)
        return original(*args, **kwargs)

    with distributed.Client(cluster) as client, parallel_config(backend="dask"):
        monkeypatch.setattr(em, "m_step", grow)
        assert_same_bits(model().fit(X), alone)
        assert n_workers and left_behind(client) == []


def test_an_error_in_a_worker_leaves_nothing_behind(cluster):
    bad = np.where(np.arange(X.size).reshape(X.shape) == 2000, np.inf, X)
    with distributed.Client(cluster) as client, parallel_config(backend="dask"):
        for data in (bad, da.from_array(bad, chunks=(50, 9))):
            with pytest.raises(ValueError, match="X contains infinity"):
                model().fit(data)
        assert left_behind(client) == []


def cluster_of_memory(**shares):
    """Return a cluster whose workers spill or pause at these shares of their memory."""
    with dask.config.set({f"distributed.worker.memory.{name}": shares[name] for name in shares}):
        return distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit="1GiB",
            dashboard_address=":0",
            silence_logs=50,
        )


def on_disk(dask_worker):
    return len(dask_worker.data.slow)


def test_chunks_that_workers_have_to_keep_on_disk_change_nothing(alone, monkeypatch):
    original, n_spilled = em.m_step, []

    def look(*args, **kwargs):
        n_spilled.append(sum(client.run(on_disk).values()))
        return original(*args, **kwargs)

    with (
        cluster_of_memory(target=1e-6, spill=1e-5) as cluster,
        distributed.Client(cluster) as client,
    ):
        monkeypatch.setattr(em, "m_step", look)
        for data in (X, da.from_array(X, chunks=(50, 9)).persist()):
            n_spilled.clear()
            with parallel_config(backend="dask"):
                assert_same_bits(model().fit(data), alone)
            assert min(n_spilled) > 0
        del data
        assert left_behind(client) == []


def test_workers_without_memory_are_one_clear_error(monkeypatch):
    monkeypatch.setattr("skprosper.parallel.dask_blocks._PATIENCE", 1.0)
    with cluster_of_memory(pause=1e-3) as cluster, distributed.Client(cluster) as client:
        for data in (X, da.from_array(X, chunks=(50, 9))):
            with (
                parallel_config(backend="dask"),
                pytest.raises(MemoryError, match="memory of all 2 workers .*memory_limit"),
            ):
                model().fit(data)
        assert left_behind(client) == []


def test_chunks_that_were_sent_before_an_error_are_not_left_behind(cluster, monkeypatch):
    from skprosper.parallel.dask_blocks import Blocks  # needs dask

    sent, held = Blocks._sent, []

    def fails_later(self, chunk, worker):
        if len(held) == 2:
            raise KeyboardInterrupt
        held.append(sent(self, chunk, worker))
        return held[-1]

    monkeypatch.setattr(Blocks, "_sent", fails_later)
    with distributed.Client(cluster) as client, parallel_config(backend="dask"):
        with pytest.raises(KeyboardInterrupt):
            model().fit(X)
        assert left_behind(client) == []


def assert_same_bits(one, other):
    for name in ("components_", "noise_variance_", "lower_bounds_", "usage_", "truncation_gap_"):
        assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert_array_equal(one.prior_.probability, other.prior_.probability)
