"""E-steps of data with missing values: NaN is a feature that is not observed.

The likelihood of a data point is that of its observed features O, log N(y_O; ybar_O, Sigma_OO).
Complete rows go to the plain E-step. Of the others

- independent noise leaves all but the Gram matrix as it is, on rows that are 0 where they
  are missing (`HolesEStep`, kernels/holes.py);
- correlated noise makes a model of fewer features of each pattern of missing values
  (`PatternsEStep`);
- rows of which nothing is observed have the prior for their posterior, and say nothing of
  the parameters.

The statistics of a linear superposition are those of complete data, missing features taken
at their expectation given the rest, as latent variables of EM:

    <s y_M^T> = <s s^T> W_M + (<s y_O^T> - <s s^T> W_O) B^T,    B = Sigma_MO Sigma_OO^-1

Little, Rubin (2002). Statistical Analysis with Missing Data. Wiley.
"""

import numpy as np

from ..noise import IsotropicNoise
from .base import Parameters, codes_of
from .incomplete import in_rows
from .incomplete_correlated import PatternsEStep, PatternSums, add
from .incomplete_independent import HolesEStep, nothing_hidden


class PartlyObserved:
    """An E-step that takes NaN for a feature that is not observed.

    Parameters
    ----------
    e_step : LinearGaussianEStep or MaximumEStep
        The E-step of complete rows.
    """

    def __init__(self, e_step):
        self.complete_rows = e_step
        self.prior, self.noise, self.dtype = e_step.prior, e_step.noise, e_step.dtype
        self.components = e_step.components
        self.temperature = e_step.temperature
        whole = e_step.noise.independent and not e_step.bottom
        self.rows_with_holes = (HolesEStep if whole else PatternsEStep)(e_step)

    def _parts(self, X):
        """Return the numbers of the rows that are complete, of those with holes, of the rest."""
        seen = ~np.isnan(X)
        n_seen = seen.sum(axis=1)
        with_holes = (n_seen > 0) & (n_seen < X.shape[1])
        return (
            np.flatnonzero(n_seen == X.shape[1]),
            np.flatnonzero(with_holes),
            np.flatnonzero(n_seen == 0),
        )

    def _by_rows(self, X, out, method, blank, *arguments):
        """Fill ``out`` with what a method of the E-steps returns of the rows."""
        complete, holes, empty = self._parts(X)
        if complete.size:
            out[complete] = getattr(self.complete_rows, method)(X[complete], *arguments)
        if holes.size:
            out[holes] = getattr(self.rows_with_holes, method)(X[holes], *arguments)
        if empty.size:
            out[empty] = blank()
        return out

    def statistics(self, X, weights):
        """Return the sums of the M-step and of the evidence over some data points.

        Besides those of complete data: "observed" (D,), the weight of the rows that observe
        a feature, "normaliser", the sum of their log densities at the mean, and "blank",
        the weight of rows of which nothing is observed.
        """
        complete, holes, empty = self._parts(X)
        statistics = self.complete_rows.statistics(X[complete], weights[complete])
        n_features = X.shape[1]
        weight = statistics["weight"]
        statistics["normaliser"] = weight * self.noise.log_normaliser(n_features)
        statistics["blank"] = weights[empty].sum()
        if self.noise.independent:
            statistics["observed"] = np.full(n_features, weight)
            if self.rows_with_holes.by_feature:
                statistics |= nothing_hidden(*self.components.shape)
        else:
            statistics["patterns"] = PatternSums()
        if holes.size:
            other = self.rows_with_holes.statistics(X[holes], weights[holes])
            add(statistics, other)
        return statistics

    def complete(self, statistics):
        """Return the summed statistics with what follows from them filled in."""
        if "patterns" in statistics:
            statistics = self.rows_with_holes.with_patterns(statistics)
        return self.complete_rows.complete(statistics)

    def bound(self, statistics):
        """Return the lower bound of the log-likelihood, summed over the data points."""
        n_features = self.components.shape[1]
        of_all = statistics["weight"] * self.noise.log_normaliser(n_features)
        # the log densities that the expected log-joint of complete data has too many
        surplus = (1.0 - 1.0 / self.temperature[0]) * (statistics["normaliser"] - of_all)
        return self.complete_rows.bound(statistics) + surplus

    def log_evidence(self, X):
        """Return log sum_s p(s, y) over the kept states, shape (n,), in nats."""
        return self._by_rows(X, np.empty(len(X)), "log_evidence", lambda: 0.0)

    def codes(self, X, kind):
        """Return posterior "mean", "map" state or "probability" of being active."""
        H = len(self.components)
        if kind == "map":
            best = self.top_states(X, 1)
            return codes_of(best.support[:, 0], best.values[:, 0], H, self.dtype)

        def blank():
            return self.prior.activity(H) if kind == "probability" else self.prior.moments(H)[0]

        return self._by_rows(X, np.empty((len(X), H), self.dtype), "codes", blank, kind)

    def reconstruct(self, X):
        """Return the posterior mean of the noiseless data, shape (n, n_features)."""
        out = np.empty(X.shape, self.dtype)
        moments = self.rows_with_holes.moments_of_prior
        return self._by_rows(X, out, "reconstruct", lambda: moments()[0])

    def residuals(self, X):
        """Return the data less the posterior mean of the noiseless data, 0 where missing."""
        return self._by_rows(X, np.empty(X.shape), "residuals", lambda: 0.0)

    def impute(self, X):
        """Return the data with their posterior mean where they are missing, and its variance.

        Both (n, n_features), the variance float64 and 0 where data are observed.
        """
        _, holes, empty = self._parts(X)
        filled, variance = X.copy(), np.zeros(X.shape)
        if holes.size:
            filled[holes], variance[holes] = self.rows_with_holes.impute(X[holes])
        if empty.size:
            mean, spread = self.rows_with_holes.moments_of_prior()
            filled[empty], variance[empty] = mean, spread + self.noise.variances(X.shape[1])
        return filled, variance

    def imputed(self, X):
        """Return the same side by side, means and standard deviations, in the dtype."""
        filled, variance = self.impute(X)
        return np.hstack([filled, np.sqrt(variance).astype(self.dtype)])

    def top_states(self, X, n_states):
        """Return the `Posteriors` with the n_states most probable states."""
        complete, holes, empty = self._parts(X)
        parts, rows = [], []
        if complete.size:
            parts.append(self.complete_rows.top_states(X[complete], n_states))
            rows.append(complete)
        if holes.size:
            parts.append(self.rows_with_holes.top_states(X[holes], n_states))
            rows.append(holes)
        if empty.size:
            # their posterior does not depend on the noise
            parts.append(self._of_prior().top_states(X[empty], n_states))
            rows.append(empty)
        result = in_rows(parts, rows)
        result.log_evidence[empty] = 0.0
        return result

    def _of_prior(self):
        """Return an E-step of rows of which nothing is observed."""
        e_step = self.complete_rows
        parameters = e_step.parameters
        noise = parameters.noise if parameters.noise.independent else IsotropicNoise(1.0)
        parameters = Parameters(parameters.components, parameters.prior, noise, None)
        return HolesEStep(type(e_step)(parameters, e_step.truncation, e_step.dtype))
