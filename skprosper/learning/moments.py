"""Moments of data, about their means: the sums of chunks add up to those of all.

Sums of squares about 0 lose the variance of data that lie far from 0; those about the mean
of each chunk do not. Chan, Golub, LeVeque (1983). Algorithms for computing the sample
variance. The American Statistician 37.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..kernels.linear import add_squares
from ..validation import check_chunk


@dataclass(frozen=True)
class Moments:
    """Weight, mean and squares about the mean of some data points.

    Attributes
    ----------
    weight : float
    mean : ndarray of shape (n_features,), float64
    square : ndarray of shape (n_features,), float64
        Sum of the squares about the mean.
    second : ndarray of shape (n_features, n_features) or None
        Sum of the products about the mean; None where nobody asks for them.
    observed : ndarray of shape (n_features,) or None
        Weight of the data points that observe a feature; None where nothing is missing.
    pairs : ndarray of shape (n_features, n_features) or None
        Weight of those that observe both; None where ``second`` or ``observed`` is.
    apart : ndarray of shape (n_features, n_features) or None
        Sum about its mean of the first feature where the second is observed too.
    """

    weight: float
    mean: np.ndarray
    square: np.ndarray
    second: np.ndarray | None
    observed: np.ndarray | None = None
    pairs: np.ndarray | None = None
    apart: np.ndarray | None = None

    def __add__(self, other):
        if self.observed is not None or other.observed is not None:
            return _sum_with_holes(self, other)
        if not other.weight > 0.0:
            return self
        if not self.weight > 0.0:
            return other
        weight = self.weight + other.weight
        share = other.weight / weight
        with np.errstate(over="ignore", invalid="ignore"):  # the fit checks the scale
            step = other.mean - self.mean
            mean = self.mean + share * step
            square = self.square + other.square + self.weight * share * step**2
            second = None
            if self.second is not None and other.second is not None:
                second = self.second + other.second
                second += self.weight * share * np.outer(step, step)
        return Moments(weight, mean, square, second)

    def of_weight(self, weight):
        """Return the same moments with another weight."""
        factor = weight / self.weight
        second = None if self.second is None else factor * self.second
        observed = None if self.observed is None else factor * self.observed
        pairs = None if self.pairs is None else factor * self.pairs
        apart = None if self.apart is None else factor * self.apart
        return Moments(weight, self.mean, factor * self.square, second, observed, pairs, apart)

    @property
    def covariance(self):
        """The covariance of the features, of each pair where both are observed."""
        if self.pairs is None:
            return self.second / self.weight
        return self.second / np.where(self.pairs > 0.0, self.pairs, np.inf)

    @property
    def variances(self):
        """The variance of each feature, where it is observed."""
        if self.observed is None:
            return self.square / self.weight
        return self.square / np.where(self.observed > 0.0, self.observed, np.inf)

    @property
    def variance(self):
        """The mean variance of a feature that is observed."""
        if self.observed is not None:
            return float(np.mean(self.variances[self.observed > 0.0]))
        return float(np.mean(self.square)) / self.weight

    @property
    def mean_square(self):
        """The mean square of the data, about 0."""
        with np.errstate(over="ignore"):
            mean = self.mean if self.observed is None else self.mean[self.observed > 0.0]
            return self.variance + float(np.mean(mean**2))


def data_squares(X, weights):
    """Return the moments of a chunk, having checked it, without products of features."""
    return {"moments": moments_of(X, weights, products=False)}


def data_moments(X, weights):
    """Return the moments of a chunk, having checked it."""
    return {"moments": moments_of(X, weights, products=True)}


def _sum_with_holes(left, right):
    """Return the sum of moments of which some miss values."""
    left, right = _with_counts(left), _with_counts(right)
    n, m = left.observed, right.observed
    total = n + m
    with np.errstate(over="ignore", invalid="ignore"):  # the fit checks the scale
        share = m / np.where(total > 0.0, total, np.inf)
        step = right.mean - left.mean
        square = left.square + right.square + n * share * step**2
        second = pairs = apart = None
        if left.second is not None and right.second is not None:
            pairs = left.pairs + right.pairs
            second, apart = _about(left, share * step)
            second_right, apart_right = _about(right, (share - 1.0) * step)
            second, apart = second + second_right, apart + apart_right
    return Moments(
        left.weight + right.weight, left.mean + share * step, square, second, total, pairs, apart
    )


def _with_counts(moments):
    """Return moments with the weights of what is observed."""
    if moments.observed is not None:
        return moments
    observed, pairs, apart = np.full(len(moments.mean), moments.weight), None, None
    if moments.second is not None:
        pairs = np.full(moments.second.shape, moments.weight)
        apart = np.zeros(moments.second.shape)
    return replace(moments, observed=observed, pairs=pairs, apart=apart)


def _about(moments, step):
    """Return ``second`` and ``apart`` about means that are a step further."""
    mixed = step[:, None] * moments.apart.T
    second = moments.second - mixed - mixed.T + moments.pairs * np.outer(step, step)
    return second, moments.apart - step[:, None] * moments.pairs


def _moments_with_holes(X, w, products):
    """Return the `Moments` of a chunk with missing values; rows of nothing else are left out."""
    seen = ~np.isnan(X)
    w = np.where(seen.any(axis=1), w, 0.0)
    observed = w @ seen
    x = np.where(seen, X, 0.0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # the fit checks the scale
        size = np.where(observed > 0.0, observed, np.inf)
        mean = w @ x / size
        x = np.where(seen, x - mean, 0.0)
        error = w @ x / size  # of the mean, by rounding
        mean += error
        x = np.where(seen, x - error, 0.0)
        second = pairs = apart = None
        if products:
            there = seen.astype(np.float64)
            second = (x * w[:, None]).T @ x
            pairs = (there * w[:, None]).T @ there
            apart = (x * w[:, None]).T @ there
        return Moments(float(w.sum()), mean, add_squares(x, w), second, observed, pairs, apart)


def moments_of(X, weights, products):
    """Return the `Moments` of a chunk, having checked it."""
    missing = check_chunk(X, weights)
    w = np.ones(len(X)) if weights is None else weights
    if missing:
        return _moments_with_holes(X, w, products)
    n_features, weight = X.shape[1], w.sum()
    if not weight > 0.0:
        zeros = np.zeros(n_features)
        return Moments(0.0, zeros, zeros, np.zeros((n_features,) * 2) if products else None)
    with np.errstate(over="ignore", invalid="ignore"):  # the fit checks the scale
        mean = w @ X.astype(np.float64, copy=False) / weight
        x = np.subtract(X, mean)  # float64
        error = w @ x / weight  # of the mean, by rounding
        mean += error
        x -= error
        second = None
        if products:
            # a copy where there are no weights: whether numpy takes x.T @ x for a symmetric
            # product depends on where x comes from, and with it the last bit
            second = (x * (1.0 if weights is None else weights[:, None])).T @ x
        return Moments(float(weight), mean, add_squares(x, w), second)
