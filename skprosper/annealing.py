"""Annealing: piecewise linear schedules over the position of an EM run."""

from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions


class Annealing(BaseEstimator):
    """Deterministic annealing of the posteriors.

    The posterior of a state is taken to the power 1 / T and normalised anew. A high
    temperature T at the start lets every component see many data points, which keeps
    EM out of poor optima; at T = 1 it is the exact algorithm. EM is never called
    converged while T is above 1.

    Parameters
    ----------
    temperature : float or array-like of (position, value) pairs, \
            default=((0.0, 3.0), (0.7, 1.0))
        Temperature, at least 1, piecewise linear over the position of the iteration
        in the run: 0 is the first iteration, 1 the last of ``max_iter``. Before the
        first pair and after the last the value stays.

    target : {"joint", "likelihood"}, default="likelihood"
        What is taken to the power 1 / T: the likelihood alone, or its product with
        the prior.

    References
    ----------
    Ueda, Nakano (1998). Deterministic annealing EM algorithm. Neural Networks 11.

    Examples
    --------
    >>> from skprosper.annealing import Annealing
    >>> schedule = Annealing(temperature=[(0, 5), (0.8, 1)])
    >>> float(schedule.temperature_at(0.4))
    3.0
    """

    _parameter_constraints = {
        "temperature": [Interval(Real, 1, None, closed="left"), "array-like"],
        "target": [StrOptions({"joint", "likelihood"})],
    }

    def __init__(self, temperature=((0.0, 3.0), (0.7, 1.0)), target="likelihood"):
        self.temperature = temperature
        self.target = target

    def temperature_at(self, position):
        """Return the temperature at a position of the run, from 0 to 1."""
        self._validate_params()
        points = np.asarray(self.temperature, dtype=np.float64)
        if points.ndim == 0:
            return float(points)
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(
                "temperature must be a number or pairs (position, value); got "
                f"{self.temperature!r}."
            )
        positions, values = points.T
        if not (np.all(np.diff(positions) > 0) and np.all(values >= 1.0)):
            raise ValueError(
                "temperature must have rising positions and values of at least 1; "
                f"got {self.temperature!r}."
            )
        return float(np.interp(position, positions, values))

    def temperatures_at(self, position):
        """Return the temperatures of the likelihood and of the prior."""
        temperature = self.temperature_at(position)
        return temperature, (temperature if self.target == "joint" else 1.0)
