"""Annealing: piecewise linear schedules over the position of an EM run."""

from numbers import Real

import numpy as np
from scipy import optimize
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from .learning.sampling import enough

_SCHEDULES = {  # name: values allowed, value of plain EM, what it is called in a plot
    "temperature": (Interval(Real, 1, None, closed="left"), 1.0, "temperature"),
    "components_noise": (Interval(Real, 0, None, closed="left"), 0.0, "noise on components"),
    "prior_noise": (Interval(Real, 0, None, closed="left"), 0.0, "noise on prior"),
    "variance_noise": (Interval(Real, 0, None, closed="left"), 0.0, "noise on variance"),
    "data_share": (Interval(Real, 0, 1, closed="right"), 1.0, "share of data used"),
    "data_cut": (Interval(Real, 0, 1, closed="both"), 0.0, "data truncation"),
}
# Data points that hot iterations draw for each component: they overfit fewer.
_HOT_ROWS = 40


class Annealing(BaseEstimator):
    """What a run of EM does, besides EM, to end in a good optimum.

    The posterior of a state is taken to the power 1 / T and normalised anew. A high
    temperature T at the start lets every component see many data points, which keeps
    EM out of poor optima; at T = 1 and without noise it is the exact algorithm. EM is
    never called converged before.

    A schedule is a number, or pairs (position, value): piecewise linear over the
    position of the iteration in the run, where 0 is the first iteration and 1 the last
    of ``max_iter``. Before the first pair and after the last the value stays.

    Parameters
    ----------
    temperature : float or array-like of (position, value) pairs, \
            default=((0.0, 6.0), (0.3, 1.0))
        Schedule of the temperature, values of at least 1.

    target : {"balanced", "likelihood", "joint"}, default="balanced"
        What is taken to the power 1 / T: the likelihood alone, its product with the
        prior, or the product with the prior at a temperature of its own, from 1 to T:
        where the ``n_candidates`` latents of a data point are active as often as the
        prior at 1 expects of all latents. A prior that is left cold keeps few latents
        out of many from being tried at all; one that is hot makes too many active.

    components_noise : float or array-like of (position, value) pairs, \
            default=((0.0, 0.05), (0.3, 0.0))
        Schedule of the standard deviation of noise added to the components before
        each E-step, in units of the root mean square of the data. It parts components
        that a high temperature has made equal.

    prior_noise : float or array-like of (position, value) pairs, default=0.0
        Schedule of the standard deviation of noise added to the prior's log odds.

    variance_noise : float or array-like of (position, value) pairs, default=0.0
        Schedule of the standard deviation of noise added to the logarithm of the noise
        variance.

    data_share : "auto", float or array-like of (position, value) pairs, default="auto"
        Schedule of the share of the data points, in (0, 1], that an iteration draws at
        random and learns from. "auto" takes all at T = 1, and the fewer the hotter it is:
        s^((1 - 1 / T)^2), where s is the share that has forty data points per component and
        4096 at least.

    data_cut : float or array-like of (position, value) pairs, default=0.0
        Schedule of data truncation, in [0, 1]. With 1 EM leaves out as many data points
        as hold, by the prior, more than ``max_changes`` active latents: those of least
        evidence. It corrects the prior for that. 0 learns from all. For the centre "zero"
        alone: with "best" no data point holds too many.

    hold_prior : bool, default=True
        Whether the prior stays at its start values while T > 1. Hot posteriors explain
        data by few latents, and a prior learned from them lets the others starve. It is
        not held where there are fewer than ten data points per component.

    reseed : bool, default=True
        Whether components that are unused, double, or stand for mixtures of others are
        replaced once EM has come to T = 1. What replaces them is kept where it raises
        the lower bound. Needs some iterations after the schedules have ended, and tries
        for as many as ``max_iter`` besides.

    References
    ----------
    Ueda, Nakano (1998). Deterministic annealing EM algorithm. Neural Networks 11.

    Ueda, Nakano, Ghahramani, Hinton (2000). SMEM algorithm for mixture models. Neural
    Computation 12.

    Luecke, Eggert (2010). Expectation Truncation and the benefits of preselection in
    training generative models. JMLR 11.

    Examples
    --------
    >>> from skprosper.annealing import Annealing
    >>> schedule = Annealing(temperature=[(0, 5), (0.8, 1)])
    >>> schedule
    Annealing(temperature=[(0, 5), (0.8, 1)])
    >>> schedule.at(0.4).temperature
    3.0
    """

    _parameter_constraints = {
        **{name: [allowed, "array-like"] for name, (allowed, _, _) in _SCHEDULES.items()},
        "data_share": [StrOptions({"auto"}), _SCHEDULES["data_share"][0], "array-like"],
        "target": [StrOptions({"balanced", "joint", "likelihood"})],
        "hold_prior": ["boolean"],
        "reseed": ["boolean"],
    }

    def __init__(
        self,
        temperature=((0.0, 6.0), (0.3, 1.0)),
        target="balanced",
        components_noise=((0.0, 0.05), (0.3, 0.0)),
        prior_noise=0.0,
        variance_noise=0.0,
        data_share="auto",
        data_cut=0.0,
        hold_prior=True,
        reseed=True,
    ):
        self.temperature = temperature
        self.target = target
        self.components_noise = components_noise
        self.prior_noise = prior_noise
        self.variance_noise = variance_noise
        self.data_share = data_share
        self.data_cut = data_cut
        self.hold_prior = hold_prior
        self.reseed = reseed

    def at(self, position):
        """Return the `AnnealingStep` at a position of the run, from 0 to 1."""
        self._validate_params()
        values = {
            name: _interpolated(name, value, allowed, position)
            for name, (allowed, _, _) in _SCHEDULES.items()
            if not isinstance(value := getattr(self, name), str)
        }
        return AnnealingStep(**values, target=self.target)

    def plot(self, axes=None):
        """Plot the schedules that differ from plain EM.

        Parameters
        ----------
        axes : array-like of matplotlib Axes, default=None
            Where to plot, one for each such schedule. None: a new figure.

        Returns
        -------
        display : ScheduleDisplay
            The plotted display.
        """
        from .plotting import ScheduleDisplay

        return ScheduleDisplay.from_annealing(self, axes=axes)

    def schedules(self, positions):
        """Return {label: values at the positions} of what differs from plain EM."""
        steps = [self.at(position) for position in positions]
        shown = {}
        for name, (_, plain, label) in _SCHEDULES.items():
            values = np.array([np.ravel(getattr(step, name))[0] for step in steps])
            if values[0] is not None and np.any(values != plain):
                shown[label] = values
        return shown


class AnnealingStep:
    """What annealing does to one iteration of EM."""

    def __init__(
        self,
        temperature=1.0,
        components_noise=0.0,
        prior_noise=0.0,
        variance_noise=0.0,
        data_share=None,
        data_cut=0.0,
        target="balanced",
    ):
        self.temperature = temperature
        self.components_noise = components_noise
        self.prior_noise = prior_noise
        self.variance_noise = variance_noise
        self.data_share = data_share
        self.data_cut = data_cut
        self.target = target

    def temperatures(self, prior, n_components, n_candidates):
        """Return the temperatures of the likelihood and of the prior."""
        T = self.temperature
        if T == 1.0 or self.target != "balanced":
            return T, T if self.target == "joint" else 1.0
        return T, _balanced(T, prior, n_components, n_candidates)

    def share(self, n_points, n_components):
        """Return the share that is drawn of so many data points."""
        if self.data_share is not None:
            return self.data_share
        # the flatter the posteriors, the less there is to overfit
        flat = 1.0 - 1.0 / self.temperature
        return min(1.0, enough(n_components, _HOT_ROWS) / n_points) ** flat**2

    @property
    def exact(self):
        """Whether the iteration is EM without disturbance, on the data it shall fit."""
        noise = self.components_noise, self.prior_noise, self.variance_noise
        return self.temperature == 1.0 and not any(noise) and self.data_share in (None, 1.0)


def _balanced(hottest, prior, n_components, n_candidates):
    """Return the temperature, if any, where the candidates are as active as all are at 1."""
    if n_candidates >= n_components:
        return 1.0
    log_odds = prior.log_odds(n_components)

    def activity(temperature):
        odds = np.exp(log_odds / temperature).sum(axis=0)
        return np.sum(odds / (1.0 + odds))

    wanted = activity(1.0) * n_components / n_candidates
    if activity(hottest) <= wanted:
        return hottest
    return optimize.brentq(lambda temperature: activity(temperature) - wanted, 1.0, hottest)


def _range(allowed):
    """Return the values allowed, in words."""
    if allowed.right is None:
        return f"of at least {allowed.left}"
    return f"in {'(' if allowed.closed == 'right' else '['}{allowed.left}, {allowed.right}]"


def _interpolated(name, schedule, allowed, position):
    """Return the value of a schedule at a position, as a float."""
    points = np.asarray(schedule, dtype=np.float64)
    if points.ndim == 0:
        return float(points)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must be a number or pairs (position, value); got {schedule!r}.")
    positions, values = points.T
    if not (np.all(np.diff(positions) > 0) and all(value in allowed for value in values)):
        raise ValueError(
            f"{name} must have rising positions and values {_range(allowed)}; got {schedule!r}."
        )
    return float(np.interp(position, positions, values))
