"""What `SparseCoding.posterior` returns."""

from dataclasses import dataclass, fields

import numpy as np
from scipy import sparse
from sklearn.utils import assert_all_finite

from .inference.base import codes_of
from .kernels.states import count_states

# States per data point up to which a posterior grows.
_MOST_STATES = 50_000
# Candidates and active latents that it grows by.
_GROWTH = (3, 2)


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
        Log of the truncated evidence, in nats: as `SparseCoding.score_samples`, and
        higher where the posterior was grown.

    max_changes : ndarray of shape (n_samples,), int64
        Most latents active in a state of each data point: that of the estimator, or more
        where the best state used all of them.
    """

    support: np.ndarray
    values: np.ndarray
    variances: np.ndarray
    probabilities: np.ndarray
    marginals: np.ndarray
    entropy: np.ndarray
    log_evidence: np.ndarray
    max_changes: np.ndarray

    @property
    def at_limit(self):
        """Whether the best state of each data point has all the latents it may have."""
        return self.n_active[:, 0] >= self.max_changes

    @property
    def n_active(self):
        """Active latents of each state, shape (n_samples, n_states)."""
        return (self.support >= 0).sum(axis=2)

    def plot(self, sample=0, ax=None):
        """Plot the most probable states of a data point.

        Parameters
        ----------
        sample : int, default=0
            The data point.
        ax : matplotlib Axes, default=None
            Where to plot. None: a new figure.

        Returns
        -------
        display : PosteriorDisplay
            The plotted display.
        """
        from .plotting import PosteriorDisplay

        names = []
        for support, values in zip(self.support[sample], self.values[sample]):
            there = support >= 0
            pairs = zip(support[there], values[there])
            names.append(", ".join(f"{h}: {v:.3g}" for h, v in pairs) or "none")
        there = self.probabilities[sample] > 0
        names = [name for name, shown in zip(names, there) if shown]
        return PosteriorDisplay(names, self.probabilities[sample][there]).plot(ax=ax)

    def to_sparse(self, rank=0):
        """Return the state of a rank as a sparse array of codes.

        Parameters
        ----------
        rank : int, default=0
            0 is the most probable state, 1 the next.

        Returns
        -------
        codes : scipy.sparse.csr_array of shape (n_samples, n_components)
            The codes.
        """
        support, values = self.support[:, rank], self.values[:, rank]
        row, slot = np.nonzero(support >= 0)
        shape = (len(support), self.marginals.shape[1])
        return sparse.csr_array((values[row, slot], (row, support[row, slot])), shape=shape)

    def codes(self, rank=0):
        """Return the state of a rank, 0 the best, as codes (n_samples, n_components)."""
        n_components = self.marginals.shape[1]
        return codes_of(
            self.support[:, rank],
            self.values[:, rank],
            n_components,
            self.marginals.dtype,
        )


def grown(truncation, n_components, n_values):
    """Return the next larger truncation, or None where a posterior grows no further."""
    n_candidates = min(truncation.n_candidates + _GROWTH[0], n_components)
    max_changes = min(truncation.max_changes + _GROWTH[1], n_candidates)
    if max_changes == truncation.max_changes:
        return None
    if count_states(n_candidates, max_changes, n_values) > _MOST_STATES:
        return None
    return truncation._replace(n_candidates=n_candidates, max_changes=max_changes)


def n_states_of(truncation, n_components, n_values):
    """Return the states that a truncation keeps of a data point."""
    n_candidates, max_changes = truncation.n_candidates, truncation.max_changes
    inside = count_states(n_candidates, max_changes, n_values)
    return int(inside) + (n_components - n_candidates) * n_values


def posterior_of(X, n_states, workers, e_step_of, truncation):
    """Return the `Posterior` of data points, each grown until its best state fits.

    ``e_step_of`` gives the E-step for a truncation. Where the best state of a data point
    has as many active latents as a state may have, its posterior is found anew with more
    of them and more candidates, up to a limit.
    """
    result = _inferred(X, n_states, workers, e_step_of(truncation), truncation)
    n_components, n_values = result.marginals.shape[1], e_step_of(truncation).prior.n_values
    while (truncation := grown(truncation, n_components, n_values)) is not None:
        rows = np.flatnonzero(result.at_limit)
        if not rows.size:
            break
        x = np.asarray(X[rows])
        part = _inferred(x, n_states, workers, e_step_of(truncation), truncation)
        result = _replaced(result, rows, part)
    return result


def _inferred(X, n_states, workers, e_step, truncation):
    """Return the `Posterior` under one truncation."""
    n_components, n_values = len(e_step.components), e_step.prior.n_values
    n_states = min(n_states, n_states_of(truncation, n_components, n_values))
    parts = list(workers.map(_Inference(e_step, n_states), X))
    top = [np.concatenate(arrays) for arrays in zip(*(top for top, _ in parts))]
    support, values, log_joint, log_evidence, entropy = top
    return Posterior(
        support=support,
        values=values,
        variances=e_step.variances(support),
        probabilities=np.exp(log_joint - log_evidence[:, None]),
        marginals=np.concatenate([marginals for _, marginals in parts]),
        entropy=entropy,
        log_evidence=log_evidence,
        max_changes=np.full(len(support), truncation.max_changes),
    )


def _replaced(result, rows, part):
    """Return the posterior with some rows replaced; the new ones are wider."""
    more = np.subtract(part.support.shape[1:], result.support.shape[1:])
    merged = {}
    for field in fields(Posterior):
        array, new = getattr(result, field.name), getattr(part, field.name)
        if array.ndim == 3 or field.name == "probabilities":
            fill = -1 if field.name == "support" else 0
            wider = [(0, 0), *((0, n) for n in more[: array.ndim - 1])]
            array = np.pad(array, wider, constant_values=fill)
        else:
            array = array.copy()
        array[rows] = new
        merged[field.name] = array
    return Posterior(**merged)


class _Inference:
    """The most probable states of a chunk and its marginals; can be pickled."""

    def __init__(self, e_step, n_states):
        self.e_step, self.n_states = e_step, n_states

    def __call__(self, X, weights=None):
        assert_all_finite(X, input_name="X")
        return self.e_step.top_states(X, self.n_states), self.e_step.codes(X, "probability")
