"""What EM is given: data with their moments, workers, a model."""

from dataclasses import dataclass, replace

import numpy as np

from ..inference.missing import PartlyObserved
from ..parallel.chunks import is_dask_array
from ..parallel.rows import taken
from ..validation import ROUNDING_FLOOR
from .moments import Moments

# The noise variance stays above this share of the data's variance, and of their mean square
# above `ROUNDING_FLOOR`.
_NOISE_FLOOR = 1e-5


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, workers and model of a fit: gives E-steps, sums them over the data."""

    X: object  # (N, D) array, memory map or dask array
    weights: object  # (N,) or None
    workers: object
    superposition: object
    truncation: object
    moments: Moments

    def drawn(self, share, random_state):
        """Return the problem of a random share of the data."""
        if is_dask_array(self.X):
            raise ValueError("data_share below 1 needs X in memory; X is a dask array.")
        n = len(self.X)
        rows = np.sort(random_state.permutation(n)[: max(1, round(share * n))])
        weights = None if self.weights is None else self.weights[rows]
        X = taken(self.X, rows)
        counts = np.ones(len(rows), bool) if weights is None else weights > 0.0
        if self.moments.observed is not None:
            counts = counts & ~np.isnan(X).all(axis=1)
        return replace(self, X=X, weights=weights) if counts.any() else self

    def floor(self, centred, each_feature=False):
        """Return the least noise variance, for data less their mean or as they are.

        One number, or one for each feature: features may be in units of their own.
        """
        moments, rounding = self.moments, ROUNDING_FLOOR[self.X.dtype.name]
        floor = _NOISE_FLOOR * moments.variance
        if not centred:
            floor = max(floor, rounding * moments.mean_square)
        if not each_feature:
            return floor
        variance = moments.variances
        square = variance + moments.mean**2
        floors = _NOISE_FLOOR * variance
        if not centred:
            floors = np.maximum(floors, rounding * square)
        # a feature that does not vary has no unit
        varies = variance > np.finfo(self.X.dtype).eps ** 2 * square
        return np.where(varies, floors, floor)

    def e_step(self, parameters, temperature=(1.0, 1.0)):
        """Return the E-step for these parameters."""
        e_step = self.superposition.e_step(parameters.prior)
        e_step = e_step(parameters, self.truncation, self.X.dtype, temperature)
        return e_step if self.moments.observed is None else PartlyObserved(e_step)

    def expectations(self, e_step):
        """Return the statistics over all data and the lower bound per data point."""
        total = self.workers.sum(_Statistics(e_step), self.X, self.weights)
        statistics = e_step.complete(total)
        # a row of which nothing is observed has the log-likelihood 0
        weight = statistics["weight"] + statistics.get("blank", 0.0)
        return statistics, float(e_step.bound(statistics) / weight)


class _Statistics:
    """The statistics of one chunk; a class, so that processes can unpickle it."""

    def __init__(self, e_step):
        self.e_step = e_step

    def __call__(self, X, weights):
        weights = np.ones(len(X)) if weights is None else weights
        return self.e_step.statistics(X, weights)
