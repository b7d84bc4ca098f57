"""Limits of ours that were learned in place of properties of the data."""

import numpy as np

from ..messages import warn_user
from ..priors import PROBABILITY_FLOOR, SLAB_FLOOR

# Data whose mean square exceeds their variance by more lie far from 0: in float32 the floor
# of the noise is then a hundredth of the variance, and rises.
_FAR = 1e3
# What is within this share of a limit has come to it.
_AT = 1e-6
# Latents, features or values that a message names.
_NAMED = 5


def warn_of_limits(problem, parameters, usage, learn):
    """Warn, once, where the data leave nothing to learn or limits are what was learned."""
    found = []
    if parameters.offset is None and _does_not_vary(problem):
        found.append("X does not vary, its mean is all there is to learn: give data that vary")
    else:
        found += _of_data(problem, parameters)
        idle = _idle(problem, parameters, usage)
        found += [idle] if idle else []
        found += _of_features(problem)
        if "noise" in learn:
            found += _of_noise(problem, parameters)
        if "prior" in learn and not idle:
            found += _of_prior(parameters.prior, problem.superposition.linear)
    if found:
        warn_user(f"What was learned is at a limit: {'; '.join(found)}.")


def _does_not_vary(problem):
    moments = problem.moments
    return moments.variance <= np.finfo(problem.X.dtype).eps ** 2 * moments.mean_square


def _of_data(problem, parameters):
    """Yield what is wrong with data that lie far from 0 under a model without offset."""
    moments = problem.moments
    if parameters.offset is not None or moments.mean_square <= (1.0 + _FAR) * moments.variance:
        return
    remedy = "subtract what all rows have in common"
    if problem.superposition.linear:
        remedy = "set fit_offset=True, or subtract the means"
    yield (
        f"X lies far from 0, with a standard deviation of {np.sqrt(moments.variance):.3g} about "
        f"means of {np.sqrt(moments.mean_square):.3g}, which the components have to explain: "
        + remedy
    )


def _of_features(problem):
    """Yield which features are never observed."""
    observed = problem.moments.observed
    if observed is not None and not observed.all():
        never = _named("feature", np.flatnonzero(observed == 0.0))
        yield f"X has no value of {never}, where the components stay 0: leave out such columns"


def _idle(problem, parameters, usage):
    """Return what there is to say where no component explains anything, else None."""
    W, moments = parameters.components, problem.moments
    effects = np.abs(W).max(axis=1) * parameters.prior.amplitudes(len(W))
    # an offset takes the means
    size = moments.mean_square if parameters.offset is None else moments.variance
    explains = effects > _AT * np.sqrt(size)
    if not explains.any():
        which = "all components are 0"
    elif not np.any(usage[explains] * moments.weight > _AT):
        which = "no component is ever active"
    else:
        return None
    if not problem.superposition.linear and moments.mean.mean() < 0.0 and W.min() >= 0.0:
        return (
            f"{which}, as components of superposition='maximum' are not negative and X is: "
            "take superposition='magnitude-maximum', or give -X"
        )
    return (
        f"{which}, X is noise to this model: give data in which components come again, or start "
        "elsewhere by components_init, noise_init or n_init"
    )


def _of_noise(problem, parameters):
    """Yield that the noise has come to its floor."""
    noise = parameters.noise
    floor = problem.floor(parameters.offset is not None, noise.each_feature)
    variance, of = np.asarray(noise.variance), ""
    if variance.ndim == 2:
        scale = np.sqrt(floor)
        variance = np.linalg.eigvalsh(variance / np.outer(scale, scale))[0] * np.min(floor)
        floor = np.min(floor)
    at_floor = np.atleast_1d(variance <= (1.0 + _AT) * floor)
    if not at_floor.any():
        return
    if not at_floor.all():
        of = f" of {_named('feature', np.flatnonzero(at_floor))}"
        floor = floor[at_floor]
    floor = np.max(floor)
    yield (
        f"the noise variance{of} is at its floor of {floor:.3g}, which scores and posteriors then "
        "are those of: give "
        + (
            "features that vary"
            if of
            else "more rows, or without those far larger than all others, or learn fewer components"
        )
        + ", or hold the noise by learn=('components', 'prior') and noise_init"
    )


def _of_prior(prior, linear):
    """Yield which probabilities, and variances of slabs, have come to their limits."""
    if hasattr(prior, "active_values"):
        yield from _of_values(prior, linear)
    else:
        yield from _of_slabs(prior)


def _of_values(prior, linear):
    active = prior.active_probabilities().sum(axis=0)
    always = np.flatnonzero(1.0 - active <= (1.0 + _AT) * prior.n_values * PROBABILITY_FLOOR)
    # a few with probabilities of their own stand for an offset, and do no harm
    if 2 * always.size > active.size:
        which = "every component" if active.size == 1 else _named("component", always)
        remedy = ("set fit_offset=True or " if linear else "") + "learn fewer components"
        if prior.n_values > 1 and linear:
            remedy = "a prior of fewer values and fit_offset=True say the same"
        yield f"{which} is active in all data points, as an offset is: {remedy}"
    if active.size > 1:
        yield from _never(active <= (1.0 + _AT) * prior.n_values * PROBABILITY_FLOOR)


def _of_slabs(prior):
    variance = np.diag(prior.covariance) if prior.covariance.ndim == 2 else prior.covariance
    never = prior.probability <= (1.0 + _AT) * PROBABILITY_FLOOR
    yield from _never(never)
    fixed = ~never & (variance <= (1.0 + _AT) * SLAB_FLOOR * (variance + prior.mean**2))
    if fixed.any():
        yield (
            f"the slab variance of {_named('component', np.flatnonzero(fixed))} is at its floor: "
            "their strength does not vary, for which prior='binary' is the model"
        )


def _never(never):
    """Yield that many components are not needed; some to spare do no harm."""
    if 2 * never.sum() > never.size:
        used = never.size - never.sum()
        yield f"{never.sum()} of {never.size} components are never active: n_components={used} do"


def _named(kind, which):
    """Return a list of a few numbers, with what they are numbers of."""
    names = ", ".join(str(i) for i in which[:_NAMED])
    more = f" and {len(which) - _NAMED} more" if len(which) > _NAMED else ""
    return f"{kind}{'s' if len(which) > 1 else ''} {names}{more}"
