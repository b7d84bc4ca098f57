"""Annealing: piecewise linear schedules over the position of an EM run."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions


class Annealing(BaseEstimator):
    """Deterministic annealing of the posteriors, with noise on the components.

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
            default=((0.0, 3.0), (0.7, 1.0))
        Schedule of the temperature, values of at least 1.

    target : {"likelihood", "joint"}, default="likelihood"
        What is taken to the power 1 / T: the likelihood alone, or its product with
        the prior.

    components_noise : float or array-like of (position, value) pairs, \
            default=((0.0, 0.05), (0.7, 0.0))
        Schedule of the standard deviation of noise added to the components before
        each E-step, in units of the root mean square of the data. It parts components
        that a high temperature has made equal.

    References
    ----------
    Ueda, Nakano (1998). Deterministic annealing EM algorithm. Neural Networks 11.

    Examples
    --------
    >>> from skprosper.annealing import Annealing
    >>> schedule = Annealing(temperature=[(0, 5), (0.8, 1)])
    >>> schedule.at(0.4).temperature
    (3.0, 1.0)
    """

    _parameter_constraints = {
        "temperature": [Interval(Real, 1, None, closed="left"), "array-like"],
        "target": [StrOptions({"joint", "likelihood"})],
        "components_noise": [Interval(Real, 0, None, closed="left"), "array-like"],
    }

    def __init__(
        self,
        temperature=((0.0, 3.0), (0.7, 1.0)),
        target="likelihood",
        components_noise=((0.0, 0.05), (0.7, 0.0)),
    ):
        self.temperature = temperature
        self.target = target
        self.components_noise = components_noise

    def at(self, position):
        """Return the `AnnealingStep` at a position of the run, from 0 to 1."""
        self._validate_params()
        temperature = _interpolated("temperature", self.temperature, 1.0, position)
        noise = _interpolated("components_noise", self.components_noise, 0.0, position)
        on_prior = temperature if self.target == "joint" else 1.0
        return AnnealingStep((temperature, on_prior), noise)


class AnnealingStep:
    """What annealing does to one iteration of EM."""

    def __init__(self, temperature=(1.0, 1.0), components_noise=0.0):
        self.temperature = temperature  # of the likelihood, of the prior
        self.components_noise = components_noise

    @property
    def exact(self):
        """Whether the iteration is plain EM."""
        return self.temperature == (1.0, 1.0) and self.components_noise == 0.0


def _interpolated(name, schedule, least, position):
    """Return the value of a schedule at a position, as a float."""
    points = np.asarray(schedule, dtype=np.float64)
    if points.ndim == 0:
        return float(points)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(f"{name} must be a number or pairs (position, value); got {schedule!r}.")
    positions, values = points.T
    if not (np.all(np.diff(positions) > 0) and np.all(values >= least)):
        raise ValueError(
            f"{name} must have rising positions and values of at least {least:g}; got {schedule!r}."
        )
    return float(np.interp(position, positions, values))
