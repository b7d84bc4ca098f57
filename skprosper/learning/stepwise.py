"""Stepwise EM: mini-batches, their statistics in a decaying average.

The k-th step takes the statistics of its batch, per unit of weight, at the rate k^-0.6:

    S_k = (1 - k^-0.6) S_(k-1) + k^-0.6 s_k

and gives S_k to the M-step. Cappe, Moulines (2009). On-line expectation-maximization
algorithm for latent data models. JRSS B 71: rates k^-a converge for 0.5 < a <= 1, and
0.6 is what they advise.
"""

from dataclasses import dataclass

import numpy as np

from .em import maximised
from .problem import Parameters

_DECAY = 0.6


@dataclass(frozen=True)
class Stream:
    """Where stepwise EM stands after some batches."""

    parameters: Parameters  # in the units of the statistics, not canonical
    moments: dict | None = None  # decaying average of the data's, per unit of weight
    statistics: dict | None = None  # decaying average, per unit of weight
    lower_bounds: tuple = ()  # of each batch before its step, nats per data point

    @property
    def rate(self):
        """The rate of the next step."""
        return (len(self.lower_bounds) + 1.0) ** -_DECAY


def averaged(average, sums, rate):
    """Return the average after a step towards ``sums`` per unit of their weight."""
    if average is None:
        return {name: value / sums["weight"] for name, value in sums.items()}
    share = rate / sums["weight"]
    return {name: (1.0 - rate) * average[name] + share * value for name, value in sums.items()}


def step(stream, problem, learn):
    """Return the stream after the batch that the problem holds, and averaged moments."""
    before = stream.parameters
    statistics, bound = problem.expectations(problem.e_step(before))
    statistics = averaged(stream.statistics, statistics, stream.rate)
    floor = problem.floor(before.offset is not None)
    after = maximised(before, statistics, problem.superposition, learn, floor)
    statistics = _relative_to(after, before, statistics)
    return Stream(after, problem.moments, statistics, (*stream.lower_bounds, bound))


def _relative_to(after, before, statistics):
    """Return statistics about offset and slabs of ``before`` as about those of ``after``."""
    statistics, weight = dict(statistics), statistics["weight"]
    if before.offset is not None:
        change = after.offset - before.offset
        data, second = statistics["data"], statistics["data_second"]
        if second.ndim == 2:
            second = second - np.outer(change, data) - np.outer(data, change)
            second += weight * np.outer(change, change)
        else:
            second = second - 2.0 * change * data + weight * change**2
        statistics["data_second"] = second
        statistics["data"] = data - weight * change
        statistics["cross"] = statistics["cross"] - np.outer(statistics["codes"], change)
    if "covariance_step" in statistics:
        change = after.prior.mean - before.prior.mean
        mean_step, covariance_step = statistics["mean_step"], statistics["covariance_step"]
        covariance_step = (
            covariance_step - np.outer(change, mean_step) - np.outer(mean_step, change)
        )
        covariance_step += weight * np.outer(change, change)
        covariance_step += weight * (before.prior.covariance - after.prior.covariance)
        statistics["covariance_step"] = covariance_step
        statistics["mean_step"] = mean_step - weight * change
    return statistics
