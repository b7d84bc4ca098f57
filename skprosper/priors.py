"""Priors of the latents: parameters, log odds, their own M-step, sampling.

A prior is independent over the latents. The parameters of a prior are its values at
the start of EM; the attribute ``prior_`` of a fitted estimator is a prior of the same
class that holds the learned values.
"""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from .noise import raised_to

# A probability of exactly 0 or 1 could never be left again.
PROBABILITY_FLOOR = 1e-10
# What may be given: what was learned there is rounded.
_LEAST_GIVEN = PROBABILITY_FLOOR * (1.0 - 1e-6)
# Least variance of a slab in units of its mean square.
SLAB_FLOOR = 1e-8
# Slabs that shrink to nothing keep a variance that has an inverse.
_LEAST_VARIANCE = 1e-300
_MOST_ACTIVE = 0.99  # what a correction may raise a probability to
_START_ACTIVE = 2.0  # latents active on average where the user says nothing


class _ValuedPrior(BaseEstimator):
    """A prior over finitely many values: 0 and the active values v_1 .. v_K.

    To add one, give ``tied`` (one distribution for all latents, or one for each),
    ``active_values``, ``active_probabilities`` and ``_with_active``.
    """

    continuous = False  # whether an active latent can take any value

    @property
    def n_values(self):
        """Ways in which a latent can be active in a state."""
        return len(self.active_values)

    def n_parameters(self, n_components):
        """Return how many numbers EM learns."""
        return self.n_values * (1 if self.tied else n_components)

    def start(self, n_components):
        """Return a copy with concrete, validated start values."""
        self._validate_params()
        start = self.active_probabilities(n_components)
        if start is None:
            start = np.full((self.n_values, 1), _start_probability(n_components) / self.n_values)
        if self.tied and start.shape[1] > 1:
            raise ValueError(
                "tied=True is for one distribution shared by all latents, but the prior has "
                f"one for each of {start.shape[1]}. Set tied=False, or give one."
            )
        if not self.tied:
            start = np.broadcast_to(start, (self.n_values, n_components))
        return self._with_active(start)

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

    def code_covariance(self, n_components):
        """Return the variances of the codes, which are independent, (n_components,)."""
        first, second = self.moments(n_components)
        return second - first**2

    def amplitudes(self, n_components):
        """Return the root mean square of each latent where it is active, (n_components,)."""
        active = self.active_probabilities(n_components)
        square = self.active_values**2 @ active / active.sum(axis=0)
        return np.broadcast_to(np.sqrt(square), n_components)

    def canonical(self, components):
        """Return components and prior in their canonical scale: the values fix it."""
        return components, self

    def activity(self, n_components):
        """Return the probability of each latent being active, (n_components,)."""
        active = self.active_probabilities(n_components).sum(axis=0)
        return np.broadcast_to(active, n_components)

    def rescaled(self, factor):
        """Return the prior with its probabilities of being active times a factor."""
        active = self.active_probabilities() * factor
        return self._with_active(active / np.maximum(active.sum(axis=0) / _MOST_ACTIVE, 1.0))

    def perturbed(self, scale, n_components, random_state):
        """Return the prior with Gaussian noise on the log odds of its values."""
        active = self.active_probabilities()
        odds = active / (1.0 - active.sum(axis=0))
        odds = odds * _exp(scale * random_state.standard_normal(odds.shape))
        return self._with_active(odds / (1.0 + odds.sum(axis=0)))

    def refreshed(self, latents, n_components):
        """Return the prior with these latents as the median of the others."""
        others = np.delete(np.arange(n_components), latents)
        if self.tied or not others.size:
            return self
        active = self.active_probabilities(n_components).copy()
        active[:, latents] = np.median(active[:, others], axis=1, keepdims=True)
        return self._with_active(active)

    def updated(self, statistics):
        """Return the prior of the M-step: the posterior share of each value."""
        share = statistics["counts"] / statistics["weight"]
        if self.tied:
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


def _exp(x):
    """Return exp(x), finite and above 0 whatever x."""
    return np.exp(np.clip(x, -600.0, 600.0))


def _start_probability(n_components):
    """Return the probability of being active where the user says nothing."""
    return min(0.5, _START_ACTIVE / n_components)


def _one_probability(active, tied):
    """Return a (1, 1) or (1, H) array as a float or (H,) array inside (0, 1)."""
    active = np.clip(active[0], PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
    return float(active[0]) if tied else active


def _checked_probability(probability, n_components=None):
    """Return a probability of being active as (1, 1) or (1, n_components), or None.

    With n_components None it is one that has been checked.
    """
    if probability is None:
        return None
    active = np.atleast_2d(np.asarray(probability, dtype=np.float64))
    if n_components is None:
        return active
    if active.shape not in {(1, 1), (1, n_components)}:
        raise ValueError(
            f"probability of the prior has shape {np.shape(probability)}; give one "
            f"number, or one for each of the {n_components} components."
        )
    if not np.all((active >= _LEAST_GIVEN) & (1.0 - active >= _LEAST_GIVEN)):
        raise ValueError(
            f"probability of the prior must lie between {PROBABILITY_FLOOR:g} and "
            f"1 - {PROBABILITY_FLOOR:g}; got {probability!r}."
        )
    return active


class BinaryPrior(_ValuedPrior):
    """Bernoulli prior: a latent is active (1) with probability pi, else 0.

    .. math:: p(s_h) = \\pi^{s_h} (1 - \\pi)^{1 - s_h}, \\quad s_h \\in \\{0, 1\\}

    Parameters
    ----------
    probability : float or array-like of shape (n_components,), default=None
        Probability pi of being active at the start of EM, 1e-10 to 1 - 1e-10: one number,
        or with ``tied=False`` one for each latent. None starts with two latents active on
        average.

    tied : bool, default=False
        Whether all latents share one distribution, or each has one of its own.

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
        "probability": [Interval(Real, 0, 1, closed="neither"), "array-like", None],
        "tied": ["boolean"],
    }

    def __init__(self, probability=None, tied=False):
        self.probability = probability
        self.tied = tied

    @property
    def active_values(self):
        """Values of an active latent, shape (n_values,)."""
        return np.array([1.0])

    def active_probabilities(self, n_components=None):
        """Return p(s_h = v_k), shape (n_values, 1) or (n_values, n_components)."""
        return _checked_probability(self.probability, n_components)

    def _with_active(self, active):
        return type(self)(_one_probability(active, self.tied), self.tied)


class TernaryPrior(_ValuedPrior):
    """Symmetric ternary prior: -1 and 1 with probability pi / 2 each, else 0.

    .. math:: p(s_h = -1) = p(s_h = 1) = \\pi / 2, \\quad p(s_h = 0) = 1 - \\pi

    Parameters
    ----------
    probability : float or array-like of shape (n_components,), default=None
        Probability pi of being active, of either sign, at the start of EM, 1e-10
        to 1 - 1e-10: one number, or with ``tied=False`` one for each latent. None starts with
        two latents active on average.

    tied : bool, default=False
        Whether all latents share one distribution, or each has one of its own.

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

    def __init__(self, probability=None, tied=False):
        self.probability = probability
        self.tied = tied

    @property
    def active_values(self):
        """Values of an active latent, shape (n_values,)."""
        return np.array([-1.0, 1.0])

    def n_parameters(self, n_components):
        """Return how many numbers EM learns: both signs share one."""
        return 1 if self.tied else n_components

    def active_probabilities(self, n_components=None):
        """Return p(s_h = v_k), shape (n_values, 1) or (n_values, n_components)."""
        active = _checked_probability(self.probability, n_components)
        return None if active is None else np.vstack([active, active]) / 2.0

    def _with_active(self, active):
        total = active.sum(axis=0, keepdims=True)
        return type(self)(_one_probability(total, self.tied), self.tied)


class DiscretePrior(_ValuedPrior):
    """Prior over given values, 0 among them, with learned probabilities.

    .. math:: p(s_h = v_k) = \\pi_k, \\quad \\sum_k \\pi_k = 1

    Parameters
    ----------
    values : array-like of shape (n_values,), default=(0, 1, 2)
        The values a latent can take; one of them is 0, none comes twice. They stay
        fixed.

    probabilities : array-like of shape (n_values,) or (n_values, n_components), default=None
        Probability of each value at the start of EM, 1e-10 at least, summing to one: for
        all latents, or with ``tied=False`` for each. None starts with two latents active
        on average, every active value alike.

    tied : bool, default=False
        Whether all latents share one distribution, or each has one of its own.

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
        "tied": ["boolean"],
    }

    def __init__(self, values=(0, 1, 2), probabilities=None, tied=False):
        self.values = values
        self.probabilities = probabilities
        self.tied = tied

    def _checked_values(self):
        try:
            values = np.array(self.values, dtype=np.float64)  # the user may change the other
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

    def active_probabilities(self, n_components=None):
        """Return p(s_h = v_k), shape (n_values, 1) or (n_values, n_components)."""
        if self.probabilities is None:
            return None
        values = self._checked_values()
        p = np.asarray(self.probabilities, dtype=np.float64)
        if n_components is not None and p.shape not in {
            values.shape,
            (*values.shape, n_components),
        }:
            raise ValueError(
                f"probabilities of the prior has shape {p.shape}, values has shape "
                f"{values.shape}; give one probability for each value, 0 included, of all "
                f"latents or of each of the {n_components}."
            )
        p = p[:, None] if p.ndim == 1 else p
        if not np.all(p >= _LEAST_GIVEN) or np.any(abs(p.sum(axis=0) - 1.0) > 1e-6):
            total = p.sum(axis=0)
            raise ValueError(
                f"probabilities of the prior must be {PROBABILITY_FLOOR:g} at least and sum to "
                "one; got "
                f"{self.probabilities!r}, which sums to {total[np.argmax(abs(total - 1.0))]:g}."
            )
        return p[values != 0.0]

    def _with_active(self, active):
        values = self._checked_values()
        p = np.empty((len(values), active.shape[1]))
        p[values != 0.0] = active
        p[values == 0.0] = 1.0 - active.sum(axis=0)
        p = np.maximum(p, PROBABILITY_FLOOR)
        p /= p.sum(axis=0)
        return type(self)(values, p[:, 0] if self.tied else p, self.tied)


def _with_an_inverse(covariance):
    """Return variances (H,) or a covariance (H, H) of slabs without those that are nearly 0."""
    if covariance.ndim == 1:
        return np.maximum(covariance, _LEAST_VARIANCE)
    return covariance + np.diag(np.maximum(_LEAST_VARIANCE - np.diag(covariance), 0.0))


class SpikeSlabPrior(BaseEstimator):
    """Spike-and-slab prior: a latent is 0, or a draw from a Gaussian, the slab.

    .. math::

        s_h = b_h z_h, \\qquad p(b_h = 1) = \\pi_h, \\qquad z \\sim \\mathcal{N}(\\mu, \\Psi)

    Components and slabs share a scale, (W_h c, z_h / c): a fit that learns both reports
    rows of W of unit norm, and mean and covariance in the units of the code.

    Parameters
    ----------
    probability : float or array-like of shape (n_components,), default=None
        Probability pi of being active at the start of EM, 1e-10 to 1 - 1e-10; learned for
        each latent. None starts with two latents active on average.

    mean : float or array-like of shape (n_components,), default=0.0
        Mean mu of the slabs at the start of EM.

    covariance : {"diagonal", "full"}, float or array-like, default="diagonal"
        Covariance Psi of the slabs at the start of EM: the identity with a name, a
        number or (n_components,) variances, or (n_components, n_components). It stays
        diagonal unless it is "full" or of the last shape. A full one lets the strengths
        of components that are active together correlate.

    learn_mean : bool, default=True
        Whether EM updates the mean; with False it stays as given.

    References
    ----------
    Sheikh, Shelton, Luecke (2014). A Truncated EM Approach for Spike-and-Slab Sparse
    Coding. JMLR 15.

    Examples
    --------
    >>> from skprosper.priors import SpikeSlabPrior
    >>> SpikeSlabPrior(covariance="full", learn_mean=False)
    SpikeSlabPrior(covariance='full', learn_mean=False)
    """

    # an active set is one state, whatever the slabs do
    n_values, continuous = 1, True

    _parameter_constraints = {
        "probability": BinaryPrior._parameter_constraints["probability"],
        "mean": [Real, "array-like"],
        "covariance": [
            StrOptions({"diagonal", "full"}),
            Interval(Real, 0, None, closed="neither"),
            "array-like",
        ],
        "learn_mean": ["boolean"],
    }

    def __init__(self, probability=None, mean=0.0, covariance="diagonal", learn_mean=True):
        self.probability = probability
        self.mean = mean
        self.covariance = covariance
        self.learn_mean = learn_mean

    def start(self, n_components):
        """Return a copy with concrete, validated start values."""
        self._validate_params()
        probability = _checked_probability(self.probability, n_components)
        if probability is None:
            probability = _start_probability(n_components)
        probability = np.clip(probability, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
        mean = np.asarray(self.mean, dtype=np.float64)
        if mean.shape not in {(), (n_components,)} or not np.all(np.isfinite(mean)):
            raise ValueError(
                f"mean of the prior must be one finite number, or one for each of the "
                f"{n_components} components; got {self.mean!r}."
            )
        return type(self)(
            np.broadcast_to(probability, (1, n_components))[0].copy(),
            np.broadcast_to(mean, n_components).copy(),
            self._checked_covariance(n_components),
            self.learn_mean,
        )

    def _checked_covariance(self, n_components):
        if isinstance(self.covariance, str):
            return np.eye(n_components) if self.covariance == "full" else np.ones(n_components)
        covariance = np.asarray(self.covariance, dtype=np.float64)
        shapes = {(), (n_components,), (n_components, n_components)}
        if covariance.shape not in shapes:
            raise ValueError(
                f"covariance of the prior has shape {covariance.shape}; give 'diagonal', 'full', "
                f"a number, or shape {(n_components,)} or {(n_components, n_components)}."
            )
        if covariance.ndim < 2:
            if not np.all(np.isfinite(covariance) & (covariance > 0)):
                raise ValueError(
                    f"covariance of the prior must be finite and above 0; got {self.covariance!r}."
                )
            return np.broadcast_to(covariance, n_components).copy()
        if not np.all(np.isfinite(covariance)) or not np.allclose(covariance, covariance.T):
            raise ValueError("covariance of the prior must be finite and symmetric.")
        least = np.linalg.eigvalsh(covariance)[0]
        if least <= 0:
            raise ValueError(
                "covariance of the prior must be positive definite; its smallest eigenvalue is "
                f"{least:g}."
            )
        return covariance.copy()

    def n_parameters(self, n_components):
        """Return how many numbers EM learns, the scale of the slabs among them."""
        full = self.covariance.ndim == 2
        covariance = n_components * (n_components + 1) // 2 if full else n_components
        return n_components + self.learn_mean * n_components + covariance

    def log_zero(self, n_components):
        """Return the log prior probability of the state 0."""
        return float(np.log1p(-self.probability).sum())

    def _variances(self):
        return np.diag(self.covariance) if self.covariance.ndim == 2 else self.covariance

    def moments(self, n_components):
        """Return E[s_h] and E[s_h^2], each of shape (n_components,)."""
        square = self.mean**2 + self._variances()
        return self.probability * self.mean, self.probability * square

    def code_covariance(self, n_components):
        """Return the variances (n_components,) of the codes, or their covariance."""
        first, second = self.moments(n_components)
        if self.covariance.ndim == 1:
            return second - first**2
        covariance = np.outer(self.probability, self.probability) * self.covariance
        covariance[np.diag_indices(n_components)] = second - first**2
        return covariance

    def amplitudes(self, n_components):
        """Return the root mean square of each latent where it is active, (n_components,)."""
        return np.sqrt(self.mean**2 + self._variances())

    def distance(self):
        """Return how far from 0 the slabs lie, squared and in units of their deviations."""
        if self.covariance.ndim == 1:
            return float(np.max(self.mean**2 / self.covariance))
        return float(self.mean @ np.linalg.solve(self.covariance, self.mean))

    def activity(self, n_components):
        """Return the probability of each latent being active, (n_components,)."""
        return self.probability

    def log_odds(self, n_components):
        """Return log p(s_h active) - log p(s_h = 0), shape (1, n_components)."""
        return (np.log(self.probability) - np.log1p(-self.probability))[None]

    def rescaled(self, factor):
        """Return the prior with its probabilities of being active times a factor."""
        return self._with_probability(np.minimum(factor * self.probability, _MOST_ACTIVE))

    def perturbed(self, scale, n_components, random_state):
        """Return the prior with Gaussian noise on the log odds of being active."""
        noise = scale * random_state.standard_normal(n_components)
        odds = self.probability / (1.0 - self.probability) * _exp(noise)
        return self._with_probability(odds / (1.0 + odds))

    def _with_probability(self, probability):
        probability = np.clip(probability, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
        return type(self)(probability, self.mean, self.covariance, self.learn_mean)

    def refreshed(self, latents, n_components):
        """Return the prior with these latents as the median of the others."""
        others = np.delete(np.arange(n_components), latents)
        if not others.size:
            return self
        probability, mean = self.probability.copy(), self.mean.copy()
        covariance, variances = self.covariance.copy(), self._variances()
        probability[latents] = np.median(probability[others])
        mean[latents] = np.median(np.abs(mean[others])) if self.learn_mean else mean[latents]
        if covariance.ndim == 2:
            covariance[latents] = covariance[:, latents] = 0.0
            covariance[latents, latents] = np.median(variances[others])
        else:
            covariance[latents] = np.median(variances[others])
        return type(self)(probability, mean, covariance, self.learn_mean)

    def updated(self, statistics):
        """Return the prior of the M-step: the moments of the active slabs.

        For a full covariance inactive slabs are latent variables too, which keeps it
        positive definite and the bound from falling.
        """
        weight, active = statistics["weight"], statistics["active"]
        used = active > PROBABILITY_FLOOR * weight
        share = np.where(used, active, 1.0)
        square = np.diag(statistics["second"]) / share
        if self.covariance.ndim == 2:
            step = statistics["mean_step"] / weight if self.learn_mean else 0.0 * self.mean
            mean = self.mean + step
            covariance = self.covariance + statistics["covariance_step"] / weight
            covariance -= np.outer(step, step)
            # what EM has of the slabs is relative to their scale, and so is the floor
            scale = np.where(used, square, np.diag(self.covariance))
            scale = np.sqrt(_with_an_inverse(scale))
            correlation = raised_to(SLAB_FLOOR, covariance / np.outer(scale, scale))
            covariance = correlation * np.outer(scale, scale)
        else:
            first = statistics["codes"] / share
            mean = np.where(used, first, self.mean) if self.learn_mean else self.mean
            variance = square - 2.0 * mean * first + mean**2
            variance = _with_an_inverse(np.maximum(variance, SLAB_FLOOR * square))
            covariance = np.where(used, variance, self.covariance)
        probability = np.clip(active / weight, PROBABILITY_FLOOR, 1.0 - PROBABILITY_FLOOR)
        return type(self)(probability, mean, covariance, self.learn_mean)

    def canonical(self, components):
        """Return components of unit norm and the prior in the units of the code."""
        norm = np.linalg.norm(components, axis=1)
        norm[norm == 0.0] = 1.0
        square = np.outer(norm, norm) if self.covariance.ndim == 2 else norm**2
        covariance = _with_an_inverse(square * self.covariance)
        prior = type(self)(self.probability, norm * self.mean, covariance, self.learn_mean)
        return components / norm[:, None], prior

    def sample(self, n_samples, n_components, random_state):
        """Draw codes of shape (n_samples, n_components)."""
        active = random_state.uniform(size=(n_samples, n_components)) < self.probability
        z = random_state.standard_normal((n_samples, n_components))
        if self.covariance.ndim == 2:
            z = z @ np.linalg.cholesky(self.covariance).T
        else:
            z = z * np.sqrt(self.covariance)
        return np.where(active, self.mean + z, 0.0)


NAMED_PRIORS = {
    "binary": BinaryPrior,
    "ternary": TernaryPrior,
    "discrete": DiscretePrior,
    "spike-slab": SpikeSlabPrior,
}
