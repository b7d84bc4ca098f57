"""Priors of the latents: parameters, log odds, their own M-step, sampling.

A prior is independent over the latents. The parameters of a prior are its values at
the start of EM; the attribute ``prior_`` of a fitted estimator is a prior of the same
class that holds the learned values.
"""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval

# A probability of exactly 0 or 1 could never be left again.
PROBABILITY_FLOOR = 1e-10
_START_ACTIVE = 2.0  # latents active on average where the user says nothing


class _ValuedPrior(BaseEstimator):
    """A prior over finitely many values: 0 and the active values v_1 .. v_K.

    To add one, give ``active_values``, ``active_probabilities`` and ``_with_active``.
    """

    def start(self, n_components):
        """Return a copy with concrete, validated start values."""
        self._validate_params()
        start = np.full(
            (len(self.active_values), 1),
            min(0.5, _START_ACTIVE / n_components) / len(self.active_values),
        )
        given = self.active_probabilities(n_components)
        return self._with_active(start if given is None else given)

    def log_odds(self, n_components):
        """Return log p(s_h = v_k) - log p(s_h = 0), shape (n_values, n_components)."""
        active = self.active_probabilities(n_components)
        odds = np.log(active) - np.log1p(-active.sum(axis=0))
        return np.broadcast_to(odds, (len(odds), n_components)).copy()

    def log_zero(self, n_components):
        """Return the log prior probability of the state 0."""
        active = self.active_probabilities(n_components)
        log_zero = np.log1p(-active.sum(axis=0))
        return float(np.broadcast_to(log_zero, n_components).sum())

    def moments(self, n_components):
        """Return E[s_h] and E[s_h^2], each of shape (n_components,)."""
        active = self.active_probabilities(n_components)
        active = np.broadcast_to(active, (len(active), n_components))
        return self.active_values @ active, self.active_values**2 @ active

    def updated(self, statistics):
        """Return the prior of the M-step: the posterior share of each value."""
        share = statistics["counts"] / statistics["weight"]
        if self.active_probabilities(share.shape[1]).shape[1] == 1:
            share = share.mean(axis=1, keepdims=True)
        return self._with_active(share)

    def sample(self, n_samples, n_components, random_state):
        """Draw codes of shape (n_samples, n_components)."""
        active = np.broadcast_to(
            self.active_probabilities(n_components),
            (len(self.active_values), n_components),
        )
        threshold = np.cumsum(active, axis=0)
        u = random_state.uniform(size=(n_samples, n_components))
        values = np.append(self.active_values, 0.0)
        return values[(u[:, None, :] >= threshold).sum(axis=1)]


def _one_probability(active):
    """Return a (1, 1) or (1, H) array as a float or (H,) array inside (0, 1)."""
    active = np.clip(active[0], PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return active if active.size > 1 else float(active[0])


def _checked_probability(probability, n_components):
    """Return a probability of being active as (1, 1) or (1, n_components), or None."""
    if probability is None:
        return None
    active = np.atleast_2d(np.asarray(probability, dtype=np.float64))
    if active.shape not in {(1, 1), (1, n_components)}:
        raise ValueError(
            f"probability of the prior has shape {np.shape(probability)}; give one "
            f"number, or one for each of the {n_components} components."
        )
    if not np.all((active > 0) & (active < 1)):
        raise ValueError(
            f"probability of the prior must lie strictly between 0 and 1; got {probability!r}."
        )
    return active


class BinaryPrior(_ValuedPrior):
    """Bernoulli prior: a latent is active (1) with probability pi, else 0.

    .. math:: p(s_h) = \\pi^{s_h} (1 - \\pi)^{1 - s_h}, \\quad s_h \\in \\{0, 1\\}

    Parameters
    ----------
    probability : float or array-like of shape (n_components,), default=None
        Probability pi of being active at the start of EM, inside (0, 1). One number
        is shared by all latents and stays shared; an array is learned per latent.
        None starts with two latents active on average.

    References
    ----------
    Henniges, Puertas, Bornschein, Eggert, Luecke (2010). Binary Sparse Coding.
    LVA/ICA.

    Examples
    --------
    >>> from skprosper.priors import BinaryPrior
    >>> BinaryPrior(probability=0.1)
    BinaryPrior(probability=0.1)
    """

    _parameter_constraints = {
        "probability": [Interval(Real, 0, 1, closed="neither"), "array-like", None]
    }

    def __init__(self, probability=None):
        self.probability = probability

    @property
    def active_values(self):
        """Values of an active latent, shape (n_values,)."""
        return np.array([1.0])

    def active_probabilities(self, n_components):
        """Return p(s_h = v_k), shape (n_values, 1) or (n_values, n_components)."""
        return _checked_probability(self.probability, n_components)

    def _with_active(self, active):
        return type(self)(probability=_one_probability(active))


class TernaryPrior(_ValuedPrior):
    """Symmetric ternary prior: -1 and 1 with probability pi / 2 each, else 0.

    .. math:: p(s_h = -1) = p(s_h = 1) = \\pi / 2, \\quad p(s_h = 0) = 1 - \\pi

    Parameters
    ----------
    probability : float or array-like of shape (n_components,), default=None
        Probability pi of being active, of either sign, at the start of EM, inside
        (0, 1). One number is shared by all latents and stays shared; an array is
        learned per latent. None starts with two latents active on average.

    References
    ----------
    Exarchakis, Henniges, Eggert, Luecke (2012). Ternary Sparse Coding. LVA/ICA.

    Examples
    --------
    >>> from skprosper.priors import TernaryPrior
    >>> TernaryPrior(probability=0.1)
    TernaryPrior(probability=0.1)
    """

    _parameter_constraints = BinaryPrior._parameter_constraints

    def __init__(self, probability=None):
        self.probability = probability

    @property
    def active_values(self):
        """Values of an active latent, shape (n_values,)."""
        return np.array([-1.0, 1.0])

    def active_probabilities(self, n_components):
        """Return p(s_h = v_k), shape (n_values, 1) or (n_values, n_components)."""
        active = _checked_probability(self.probability, n_components)
        return None if active is None else np.vstack([active, active]) / 2.0

    def _with_active(self, active):
        total = active.sum(axis=0, keepdims=True)
        return type(self)(probability=_one_probability(total))


class DiscretePrior(_ValuedPrior):
    """Prior over given values, 0 among them, with learned probabilities.

    .. math:: p(s_h = v_k) = \\pi_k, \\quad \\sum_k \\pi_k = 1

    Parameters
    ----------
    values : array-like of shape (n_values,), default=(0, 1, 2)
        The values a latent can take; one of them is 0, none comes twice. They stay
        fixed.

    probabilities : array-like of shape (n_values,), default=None
        Probability of each value at the start of EM, all above 0, summing to one.
        None starts with two latents active on average, every active value alike.

    References
    ----------
    Exarchakis, Luecke (2017). Discrete Sparse Coding. Neural Computation 29(11).

    Examples
    --------
    >>> from skprosper.priors import DiscretePrior
    >>> DiscretePrior(values=(0, 1, 2), probabilities=(0.8, 0.15, 0.05))
    DiscretePrior(probabilities=(0.8, 0.15, 0.05))
    """

    _parameter_constraints = {
        "values": ["array-like"],
        "probabilities": ["array-like", None],
    }

    def __init__(self, values=(0, 1, 2), probabilities=None):
        self.values = values
        self.probabilities = probabilities

    def _checked_values(self):
        try:
            values = np.asarray(self.values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"values of the prior must be numbers; got {self.values!r}."
            ) from error
        if values.ndim != 1 or not np.all(np.isfinite(values)):
            raise ValueError(
                f"values of the prior must be a flat list of finite numbers; got {self.values!r}."
            )
        if len(np.unique(values)) < len(values):
            raise ValueError(f"values of the prior must not repeat; got {self.values!r}.")
        if 0.0 not in values or len(values) < 2:
            raise ValueError(
                "values of the prior must hold 0 and at least one other number; got "
                f"{self.values!r}."
            )
        return values

    @property
    def active_values(self):
        """Values of an active latent, shape (n_values,)."""
        values = self._checked_values()
        return values[values != 0.0]

    def active_probabilities(self, n_components):
        """Return p(s_h = v_k), shape (n_values, 1)."""
        if self.probabilities is None:
            return None
        values = self._checked_values()
        p = np.asarray(self.probabilities, dtype=np.float64)
        if p.shape != values.shape:
            raise ValueError(
                f"probabilities of the prior has shape {p.shape}, values has shape "
                f"{values.shape}; give one probability for each value, 0 included."
            )
        if not np.all(p > 0) or abs(p.sum() - 1.0) > 1e-6:
            raise ValueError(
                "probabilities of the prior must be above 0 and sum to one; got "
                f"{self.probabilities!r}, which sums to {p.sum():g}."
            )
        return p[values != 0.0][:, None]

    def _with_active(self, active):
        values = self._checked_values()
        p = np.empty(values.shape)
        p[values != 0.0] = active[:, 0]
        p[values == 0.0] = 1.0 - active.sum()
        p = np.maximum(p, PROBABILITY_FLOOR)
        return type(self)(values=values, probabilities=p / p.sum())


NAMED_PRIORS = {
    "binary": BinaryPrior,
    "ternary": TernaryPrior,
    "discrete": DiscretePrior,
}
