"""Gaussian noise: isotropic, diagonal or full; whitening and its M-step.

The E-step meets the noise only as W Sigma^-1, in the projections of the data and in
the Gram matrix: whatever the noise, it costs nothing per state.
"""

from functools import cached_property

import numpy as np
from scipy import linalg

from .kernels.linear import add_squares, row_squares


class _IndependentNoise:
    """Noise that is independent over the observed dimensions."""

    each_feature = False  # whether a feature has a variance of its own
    independent = True  # of that of other features

    def __init__(self, variance):
        self.variance = variance

    def variances(self, n_features):
        """Return the variance of each feature, shape (n_features,)."""
        return np.broadcast_to(np.asarray(self.variance, np.float64), (n_features,))

    @property
    def deviations(self):
        """The standard deviation of each feature, given the others: a number or (n_features,)."""
        return np.sqrt(self.variance)

    def precision_weighted(self, rows):
        """Return ``rows`` times the inverse covariance, shape (n, n_features)."""
        return rows / self.variances(rows.shape[1])

    def log_normaliser(self, n_features):
        """Return the log density at the mean, in nats."""
        return self.log_normalisers(n_features).sum()

    def log_normalisers(self, n_features):
        """Return the log density of each feature at its mean, in nats."""
        return -0.5 * np.log(2.0 * np.pi * self.variances(n_features))

    def quadratic(self, X):
        """Return x^T Sigma^-1 x of every row, shape (n,), float64."""
        return row_squares(X, 1.0 / self.variances(X.shape[1]))

    def trace(self, second_moment):
        """Return tr(Sigma^-1 M) of what `second_moment` returned."""
        return float(np.sum(second_moment / self.variances(len(second_moment))))

    @staticmethod
    def second_moment(X, weights):
        """Return sum_n w_n x_nd^2, shape (n_features,), float64."""
        return add_squares(X, weights)

    @staticmethod
    def explained(components, cross, second):
        """Return what W^T s takes from the second moment of the data."""
        return np.sum(components * (2.0 * cross - second @ components), axis=0)

    def sample(self, n_samples, n_features, random_state):
        """Draw noise of shape (n_samples, n_features)."""
        scale = np.sqrt(self.variances(n_features))
        return scale * random_state.standard_normal((n_samples, n_features))


class IsotropicNoise(_IndependentNoise):
    """One variance for all observed dimensions; ``variance`` is a float."""

    @staticmethod
    def shape(n_features):
        """Return the shape of ``variance``."""
        return ()

    @staticmethod
    def n_parameters(n_features):
        """Return how many numbers EM learns."""
        return 1

    def updated(self, second_moment, floor, observed=None):
        """Return the noise of the M-step from the residual's mean second moment.

        observed (n_features,) are the weights of the rows that it is the mean over.
        """
        if observed is None:
            return type(self)(max(float(np.mean(second_moment)), floor))
        second_moment = np.broadcast_to(second_moment, observed.shape)
        return type(self)(max(float(np.average(second_moment, weights=observed)), floor))

    def restricted(self, seen):
        """Return the noise of some features."""
        return self


class DiagonalNoise(_IndependentNoise):
    """One variance per observed dimension; ``variance`` is (n_features,)."""

    each_feature = True

    @staticmethod
    def shape(n_features):
        """Return the shape of ``variance``."""
        return (n_features,)

    @staticmethod
    def n_parameters(n_features):
        """Return how many numbers EM learns."""
        return n_features

    def updated(self, second_moment, floor, observed=None):
        """Return the noise of the M-step from the residual's mean second moment.

        Of a feature that no row observes nothing is learned.
        """
        if observed is not None:
            second_moment = np.where(observed > 0.0, second_moment, self.variance)
        return type(self)(np.maximum(second_moment, floor))

    def restricted(self, seen):
        """Return the noise of some features."""
        return type(self)(self.variance[seen])


class FullNoise:
    """A full covariance; ``variance`` is (n_features, n_features)."""

    each_feature = True
    independent = False

    @staticmethod
    def shape(n_features):
        """Return the shape of ``variance``."""
        return (n_features, n_features)

    @staticmethod
    def n_parameters(n_features):
        """Return how many numbers EM learns."""
        return n_features * (n_features + 1) // 2

    def __init__(self, variance):
        self.variance = variance
        self._factor = linalg.cho_factor(variance, lower=True)

    @cached_property
    def deviations(self):
        """The standard deviation of each feature, given the others, (n_features,)."""
        precision = linalg.cho_solve(self._factor, np.eye(len(self.variance)))
        return 1.0 / np.sqrt(np.diag(precision))

    def precision_weighted(self, rows):
        """Return ``rows`` times the inverse covariance, shape (n, n_features)."""
        return linalg.cho_solve(self._factor, rows.T).T

    def log_normaliser(self, n_features):
        """Return the log density at the mean, in nats."""
        half_log_det = np.log(np.diag(self._factor[0])).sum()
        return -0.5 * n_features * np.log(2.0 * np.pi) - half_log_det

    def quadratic(self, X):
        """Return x^T Sigma^-1 x of every row, shape (n,), float64."""
        white = linalg.solve_triangular(self._factor[0], X.T, lower=True)
        return np.einsum("dn,dn->n", white, white, dtype=np.float64)

    def trace(self, second_moment):
        """Return tr(Sigma^-1 M) of what `second_moment` returned."""
        return float(np.trace(linalg.cho_solve(self._factor, second_moment)))

    @staticmethod
    def second_moment(X, weights):
        """Return sum_n w_n x_n x_n^T, shape (n_features, n_features), float64."""
        weighted = X * weights[:, None].astype(X.dtype)
        return (weighted.T @ X).astype(np.float64)

    @staticmethod
    def explained(components, cross, second):
        """Return what W^T s takes from the second moment of the data."""
        half = components.T @ (cross - 0.5 * (second @ components))
        return half + half.T

    def sample(self, n_samples, n_features, random_state):
        """Draw noise of shape (n_samples, n_features)."""
        z = random_state.standard_normal((n_samples, n_features))
        return z @ np.tril(self._factor[0]).T

    def variances(self, n_features):
        """Return the variance of each feature, shape (n_features,)."""
        return np.diag(self.variance)

    def restricted(self, seen):
        """Return the noise of some features."""
        return type(self)(self.variance[np.ix_(seen, seen)])

    def regression(self, seen):
        """Return what features tell of the others: B with x_M = B x_O + rest, its covariance."""
        covariance = self.variance[np.ix_(seen, ~seen)]
        factor = linalg.cho_factor(self.variance[np.ix_(seen, seen)], lower=True)
        B = linalg.cho_solve(factor, covariance).T
        return B, self.variance[np.ix_(~seen, ~seen)] - B @ covariance

    def updated(self, second_moment, floor, observed=None):
        """Return the noise of the M-step from the residual's mean second moment.

        In which what is missing has been filled in: observed is None.
        """
        scale, least = np.sqrt(floor), 1.0  # in these units the floor is 1
        square = np.diag(second_moment)
        if np.any(_RESOLVED * square > floor):  # they do not resolve it: each feature in its own
            scale, least = np.sqrt(np.maximum(square, floor)), _RESOLVED
        unit = np.outer(scale, scale)
        return type(self)(unit * raised_to(least, second_moment / unit))


# Eigenvalues below this share of the largest are rounding errors.
_RESOLVED = 1e-12


def raised_to(floor, matrix):
    """Return the symmetric part of a matrix with its eigenvalues raised to a floor.

    And to what is resolved beside the largest of them: the result has a Cholesky factor.
    """
    symmetric = 0.5 * (matrix + matrix.T)
    eigenvalues, vectors = linalg.eigh(symmetric)
    floor = max(floor, _RESOLVED * eigenvalues[-1])
    if eigenvalues[0] >= floor:
        return symmetric
    return (vectors * np.maximum(eigenvalues, floor)) @ vectors.T


NOISES = {"isotropic": IsotropicNoise, "diagonal": DiagonalNoise, "full": FullNoise}
