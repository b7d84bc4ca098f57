"""What `SparseCoding.posterior` returns."""

from dataclasses import dataclass

import numpy as np

from .inference.base import codes_of


@dataclass(frozen=True, eq=False)
class Posterior:
    """The most probable states of data points, best first, and what sums them up.

    States are kept sparse: the active latents and their values. Probabilities are
    under the truncated posterior, so they sum to at most one over the states shown.

    Attributes
    ----------
    support : ndarray of shape (n_samples, n_states, width), int64
        Active latents of each state, -1 where it has fewer than ``width``.

    values : ndarray of shape (n_samples, n_states, width)
        Their values; of a spike-and-slab prior the means of the slabs, given the data
        and the active set.

    variances : ndarray of shape (n_samples, n_states, width)
        Variances of the slabs, given the data and the active set; 0 for discrete values.

    probabilities : ndarray of shape (n_samples, n_states), float64
        Posterior probability of each state; 0 where there are fewer states.

    marginals : ndarray of shape (n_samples, n_components)
        Posterior probability of each latent to be active.

    entropy : ndarray of shape (n_samples,), float64
        Entropy of the posterior over states, in nats.

    log_evidence : ndarray of shape (n_samples,), float64
        Log of the truncated evidence, in nats, as `SparseCoding.score_samples`.
    """

    support: np.ndarray
    values: np.ndarray
    variances: np.ndarray
    probabilities: np.ndarray
    marginals: np.ndarray
    entropy: np.ndarray
    log_evidence: np.ndarray

    @property
    def n_active(self):
        """Active latents of each state, shape (n_samples, n_states)."""
        return (self.support >= 0).sum(axis=2)

    def codes(self, rank=0):
        """Return the state of a rank, 0 the best, as codes (n_samples, n_components)."""
        n_components = self.marginals.shape[1]
        return codes_of(
            self.support[:, rank],
            self.values[:, rank],
            n_components,
            self.marginals.dtype,
        )
