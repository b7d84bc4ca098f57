"""What `SparseCoding.posterior` returns."""

from dataclasses import dataclass, fields

import numpy as np
from scipy import sparse

from .inference.base import codes_of, stacked
from .inference.tasks import MethodOnChunk, e_step_of
from .kernels.states import count_states

# States per data point up to which a posterior grows.
_MOST_STATES = 50_000
# It grows where that adds more to the evidence, in nats.
_GAP = 0.01


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
        float64 where the dtype of the data does not hold them.

    probabilities : ndarray of shape (n_samples, n_states), float64
        Posterior probability of each state; 0 where there are fewer states.

    marginals : ndarray of shape (n_samples, n_components)
        Posterior probability of each latent to be active.

    entropy : ndarray of shape (n_samples,), float64
        Entropy of the posterior over states, in nats.

    log_evidence : ndarray of shape (n_samples,), float64
        Log of the truncated evidence, in nats: as `~skprosper.SparseCoding.score_samples`, and
        higher where the posterior was grown.

    max_changes : ndarray of shape (n_samples,), int64
        Most latents in which a state of each data point may differ from its centre: that
        of the estimator, or more where its posterior was grown.

    truncation_gap : ndarray of shape (n_samples,), float64
        What growing the posterior of each data point once more would add to its
        ``log_evidence``, in nats; 0 where there are no more states, or too many.
    """

    support: np.ndarray
    values: np.ndarray
    variances: np.ndarray
    probabilities: np.ndarray
    marginals: np.ndarray
    entropy: np.ndarray
    log_evidence: np.ndarray
    max_changes: np.ndarray
    truncation_gap: np.ndarray

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

        names = [name or "none" for name in self.names(sample)]
        there = self.probabilities[sample] > 0
        names = [name for name, shown in zip(names, there) if shown]
        return PosteriorDisplay(names, self.probabilities[sample][there]).plot(ax=ax)

    def names(self, sample=0):
        """Return what is active in each state of a data point, as "component: value, ...".

        Where all values of all data points are 1 they are left out.

        Parameters
        ----------
        sample : int, default=0
            The data point.

        Returns
        -------
        names : list of str
            Empty where nothing is active.
        """
        names, binary = [], np.all(self.values[self.support >= 0] == 1)
        for support, values in zip(self.support[sample], self.values[sample]):
            there = support >= 0
            pairs = zip(support[there], values[there])
            names.append(", ".join(f"{h}" if binary else f"{h}: {v:.3g}" for h, v in pairs))
        return names

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


def n_states_of(truncation, n_components, n_values):
    """Return the states that a truncation keeps of a data point."""
    n_candidates, max_changes = truncation.n_candidates, truncation.max_changes
    inside = count_states(n_candidates, max_changes, n_values)
    return int(inside) + (n_components - n_candidates) * n_values


def posterior_of(X, n_states, workers, e_step_of, truncation):
    """Return the `Posterior` of data points, each grown until that adds little.

    ``e_step_of`` gives the E-step for a truncation. Where a wider truncation adds to the
    evidence of a data point, its posterior is found anew with that, up to a limit.
    """
    e_step = e_step_of(truncation)
    result = _inferred(X, n_states, workers, e_step, truncation)
    n_components, n_values = result.marginals.shape[1], e_step.prior.n_values
    rows = np.arange(len(result.support))
    while (truncation := truncation.wider(n_components, n_values, _MOST_STATES)) is not None:
        e_step = e_step_of(truncation)
        x = X if len(rows) == len(result.support) else workers.take(X, rows)
        evidence = np.concatenate(list(workers.map(MethodOnChunk(e_step, "log_evidence"), x)))
        gap = np.maximum(evidence - result.log_evidence[rows], 0.0)
        result.truncation_gap[rows] = gap
        rows = rows[gap > _GAP]
        if not rows.size:
            break
        part = _inferred(workers.take(X, rows), n_states, workers, e_step, truncation)
        result = _replaced(result, rows, part)
    return result


def _inferred(X, n_states, workers, e_step, truncation):
    """Return the `Posterior` under one truncation."""
    n_components, n_values = len(e_step.components), e_step.prior.n_values
    n_states = min(n_states, n_states_of(truncation, n_components, n_values))
    parts = list(workers.map(_Inference(e_step, n_states), X))
    top = stacked([top for top, _ in parts])
    return Posterior(
        support=top.support,
        values=top.values,
        variances=top.variances,
        probabilities=np.exp(top.log_probability),
        marginals=np.concatenate([marginals for _, marginals in parts]),
        entropy=top.entropy,
        log_evidence=top.log_evidence,
        max_changes=np.full(len(top.support), truncation.max_changes),
        truncation_gap=np.zeros(len(top.support)),
    )


def _padded(array, shape, fill):
    """Return a copy of states (n, ..) with room for so many states and active latents."""
    more = np.subtract(shape[: array.ndim - 1], array.shape[1:])
    return np.pad(array, [(0, 0), *((0, n) for n in more)], constant_values=fill)


def _replaced(result, rows, part):
    """Return the posterior with some rows replaced."""
    shape = np.maximum(part.support.shape, result.support.shape)[1:]
    merged = {}
    for field in fields(Posterior):
        array, new = getattr(result, field.name), getattr(part, field.name)
        if array.ndim == 3 or field.name == "probabilities":
            fill = -1 if field.name == "support" else 0
            array, new = _padded(array, shape, fill), _padded(new, shape, fill)
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
        e_step = e_step_of(X, None, self.e_step)
        top, marginals = e_step.top_states(X, self.n_states), e_step.codes(X, "probability")
        values, variances = (_as_far_as_held(a, X.dtype) for a in (top.values, top.variances))
        return top._replace(values=values, variances=variances), marginals.astype(X.dtype)


def _as_far_as_held(array, dtype):
    """Return an array as one of the dtype, or as it is where that does not hold its numbers."""
    return array.astype(dtype) if np.abs(array).max(initial=0.0) <= np.finfo(dtype).max else array
