"""Escape from poor optima: components that stand for the wrong causes are replaced.

EM moves every component a little at a time and so keeps faults that only a leap mends:

- two components are active together far more or less often than apart, because one of
  them is a sum or difference of causes (the data are explained, at the wrong price);
- one component stands for two causes and explains neither;
- a cause has no component, while others are unused or double.

The moves below mend them. EM tries a move for some iterations and keeps it where the
lower bound rises: split and merge EM, with proposals that fit sparse coding.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import linalg

# Iterations of EM in which a move has to raise the bound.
TRIAL = 10
# What they have to raise it by, in nats: more than EM creeps.
RAISE = 1e-3
# Data points for each component without which no moves are made.
ENOUGH = 10
# Iterations after which EM looks for moves, settled or not.
WAIT = 6
# Correlation of latents that are made of each other, and of those that surely are.
_CORRELATED, _ENTANGLED = 0.1, 0.25
# The variance of a residual along its main direction, in units of what noise would show.
_UNEXPLAINED = 1.3
# Residuals that no one component accounts for exceed those of any by this factor.
_ALONE = 1.3
# Components to split, at most, in one go: each costs a second moment.
_SPLITS = 8


class Move(NamedTuple):
    """New rows for some components."""

    rows: tuple  # latents whose components change
    effects: np.ndarray  # (len(rows), D) what they add to the data where active
    fresh: tuple  # those of the rows that forget what their prior has learned
    touches: tuple  # latents it reads or writes


@dataclass
class Trial:
    """Moves under trial: what to go back to, and what else to try."""

    parameters: object  # before the moves
    bound: float  # theirs
    queue: list  # lists of moves to try together, next first
    remaining: int = 0  # iterations
    last: float = -np.inf  # the bound one iteration ago

    def begin(self, superposition):
        """Return the parameters with the next moves made."""
        self.remaining, self.last = TRIAL, -np.inf
        return moved(self.parameters, self.queue.pop(0), superposition)

    def refused(self, bound):
        """Whether the moves will not raise the bound in the iterations they have."""
        self.remaining -= 1
        gain, self.last = bound - self.last, bound
        return self.remaining == 0 or bound + gain * self.remaining < self.bound


def moved(parameters, moves, superposition):
    """Return the parameters with all of the moves made."""
    W, prior = parameters.components.copy(), parameters.prior
    if fresh := [h for move in moves for h in move.fresh]:
        prior = prior.refreshed(fresh, len(W))
    amplitudes = prior.amplitudes(len(W))[:, None]
    for move in moves:
        rows = list(move.rows)
        W[rows] = move.effects / amplitudes[rows]
    return replace(parameters, components=superposition.allowed(W), prior=prior)


def proposals(problem, parameters):
    """Return lists of moves to try, most promising first."""
    evidence = _Evidence.of(problem, parameters)
    seeds, splits = _moves_from_residuals(problem, evidence)
    merges = _merges(evidence)
    strong = _disjoint([move for strength, move in merges if strength > _ENTANGLED])
    queue = [[move] for _, move in merges[:2]]
    if len(strong) > 1:
        queue.insert(0, strong)
    queue += [_disjoint(splits)] if len(splits) > 1 else []
    queue += [[move] for move in splits[:2]]
    for strength, move in seeds:
        queue.insert(0 if strength > _ALONE else len(queue), [move])
    concessions = _concessions(evidence, problem.superposition)
    queue = [[move] for move in concessions[:2]] + queue
    if len(concessions) > 1:
        queue.insert(0, _disjoint(concessions))
    return queue


def _disjoint(moves):
    """Return the moves that do not touch what earlier ones touch."""
    chosen, touched = [], set()
    for move in moves:
        if touched.isdisjoint(move.touches):
            chosen.append(move)
            touched.update(move.touches)
    return chosen


class _Evidence(NamedTuple):
    """What the posteriors show of parameters."""

    e_step: object
    effects: np.ndarray  # (H, D) what a component adds to the data where active
    sums: dict
    values: np.ndarray  # (H, H) correlation of the posterior means
    activity: np.ndarray  # (H, H) correlation of being active
    steps: np.ndarray  # (H, H) how much of the effect of g belongs to that of h
    by_value: list  # latents, least share of the data explained first

    @classmethod
    def of(cls, problem, parameters):
        """Collect it in one pass over the data."""
        W, prior = parameters.components, parameters.prior
        amplitudes = prior.amplitudes(len(W))
        e_step = problem.e_step(parameters)
        sums = problem.workers.sum(_Faults(e_step), problem.X, problem.weights)
        weight = sums["weight"]
        values, deviation = _correlation(sums["codes"] / weight, sums["second"] / weight)
        activity, _ = _correlation(sums["active"] / weight, sums["both_active"] / weight)
        steps = np.sign(values)  # discrete values differ by whole ones
        if prior.continuous:
            relative = deviation / amplitudes
            steps = values * relative / relative[:, None]
        explained = np.diag(sums["second"]) * np.sum(W**2, axis=1)
        by_value = np.argsort(explained, kind="stable").tolist()
        effects = W * amplitudes[:, None]
        return cls(e_step, effects, sums, values, activity, steps, by_value)


def _merges(evidence):
    """Return (correlation, move) of latents that explain the data together only.

    Where W_h = a + b or a - b, and W_g = a, the latent h needs g to explain b alone:
    their values correlate, and b is their sum or difference. Where W_h = (a + b) / 2
    and W_g = (a - b) / 2, both are needed for a and for b, with either sign: whether
    they are active correlates, and a and b are their sum and difference.
    """
    effects, active = evidence.effects, evidence.sums["active"]
    merges = []
    for h, g, strength in _pairs(evidence.values):
        h, g = (h, g) if active[h] <= active[g] else (g, h)
        row = effects[h] + evidence.steps[h, g] * effects[g]
        merges.append((abs(strength), Move((h,), row[None], (), (h, g))))
    for h, g, strength in _pairs(evidence.activity):
        if strength > abs(evidence.values[h, g]) + _CORRELATED:
            rows = np.array([effects[h] + effects[g], effects[h] - effects[g]])
            merges.append((strength, Move((h, g), rows, (), (h, g))))
    return sorted(merges, key=lambda merge: -merge[0])


def _concessions(evidence, superposition):
    """Return moves by which components that avoid each other yield where they compete."""
    moves = []
    for h, g, strength in _pairs(evidence.activity):
        one, other = evidence.effects[h], evidence.effects[g]
        rows = np.array([superposition.yielding(one, other), superposition.yielding(other, one)])
        if strength < 0 and not np.array_equal(rows, [one, other]):
            moves.append((strength, Move((h, g), rows, (), (h, g))))
    return [move for _, move in sorted(moves, key=lambda move: move[0])]


def _pairs(correlation):
    """Yield the pairs that correlate, and how much."""
    for h, g in np.argwhere(np.triu(np.abs(correlation), 1) > _CORRELATED).tolist():
        yield h, g, correlation[h, g]


def _correlation(mean, second):
    """Return the correlation, and the standard deviations, from first and second moments."""
    covariance = second - np.outer(mean, mean)
    variance = np.diag(covariance)
    least = max(1e-12 * variance.max(), np.finfo(np.float64).tiny)
    deviation = np.sqrt(np.maximum(variance, least))
    return covariance / np.outer(deviation, deviation), deviation


def _moves_from_residuals(problem, evidence):
    """Return seeds, with their strength, and splits, best first."""
    e_step, effects, sums = evidence.e_step, evidence.effects, evidence.sums
    weight, active, by_value = sums["weight"], sums["active"], evidence.by_value
    excess = sums["energy"] - active * sums["total"] / weight
    faulty = [h for h in np.argsort(-excess, kind="stable")[:_SPLITS] if excess[h] > 0]
    faulty = [h for h in faulty if h != by_value[0]]
    moments = problem.workers.sum(_Residuals(e_step, faulty), problem.X, problem.weights)["second"]
    (overall, direction), *others = [_leading(moment) for moment in moments]
    noise = sums["total"] / (weight * len(direction))

    def unexplained(variance, n):
        # the largest eigenvalue that noise alone would show
        return variance > _UNEXPLAINED * noise * n * (1.0 + np.sqrt(len(direction) / n)) ** 2

    spare = [h for h in by_value if h not in faulty]
    splits = []
    for h, (variance, axis) in zip(faulty, others):
        if spare and unexplained(variance, active[h]):
            step, other = np.sqrt(variance / active[h]) * axis, spare.pop(0)
            rows = np.array([effects[h] + step, effects[h] - step])
            splits.append(Move((h, other), rows, (other,), (h, other)))
    if not unexplained(overall, weight):
        return [], splits
    along = problem.workers.sum(_Projection(e_step, direction), problem.X, problem.weights)
    square, cube, fourth = along["powers"]
    # the size of a cause that is seldom active, from the moments of what it leaves
    row = np.copysign(np.sqrt(fourth / square), cube) * direction
    least = tuple(by_value[:1])
    strength = overall / max((v for v, _ in others), default=overall)
    return [(strength, Move(least, row[None], least, least))], splits


def _leading(moment):
    """Return the largest eigenvalue of a second moment and its direction."""
    n = len(moment)
    (value,), vector = linalg.eigh(moment, subset_by_index=(n - 1, n - 1))
    vector = vector[:, 0]
    return max(value, 0.0), vector * np.sign(vector[np.argmax(np.abs(vector))])


# Sums over chunks; classes, so that processes can unpickle them.


class _Faults:
    def __init__(self, e_step):
        self.e_step = e_step

    def __call__(self, X, weights):
        w = np.ones(len(X)) if weights is None else weights
        codes = self.e_step.codes(X, "mean").astype(np.float64)
        active = self.e_step.codes(X, "probability").astype(np.float64)
        residual = np.asarray(X - self.e_step.reconstruct(X), np.float64)
        energy = w * np.sum(residual**2, axis=1)
        return {
            "weight": w.sum(),
            "codes": w @ codes,
            "second": (codes * w[:, None]).T @ codes,
            "active": w @ active,
            "both_active": (active * w[:, None]).T @ active,
            "energy": energy @ active,
            "total": energy.sum(),
        }


class _Residuals:
    def __init__(self, e_step, latents):
        self.e_step, self.latents = e_step, latents

    def __call__(self, X, weights):
        w = np.ones(len(X)) if weights is None else weights
        active = self.e_step.codes(X, "probability")[:, self.latents].astype(np.float64)
        residual = np.asarray(X - self.e_step.reconstruct(X), np.float64)
        shares = [w] + [w * p for p in active.T]
        return {"second": np.array([(residual * s[:, None]).T @ residual for s in shares])}


class _Projection:
    def __init__(self, e_step, direction):
        self.e_step, self.direction = e_step, direction

    def __call__(self, X, weights):
        w = np.ones(len(X)) if weights is None else weights
        along = np.asarray(X - self.e_step.reconstruct(X), np.float64) @ self.direction
        return {"powers": np.array([w @ along**k for k in (2, 3, 4)])}
