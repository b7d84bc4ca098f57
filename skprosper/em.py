"""Truncated variational EM: initialise, then E-step, M-step, until nothing moves."""

from dataclasses import dataclass, field, replace

import numpy as np
from scipy import linalg
from sklearn.utils import assert_all_finite

from .annealing import AnnealingStep
from .kernels.linear import add_squares

# The noise variance stays above this share of the data's mean square.
# Log-joints grow with its inverse, and with them their rounding errors.
_NOISE_FLOOR = 1e-5


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


def mean_and_root(moments):
    """Return the data's mean and the symmetric root of their covariance."""
    mean = moments["sum"] / moments["weight"]
    covariance = moments["second"] / moments["weight"] - np.outer(mean, mean)
    eigenvalues, vectors = linalg.eigh(covariance)
    # rounding errors of vanishing eigenvalues would be magnified by the root
    eigenvalues[eigenvalues < 1e-10 * eigenvalues[-1]] = 0.0
    return mean, (vectors * np.sqrt(eigenvalues)) @ vectors.T


def initial_components(moments, prior, n_components, centred, random_state):
    """Draw components so that the model's mean and covariance are the data's.

    With E[s] and E[s^2] of the prior, W_h = mean / (H E[s]) + C z_h / sqrt(H E[s^2]),
    C C^T the data's covariance and z_h standard normal. The draw depends on the data
    through its moments alone: not on the order of the rows, nor on their unit.
    """
    mean, root = mean_and_root(moments)
    first, second = prior.moments(n_components)
    z = random_state.standard_normal((n_components, len(mean)))
    components = z @ root / np.sqrt(second.sum())
    if not centred and first.sum() != 0.0:
        components += mean / first.sum()
    return components


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


class Problem:
    """Data, workers and model of a fit: gives E-steps, sums them over the data."""

    def __init__(self, X, weights, workers, superposition, truncation, moments):
        self.X, self.weights, self.workers = X, weights, workers
        self.superposition, self.truncation = superposition, truncation
        self.moments = moments

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


def _perturbed(parameters, scale, superposition, random_state):
    """Return the parameters with Gaussian noise on what active components add to the data."""
    if scale == 0.0:
        return parameters
    W = parameters.components
    noise = scale * random_state.standard_normal(W.shape)
    W = W + noise / parameters.prior.amplitudes(len(W))[:, None]
    return replace(parameters, components=superposition.allowed(W))


def run_em(problem, run, *, learn, annealing, max_iter, tol, random_state, on_iteration):
    """Iterate EM from ``run.parameters`` on, adding to ``run``.

    ``on_iteration(run)`` is called after each iteration and ends the run by returning
    True. The lower bound of an iteration is that of the parameters it starts from.
    """
    centred = run.parameters.offset is not None
    floor = problem.floor(centred)
    unit = np.sqrt(mean_square(problem.moments, centred))
    previous = -np.inf
    for iteration in range(max_iter):
        step = AnnealingStep()
        if annealing is not None:
            step = annealing.at(iteration / max(max_iter - 1, 1))
        if "components" in learn:
            run.parameters = _perturbed(
                run.parameters, step.components_noise * unit, problem.superposition, random_state
            )
        e_step = problem.e_step(run.parameters, step.temperature)
        statistics, bound = problem.expectations(e_step)
        run.parameters = m_step(run.parameters, statistics, problem.superposition, learn, floor)
        run.lower_bounds.append(bound)
        run.converged = step.exact and abs(bound - previous) < tol
        previous = bound if step.exact else -np.inf
        if on_iteration(run) or run.converged:
            break
    return run
