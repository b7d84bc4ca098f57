"""What EM is given: data with their moments, workers, a model."""

from dataclasses import dataclass, replace

import numpy as np

from ..inference.missing import PartlyObserved
from ..validation import ROUNDING_FLOOR
from .moments import Moments
from .sampling import rows_at

# The noise variance stays above this share of the data's variance, and of their mean square
# above `ROUNDING_FLOOR`.
_NOISE_FLOOR = 1e-5
# Where a smaller share of the values is observed, data are sparse.
_SPARSE = 0.45
# A sample of more than this share of the data would save nothing.
_WHOLE = 0.7


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, workers and model of a fit: gives E-steps, sums them over the data."""

    X: object  # (N, D) array, memory map or dask array
    weights: object  # (N,) or None
    workers: object
    superposition: object
    truncation: object
    moments: Moments

    @property
    def size(self):
        """How many data points these are: rows, or their weights where they sum to less."""
        return min(self.moments.weight, self.X.shape[0])

    @property
    def sparse(self):
        """Whether most of the values are missing."""
        observed = self.moments.observed
        return observed is not None and observed.mean() < _SPARSE * self.moments.weight

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

    def expectations(self, e_step, share=1.0, random_state=None):
        """Return the statistics over the data and the lower bound per data point.

        Of a share below 1 of the data points, drawn at random.
        """
        draw = None if share == 1.0 else (share, random_state.randint(2**31 - 1))
        total = self.workers.sum(_Statistics(e_step, draw), self.X, self.weights)
        statistics = e_step.complete(total)
        # a row of which nothing is observed has the log-likelihood 0
        weight = statistics["weight"] + statistics.get("blank", 0.0)
        if draw is not None and not statistics["weight"] > 0.0:
            return self.expectations(e_step)  # the few that were drawn count for nothing
        return statistics, float(e_step.bound(statistics) / weight)

    def sample(self, n, random_state):
        """Return the problem of n rows, in memory, and the share of all that they are.

        Drawn at random by their weight; itself where it has hardly more.
        """
        share = n / self.size
        if share > _WHOLE:
            return self, 1.0
        # one from each n-th part of the weight: none is left out by chance
        X = rows_at(self, (np.arange(n) + random_state.uniform(size=n)) / n)
        return replace(self, X=X.astype(self.X.dtype, copy=False), weights=None), share


class _Statistics:
    """The statistics of one chunk; a class, so that processes can unpickle it."""

    def __init__(self, e_step, draw):
        self.e_step, self.draw = e_step, draw

    def __call__(self, X, weights):
        weights = np.ones(len(X)) if weights is None else weights
        if self.draw is not None:
            share, seed = self.draw
            n = max(1, round(share * len(X)))
            rows = np.sort(np.random.RandomState(seed).permutation(len(X))[:n])
            X, weights = X[rows], weights[rows]
        return self.e_step.statistics(X, weights)
