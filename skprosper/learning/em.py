"""Truncated variational EM: E-step, M-step, until nothing moves."""

from dataclasses import dataclass, field, replace

import numpy as np
from sklearn.utils import assert_all_finite

from ..annealing import AnnealingStep
from ..kernels.linear import add_squares
from ..parallel.chunks import is_dask_array
from .data_truncation import correction, truncated
from .escape import ENOUGH, WAIT, escape

# The noise variance stays above this share of the data's mean square.
# Log-joints grow with its inverse, and with them their rounding errors.
_NOISE_FLOOR = 1e-5
# Where the bound changes by less, in nats, EM looks for moves out of a poor optimum.
_SETTLED = 1e-2


@dataclass(frozen=True)
class Parameters:
    """Everything that EM learns."""

    components: np.ndarray  # (H, D) float64
    prior: object
    noise: object
    offset: np.ndarray | None  # (D,) float64, None where there is none


@dataclass
class Run:
    """One run of EM: the parameters after it and how it went."""

    parameters: Parameters
    lower_bounds: list = field(default_factory=list)  # nats per data point
    converged: bool = False
    lost: bool = False  # given up: another run is better
    previous: float = -np.inf  # lower bound of the last iteration, if it was plain EM
    waited: int = 0  # iterations since moves were last made
    spent: int = 0  # iterations that moves were tried for
    settled: bool = False  # no move is left to try

    @property
    def finished(self):
        """Whether the run has ended before ``max_iter``."""
        return self.converged or self.lost

    @property
    def lower_bound(self):
        """The last lower bound, nats per data point; -inf where there is none."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf


def check_chunk(X, weights):
    """Raise where a chunk is not valid: of a dask array it is seen here first."""
    assert_all_finite(X, input_name="X")
    if weights is not None:
        assert_all_finite(weights, input_name="sample_weight")
        if np.any(weights < 0):
            raise ValueError(
                f"Negative values in sample_weight: {weights.min():g}; give weights of at least 0."
            )


def data_squares(X, weights):
    """Return the sums of a chunk from which its scale follows, having checked it."""
    check_chunk(X, weights)
    w = np.ones(len(X)) if weights is None else weights
    with np.errstate(over="ignore"):  # the fit checks the scale
        return {
            "weight": w.sum(),
            "sum": w @ X.astype(np.float64, copy=False),
            "square": add_squares(X, w),
        }


def data_moments(X, weights):
    """Return the sums of a chunk from which EM starts, having checked it."""
    x = X.astype(np.float64, copy=False)
    # a copy where there are no weights: whether numpy takes x.T @ x for a symmetric
    # product depends on where x comes from, and with it the last bit
    weighted = x * (1.0 if weights is None else weights[:, None])
    with np.errstate(over="ignore", invalid="ignore"):  # the fit checks the scale
        return {**data_squares(X, weights), "second": weighted.T @ x}


def mean_square(moments, centred):
    """Return the mean square of the data, about their mean where it is modelled."""
    square = np.sum(moments["square"]) / moments["weight"]
    if centred:
        square -= np.sum((moments["sum"] / moments["weight"]) ** 2)
    return square / len(moments["sum"])


def maximised(parameters, statistics, superposition, learn, floor):
    """Return the parameters that maximise the expected log-joint of the statistics."""
    components, offset, residual = superposition.updated(parameters, statistics, learn)
    prior, noise = parameters.prior, parameters.noise
    if "prior" in learn:
        prior = prior.updated(statistics)
    if "noise" in learn:
        noise = noise.updated(residual, floor)
    return Parameters(components, prior, noise, offset)


def canonical(parameters, learn):
    """Return the parameters in canonical units, where what is learned allows others."""
    if not {"components", "prior"} <= set(learn):
        return parameters
    components, prior = parameters.prior.canonical(parameters.components)
    return replace(parameters, components=components, prior=prior)


def m_step(parameters, statistics, superposition, learn, floor):
    """Return the canonical parameters of the M-step."""
    return canonical(maximised(parameters, statistics, superposition, learn, floor), learn)


@dataclass(frozen=True, eq=False)
class Problem:
    """Data, workers and model of a fit: gives E-steps, sums them over the data."""

    X: object  # (N, D) array, memory map or dask array
    weights: object  # (N,) or None
    workers: object
    superposition: object
    truncation: object
    moments: dict

    def drawn(self, share, random_state):
        """Return the problem of a random share of the data."""
        if is_dask_array(self.X):
            raise ValueError("data_share below 1 needs X in memory; X is a dask array.")
        n = len(self.X)
        rows = np.sort(random_state.permutation(n)[: max(1, round(share * n))])
        weights = None if self.weights is None else self.weights[rows]
        if weights is not None and not weights.any():
            return self
        return replace(self, X=self.X[rows], weights=weights)

    def floor(self, centred):
        """Return the least noise variance."""
        return _NOISE_FLOOR * mean_square(self.moments, centred)

    def e_step(self, parameters, temperature=(1.0, 1.0)):
        """Return the E-step for these parameters."""
        e_step = self.superposition.e_step(parameters.prior)
        return e_step(parameters, self.truncation, self.X.dtype, temperature)

    def expectations(self, e_step):
        """Return the statistics over all data and the lower bound per data point."""
        total = self.workers.sum(_Statistics(e_step), self.X, self.weights)
        statistics = e_step.complete(total)
        return statistics, float(e_step.bound(statistics) / statistics["weight"])


class _Statistics:
    """The statistics of one chunk; a class, so that processes can unpickle it."""

    def __init__(self, e_step):
        self.e_step = e_step

    def __call__(self, X, weights):
        weights = np.ones(len(X)) if weights is None else weights
        return self.e_step.statistics(X, weights)


def _disturbed(parameters, step, unit, learn, superposition, random_state):
    """Return the parameters with the noise of annealing on what is learned."""
    W, prior, noise = parameters.components, parameters.prior, parameters.noise
    if step.components_noise and "components" in learn:
        # on what active components add to the data
        scale = step.components_noise * unit / prior.amplitudes(len(W))[:, None]
        W = superposition.allowed(W + scale * random_state.standard_normal(W.shape))
    if step.prior_noise and "prior" in learn:
        prior = prior.perturbed(step.prior_noise, len(W), random_state)
    if step.variance_noise and "noise" in learn:
        factor = np.exp(step.variance_noise * random_state.standard_normal())
        noise = type(noise)(factor * noise.variance)
    return replace(parameters, components=W, prior=prior, noise=noise)


class _Iteration:
    """One iteration of EM under annealing: E-step, M-step, lower bound."""

    def __init__(self, problem, parameters, step, random_state):
        if step.data_share < 1.0:
            problem = problem.drawn(step.data_share, random_state)
        n_components = len(parameters.components)
        self.problem, self.parameters, self.correction = problem, parameters, 1.0
        n_candidates = problem.truncation.n_candidates
        temperature = step.temperatures(parameters.prior, n_components, n_candidates)
        e_step = problem.e_step(parameters, temperature)
        bound = None
        if step.data_cut:
            activity = parameters.prior.activity(n_components)
            max_active = problem.truncation.max_active
            self.correction = correction(activity, max_active, step.data_cut)
            self.problem, bound = truncated(problem, e_step, activity, step.data_cut)
        self.statistics, self.bound = self.problem.expectations(e_step)
        if bound is not None and step.temperature == 1.0:
            self.bound = bound

    def maximised(self, learn, floor, steady):
        """Return the parameters of the M-step."""
        superposition = self.problem.superposition
        parameters = m_step(self.parameters, self.statistics, superposition, learn, floor)
        if steady and "components" in learn:
            parameters = superposition.steadied(self.parameters, parameters, self.statistics)
        if self.correction == 1.0 or "prior" not in learn:
            return parameters
        return replace(parameters, prior=parameters.prior.rescaled(self.correction))


def _escape(problem, run, step, learn, floor, most, settled, random_state):
    """Move the run out of a poor optimum; where no move helps it has settled."""

    def em(parameters):
        iteration = _Iteration(problem, parameters, step, random_state)
        return iteration.bound, iteration.maximised(learn, floor, steady=True)

    better, spent = escape(
        problem,
        run.parameters,
        run.lower_bound,
        em,
        most=most,
        settled=settled,
        random_state=random_state,
    )
    run.spent += spent
    run.settled = better is None
    if better is not None:
        run.parameters, run.previous, run.waited = better, -np.inf, 0


def run_em(
    problem, run, *, learn, annealing, max_iter, tol, random_state, on_iteration, rival=-np.inf
):
    """Iterate EM from where ``run`` is, adding to it.

    ``on_iteration(run)`` is called after each iteration and ends the run by returning
    True. The lower bound of an iteration is that of the parameters it starts from; moves
    out of poor optima take as many iterations again, at most, that are not among them. A
    run that would not come to the lower bound ``rival`` at its present pace ends too.
    """
    superposition = problem.superposition
    centred = run.parameters.offset is not None
    floor = problem.floor(centred)
    unit = np.sqrt(mean_square(problem.moments, centred))
    # of fewer data points faults cannot be told from chance, nor a prior be held: several
    # components would explain a data point that any one of them could stand for
    enough = problem.moments["weight"] >= ENOUGH * len(run.parameters.components)
    reseed = enough and annealing is not None and annealing.reseed and "components" in learn
    while len(run.lower_bounds) < max_iter and not run.finished:
        step = AnnealingStep()
        if annealing is not None:
            step = annealing.at(len(run.lower_bounds) / max(max_iter - 1, 1))
        start = _disturbed(run.parameters, step, unit, learn, superposition, random_state)
        iteration = _Iteration(problem, start, step, random_state)
        bound = iteration.bound
        run.lower_bounds.append(bound)
        gain = bound - run.previous
        change = abs(gain)
        steady = enough and step.exact and len(run.lower_bounds) > 1
        learned = learn
        if enough and step.temperature > 1.0 and annealing.hold_prior:
            learned = tuple(name for name in learn if name != "prior")
        run.parameters = iteration.maximised(learned, floor, steady)
        run.previous = bound if step.exact else -np.inf
        looked = run.settled or run.spent >= max_iter or not reseed
        plain = looked and step.exact
        run.converged = plain and change < tol
        if not looked and step.exact and len(run.lower_bounds) < max_iter:
            run.waited += 1
            if run.waited > 1 and (change < max(tol, _SETTLED) or run.waited > WAIT):
                most = max_iter - run.spent
                _escape(problem, run, step, learn, floor, most, max(tol, _SETTLED), random_state)
        ahead = max_iter - len(run.lower_bounds)
        run.lost = plain and np.isfinite(gain) and bound + ahead * gain < rival
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

    def end_run(self):
        """Keep the run if it is the best, and begin the next."""
        if self.best is None or self.run.lower_bound > self.best.lower_bound:
            self.best = self.run
        self.run = None
        self.init += 1
