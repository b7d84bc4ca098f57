"""Escape from poor optima: components that stand for the wrong causes are replaced.

EM moves every component a little at a time and so keeps faults that only a leap mends:

- some components are sums and differences of as many causes, and their latents are not
  independent: together they explain the data, at the wrong price;
- one component stands for two causes and explains neither;
- a cause has no component, while others are unused or double;
- where most values are missing, single features of a component are wrong: few other features
  of a data point contradict them; and others together explain a cause without a component.

The moves below mend them. EM tries a move for some iterations and keeps it where the
lower bound rises: split and merge EM, with proposals that fit sparse coding.
"""

import warnings
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy import linalg
from sklearn.decomposition import FastICA
from sklearn.exceptions import ConvergenceWarning

from .cross_fitting import cross_fitted
from .initialisation import initial_components
from .sampling import enough, few, few_rows, rows_at

# Iterations of EM in which a move has to raise the bound.
TRIAL = 10
# What they have to raise it by, in nats: more than EM creeps.
RAISE = 1e-2
# Data points for each component without which no moves are made.
ENOUGH = 10
# A sample of fewer data points for each component would be fitted better by any dictionary.
_PLENTY = 100
# Iterations after which EM looks for moves, settled or not.
WAIT = 6
# Correlation of latents that are made of each other, and of those that surely are.
_CORRELATED, _ENTANGLED = 0.1, 0.25
# The variance of a residual along its main direction, in units of what noise would show.
_UNEXPLAINED = 1.3
# Residuals that no one component accounts for exceed those of any by this factor.
_ALONE = 1.3
# Moves of a kind to try one by one.
_SINGLES = 2
# To unmix codes: data points, at least, and least eigenvalue of correlations.
_ROWS, _SINGULAR = 2_000, 1e-6
# A dictionary unmixed that ends so many nats short was not mixed: there is no other attempt.
_LOST = 1.0
# Iterations for that and their tolerance.
_ICA = dict(max_iter=20, tol=1e-3)
# Numbers that differ by less than this share of the largest are equal but for rounding.
_TIED = 1e-8
# Components to split, at most, in one go: each costs a second moment.
_SPLITS = 8


@dataclass
class SoFar:
    """What has come of the moves tried so far."""

    touched: set  # latents of those that are kept
    behind: float = 0.0  # nats by which the last one fell short


class Move(NamedTuple):
    """New rows for some components."""

    rows: tuple  # latents whose components change
    effects: np.ndarray  # (len(rows), D) what they add to the data where active
    fresh: tuple  # those of the rows that forget what their prior has learned
    touches: tuple  # latents it reads or writes
    hotter: float = 1.0  # factor of the noise variance to begin with
    repeated: bool = False  # whether cross-fitting follows as long as the bound rises


def escape(problem, parameters, bound, em, *, learn, most, settled, pace, random_state, skip=0):
    """Try moves until one raises the bound.

    ``em(problem, parameters, rows)`` returns the lower bound of parameters and those of
    the next iteration, where components have changed in these rows alone, or, if that is
    None, in all. A move has ``TRIAL`` iterations to raise the bound in. Where there are
    data enough these are of a sample, where it has to come above what EM comes to without
    it, and then of all data. A sample of few data for each component could be fitted better
    by changing components that a move does not touch: they stay what they are there, and
    all moves that pay and leave most of them are made together. What raises the bound of all
    data by less than EM would at its ``pace`` in as many iterations is the last. The first
    ``skip`` proposals are not tried. ``learn`` names what EM learns: a prior or noise that is
    given stays as it is.

    Returns
    -------
    parameters : Parameters or None
        After the moves that raised the bound; None where none did.
    spent : float
        Iterations of EM that it took, those of a sample by its size.
    last : bool
        Whether more moves are not worth their time.
    n_tried : int
        Proposals up to the one that raised the bound.
    """
    n_components = len(parameters.components)
    n_rows = enough(n_components)
    sample, share = problem.sample(n_rows, random_state)
    sampled, scarce = share < 1.0, n_rows < _PLENTY * n_components
    spent, so_far, rivals, n_tried = 0.0, SoFar(set()), {}, 0

    def tried(problem, start, rows=None, trial=TRIAL, **ends):
        nonlocal spent
        cost = share if problem is sample else 1.0
        n = min(trial, int((most - spent) / cost))
        bounds, end = _some_iterations(lambda p: em(problem, p, rows), start, n, **ends)
        spent += cost * len(bounds)
        return bounds, end

    def kept(candidate):
        """Return what escape returns where a candidate raises the bound of all data."""
        bounds, end = tried(problem, candidate, rival=[bound], enough=bound + RAISE)
        if bounds and bounds[-1] > bound + RAISE:
            return end, spent, bounds[-1] - bound < pace * spent, n_tried
        return None

    for n_tried, moves in enumerate(proposals(sample, parameters, learn, random_state, so_far), 1):
        if n_tried <= skip:
            continue
        own = {h for move in moves for h in move.touches}
        if not so_far.touched.isdisjoint(own):
            continue
        rows, rival = None, [bound]
        if sampled:
            rows = sorted(own) if scarce and 2 * len(own) <= n_components else None
            if (rows is None) not in rivals:
                # what changes all components is compared with EM as it goes on
                n = TRIAL if rows is None else 1
                rivals[rows is None], _ = tried(sample, parameters, rows, n, settled=settled)
            rival = rivals[rows is None]
        candidate = moved(parameters, moves, problem.superposition, learn)
        bounds, candidate = tried(sample, candidate, rows, settled=settled, rival=rival)
        came_to = -np.inf
        while moves[0].repeated and bounds and came_to + RAISE < bounds[-1] <= rival[-1] + RAISE:
            came_to = bounds[-1]
            mended = _cross_fitted(sample, candidate, learn, random_state)
            candidate = moved(candidate, [mended], problem.superposition, learn)
            bounds, candidate = tried(sample, candidate, settled=settled, rival=rival)
        if not bounds:
            break
        so_far.behind = rival[-1] - bounds[-1]
        if so_far.behind >= -RAISE:
            continue
        if not sampled:
            return candidate, spent, False, n_tried
        if rows is not None:
            parameters, rivals = candidate, {}
            so_far.touched |= own
        elif found := kept(candidate):
            return found
    found = kept(parameters) if so_far.touched else None
    return found or (None, spent, True, n_tried)


def _some_iterations(em, parameters, most, settled=0.0, rival=(-np.inf,), enough=np.inf):
    """Return the lower bounds of some iterations and the parameters after them.

    At most so many, and fewer where the bound has settled or is enough, or falls short of
    a rival's, which stays at its last, by more than it has caught up lately.
    """
    bounds, behind = [], np.inf
    for i in range(most):
        bound, parameters = em(parameters)
        bounds.append(bound)
        last, behind = behind, rival[min(i, len(rival) - 1)] - bound
        hopeless = 0.0 < behind and i + 1 < most and behind > (last - behind) * (most - 1 - i)
        if hopeless or bound > enough or (i > 0 and abs(bound - bounds[-2]) < settled):
            break
    return bounds, parameters


def moved(parameters, moves, superposition, learn):
    """Return the parameters with all of the moves made; a prior that is given stays as it is."""
    W = parameters.components.copy()
    prior = _refreshed(parameters.prior, [h for move in moves for h in move.fresh], len(W), learn)
    amplitudes = prior.amplitudes(len(W))[:, None]
    for move in moves:
        rows = list(move.rows)
        W[rows] = move.effects / amplitudes[rows]
    hotter, noise = max(move.hotter for move in moves), parameters.noise
    if hotter > 1.0:
        noise = type(noise)(hotter * noise.variance)
    return replace(parameters, components=superposition.allowed(W), prior=prior, noise=noise)


def _refreshed(prior, latents, n_components, learn):
    """Return the prior in which these latents forget what it has learned, if it learns."""
    if not latents or "prior" not in learn:
        return prior
    return prior.refreshed(latents, n_components)


def proposals(problem, parameters, learn, random_state, so_far):
    """Yield lists of moves to try, most promising first.

    None that are costly to find where what has been tried ``so_far`` leaves little hope.
    Of sparse data single features are wrong sooner than codes are mixed.
    """
    evidence = _Evidence.of(problem, parameters)
    incomplete = problem.moments.observed is not None and problem.X.shape[1] > 1
    sparse = incomplete and problem.sparse
    if sparse:
        yield [_cross_fitted(problem, parameters, learn, random_state)]
    if problem.superposition.linear:
        for move in _unmixed(problem, evidence, random_state, so_far):
            yield [move]
    if incomplete and not sparse:
        yield [_cross_fitted(problem, parameters, learn, random_state)]
    seeds, splits = _moves_from_residuals(problem, evidence)
    yield from ([move] for strength, move in seeds if strength > _ALONE)
    for moves in (_concessions(evidence, problem.superposition), _merges(evidence), splits):
        sure = _disjoint([move for strength, move in moves if strength > _ENTANGLED])
        if len(sure) > 1:
            yield sure
        yield from ([move] for _, move in moves[:_SINGLES])
    yield from ([move] for strength, move in seeds if strength <= _ALONE)
    if sparse:
        for h in _falling(-evidence.sums["active"])[:_SINGLES]:
            yield [_begun_again(h, problem, parameters, learn, random_state)]


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
    components: np.ndarray  # (H, D)
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
        by_value = _falling(-explained)
        effects = W * amplitudes[:, None]
        return cls(e_step, W, effects, sums, values, activity, steps, by_value)


def _cross_fitted(problem, parameters, learn, random_state):
    """Return the move to components that predict what posteriors have not seen.

    With the noise of these predictions, from which EM cools by itself.
    """
    n_components, n_features = parameters.components.shape
    n = int(min(problem.moments.weight, enough(n_components)))
    X = rows_at(problem, (np.arange(n) + 0.5) / n)
    effects, left = cross_fitted(problem, parameters, X, random_state)
    hotter = 1.0
    if "noise" in learn:
        hotter = max(left / np.mean(parameters.noise.variances(n_features)), 1.0)
    latents = tuple(range(n_components))
    return Move(latents, effects, (), latents, hotter)


def _begun_again(h, problem, parameters, learn, random_state):
    """Return the move of a latent to a start of its own, amid components that are cross-fitted.

    Where few features are observed, others explain a cause that has no component: what is
    left of the data does not show it. A latent may find it while the noise is hot, and
    cross-fitting makes it what the others have no part in.
    """
    others = _cross_fitted(problem, parameters, learn, random_state)
    n_components = len(others.rows)
    prior = _refreshed(parameters.prior, [h], n_components, learn)
    centred = parameters.offset is not None
    starts = initial_components(None, problem, prior, n_components, centred, random_state)
    effects = others.effects.copy()
    effects[h] = prior.amplitudes(n_components)[h] * starts[h]
    return others._replace(effects=effects, fresh=(h,), repeated=True)


def _unmixed(problem, evidence, random_state, so_far):
    """Yield moves that make codes independent again where they are not.

    To explain the data with U W instead of W, U any regular matrix, is easy; with codes
    that are as independent as the prior says they are, it is not. Independent component
    analysis of the codes of dependent latents gives U.
    """
    dependent = np.maximum(np.abs(evidence.values), evidence.activity) > _CORRELATED
    np.fill_diagonal(dependent, False)
    if not dependent.any():
        return
    n = int(min(evidence.sums["weight"], max(_ROWS, ENOUGH * len(dependent))))
    X = rows_at(problem, (np.arange(n) + 0.5) / n).astype(problem.X.dtype)
    codes = evidence.e_step.codes(X, "mean").astype(np.float64)
    latents = np.flatnonzero(dependent.any(axis=0) & (np.ptp(codes, axis=0) > 0.0))
    if len(latents) < 2:
        return
    codes = codes[:, latents] - codes[:, latents].mean(axis=0)
    deviation = codes.std(axis=0)
    codes /= deviation
    values, vectors = linalg.eigh(codes.T @ codes / n)
    if values[0] < _SINGULAR:
        return
    root = (vectors * np.sqrt(values)) @ vectors.T
    white = codes @ linalg.inv(root)
    fresh = tuple(latents) if 2 * len(latents) <= len(dependent) else ()
    so_far.behind = 0.0
    # one contrast parts causes that the other leaves mixed, if they are mixed at all
    for contrast in ("logcosh", _cube):
        if so_far.behind > _LOST or not so_far.touched.isdisjoint(latents.tolist()):
            return
        rotation, converged = _independent(white, contrast, random_state)
        if rotation is None or (n < _ROWS and not converged):
            continue
        # sources of variance 1, codes = sources @ mixing
        sources, mixing = white @ rotation.T, rotation @ root * deviation
        # the size of a cause that is seldom active, from its moments
        size = np.sqrt(np.mean(sources**4, axis=0))
        size = np.copysign(size, np.mean(sources**3, axis=0))
        rows = size[:, None] * (mixing @ evidence.components[latents])
        yield Move(tuple(latents), rows, fresh, tuple(latents))


def _independent(white, contrast, random_state):
    """Return the rotation of white codes to independent sources, None where there is none.

    And whether the analysis has converged.
    """
    # begun anywhere: where the codes are may be a stationary point
    ica = FastICA(fun=contrast, whiten=False, random_state=random_state, **_ICA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        try:
            ica.fit(white)
        except linalg.LinAlgError:
            # of numbers beyond all bounds; or when all is done, of the inverse of a rotation, which
            # nobody needs here: divide and conquer fails there at times (OpenBLAS's issue 3044)
            pass
    rotation = getattr(ica, "components_", None)
    if rotation is None or not np.isfinite(rotation).all():
        return None, False
    return rotation, ica.n_iter_ < _ICA["max_iter"]


def _cube(x):
    """Return the contrast "cube" of FastICA and its mean slope, without its slow powers."""
    square = x * x
    return square * x, 3.0 * square.mean(axis=-1)


def _merges(evidence):
    """Return (strength, move) of latents that explain a cause by their sum or difference.

    Where W_h = a + b or a - b, and W_g = a, the latent h needs g to explain b alone:
    their values correlate, and b is their sum or difference.
    """
    effects, active = evidence.effects, evidence.sums["active"]
    merges = []
    for h, g, strength in _pairs(evidence.values):
        h, g = (h, g) if active[h] <= (1.0 + _TIED) * active[g] else (g, h)
        row = effects[h] + evidence.steps[h, g] * effects[g]
        merges.append((abs(strength), Move((h,), row[None], (), (h, g))))
    return _strongest(merges)


def _concessions(evidence, superposition):
    """Return (strength, move) of latents that avoid each other.

    Their components yield where they compete.
    """
    concessions = []
    for h, g, strength in _pairs(evidence.activity):
        one, other = evidence.effects[h], evidence.effects[g]
        rows = np.array([superposition.yielding(one, other), superposition.yielding(other, one)])
        if strength < 0 and not np.array_equal(rows, [one, other]):
            concessions.append((-strength, Move((h, g), rows, (), (h, g))))
    return _strongest(concessions)


def _strongest(moves):
    """Return (strength, move) pairs, strongest first."""
    return [moves[i] for i in _falling([strength for strength, _ in moves])]


def _falling(values):
    """Return the indices that sort values, largest first, of equal ones the first.

    Components that have become equal, and moves that mirror each other, have values that
    only rounding parts.
    """
    values = np.asarray(values, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    if not order.size:
        return []
    least_step = _TIED * np.abs(values).max()
    group = np.append(0, np.cumsum(np.diff(-values[order]) > least_step))
    return order[np.lexsort((order, group))].tolist()


def _pairs(correlation):
    """Yield the pairs that correlate, and how much."""
    for h, g in np.argwhere(np.triu(np.abs(correlation), 1) > _CORRELATED).tolist():
        yield h, g, correlation[h, g]


def _correlation(mean, second):
    """Return the correlation, and the standard deviations, from first and second moments."""
    covariance = second - np.outer(mean, mean)
    variance = np.diag(covariance)
    least = max(1e-12 * variance.max(), np.finfo(np.float64).tiny)
    # below this share of its square the variance of a code is rounding errors
    deviation = np.sqrt(np.maximum(variance, np.maximum(least, 1e-12 * np.diag(second))))
    return covariance / np.outer(deviation, deviation), deviation


def _moves_from_residuals(problem, evidence):
    """Return (strength, move) of seeds and of splits, best first."""
    e_step, effects, sums = evidence.e_step, evidence.effects, evidence.sums
    weight, active, by_value = sums["weight"], sums["active"], evidence.by_value
    n_features = effects.shape[1]
    excess = sums["energy"] - active * sums["total"] / weight
    noticed = _TIED * sums["total"]
    faulty = [h for h in _falling(excess)[:_SPLITS] if excess[h] > noticed]
    faulty = [h for h in faulty if h != by_value[0]]
    # a matrix over the features where there are not too many, over few rows else
    leading = _leading_of_few if n_features > few(len(effects)) else _leading_of_all
    (overall, direction, n_overall), *others = leading(problem, evidence, faulty)
    noise = sums["total"] / (weight * n_features)
    if problem.moments.observed is not None:
        noise *= problem.moments.weight / problem.moments.observed.mean()

    def unexplained(variance, n):
        # the largest eigenvalue that noise alone would show
        return variance > _UNEXPLAINED * noise * n * (1.0 + np.sqrt(n_features / n)) ** 2

    spare = [h for h in by_value if h not in faulty]
    splits = []
    for h, (variance, axis, n) in zip(faulty, others):
        if spare and n > 0 and unexplained(variance, n):
            step, other = np.sqrt(variance / n) * axis, spare.pop(0)
            rows = np.array([effects[h] + step, effects[h] - step])
            strength = variance / (noise * n)
            splits.append((strength, Move((h, other), rows, (other,), (h, other))))
    if not unexplained(overall, n_overall):
        return [], splits
    # fourth powers in units of the noise: those of data of any scale stay finite
    unit = np.sqrt(noise)
    projection = _Projection(e_step, direction / unit)
    square, cube, fourth = problem.workers.sum(projection, problem.X, problem.weights)["powers"]
    # the size of a cause that is seldom active, from the moments of what it leaves
    row = unit * np.copysign(np.sqrt(fourth / square), cube) * direction
    least = tuple(by_value[:1])
    most = max((v for v, _, _ in others), default=overall)
    strength = overall / max(most, np.finfo(np.float64).tiny)
    return [(strength, Move(least, row[None], least, least))], splits


def _leading_of_all(problem, evidence, latents):
    """Return where residuals vary most: of all rows, and of those that use each latent.

    Three numbers each: the largest eigenvalue of their second moment, its direction and
    the sum of their weights.
    """
    e_step, sums = evidence.e_step, evidence.sums
    moments = problem.workers.sum(_Residuals(e_step, latents), problem.X, problem.weights)["second"]
    moments = _of_complete_data(problem, moments)
    counts = [sums["weight"], *sums["active"][latents]]
    return [(*_leading(moment), n) for moment, n in zip(moments, counts)]


def _leading_of_few(problem, evidence, latents):
    """Return the same of few rows, with no matrix over the features."""
    rows, weights = few_rows(problem, few(len(evidence.effects)))
    shares, residual = _shared_residuals(evidence.e_step, latents, rows, weights)
    leading = []
    for share in shares:
        own = residual * np.sqrt(share)[:, None]
        value, along = _leading(own @ own.T)
        vector = along @ own / np.sqrt(max(value, np.finfo(np.float64).tiny))
        leading.append((value, _signed(vector), share.sum()))
    return leading


def _of_complete_data(problem, moments):
    """Return second moments of residuals, 0 where missing, as if nothing had been missing."""
    if problem.moments.observed is None:
        return moments
    observed = problem.moments.observed
    # of a feature that is never observed all moments are 0
    share = np.where(observed > 0.0, observed / problem.moments.weight, 1.0)
    factor = np.outer(share, share)
    np.fill_diagonal(factor, share)
    return moments / factor


def _leading(moment):
    """Return the largest eigenvalue of a second moment and its direction."""
    n = len(moment)
    (value,), vector = linalg.eigh(moment, subset_by_index=(n - 1, n - 1))
    return max(value, 0.0), _signed(vector[:, 0])


def _signed(vector):
    """Return a vector whose largest entry, of equal ones the first, is above 0."""
    magnitude = np.abs(vector)
    return vector * np.sign(vector[np.argmax(magnitude > (1.0 - _TIED) * magnitude.max())])


def _shared_residuals(e_step, latents, X, weights):
    """Return weights, those shared by each of the latents too, and residuals of rows."""
    X = X.astype(e_step.dtype, copy=False)
    active = e_step.codes(X, "probability")[:, latents].astype(np.float64)
    residual = e_step.residuals(X)
    return [weights] + [weights * p for p in active.T], residual


# Sums over chunks; classes, so that processes can unpickle them.


class _Faults:
    def __init__(self, e_step):
        self.e_step = e_step

    def __call__(self, X, weights):
        w = np.ones(len(X)) if weights is None else weights
        codes = self.e_step.codes(X, "mean").astype(np.float64)
        active = self.e_step.codes(X, "probability").astype(np.float64)
        residual = self.e_step.residuals(X)
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
        shares, residual = _shared_residuals(self.e_step, self.latents, X, w)
        return {"second": np.array([(residual * s[:, None]).T @ residual for s in shares])}


class _Projection:
    def __init__(self, e_step, direction):
        self.e_step, self.direction = e_step, direction

    def __call__(self, X, weights):
        w = np.ones(len(X)) if weights is None else weights
        along = self.e_step.residuals(X) @ self.direction
        seen = ~np.isnan(X)
        if not seen.all():
            # by least squares, of what is seen
            square = self.direction**2
            along *= square.sum() / np.maximum(seen @ square, 0.1 * square.sum())
        return {"powers": np.array([w @ along**k for k in (2, 3, 4)])}
