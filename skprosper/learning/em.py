"""Truncated variational EM: E-step, M-step, until nothing moves."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.utils import check_random_state

from ..annealing import AnnealingStep
from ..inference.base import Parameters
from ..validation import MOST_RESOLVED
from .data_truncation import correction, truncated
from .escape import ENOUGH, RAISE, WAIT, escape

# Where the bound changes by less, in nats, EM looks for moves out of a poor optimum.
_SETTLED = 1e-2
# A bound that falls by more, in nats, has fallen by more than rounding errors.
_FALLEN = 1e-6
# Of the maxima the bound wanders: EM has converged, too, where in so many iterations its best
# has risen by less than as many times the tolerance.
_PATIENCE = 5
# Moves on sparse data may take so many times as many iterations: one mends little there.
_MORE_MOVES = 2
# A start is given up where so many times its last gain in each iteration left is not enough.
_HOPE = 4.0
# Momentum: the most of the last step that is made again, and the last iterations without it.
_MOMENTUM, _LANDING = 0.8, 4


@dataclass
class Run:
    """One run of EM: the parameters after it and how it went."""

    parameters: Parameters
    lower_bounds: list = field(default_factory=list)  # nats per data point
    warm: bool = False  # begun where another run has ended: schedules are at their end
    converged: bool = False
    lost: bool = False  # given up: another run is better
    previous: float = -np.inf  # lower bound the last step was taken at, if it was plain EM
    last_step: tuple | None = None  # its parameters and those of the M-step, if they may be halved
    waited: int = 0  # iterations since moves were last made
    spent: int = 0  # iterations that moves were tried for
    before_move: float = -np.inf  # lower bound before the last move
    in_vain: int = 0  # proposals not to be tried again, the last having raised it for a moment
    settled: bool = False  # no move is left to try
    plain: int = 0  # last iterations at temperature 1 with no move left to try
    ahead: Parameters | None = None  # where the next iteration begins, if not at the parameters
    pushes: int = 0  # iterations that momentum has built up in
    landed: bool = False  # momentum is not to be built up any more

    @property
    def finished(self):
        """Whether the run has ended before ``max_iter``."""
        return self.converged or self.lost

    @property
    def lower_bound(self):
        """The last lower bound, nats per data point; -inf where there is none."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf

    def stood_still(self, tol):
        """Return whether the bound had changed as little in the iteration before the last."""
        return self.plain > 2 and abs(self.lower_bounds[-2] - self.lower_bounds[-3]) < tol

    def stalls(self, tol):
        """Return whether the bound wanders and rises no more."""
        if self.plain <= _PATIENCE:
            return False
        bounds = self.lower_bounds[-self.plain :]
        rise = max(bounds[-_PATIENCE:]) - max(bounds[:-_PATIENCE])
        return max(rise, 0.0) < _PATIENCE * tol

    def push(self, before, rises):
        """Begin the next iteration ahead of the parameters, by a share of the step to them.

        The M-step goes only as far as posteriors allow that are not certain: where EM creeps,
        it goes the same way many times. The share grows as in Nesterov's method, and begins
        anew where the bound falls.
        """
        self.pushes = self.pushes + 1 if rises else 0
        share = min(max(self.pushes - 1, 0) / (self.pushes + 2), _MOMENTUM)
        if share > 0.0:
            W = self.parameters.components
            W = W + share * (W - before.components)
            self.ahead = replace(self.parameters, components=W)

    def land(self):
        """Go on without momentum."""
        self.pushes, self.landed = 0, True

    def halve_step(self):
        """Go half as far from where the last step began."""
        before, after = self.last_step
        W = 0.5 * (before.components + after.components)
        self.parameters = replace(before, components=W)
        self.last_step = before, self.parameters


def maximised(parameters, statistics, superposition, learn, floor, rows=None):
    """Return the parameters that maximise the expected log-joint of the statistics.

    With all components, or those of some ``rows`` alone.
    """
    components, offset, residual = superposition.updated(parameters, statistics, learn, rows)
    prior, noise = parameters.prior, parameters.noise
    if "prior" in learn:
        prior = prior.updated(statistics)
    if "noise" in learn:
        floor = np.maximum(floor, _unresolved_noise(components, prior, noise.each_feature))
        noise = noise.updated(residual, floor, statistics.get("observed"))
    return Parameters(components, prior, noise, offset)


def _unresolved_noise(components, prior, each_feature):
    """Return the noise variance, of each feature or all, that float64 just resolves beside latents.

    They may add much and cancel: more than the data hold.
    """
    added = np.square(prior.amplitudes(len(components))[:, None] * components)
    most = added.shape[1] * added.max(axis=0) if each_feature else added.sum(axis=1).max()
    return most / MOST_RESOLVED


def canonical(parameters, learn):
    """Return the parameters in canonical units, where what is learned allows others."""
    if not {"components", "prior"} <= set(learn):
        return parameters
    components, prior = parameters.prior.canonical(parameters.components)
    return replace(parameters, components=components, prior=prior)


def m_step(parameters, statistics, superposition, learn, floor, rows=None):
    """Return the canonical parameters of the M-step."""
    return canonical(maximised(parameters, statistics, superposition, learn, floor, rows), learn)


def _disturbed(parameters, step, unit, learn, superposition, random_state):
    """Return the parameters with the noise of annealing on what is learned."""
    W, prior, noise = parameters.components, parameters.prior, parameters.noise
    if step.components_noise and "components" in learn:
        # on what active components add to the data
        # a millionfold noise already leaves nothing of them
        scale = np.minimum(min(step.components_noise, 1e6) * unit, noise.deviations)
        scale = scale / prior.amplitudes(len(W))[:, None]
        W = superposition.allowed(W + scale * random_state.standard_normal(W.shape))
    if step.prior_noise and "prior" in learn:
        prior = prior.perturbed(step.prior_noise, len(W), random_state)
    if step.variance_noise and "noise" in learn:
        # what is beyond 10 is no start for anything
        exponent = step.variance_noise * random_state.standard_normal()
        factor = np.exp(np.clip(exponent, -10.0, 10.0))
        noise = type(noise)(factor * noise.variance)
    return replace(parameters, components=W, prior=prior, noise=noise)


class _Iteration:
    """One iteration of EM under annealing: E-step, M-step, lower bound."""

    def __init__(self, problem, parameters, step, random_state):
        n_components = len(parameters.components)
        self.problem, self.parameters, self.correction = problem, parameters, 1.0
        n_candidates = problem.truncation.n_candidates
        temperature = step.temperatures(parameters.prior, n_components, n_candidates)
        e_step = problem.e_step(parameters, temperature)
        bound = None
        if step.data_cut:
            activity = parameters.prior.activity(n_components)
            max_changes = problem.truncation.max_changes
            self.correction = correction(activity, max_changes, step.data_cut)
            self.problem, bound = truncated(problem, e_step, activity, step.data_cut)
        share = step.share(problem.size, n_components)
        self.statistics, self.bound = self.problem.expectations(e_step, share, random_state)
        if bound is not None and step.temperature == 1.0:
            self.bound = bound

    def maximised(self, learn, floor, steady, rows=None):
        """Return the parameters of the M-step."""
        superposition = self.problem.superposition
        parameters = m_step(self.parameters, self.statistics, superposition, learn, floor, rows)
        if steady and "components" in learn:
            parameters = superposition.steadied(self.parameters, parameters, self.statistics)
        observed = self.problem.moments.observed
        if observed is not None and not observed.all():
            W = np.where(observed > 0.0, parameters.components, 0.0)
            parameters = replace(parameters, components=W)
        if self.correction == 1.0 or "prior" not in learn:
            return parameters
        return replace(parameters, prior=parameters.prior.rescaled(self.correction))


def _escape(problem, run, step, learn, floor, most, settled, change, random_state):
    """Move the run out of a poor optimum; where no move helps it has settled."""

    def em(problem, parameters, rows):
        iteration = _Iteration(problem, parameters, step, random_state)
        return iteration.bound, iteration.maximised(learn, floor, steady=True, rows=rows)

    if run.lower_bound > run.before_move + RAISE:
        run.in_vain = 0
    better, spent, run.settled, n_tried = escape(
        problem,
        run.parameters,
        run.lower_bound,
        em,
        learn=learn,
        most=most,
        settled=settled,
        pace=change if change >= settled else 0.0,
        skip=run.in_vain,
        random_state=random_state,
    )
    run.spent += spent
    if better is not None:
        run.before_move, run.in_vain = run.lower_bound, n_tried
        run.parameters, run.previous, run.waited = better, -np.inf, 0
        run.last_step = None


def run_em(
    problem, run, *, learn, annealing, max_iter, tol, random_state, on_iteration, rival=-np.inf
):
    """Iterate EM from where ``run`` is, adding to it.

    ``on_iteration(run)`` is called after each iteration and ends the run by returning
    True. The lower bound of an iteration is that of the parameters it starts from; moves
    out of poor optima take as many iterations again, at most, or twice as many where most
    values are missing, that are not among them. A run that would not come to the lower bound
    ``rival`` at its present pace ends too.

    The M-step of the maxima takes for granted which component is the largest where, and
    may go too far. Where the lower bound falls after it, the step is halved: without that
    EM goes round in circles on few data, and magnifies rounding errors as it does. So it is
    for data with missing values, whose posteriors are broad.

    Linear models of complete data have momentum when no move is left: an iteration begins
    ahead of where the last M-step has come to, and its lower bound, that of where it begins,
    may be a little lower for it. The last iterations have none.
    """
    superposition = problem.superposition
    centred = run.parameters.offset is not None
    floor = problem.floor(centred, run.parameters.noise.each_feature)
    moments = problem.moments
    unit = np.sqrt(moments.variance if centred else moments.mean_square)
    if moments.observed is not None:
        unit = unit * (moments.observed > 0.0)  # a feature that is never observed stays at 0
    # of fewer data points faults cannot be told from chance, nor a prior be held: several
    # components would explain a data point that any one of them could stand for
    least = ENOUGH * len(run.parameters.components)
    enough = moments.weight >= (1.0 - 1e-9) * least  # weights may sum to it
    # what few or incomplete data leave open a truncated posterior may take for either
    sure = superposition.linear and enough and moments.observed is None
    annealed = enough and annealing is not None and "components" in learn
    reseed, hurries = annealed and annealing.reseed, annealed and sure
    allowance = (_MORE_MOVES if problem.sparse else 1) * max_iter
    while len(run.lower_bounds) < max_iter and not run.finished:
        step = AnnealingStep()
        if annealing is not None:
            position = len(run.lower_bounds) / max(max_iter - 1, 1)
            step = annealing.at(1.0 if run.warm else position)
        before, pushed = run.parameters, run.ahead is not None
        start = run.ahead if pushed else before
        run.ahead = None
        start = _disturbed(start, step, unit, learn, superposition, random_state)
        iteration = _Iteration(problem, start, step, random_state)
        bound = iteration.bound
        run.lower_bounds.append(bound)
        gain = bound - run.previous
        change = abs(gain)
        steady = enough and step.exact and len(run.lower_bounds) > 1
        learned = learn
        if enough and step.temperature > 1.0 and annealing.hold_prior:
            learned = tuple(name for name in learn if name != "prior")
        fell = run.last_step is not None and gain < -max(tol, _FALLEN)
        if fell:
            run.halve_step()
        else:
            after = iteration.maximised(learned, floor, steady)
            halves = step.exact and "components" in learn and not sure
            run.last_step = (run.parameters, after) if halves else None
            run.parameters = after
            run.previous = bound if step.exact else -np.inf
        looked = run.settled or run.spent >= allowance or not reseed
        plain = looked and step.exact
        run.plain = run.plain + 1 if plain else 0
        hurried = plain and hurries and not run.landed
        # a bound that momentum makes wander may stand still for once by chance
        still = change < tol and (not hurried or run.stood_still(tol))
        run.converged = plain and (still or run.stalls(tol))
        if run.converged and pushed:
            run.land()
            run.converged, run.plain = False, 0
        elif hurried and not run.converged:
            if max_iter - len(run.lower_bounds) > _LANDING:
                run.push(before, gain > 0.0)
            else:
                run.land()
        if not (looked or fell) and step.exact and len(run.lower_bounds) < max_iter:
            run.waited += 1
            if run.waited > 1 and (change < max(tol, _SETTLED) or run.waited > WAIT):
                most = allowance - run.spent
                settled = max(tol, _SETTLED)
                _escape(problem, run, step, learn, floor, most, settled, change, random_state)
        ahead = max_iter - len(run.lower_bounds)
        run.lost = plain and not fell and np.isfinite(gain) and bound + _HOPE * ahead * gain < rival
        if on_iteration(run):
            break
    return run


@dataclass
class FitState:
    """A fit in progress: with its data, all that is needed to go on."""

    fingerprint: str  # of estimator and data
    random_state: object
    init: int = 0  # the run in progress
    run: Run | None = None
    best: Run | None = None
    done: bool = False
    records: dict = field(default_factory=dict)  # of callbacks.Recorder, by its file
    written: dict = field(default_factory=dict)  # how many make the next writing due

    @property
    def begun(self):
        """Whether there is something to go on from."""
        return self.run is not None or self.best is not None

    def go_on_from(self, saved):
        """Become what was saved of the same fit."""
        self.init, self.run, self.best, self.done = saved.init, saved.run, saved.best, saved.done
        self.records = saved.records
        if self.random_state is check_random_state(None):
            self.random_state = saved.random_state  # not the one that all the world draws from
        else:
            # the user's own, which the next fit draws from
            self.random_state.set_state(saved.random_state.get_state())

    def end_run(self):
        """Keep the run if it is the best, and begin the next."""
        if self.best is None or self.run.lower_bound > self.best.lower_bound:
            self.best = self.run
        self.run = None
        self.init += 1
