"""Stepwise EM: mini-batches, their statistics in a decaying average.

A step takes the statistics of its batch, per unit of weight, into an average and gives
that to the M-step,

    S_k = (1 - r_k) S_(k-1) + r_k s_k,

Cappe, Moulines (2009). On-line expectation-maximization algorithm for latent data models.
JRSS B 71: rates k^-a converge for 0.5 < a <= 1, and 0.6 is what they advise. Here time t
counts data, not calls: 1 is the weight of the first rows, which are gathered until they
are enough to begin with, and a batch from t to t + d has the rate

    r = 1 - exp(-(integral of u^-0.6 du from t to t + d)),

k^-0.6 for batches as large as the first rows. However the same rows are cut into batches,
they count alike.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..inference.base import Parameters
from ..inference.incomplete_independent import BY_FEATURE
from ..parallel.chunks import is_dask_array
from .em import maximised
from .moments import Moments

_DECAY = 0.6
# Lower bounds that a stream remembers.
_RECORD = 1000
# Rows to begin with for each component: of fewer, fits of bars ended in poor optima that no
# later row leads out of. And for each feature, where the noise has a full covariance.
_ROWS_PER_COMPONENT, _ROWS_PER_FEATURE = 20, 2


@dataclass(frozen=True)
class Stream:
    """Where stepwise EM stands after some batches."""

    parameters: Parameters | None = None  # in the units of the statistics, not canonical
    held: tuple = ()  # (X, weights) of the rows gathered to begin with
    row_unit: tuple = (1.0, 1.0)  # of the weights, and the rows that it stands for
    unit: float = 0.0  # weight of the first rows
    time: float = 0.0  # weight of all rows, in these units
    moments: Moments | None = None  # decaying average of the data's, per unit of weight
    statistics: dict | None = None  # decaying average, per unit of weight
    share: float = 0.0  # sum of the squared shares that each unit of weight has in it
    n_steps: int = 0
    lower_bounds: tuple = ()  # of the last batches, before their steps, nats per data point

    @property
    def begun(self):
        """Whether the first step has been made."""
        return self.statistics is not None

    @property
    def n_held(self):
        """Rows gathered so far."""
        return sum(_n_rows(*part) for part in self.held)

    def rate(self, weight):
        """Return the rate of a step with a batch of this weight."""
        if not self.begun:
            return 1.0
        power = 1.0 - _DECAY
        # (t + d)^power - t^power, without the difference of two large numbers
        rise = self.time**power * np.expm1(power * np.log1p(weight / self.unit / self.time))
        return -np.expm1(-rise / power)

    def gathered(self, X, weights):
        """Return the stream with some more rows to begin with, copied."""
        X = np.array(X)
        weights = None if weights is None else np.array(weights)
        return replace(self, held=(*self.held, (X, weights)))

    def with_held(self, X, weights):
        """Return the rows gathered so far and these, which follow them."""
        if not self.held:
            return X, weights
        if is_dask_array(X):
            X, weights = np.asarray(X), None if weights is None else np.asarray(weights)
        parts = [*self.held, (X, weights)]
        rows = np.concatenate([x for x, _ in parts], dtype=X.dtype)
        if all(w is None for _, w in parts):
            return rows, None
        ones = [np.ones(len(x)) if w is None else w for x, w in parts]
        return rows, np.concatenate(ones)


def rows_wanted(n_components, n_features, noise):
    """Return the rows that a stream begins with, at least."""
    wanted = _ROWS_PER_COMPONENT * n_components
    return max(wanted, _ROWS_PER_FEATURE * n_features) if noise == "full" else wanted


def n_rows(X, weights):
    """Return the rows of a batch that have a weight, and X, whose length is known then."""
    if is_dask_array(X) and np.isnan(X.shape[0]):
        X = X.copy().compute_chunk_sizes()
    return _n_rows(X, weights), X


def _n_rows(X, weights):
    return len(X) if weights is None else int((weights > 0).sum())


def averaged(average, sums, rate):
    """Return the average after a step towards ``sums`` per unit of their weight."""
    # what completes the sums of a batch goes by its components: no batch knows those of others
    sums = {name: value for name, value in sums.items() if name not in BY_FEATURE}
    if average is None:
        return {name: value / sums["weight"] for name, value in sums.items()}
    share = rate / sums["weight"]
    # of batches before the first with missing values
    complete = {"observed": average["weight"], "normaliser": 0.0, "blank": 0.0}
    average = complete | average
    return {name: (1.0 - rate) * average[name] + share * value for name, value in sums.items()}


def averaged_moments(average, moments, rate):
    """Return the moments after a step towards those of a batch, of weight 1."""
    if average is None or rate == 1.0:
        return moments.of_weight(1.0)
    return average.of_weight(1.0 - rate) + moments.of_weight(rate)


def step(stream, problem, weight, learn, steady=True):
    """Return the stream after the batch that the problem holds, and averaged moments."""
    before, rate = stream.parameters, stream.rate(weight)
    statistics, bound = problem.expectations(problem.e_step(before))
    statistics = averaged(stream.statistics, statistics, rate)
    share = (1.0 - rate) ** 2 * stream.share + rate**2 / weight
    floor = problem.floor(before.offset is not None, before.noise.each_feature)
    after = maximised(before, statistics, problem.superposition, learn, floor)
    if steady and "components" in learn:
        # what chance may do depends on how many rows the average stands for
        sums = {name: value / share for name, value in statistics.items()}
        after = problem.superposition.steadied(before, after, sums)
    unit = stream.unit if stream.begun else weight
    return Stream(
        parameters=after,
        row_unit=stream.row_unit,
        unit=unit,
        time=stream.time + weight / unit if stream.begun else 1.0,
        moments=problem.moments,
        share=share,
        statistics=_relative_to(after, before, statistics),
        n_steps=stream.n_steps + 1,
        lower_bounds=(*stream.lower_bounds[1 - _RECORD :], bound),
    )


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
