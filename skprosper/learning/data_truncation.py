"""Data truncation of ET: leave out data points that hold more causes than a state may.

The states kept have at most gamma active latents, so that data points with more of them
are explained badly and bias what EM learns. With A the probability that at most gamma
latents are active and B / A their mean number then, EM keeps the share 1 - (1 - A) cut of
the data of largest evidence, and multiplies what it learns of a latent being active by
the prior's mean number active over B / A. Luecke, Eggert (2010), JMLR 11.
"""

from dataclasses import replace

import numpy as np

from ..inference.tasks import MethodOnChunk
from ..parallel.chunks import is_dask_array
from ..parallel.rows import taken


def within(activity, max_active):
    """Return P(at most max_active latents are active) and their mean number then.

    activity (H,) are the latents' probabilities of being active.
    """
    distribution = np.zeros(max_active + 1)
    distribution[0] = 1.0
    for p in activity:
        distribution[1:] = distribution[1:] * (1.0 - p) + distribution[:-1] * p
        distribution[0] *= 1.0 - p
    total = max(distribution.sum(), np.finfo(np.float64).tiny)
    return total, np.arange(max_active + 1) @ distribution / total


def correction(activity, max_active, cut):
    """Return the factor by which the data left out raise the activity learned."""
    _, mean = within(activity, max_active)
    return (activity.sum() / max(mean, np.finfo(np.float64).tiny)) ** cut


def truncated(problem, e_step, activity, cut):
    """Return the problem of the data that stay, and the mean evidence over all data.

    The last data point that stays does so with what is left of its weight: a weight of
    2 equals the row twice.
    """
    X, weights = problem.X, problem.weights
    parts = list(problem.workers.map(MethodOnChunk(e_step, "log_evidence"), X))
    evidence = np.concatenate(parts)
    w = np.ones(len(evidence)) if weights is None else np.asarray(weights)
    inside, _ = within(activity, problem.truncation.max_changes)
    order = np.argsort(-evidence, kind="stable")
    before = np.cumsum(w[order]) - w[order]
    kept = np.empty_like(w)
    # of a prior that expects no such data point the one of most evidence stays
    stays = max((1.0 - (1.0 - inside) * cut) * w.sum(), w.max())
    kept[order] = np.clip(stays - before, 0.0, w[order])
    mean = w @ evidence / w.sum()
    if is_dask_array(X):
        from ..parallel.dask_blocks import in_blocks

        return replace(problem, weights=in_blocks(kept, [len(part) for part in parts])), mean
    rows = np.flatnonzero(kept)
    return replace(problem, X=taken(X, rows), weights=kept[rows]), mean
