"""What the E-steps share: blocks of rows, truncation, the linear Gaussian part."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..kernels.linear import add_outer
from ..kernels.states import count_states

# Rows per matrix product: its projections stay in the second-level cache.
BLOCK_ROWS = 256
# Candidates and changes by which a truncation grows.
_WIDER = (2, 1)
# Above this share of entries that matter, <s>^T Y is a dense product.
_DENSE = 0.3
# What latents may add, in units of the noise, for float32: of what cancels its seventh digit stays.
_MOST_IN_FLOAT32 = 1e5


@dataclass(frozen=True)
class Parameters:
    """Everything that EM learns."""

    components: np.ndarray  # (H, D) float64
    prior: object
    noise: object
    offset: np.ndarray | None  # (D,) float64, None where there is none

    def restricted(self, seen):
        """Return the parameters of the model of some features."""
        return Parameters(
            self.components[:, seen],
            self.prior,
            self.noise.restricted(seen),
            None if self.offset is None else self.offset[seen],
        )


class Truncation(NamedTuple):
    """Which states an E-step looks at."""

    n_candidates: int
    max_changes: int  # candidates in which a state may differ from the centre
    best: bool = True  # the centre is the best state; else the state 0
    pursuit: bool = True  # how the candidates of the centre 0 are found

    def wider(self, n_components, n_values, most_states):
        """Return the next wider truncation, or None where there is none, or it is too wide."""
        n_candidates = min(self.n_candidates + _WIDER[0], n_components)
        max_changes = min(self.max_changes + _WIDER[1], n_candidates)
        wider = self._replace(n_candidates=n_candidates, max_changes=max_changes)
        if wider == self or count_states(n_candidates, max_changes, n_values) > most_states:
            return None
        return wider


class Precision(NamedTuple):
    """What does not matter any more: nats below the best, posterior weight."""

    cutoff: float
    negligible: float

    @classmethod
    def of(cls, dtype, n_states):
        """Return the limits for a data type, for this many states per data point."""
        if np.dtype(dtype) == np.float32:
            return cls(18.0 + np.log(n_states), 1e-8)
        return cls(28.0 + np.log(n_states), 1e-12)


class Posteriors(NamedTuple):
    """The most probable states of some data points, best first."""

    support: np.ndarray  # (n, n_states, width) int64 active latents, -1: none
    values: np.ndarray  # (n, n_states, width) their values
    variances: np.ndarray  # (n, n_states, width) those of slabs, given the active latents
    log_probability: np.ndarray  # (n, n_states) nats, -inf where there are fewer states
    log_evidence: np.ndarray  # (n,) nats
    entropy: np.ndarray  # (n,) nats, of the whole truncated posterior

    @property
    def log_joint(self):
        """Log-joints of states and data, nats: beside large ones probabilities lose digits."""
        return self.log_probability + self.log_evidence[:, None]


def stacked(parts):
    """Return the `Posteriors` of all data points from those of their chunks."""
    width = max(part.support.shape[2] for part in parts)
    parts = [
        part._replace(
            support=widened(part.support, width, -1),
            values=widened(part.values, width, 0),
            variances=widened(part.variances, width, 0),
        )
        for part in parts
    ]
    return Posteriors(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def widened(states, width, fill):
    """Return states (n, n_states, less) with room for ``width`` latents."""
    more = width - states.shape[2]
    return np.pad(states, ((0, 0), (0, 0), (0, more)), constant_values=fill) if more else states


def resolving(dtype, added):
    """Return float64 where float32 does not resolve what latents add, |s_h W_h|^2 / sigma^2."""
    return np.result_type(dtype, np.float64 if np.max(added) > _MOST_IN_FLOAT32 else np.float32)


def codes_of(support, values, n_components, dtype):
    """Return the codes (n, n_components) of one state per data point."""
    codes = np.zeros((len(support), n_components), dtype)
    row, slot = np.nonzero(support >= 0)
    codes[row, support[row, slot]] = values[row, slot]
    return codes


def blocks(X, offset, dtype):
    """Yield slices of at most ``BLOCK_ROWS`` rows and the rows less the offset, of the dtype.

    Of no rows, as a filtered dask array may have, one block of none: sums and stacks of
    the blocks have their shapes.
    """
    for start in range(0, max(len(X), 1), BLOCK_ROWS):
        rows = slice(start, min(start + BLOCK_ROWS, len(X)))
        # an offset is subtracted in float64: of float32 it may be known better than to a digit
        x = X[rows]
        yield rows, (x if offset is None else x - offset).astype(dtype, copy=False)


class LinearGaussianEStep:
    """E-step of a linear superposition under Gaussian noise.

    Holds what does not depend on the prior: projections, Gram matrix, the sums of the
    M-step. A subclass gives ``_prepare``, ``_infer``, ``_top_states`` and the prior's
    part of the bound, and what rows with missing values take (`missing`).

    Parameters
    ----------
    parameters : Parameters
    truncation : Truncation
    dtype : dtype
        Of the data and of the big products. The E-step may take another, its ``dtype``, which
        what it returns then has.
    temperature : tuple of two floats
        Temperatures of the likelihood and of the prior.
    """

    linear, bottom = True, False

    def __init__(self, parameters, truncation, dtype, temperature=(1.0, 1.0)):
        self.prior, self.noise = parameters.prior, parameters.noise
        self.truncation, self.temperature = truncation, temperature
        W = parameters.components
        self.offset = parameters.offset
        projection = self.noise.precision_weighted(W) / temperature[0]
        gram = projection @ W.T
        self.dtype = self._resolving(np.dtype(dtype), projection, gram)
        self.components = W.astype(self.dtype)
        self.projection = projection.astype(self.dtype)
        self.gram = (0.5 * (gram + gram.T)).astype(self.dtype)
        self._prepare()

    def _resolving(self, dtype, projection, gram):
        """Return the dtype to compute in, given W Sigma^-1 (H, D) and W Sigma^-1 W^T (H, H)."""
        return resolving(dtype, np.diag(gram) * np.max(self.prior.active_values**2))

    def _constant(self, X):
        """Return what the log-joint of the state 0 is, shape (n,)."""
        n_components, n_features = self.components.shape
        likelihood = self.noise.log_normaliser(n_features) - 0.5 * self.noise.quadratic(X)
        log_zero = self.prior.log_zero(n_components)
        return likelihood / self.temperature[0] + log_zero / self.temperature[1]

    def statistics(self, X, weights):
        """Return the sums of the M-step and of the evidence over some data points."""
        n_components, n_features = self.components.shape
        sums = self._new_sums()
        cross = np.zeros((n_components, n_features))
        data = np.zeros(n_features)
        evidence = np.empty(BLOCK_ROWS)
        # the same memory for all blocks: dask's workers return to the system what is freed,
        # and to fault in the pages of every block costs a fifth of the time
        projections = np.empty((min(BLOCK_ROWS, len(X)), n_components), self.dtype)
        log_evidence, data_second = 0.0, 0.0
        for rows, x in blocks(X, self.offset, self.dtype):
            w = weights[rows]
            codes = np.matmul(x, self.projection.T, out=projections[: len(x)])
            n_nonzero = self._infer(codes, w, sums, evidence[: len(x)])
            if n_nonzero < _DENSE * codes.size:
                add_outer(codes, x, n_nonzero, cross)
            else:
                cross += codes.T @ x
            data_second = data_second + self.noise.second_moment(x, w)
            log_evidence += w @ evidence[: len(x)]
            if self.offset is not None:
                data += w @ x
        weight = weights.sum()
        likelihood = (
            weight * self.noise.log_normaliser(n_features) - 0.5 * self.noise.trace(data_second)
        ) / self.temperature[0]
        log_zero = weight * self.prior.log_zero(n_components) / self.temperature[1]
        return {
            "weight": weight,
            "log_evidence": log_evidence + likelihood + log_zero,
            "cross": cross,
            "data": data,
            "data_second": data_second,
            **self._named(sums),
        }

    def complete(self, statistics):
        """Return the summed statistics with what follows from them filled in."""
        return statistics

    def bound(self, statistics):
        """Return the lower bound of the log-likelihood, summed over the data points.

        At temperature T the states are weighted by a posterior that is not the best
        one; its bound is log Z_T + <log p - log p_T>.
        """
        t_likelihood, t_prior = self.temperature
        bound = statistics["log_evidence"]
        if t_likelihood != 1.0:
            n_features = self.components.shape[1]
            square = (
                self.noise.trace(statistics["data_second"])
                - 2.0 * t_likelihood * np.sum(self.projection * statistics["cross"])
                + t_likelihood * np.sum(self.gram * statistics["second"])
            )
            expected = statistics["weight"] * self.noise.log_normaliser(n_features) - 0.5 * square
            bound += (1.0 - 1.0 / t_likelihood) * expected
        if t_prior != 1.0:
            bound += (1.0 - 1.0 / t_prior) * self._expected_log_prior(statistics)
        return bound

    def log_evidence(self, X):
        """Return log sum_s p(s, y) over the kept states, shape (n,), in nats."""
        result = np.empty(len(X))
        sums = self._new_sums()
        for rows, x in blocks(X, self.offset, self.dtype):
            codes = x @ self.projection.T
            self._infer(codes, np.zeros(len(x)), sums, result[rows])
            result[rows] += self._constant(x)
        return result

    def codes(self, X, kind):
        """Return posterior "mean", "map" state or "probability" of being active."""
        result = np.empty((len(X), len(self.components)), self.dtype)
        if kind == "map":
            best = self.top_states(X, 1)
            return codes_of(best.support[:, 0], best.values[:, 0], len(self.components), self.dtype)
        sums = self._new_sums()
        for rows, x in blocks(X, self.offset, self.dtype):
            np.matmul(x, self.projection.T, out=result[rows])
            evidence, ones = np.empty(len(x)), np.ones(len(x))
            probability = kind == "probability"
            self._infer(result[rows], ones, sums, evidence, probability, with_second=False)
        return result

    def reconstruct(self, X):
        """Return the posterior mean of the noiseless data, shape (n, n_features)."""
        result = self.codes(X, "mean") @ self.components
        if self.offset is not None:
            result = (result + self.offset).astype(self.dtype, copy=False)
        return result

    def residuals(self, X):
        """Return the data less the posterior mean of the noiseless data, float64."""
        explained = self.codes(X, "mean") @ self.components
        if self.offset is None:
            return np.subtract(X, explained, dtype=np.float64)
        return X - self.offset - explained

    def top_states(self, X, n_states):
        """Return the `Posteriors` with the n_states most probable states."""
        return stacked(
            [self.top_states_of_block(x, n_states) for _, x in blocks(X, self.offset, self.dtype)]
        )

    def top_states_of_block(self, x, n_states, holes=None):
        """Return the `Posteriors` of a block of rows less the offset."""
        part = self._top_states(x @ self.projection.T, n_states, holes)
        constant = self._constant(x)
        return part._replace(log_evidence=part.log_evidence + constant)

    @staticmethod
    def imputed(X):
        """Return the data, of which nothing is missing, and standard deviations of 0."""
        return np.hstack([X, np.zeros_like(X)])

    # What rows with missing values take; they are 0 where they miss something.

    @property
    def parameters(self):
        """The parameters, but for rounding to the dtype."""
        W = self.components.astype(np.float64)
        return Parameters(W, self.prior, self.noise, self.offset)

    def units_of_holes(self):
        """Return components, their products with Sigma^-1, log odds, kinds of variables."""
        unit = self.unit_of_holes.astype(self.dtype)[:, None]
        return unit * self.components, unit * self.projection, self.odds_of_holes, self.n_kinds

    def means_of_block(self, x, probability, holes):
        """Return posterior means, or P(active), of a block, and its log evidence from 0."""
        codes, evidence = x @ self.projection.T, np.empty(len(x))
        self._infer(codes, np.ones(len(x)), self._new_sums(), evidence, probability, holes)
        return codes, evidence

    def reconstruct_block(self, x, holes):
        """Return the posterior mean of the noiseless data less the offset."""
        return self.means_of_block(x, False, holes)[0] @ self.components

    @staticmethod
    def moments_of_prior(prior, components):
        """Return E[ybar] and E[ybar^2] under the prior, each (D,)."""
        mean = prior.moments(len(components))[0] @ components
        covariance = prior.code_covariance(len(components))
        if covariance.ndim == 1:
            return mean, covariance @ components**2 + mean**2
        return mean, np.sum(components * (covariance @ components), axis=0) + mean**2
