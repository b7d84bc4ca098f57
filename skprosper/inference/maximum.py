"""E-step of the maximum superpositions: MCA, MMCA and their relatives."""

import numpy as np

from ..kernels import maximum as kernel
from ..kernels.centre import pairwise_overlap
from ..kernels.linear import add_outer
from ..superpositions import check_components
from .base import _DENSE, BLOCK_ROWS, Posteriors, Precision, blocks, codes_of, stacked

# Inactive latents whose changes the search of the best state looks at, at least.
_SCREENED = 16


def _fitted(array, width, fill):
    """Return an array whose last axis is cut or filled up to a width."""
    more = max(0, width - array.shape[2])
    return np.pad(array[..., :width], ((0, 0), (0, 0), (0, more)), constant_values=fill)


class MaximumEStep:
    """Truncated posteriors over discrete values under the maximum superposition.

    Source of the equations: sections 3, 4 and 6 of the user guide's page on the models.
    Temperatures leave the maximum hard.

    Parameters
    ----------
    parameters : Parameters
        Isotropic noise, no offset, non-negative components.
    truncation : Truncation
    dtype : dtype
        Of the data and of the big products.
    temperature : tuple of two floats
        Temperatures of the likelihood and of the prior.
    """

    magnitude = False

    def __init__(self, parameters, truncation, dtype, temperature=(1.0, 1.0)):
        W, prior, noise = parameters.components, parameters.prior, parameters.noise
        if not self.magnitude:
            check_components(W)
        self.prior, self.noise = prior, noise
        self.truncation, self.dtype = truncation, np.dtype(dtype)
        self.temperature = temperature
        n_components = len(W)
        n_candidates, max_changes, best, pursuit = truncation
        if max_changes == n_components:
            best = pursuit = False  # all states are kept
        values = prior.active_values
        # the posterior sees the data in units of its noise
        self.scale = 1.0 / np.sqrt(noise.variance * temperature[0])
        self.components = (self.scale * W).astype(self.dtype)
        self.log_odds = prior.log_odds(n_components)
        odds = self.log_odds / temperature[1]
        # a single negative value lies below the inactive latents' 0
        seen = values if self.magnitude or n_components == 1 else np.maximum(values, 0.0)
        gram = self.components @ self.components.T
        bias = odds - 0.5 * np.outer(seen**2, np.diag(gram).astype(np.float64))
        n_screened = min(n_components, max(_SCREENED, 2 * n_candidates)) if best else 0
        overlap = np.empty((0, 0), self.dtype)
        if n_screened < n_components if best else pursuit:
            overlap = pairwise_overlap(self.components)
        self.trees = kernel.state_trees(n_candidates, max_changes, len(values), best)
        n_states = np.diff(self.trees.starts).max() + values.size * n_components
        precision = Precision.of(self.dtype, n_states)
        self.model = kernel.Model(
            self.components,
            values.astype(self.dtype),
            seen.astype(self.dtype),
            odds,
            bias.astype(self.dtype),
            gram,
            overlap,
            n_candidates,
            n_screened,
            not self.magnitude and n_components > 1 and values.min() < 0.0,
            precision.cutoff,
            precision.negligible,
        )

    def _blocks(self, X):
        """Yield rows, data in units of the noise and its products with the components."""
        scale, height = self.dtype.type(self.scale), min(BLOCK_ROWS, len(X))
        # the same memory for all blocks; see `LinearGaussianEStep.statistics`
        scaled = np.empty((height, X.shape[1]), self.dtype)
        products = np.empty((height, len(self.components)), self.dtype)
        for rows, x in blocks(X, None):
            x = np.multiply(x, scale, out=scaled[: len(x)])
            yield rows, x, np.matmul(x, self.components.T, out=products[: len(x)])

    def _constant(self, X):
        """Return what the log-joint of the state 0 is, shape (n,)."""
        n_components, n_features = self.components.shape
        likelihood = self.noise.log_normaliser(n_features) - 0.5 * self.noise.quadratic(X)
        log_zero = self.prior.log_zero(n_components)
        return likelihood / self.temperature[0] + log_zero / self.temperature[1]

    def statistics(self, X, weights):
        """Return the sums of the M-step and of the evidence over some data points."""
        n_components, n_features = self.components.shape
        counts = np.zeros(self.log_odds.shape)
        numerator = np.zeros((n_components, n_features))
        denominator = np.zeros((n_components, n_features))
        sums = np.zeros((2, n_components))
        evidence = np.empty(len(X))
        for rows, x, codes in self._blocks(X):
            n_nonzero = kernel.expectations(
                x,
                codes,
                weights[rows],
                self.model,
                self.trees,
                evidence[rows],
                counts,
                numerator,
                denominator,
                sums,
            )
            if n_nonzero < _DENSE * codes.size:
                add_outer(codes, x, n_nonzero, numerator)
            else:
                numerator += codes.T @ x
        single_second, energy = sums[0], sums[1, 0]
        log_odds = np.sum(counts * self.log_odds) / self.temperature[1]
        # an energy is a log prior odds less half what the squared error exceeds y^2 by
        square = weights @ self.noise.quadratic(X) / self.temperature[0]
        squared_error = max(square - 2.0 * (energy - log_odds), 0.0)
        return {
            "weight": weights.sum(),
            "log_evidence": weights @ (evidence + self._constant(X)),
            "counts": counts,
            "numerator": numerator / self.scale,
            "denominator": denominator + single_second[:, None],
            "squared_error": squared_error / self.scale**2,
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
        n_components, n_features = self.components.shape
        weight = statistics["weight"]
        likelihood = weight * self.noise.log_normaliser(n_features)
        likelihood -= 0.5 * statistics["squared_error"] / self.noise.variance
        prior = weight * self.prior.log_zero(n_components)
        prior += np.sum(statistics["counts"] * self.log_odds)
        tempered = (1.0 - 1.0 / t_likelihood) * likelihood + (1.0 - 1.0 / t_prior) * prior
        return statistics["log_evidence"] + tempered

    def _means(self, X, probability):
        """Return posterior means, or P(active), of the codes, and the log evidence."""
        result = np.empty((len(X), len(self.components)), self.dtype)
        evidence = np.empty(len(X))
        for rows, x, codes in self._blocks(X):
            result[rows] = codes
            kernel.posterior_means(
                x,
                result[rows],
                self.model,
                self.trees,
                probability,
                evidence[rows],
            )
        return result, evidence + self._constant(X)

    def log_evidence(self, X):
        """Return log sum_s p(s, y) over the kept states, shape (n,), in nats."""
        return self._means(X, False)[1]

    def codes(self, X, kind):
        """Return posterior "mean", "map" state or "probability" of being active."""
        if kind == "map":
            best = self.top_states(X, 1)
            return codes_of(best.support[:, 0], best.values[:, 0], len(self.components), self.dtype)
        return self._means(X, kind == "probability")[0]

    def reconstruct(self, X):
        """Return the posterior mean of ybar, shape (n, n_features)."""
        result = np.empty(X.shape, self.dtype)
        for rows, x, codes in self._blocks(X):
            kernel.reconstructions(x, codes, self.model, self.trees, result[rows])
            result[rows] += codes @ self.components
        return result / self.dtype.type(self.scale)

    def residuals(self, X):
        """Return the data less the posterior mean of ybar, float64."""
        return np.subtract(X, self.reconstruct(X), dtype=np.float64)

    def variances(self, support):
        """Return the posterior variance of the values of `Posteriors`: they are exact."""
        return np.zeros(support.shape, self.dtype)

    def top_states(self, X, n_states):
        """Return the `Posteriors` with the n_states most probable states."""
        n_candidates, max_changes, *_ = self.truncation
        width = max(1, min(max_changes, n_candidates))
        parts = []
        for rows, x, projections in self._blocks(X):
            log_joint = np.empty((len(x), n_states))
            entropy, evidence = np.empty(len(x)), np.empty(len(x))
            while True:
                support = np.empty((len(x), n_states, width), np.int64)
                kinds = np.empty_like(support)
                widest = kernel.top_states(
                    x,
                    projections,
                    self.model,
                    self.trees,
                    log_joint,
                    support,
                    kinds,
                    entropy,
                    evidence,
                )
                if widest <= width:
                    break
                width = widest
            constant = self._constant(X[rows])
            values = np.where(support >= 0, self.model.values[kinds], 0)
            log_joint += constant[:, None]
            parts.append(Posteriors(support, values, log_joint, evidence + constant, entropy))
        width = max(1, *(int((part.support >= 0).sum(axis=2).max(initial=0)) for part in parts))
        parts = [
            part._replace(
                support=_fitted(part.support, width, -1), values=_fitted(part.values, width, 0)
            )
            for part in parts
        ]
        return stacked(parts)


class MagnitudeMaximumEStep(MaximumEStep):
    """The same under the magnitude-maximum: components of any sign, magnitudes compete.

    See `MaximumEStep` for the parameters.
    """

    magnitude = True
