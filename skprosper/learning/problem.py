"""What EM is given: data with their moments, workers, a model, its parameters."""

from dataclasses import dataclass, replace

import numpy as np

from ..kernels.linear import add_squares
from ..parallel.chunks import is_dask_array
from ..parallel.rows import taken
from ..validation import check_chunk

# The noise variance stays above this share of the data's mean square.
# Log-joints grow with its inverse, and with them their rounding errors.
_NOISE_FLOOR = 1e-5


@dataclass(frozen=True)
class Parameters:
    """Everything that EM learns."""

    components: np.ndarray  # (H, D) float64
    prior: object
    noise: object
    offset: np.ndarray | None  # (D,) float64, None where there is none


def data_squares(X, weights):
    """Return the sums of a chunk from which its scale follows, having checked it."""
    check_chunk(X, weights)
    w = np.ones(len(X)) if weights is None else weights
    with np.errstate(over="ignore"):  # the fit checks the scale
        return {
            "weight": w.sum(),
            "sum": w @ X.astype(np.float64, copy=False),
            "square": add_squares(X, w),
        }


def data_moments(X, weights):
    """Return the sums of a chunk from which EM starts, having checked it."""
    x = X.astype(np.float64, copy=False)
    # a copy where there are no weights: whether numpy takes x.T @ x for a symmetric
    # product depends on where x comes from, and with it the last bit
    weighted = x * (1.0 if weights is None else weights[:, None])
    with np.errstate(over="ignore", invalid="ignore"):  # the fit checks the scale
        return {**data_squares(X, weights), "second": weighted.T @ x}


def mean_square(moments, centred):
    """Return the mean square of the data, about their mean where it is modelled."""
    square = np.sum(moments["square"]) / moments["weight"]
    if centred:
        square -= np.sum((moments["sum"] / moments["weight"]) ** 2)
    return square / len(moments["sum"])


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, workers and model of a fit: gives E-steps, sums them over the data."""

    X: object  # (N, D) array, memory map or dask array
    weights: object  # (N,) or None
    workers: object
    superposition: object
    truncation: object
    moments: dict

    def drawn(self, share, random_state):
        """Return the problem of a random share of the data."""
        if is_dask_array(self.X):
            raise ValueError("data_share below 1 needs X in memory; X is a dask array.")
        n = len(self.X)
        rows = np.sort(random_state.permutation(n)[: max(1, round(share * n))])
        weights = None if self.weights is None else self.weights[rows]
        if weights is not None and not weights.any():
            return self
        return replace(self, X=taken(self.X, rows), weights=weights)

    def floor(self, centred):
        """Return the least noise variance."""
        return _NOISE_FLOOR * mean_square(self.moments, centred)

    def e_step(self, parameters, temperature=(1.0, 1.0)):
        """Return the E-step for these parameters."""
        e_step = self.superposition.e_step(parameters.prior)
        return e_step(parameters, self.truncation, self.X.dtype, temperature)

    def expectations(self, e_step):
        """Return the statistics over all data and the lower bound per data point."""
        total = self.workers.sum(_Statistics(e_step), self.X, self.weights)
        statistics = e_step.complete(total)
        return statistics, float(e_step.bound(statistics) / statistics["weight"])


class _Statistics:
    """The statistics of one chunk; a class, so that processes can unpickle it."""

    def __init__(self, e_step):
        self.e_step = e_step

    def __call__(self, X, weights):
        weights = np.ones(len(X)) if weights is None else weights
        return self.e_step.statistics(X, weights)
