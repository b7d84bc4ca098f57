"""Moments of data, about their means: the sums of chunks add up to those of all.

Sums of squares about 0 lose the variance of data that lie far from 0; those about the mean
of each chunk do not. Chan, Golub, LeVeque (1983). Algorithms for computing the sample
variance. The American Statistician 37.
"""

from dataclasses import dataclass

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
    """

    weight: float
    mean: np.ndarray
    square: np.ndarray
    second: np.ndarray | None

    def __add__(self, other):
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
        return Moments(weight, self.mean, factor * self.square, second)

    @property
    def covariance(self):
        """The covariance of the features."""
        return self.second / self.weight

    @property
    def variance(self):
        """The mean variance of a feature."""
        return float(np.mean(self.square)) / self.weight

    @property
    def mean_square(self):
        """The mean square of the data, about 0."""
        with np.errstate(over="ignore"):
            return self.variance + float(np.mean(self.mean**2))


def data_squares(X, weights):
    """Return the moments of a chunk, having checked it, without products of features."""
    return {"moments": moments_of(X, weights, products=False)}


def data_moments(X, weights):
    """Return the moments of a chunk, having checked it."""
    return {"moments": moments_of(X, weights, products=True)}


def moments_of(X, weights, products):
    """Return the `Moments` of a chunk, having checked it."""
    check_chunk(X, weights)
    w = np.ones(len(X)) if weights is None else weights
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
