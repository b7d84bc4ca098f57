"""E-step of the maximum superpositions: MCA, MMCA and their relatives."""

import numpy as np

from ..kernels import maximum as kernel
from ..kernels.centre import pairwise_overlap
from ..kernels.linear import add_outer
from ..superpositions import check_components, superposed
from .base import _DENSE, BLOCK_ROWS, Parameters, Posteriors, Precision, blocks, codes_of, stacked

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

    linear, magnitude, offset = False, False, None

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
        for rows, x in blocks(X, None, X.dtype):
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
        sums, evidence = self.new_sums(), np.empty(len(X))
        for rows, x, codes in self._blocks(X):
            self._add(x, codes, weights[rows], sums, evidence[rows], None)
        return self.named(sums, X, weights, evidence)

    def new_sums(self):
        """Return sums of 0: counts, numerator, denominator, and what `kernel` sums besides."""
        return (
            np.zeros(self.log_odds.shape),
            np.zeros(self.components.shape),
            np.zeros(self.components.shape),
            np.zeros((2, len(self.components))),
        )

    def _model(self, holes):
        # of data with missing values each data point has components and a bias of its own
        if holes is None:
            return self.model
        return self.model._replace(
            components=self.model.components.copy(), bias=self.model.bias.copy()
        )

    def _add(self, x, codes, weights, sums, evidence, holes):
        """Add a block of rows in units of the noise and their products to the sums."""
        n_nonzero = kernel.expectations(
            x, codes, weights, self._model(holes), self.trees, evidence, *sums, holes
        )
        numerator = sums[1]
        if n_nonzero < _DENSE * codes.size:
            add_outer(codes, x, n_nonzero, numerator)
        else:
            numerator += codes.T @ x

    def named(self, sums, X, weights, evidence):
        """Return the statistics that the sums over data points make."""
        counts, numerator, denominator, sums = sums
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
                None,
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
            kernel.reconstructions(x, codes, self.model, self.trees, False, result[rows], None)
            result[rows] += codes @ self.components
        return result / self.dtype.type(self.scale)

    def residuals(self, X):
        """Return the data less the posterior mean of ybar, float64."""
        return np.subtract(X, self.reconstruct(X), dtype=np.float64)

    def top_states(self, X, n_states):
        """Return the `Posteriors` with the n_states most probable states."""
        parts = [
            self._top_states(X[rows], x, projections, n_states, None)
            for rows, x, projections in self._blocks(X)
        ]
        width = max(1, *(int((part.support >= 0).sum(axis=2).max(initial=0)) for part in parts))
        return stacked([_of_width(part, width) for part in parts])

    def _top_states(self, X, x, projections, n_states, holes):
        """Return the `Posteriors` of a block of rows, given them in units of the noise too."""
        n_candidates, max_changes, *_ = self.truncation
        model, widest = self._model(holes), max(1, min(max_changes, n_candidates))
        log_probability = np.empty((len(x), n_states))
        entropy, evidence = np.empty(len(x)), np.empty(len(x))
        width = 0
        while width < widest:
            width = widest
            support = np.empty((len(x), n_states, width), np.int64)
            kinds = np.empty_like(support)
            widest = kernel.top_states(
                x,
                projections,
                model,
                self.trees,
                log_probability,
                support,
                kinds,
                entropy,
                evidence,
                holes,
            )
        values = np.where(support >= 0, self.model.values[kinds], 0)
        exact = np.zeros(support.shape, self.dtype)
        evidence += self._constant(X)
        return Posteriors(support, values, exact, log_probability, evidence, entropy)

    @staticmethod
    def imputed(X):
        """Return the data, of which nothing is missing, and standard deviations of 0."""
        return np.hstack([X, np.zeros_like(X)])

    # What rows with missing values take; they are 0 where they miss something.

    n_kinds = 0

    @property
    def bottom(self):
        """Whether all latents may be negative, none being 0."""
        return self.model.bottom

    @property
    def parameters(self):
        """The parameters, but for rounding."""
        return Parameters(
            self.components.astype(np.float64) / self.scale, self.prior, self.noise, None
        )

    @property
    def n_diagonals(self):
        """Sums that the diagonal of second moments follows from, for each latent."""
        return len(self.model.values)

    @property
    def n_states(self):
        """States that are kept of a data point, or more."""
        n_values, H = len(self.model.values), len(self.components)
        return int(np.diff(self.trees.starts).max() + n_values * H)

    def units_of_holes(self):
        """Return components twice, log odds, kinds of variables with second moments."""
        return self.components, self.components, self.model.odds, self.n_kinds

    def _scaled(self, x):
        x = x * self.dtype.type(self.scale)
        return x, x @ self.components.T

    def add(self, x, weights, sums, evidence, holes):
        """Add a block of rows to the sums."""
        self._add(*self._scaled(x), weights, sums, evidence, holes)

    def means_of_block(self, x, probability, holes):
        """Return posterior means, or P(active), of a block, and its log evidence from 0."""
        x, codes = self._scaled(x)
        evidence = np.empty(len(x))
        kernel.posterior_means(
            x, codes, self._model(holes), self.trees, probability, evidence, holes
        )
        return codes, evidence

    def reconstruct_block(self, x, holes, square=False):
        """Return the posterior mean of ybar, or of its square, also where data are missing."""
        x, codes = self._scaled(x)
        result, power = np.empty(x.shape, self.dtype), 2 if square else 1
        kernel.reconstructions(x, codes, self._model(holes), self.trees, square, result, holes)
        result += codes @ self.components**power
        return result / self.dtype.type(self.scale) ** power

    def top_states_of_block(self, x, n_states, holes):
        """Return the `Posteriors` of a block of rows."""
        part = self._top_states(x, *self._scaled(x), n_states, holes)
        return _of_width(part, max(1, int((part.support >= 0).sum(axis=2).max(initial=0))))

    def superpose(self, codes, components):
        """Return ybar of each code, shape (n, n_features)."""
        return superposed(codes, components, self.magnitude)

    def moments_of_prior(self, prior, components):
        """Return E[ybar] and E[ybar^2] under the prior, each (D,)."""
        return extreme_moments(
            prior.active_values,
            np.exp(prior.log_odds(len(components))),
            components,
            self.magnitude,
        )


def _of_width(part, width):
    """Return `Posteriors` with room for so many active latents."""
    return part._replace(
        support=_fitted(part.support, width, -1),
        values=_fitted(part.values, width, 0),
        variances=_fitted(part.variances, width, 0),
    )


def extreme_moments(values, odds, components, magnitude):
    """Return mean and mean square of the maximum over independent latents, each (D,).

    odds (K, H) are those of the values against 0. The maximum is at most x where each
    latent's term is; of magnitudes there are two terms for each.
    """
    n_latents, n_features = components.shape
    probability = np.vstack([np.ones((1, n_latents)), odds]) / (1.0 + odds.sum(axis=0))
    levels = np.concatenate([[0.0], values])
    latent = np.broadcast_to(np.arange(n_latents), probability.shape).ravel()
    mean, square = np.empty(n_features), np.empty(n_features)
    for d in range(n_features):
        terms = np.outer(levels, components[:, d]).ravel()
        strength = np.abs(terms) if magnitude else terms
        order = np.argsort(strength, kind="stable")
        # P(no latent exceeds a term), term by term in rising order
        below, log_all, n_zero = np.zeros(n_latents), 0.0, n_latents
        last = 0.0
        mean[d] = square[d] = 0.0
        for i in order:
            h, p = latent[i], probability.ravel()[i]
            if below[h] == 0.0:
                n_zero -= 1
            else:
                log_all -= np.log(below[h])
            below[h] += p
            log_all += np.log(below[h])
            now = np.exp(log_all) if n_zero == 0 else 0.0
            mean[d] += (now - last) * terms[i]
            square[d] += (now - last) * terms[i] ** 2
            last = now
    return mean, square


class MagnitudeMaximumEStep(MaximumEStep):
    """The same under the magnitude-maximum: components of any sign, magnitudes compete.

    See `MaximumEStep` for the parameters.
    """

    magnitude = True
