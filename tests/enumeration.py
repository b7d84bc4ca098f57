"""Brute-force reference for every discrete prior, superposition and noise.

Plain NumPy, one data point at a time, written from the definitions: what the compiled
kernels must reproduce. ``values`` (K,) are the values of an active latent and
``probabilities`` theirs, (K,) or (K, H); a latent is 0 with what remains.
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from neighbourhood import neighbourhood


def enumerate_states(n_latents, values, max_active=None, support=None):
    """Return K_n as an (n_states, n_latents) array.

    The state 0, all states of one active latent, and all states of 2 to ``max_active``
    active latents inside ``support``. By default these are all states there are.
    """
    max_active = n_latents if max_active is None else max_active
    support = range(n_latents) if support is None else sorted(support)
    supports = [(), *((h,) for h in range(n_latents))]
    for k in range(2, max_active + 1):
        supports += combinations(support, k)
    states = []
    for active in supports:
        for assigned in product(values, repeat=len(active)):
            state = np.zeros(n_latents)
            state[list(active)] = assigned
            states.append(state)
    return np.array(states)


def superpose(states, components, superposition="linear"):
    """Return ybar (n_states, n_features) of each state.

    ``maximum`` is the maximum of s_h W_hd over all latents: an inactive one takes part
    with 0. ``magnitude-maximum`` is the s_h W_hd of largest magnitude.
    """
    terms = states[:, :, None] * components
    if superposition == "linear":
        return terms.sum(axis=1)
    if superposition == "maximum":
        return terms.max(axis=1)
    if superposition == "magnitude-maximum":
        winner = np.abs(terms).argmax(axis=1)
        return np.take_along_axis(terms, winner[:, None], axis=1)[:, 0]
    raise ValueError(superposition)


def attained(states, components, superposition):
    """Return A_hd(s), (n_states, n_latents, n_features): h attains the maximum at d.

    Latents of a negative value attain the maximum, components being non-negative, only
    in states of negative values alone. Where latents tie, the one of lowest index attains
    it; but at 0 all active ones do, of positive values in the case of the maximum:
    whichever of them rises lifts ybar.
    """
    terms = states[:, :, None] * components
    if superposition == "magnitude-maximum":
        strength, rivals = np.abs(terms), states != 0.0
    else:
        strength, rivals = terms, states > 0.0
    strength = np.where(rivals[:, :, None], strength, -1.0)
    top = strength.max(axis=1, keepdims=True)
    latents = np.arange(states.shape[1])[:, None]
    first = latents == strength.argmax(axis=1)[:, None]
    wins = np.where(top > 0.0, first, (top == 0.0) & (strength == 0.0))
    if superposition == "maximum":
        bottom = (states < 0.0).all(axis=1)
        wins[bottom] = latents == terms[bottom].argmax(axis=1)[:, None]
    return wins


def log_prior(states, values, probabilities):
    """Return sum_h log p(s_h) of each state."""
    n_latents = states.shape[1]
    p = np.asarray(probabilities, dtype=float)
    p = np.broadcast_to(p.reshape(len(values), -1), (len(values), n_latents))
    total = np.zeros(len(states))
    for h in range(n_latents):
        table = {0.0: np.log1p(-p[:, h].sum())}
        table.update(zip(np.asarray(values, dtype=float), np.log(p[:, h]), strict=True))
        total += [table[s] for s in states[:, h]]
    return total


def log_normal(difference, noise):
    """Log density at ``difference`` (n, D) of N(0, noise), scalar, (D,) or (D, D)."""
    n_features = difference.shape[1]
    noise = np.asarray(noise, dtype=float)
    if noise.ndim < 2:
        noise = np.diag(np.broadcast_to(noise, n_features))
    distance = (difference * np.linalg.solve(noise, difference.T).T).sum(axis=1)
    log_determinant = np.linalg.slogdet(noise)[1]
    return -0.5 * (n_features * np.log(2 * np.pi) + log_determinant + distance)


@dataclass
class Model:
    """Parameters of a discrete sparse coding model and its exact quantities."""

    components: np.ndarray  # (H, D)
    values: np.ndarray  # (K,)
    probabilities: np.ndarray  # (K,) or (K, H)
    noise: float | np.ndarray  # scalar, (D,) or (D, D)
    superposition: str = "linear"
    offset: np.ndarray | float = 0.0
    temperature: tuple = (1.0, 1.0)  # of the likelihood, of the prior

    def means(self, states):
        """Return the means of x given each state, (n_states, D)."""
        return superpose(states, self.components, self.superposition) + self.offset

    def log_joint(self, states, x):
        """Return log p(x, s) of each state, (n_states,)."""
        likelihood = log_normal(x - self.means(states), self.noise)
        prior = log_prior(states, self.values, self.probabilities)
        return likelihood / self.temperature[0] + prior / self.temperature[1]

    def select(self, x, n_candidates, pursuit):
        """Return the candidates I_n of a data point, best first."""
        if not pursuit:
            gains = self._single_gains(x)
            return np.argsort(-gains, kind="stable")[:n_candidates]
        if self.superposition != "linear":
            return self._occlusion_pursuit(x, n_candidates)
        residual, candidates = np.array(x, dtype=float), []
        for _ in range(n_candidates):
            gains = self._single_gains(residual)
            gains[candidates] = -np.inf
            h = int(np.argmax(gains))
            candidates.append(h)
            # the amplitude of h on this residual, given that all others are off
            states = np.zeros((len(self.values) + 1, len(self.components)))
            states[1:, h] = self.values
            q = _normalise(self.log_joint(states, residual))[1]
            residual -= (q @ states)[h] * self.components[h]
        return np.array(candidates)

    def _occlusion_pursuit(self, x, n_candidates):
        """Candidates of a maximum superposition, best first.

        What picked latents i explain is taken from the gain of latent h at value v: over
        the pixels v W_h . m_i W_i - |v| |m|_i min(|W_h|, |W_i|)^2 / 2, m and |m| the means
        of s_i and |s_i| as far as they win, given the latents picked before.
        """
        W, values = self.components, self.values
        seen = values if self.superposition == "magnitude-maximum" else np.maximum(values, 0)
        ybars = seen[:, None, None] * W
        noise = self.noise * self.temperature[0]
        log_p = [log_prior(v * np.eye(len(W)), values, self.probabilities) for v in values]
        log_p -= log_prior(np.zeros((1, len(W))), values, self.probabilities)
        gains = ((x - ybars / 2) * ybars).sum(axis=2) / noise + log_p / self.temperature[1]
        candidates = []
        for _ in range(n_candidates):
            # latents tie where a value that never wins is best: the first of them it is
            best = gains.max(axis=0).round(9)
            best[candidates] = -np.inf
            h = int(np.argmax(best))
            candidates.append(h)
            q = _normalise(np.append(0.0, gains[:, h]))[1][1:]
            product = W @ W[h] * (q @ seen)
            shared = (np.minimum(np.abs(W), np.abs(W[h])) ** 2).sum(axis=1) * (q @ np.abs(seen))
            explained = np.outer(seen, product) - 0.5 * np.outer(np.abs(seen), shared)
            gains = gains - explained / noise
        return np.array(candidates)

    def _single_gains(self, x):
        """Log-joint of each latent's best single-latent state, less the state 0's."""
        n_latents = len(self.components)
        gains = np.full(n_latents, -np.inf)
        zero = self.log_joint(np.zeros((1, n_latents)), x)[0]
        for v in self.values:
            gain = self.log_joint(v * np.eye(n_latents), x) - zero
            gains = np.maximum(gains, gain)
        return gains.round(9)  # the first of latents that tie it is

    def posterior(self, x, max_active=None, support=None):
        """Return the `Posterior` of one data point over K_n, by default over all."""
        n_latents = len(self.components)
        states = enumerate_states(n_latents, self.values, max_active, support)
        return Posterior(self, np.asarray(x, dtype=float), states)

    def posteriors(self, X, n_candidates=None, max_active=None, pursuit=False):
        """Return the `Posterior` of each row over its own K_n."""
        supports = [None] * len(X)
        if n_candidates is not None:
            supports = [self.select(x, n_candidates, pursuit) for x in X]
        return [self.posterior(x, max_active, s) for x, s in zip(X, supports, strict=True)]

    def around_best(self, X, n_candidates, max_changes):
        """Return the `Posterior` of each row over its K_n around the best state."""
        values = np.append(0.0, self.values)
        posteriors = []
        for x in np.asarray(X, dtype=float):

            def log_joint(state):
                return self.log_joint(values[list(state)][None], x)[0]  # noqa: B023

            size = len(self.components), len(self.values)
            states = neighbourhood(log_joint, *size, n_candidates, max_changes)
            posteriors.append(Posterior(self, x, values[np.array(states)]))
        return posteriors


class Posterior:
    """Truncated posterior q_n of one data point and its expectations."""

    def __init__(self, model, x, states):
        self.model, self.x, self.states = model, x, states
        self.log_joint = model.log_joint(states, x)
        self.log_evidence, self.q = _normalise(self.log_joint)

    @property
    def mean(self):
        """E[s], (H,)."""
        return self.q @ self.states

    @property
    def active(self):
        """P(s_h != 0), (H,)."""
        return self.q @ (self.states != 0.0)

    @property
    def counts(self):
        """q(s_h = v_k), (K, H)."""
        return np.array([self.q @ (self.states == v) for v in self.model.values])

    @property
    def second(self):
        """E[s s^T], (H, H)."""
        return self.states.T @ (self.q[:, None] * self.states)

    @property
    def reconstruction(self):
        """E[ybar] plus the offset, (D,)."""
        return self.q @ self.model.means(self.states)

    @property
    def squared_error(self):
        """E|x - ybar|^2."""
        return self.q @ ((self.x - self.model.means(self.states)) ** 2).sum(axis=1)

    @property
    def map(self):
        """The most probable state of K_n, (H,)."""
        return self.states[np.argmax(self.log_joint)]

    @property
    def numerator(self):
        """E[A_hd s_h] y_d of the maximum superpositions' M-step, (H, D)."""
        a = attained(self.states, self.model.components, self.model.superposition)
        return np.einsum("s,shd,sh->hd", self.q, a, self.states) * self.x

    @property
    def denominator(self):
        """E[A_hd s_h^2] of the maximum superpositions' M-step, (H, D)."""
        a = attained(self.states, self.model.components, self.model.superposition)
        return np.einsum("s,shd,sh->hd", self.q, a, self.states**2)


def _normalise(log_joint):
    """Return the log of the sum of exponentials, and the normalised weights."""
    top = log_joint.max()
    weights = np.exp(log_joint - top)
    return top + np.log(weights.sum()), weights / weights.sum()
