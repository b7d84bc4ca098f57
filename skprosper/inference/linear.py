"""E-step of the linear superposition with discrete values: BSC, TSC, DSC."""

import numpy as np

from ..kernels import linear as kernel
from ..kernels.states import count_states, paired_states
from .base import LinearGaussianEStep, Posteriors, Precision


class LinearEStep(LinearGaussianEStep):
    """Truncated posteriors over discrete values under the linear superposition.

    See `LinearGaussianEStep` for the parameters. Source of the equations: sections 3
    to 5 of the user guide's page on the models.
    """

    def _prepare(self):
        values = self.prior.active_values
        n_components = len(self.components)
        n_candidates, max_changes, *_ = self.truncation
        self.log_odds = self.prior.log_odds(n_components)
        bias = self.log_odds / self.temperature[1] - 0.5 * np.outer(
            values**2, np.diag(self.gram).astype(np.float64)
        )
        self.model = kernel.Model(self.gram, values.astype(self.dtype), bias.astype(self.dtype))
        self.states = paired_states(n_candidates, max_changes, len(values))
        self.precision = Precision.of(
            self.dtype, count_states(n_candidates, max_changes, len(values))
        )

    def _new_sums(self):
        n_components = len(self.components)
        second = np.zeros((n_components, n_components))
        return second, np.zeros((len(self.model.values), n_components))

    def _infer(
        self, codes, weights, sums, evidence, probability=False, holes=None, with_second=True
    ):
        n_candidates, _, best, pursuit = self.truncation
        return kernel.expectations(
            codes,
            weights,
            self._model(holes),
            self.states,
            n_candidates,
            best,
            pursuit,
            probability,
            *self.precision,
            with_second,
            *sums,
            evidence,
            holes,
        )

    n_kinds = 1

    @property
    def unit_of_holes(self):
        """What the kernel's latents are in: those of the data."""
        return np.ones(len(self.components))

    @property
    def odds_of_holes(self):
        """The log odds, which a data point makes its bias of."""
        return self.log_odds / self.temperature[1]

    @property
    def n_diagonals(self):
        """Sums that the diagonal of second moments follows from, for each latent."""
        return len(self.model.values)

    @staticmethod
    def in_own_units(statistics, part):
        """Return statistics of the E-step of some features as those of all."""
        return statistics

    def _model(self, holes):
        # of data with missing values each data point has a bias of its own
        return self.model if holes is None else self.model._replace(bias=self.model.bias.copy())

    def _named(self, sums):
        second, counts = sums
        return {"second": second, "counts": counts}

    def complete(self, statistics):
        """Return the summed statistics with what follows from them filled in."""
        counts, half = statistics["counts"], statistics["second"]
        values = self.prior.active_values
        second = half + half.T
        second[np.diag_indices_from(second)] = values**2 @ counts
        return {**statistics, "second": second, "codes": values @ counts}

    def _expected_log_prior(self, statistics):
        zero = statistics["weight"] * self.prior.log_zero(len(self.components))
        return zero + np.sum(self.log_odds * statistics["counts"])

    def _top_states(self, projections, n_states, holes=None):
        n_candidates, max_changes, best, pursuit = self.truncation
        n, H = len(projections), len(self.components)
        model = self._model(holes)
        most = kernel.most_active(projections, model, n_candidates, best, pursuit, holes)
        log_probability = np.empty((n, n_states))
        support = np.empty((n, n_states, min(H, most + max_changes)), np.int64)
        kinds = np.empty_like(support)
        entropy, evidence = np.empty(n), np.empty(n)
        kernel.top_states(
            projections,
            model,
            self.states,
            n_candidates,
            best,
            pursuit,
            log_probability,
            support,
            kinds,
            entropy,
            evidence,
            holes,
        )
        values = np.where(support >= 0, self.model.values[kinds], 0)
        exact = np.zeros(support.shape, self.dtype)
        return Posteriors(support, values, exact, log_probability, evidence, entropy)
