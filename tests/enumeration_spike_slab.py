"""Brute-force reference for the spike-and-slab prior with the linear superposition.

Dense NumPy and SciPy, one active set at a time, from the definition of the model: given
the active set A, slabs and data are jointly Gaussian,

    z_A ~ N(mu_A, Psi_A)        x | z_A ~ N(m + W_A^T z_A, Sigma)

At temperatures the density of the data is raised to 1 / T of the likelihood, the
probability of the active set to 1 / T of the prior.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from enumeration import log_normal
from neighbourhood import neighbourhood
from scipy.special import logsumexp


def active_sets(n_latents, max_active=None, support=None):
    """Return the active sets of K_n as tuples.

    The empty set, all sets of one latent, and all sets of 2 to ``max_active`` latents
    inside ``support``. By default these are all sets there are.
    """
    max_active = n_latents if max_active is None else max_active
    support = range(n_latents) if support is None else sorted(support)
    sets = [(), *((h,) for h in range(n_latents))]
    for k in range(2, max_active + 1):
        sets += combinations(support, k)
    return sets


@dataclass
class SpikeSlabModel:
    """Parameters of a spike-and-slab sparse coding model and its exact quantities."""

    components: np.ndarray  # (H, D)
    probability: np.ndarray  # (H,)
    mean: np.ndarray  # (H,)
    covariance: np.ndarray  # (H,) or (H, H)
    noise: float | np.ndarray  # scalar, (D,) or (D, D)
    offset: np.ndarray | float = 0.0
    temperature: tuple = (1.0, 1.0)

    def __post_init__(self):
        noise, covariance = np.asarray(self.noise), np.asarray(self.covariance)
        n_features = self.components.shape[1]
        if noise.ndim < 2:
            noise = np.diag(np.broadcast_to(noise, n_features))
        self.sigma = noise
        self.psi = np.diag(covariance) if covariance.ndim == 1 else covariance

    def given(self, active, x):
        """Return log-joint of an active set, mean and covariance of its slabs."""
        A = list(active)
        t_likelihood, t_prior = self.temperature
        x = np.asarray(x, dtype=float)
        sigma = t_likelihood * self.sigma
        # p(x | z)^(1/T) is Gaussian of covariance T Sigma but for a constant
        constant = 0.5 * np.linalg.slogdet(2 * np.pi * sigma)[1]
        constant -= 0.5 * np.linalg.slogdet(2 * np.pi * self.sigma)[1] / t_likelihood
        W, mu, psi = self.components[A], self.mean[A], self.psi[np.ix_(A, A)]
        mean = self.offset + mu @ W
        covariance = sigma + W.T @ psi @ W
        likelihood = log_normal((x - mean)[None], covariance)[0]
        log_prior = np.log1p(-self.probability)
        log_prior[A] = np.log(self.probability[A])
        log_joint = constant + likelihood + log_prior.sum() / t_prior
        gain = np.linalg.solve(covariance, W.T @ psi).T
        return log_joint, mu + gain @ (x - mean), psi - gain @ W.T @ psi

    def select(self, x, n_candidates, pursuit):
        """Return the candidates I_n of a data point, best first."""
        n_latents = len(self.components)
        residual, candidates = np.array(x, dtype=float), []
        for _ in range(n_candidates):
            log_zero = self.given((), residual)[0]
            found = [self.given((h,), residual) for h in range(n_latents)]
            gains = np.array([log_joint - log_zero for log_joint, _, _ in found])
            gains[candidates] = -np.inf
            h = int(np.argmax(gains))
            candidates.append(h)
            if pursuit:
                # the amplitude of h on this residual, given that all others are off
                share = 1.0 / (1.0 + np.exp(-gains[h]))
                residual -= share * found[h][1][0] * self.components[h]
        return candidates

    def around_best(self, X, n_candidates, max_changes):
        """Return the posterior of each row over its K_n around the best state."""
        n_latents, posteriors = len(self.components), []
        for x in X:

            def log_joint(state, x=x):
                return self.given(np.flatnonzero(state), x)[0]

            states = neighbourhood(log_joint, n_latents, 1, n_candidates, max_changes)
            sets = [tuple(np.flatnonzero(state)) for state in states]
            posteriors.append(SpikeSlabPosterior(self, np.asarray(x, dtype=float), sets))
        return posteriors

    def posterior(self, x, max_active=None, support=None):
        """Return the `SpikeSlabPosterior` over K_n, by default over all active sets."""
        sets = active_sets(len(self.components), max_active, support)
        return SpikeSlabPosterior(self, np.asarray(x, dtype=float), sets)

    def posteriors(self, X, n_candidates=None, max_active=None, pursuit=False):
        """Return the posterior of each row over its own K_n."""
        supports = [None] * len(X)
        if n_candidates is not None:
            supports = [self.select(x, n_candidates, pursuit) for x in X]
        return [self.posterior(x, max_active, s) for x, s in zip(X, supports, strict=True)]


class SpikeSlabPosterior:
    """Truncated posterior of one data point and its expectations."""

    def __init__(self, model, x, sets):
        self.model, self.x, self.sets = model, x, sets
        found = [model.given(A, x) for A in sets]
        self.log_joint = np.array([log_joint for log_joint, _, _ in found])
        self.slab_means = [mean for _, mean, _ in found]
        self.slab_covariances = [covariance for _, _, covariance in found]
        self.log_evidence = logsumexp(self.log_joint)
        self.q = np.exp(self.log_joint - self.log_evidence)

    def _embedded(self, arrays):
        """Yield q(A) and each array of the active latents, zero for the others."""
        n_latents = len(self.model.components)
        for q, A, array in zip(self.q, self.sets, arrays, strict=True):
            whole = np.zeros((n_latents,) * array.ndim)
            whole[np.ix_(*[list(A)] * array.ndim)] = array
            yield q, whole

    @property
    def mean(self):
        """E[s], (H,)."""
        return sum(q * mean for q, mean in self._embedded(self.slab_means))

    @property
    def second(self):
        """E[s s^T], (H, H)."""
        means = self._embedded(self.slab_means)
        covariances = self._embedded(self.slab_covariances)
        return sum(
            q * (np.outer(m, m) + v) for (q, m), (_, v) in zip(means, covariances, strict=True)
        )

    @property
    def active(self):
        """q(h active), (H,)."""
        return sum(q * one for q, one in self._embedded([np.ones(len(A)) for A in self.sets]))

    @property
    def entropy(self):
        """Entropy over the active sets, nats."""
        q = self.q[self.q > 0]
        return -(q * np.log(q)).sum()

    @property
    def slabs(self):
        """Moments of all slabs about mu, inactive ones too: (H,), (H, H)."""
        mu, psi = self.model.mean, self.model.psi
        first, second = np.zeros(len(mu)), np.zeros(psi.shape)
        for q, A, mean, covariance in zip(
            self.q, map(list, self.sets), self.slab_means, self.slab_covariances, strict=True
        ):
            # all slabs given those of A are Gaussian, of this regression on them
            regression = np.linalg.solve(psi[np.ix_(A, A)], psi[A]).T
            rest = psi - regression @ psi[A]
            shift = regression @ (mean - mu[A])
            first += q * shift
            second += q * (rest + regression @ covariance @ regression.T + np.outer(shift, shift))
        return first, second

    @property
    def bound(self):
        """Lower bound of the log-likelihood, E_q[log p - log q] at temperature 1, nats."""
        model, total = self.model, 0.0
        for q, A, mean, covariance in zip(
            self.q, map(list, self.sets), self.slab_means, self.slab_covariances, strict=True
        ):
            W, psi = model.components[A], model.psi[np.ix_(A, A)]
            log_prior = np.log1p(-model.probability)
            log_prior[A] = np.log(model.probability[A])
            log_p = log_prior.sum() + expected_log_normal(mean - model.mean[A], covariance, psi)
            difference = self.x - model.offset - mean @ W
            log_p += expected_log_normal(difference, W.T @ covariance @ W, model.sigma)
            entropy = 0.5 * np.linalg.slogdet(2 * np.pi * np.e * covariance)[1]
            total += q * (log_p + entropy - np.log(q))
        return total


def expected_log_normal(mean, spread, covariance):
    """Return E log N(v; 0, covariance) for v of this mean and covariance ``spread``."""
    inverse = np.linalg.inv(covariance)
    square = mean @ inverse @ mean + np.sum(inverse * spread)
    return -0.5 * (np.linalg.slogdet(2 * np.pi * covariance)[1] + square)
