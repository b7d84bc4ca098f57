"""Where EM starts; components at deviations of their own from the data's mean.

What is drawn here are the deviations; ``initial_components`` of the superposition makes
components of them such that the model has about the mean and the covariance of the data.
"""

import numpy as np
from scipy import linalg

from ..noise import NOISES
from ..validation import checked_components, checked_noise
from .problem import Parameters, mean_square

INITIALISATIONS = {"k-means++", "random_from_data", "random"}
# Rows that are drawn to choose from: at least, and for each component.
_LEAST_ROWS, _ROWS_PER_COMPONENT = 1024, 10


def start_parameters(
    problem, prior, n_components, *, components_init, noise, noise_init, fit_offset, random_state
):
    """Return the parameters that a run of EM starts from; ``prior`` has concrete values."""
    superposition, n_features = problem.superposition, problem.X.shape[1]
    if components_init is None or isinstance(components_init, str):
        mean, deviations = mean_and_deviations(components_init, problem, n_components, random_state)
        components = superposition.initial_components(mean, deviations, prior, fit_offset)
    else:
        components = checked_components(components_init, n_components, n_features, superposition)
    offset = problem.moments["sum"] / problem.moments["weight"] if fit_offset else None
    if noise_init is None:
        noise_init = max(
            mean_square(problem.moments, centred=True),
            problem.floor(centred=False),
        )
    return Parameters(
        components, prior, NOISES[noise](checked_noise(noise_init, noise, n_features)), offset
    )


def mean_and_deviations(init, problem, n_components, random_state):
    """Return the data's mean (D,), and a deviation from it for each component (H, D).

    Without an ``init`` the deviations are normal with the data's covariance; "random" ones
    have its mean variance alone. "random_from_data" are those of different rows,
    "k-means++" of rows far apart; where there are too few rows, the others are normal.
    They do not depend on the unit of the data, normal ones not on the order of the rows.
    """
    mean, root = _mean_and_root(problem.moments)
    normal = random_state.standard_normal((n_components, len(mean)))
    if init == "random":
        return mean, normal * (linalg.norm(root) / np.sqrt(len(mean)))
    deviations = normal @ root
    if init is not None:
        n_rows = max(_LEAST_ROWS, _ROWS_PER_COMPONENT * n_components)
        shares = random_state.uniform(size=n_rows)
        rows, counts = _distinct(rows_at(problem, shares))
        n_found = min(n_components, len(rows))
        if init == "k-means++":
            from sklearn.cluster import kmeans_plusplus  # slow, and seldom needed

            rows, _ = kmeans_plusplus(
                rows, n_found, sample_weight=counts, random_state=random_state
            )
        deviations[:n_found] = rows[:n_found] - mean
    return mean, deviations


def _mean_and_root(moments):
    """Return the data's mean and the symmetric root of their covariance."""
    mean = moments["sum"] / moments["weight"]
    covariance = moments["second"] / moments["weight"] - np.outer(mean, mean)
    eigenvalues, vectors = linalg.eigh(covariance)
    # rounding errors of vanishing eigenvalues would be magnified by the root
    eigenvalues[eigenvalues < 1e-10 * eigenvalues[-1]] = 0.0
    return mean, (vectors * np.sqrt(eigenvalues)) @ vectors.T


def rows_at(problem, shares):
    """Return the rows of the data at these shares, in [0, 1), of the sum of the weights.

    A weight of 2 equals the row twice, one after the other. Only these rows leave their
    chunks.
    """
    X, weights, workers = problem.X, problem.weights, problem.workers
    bounds = np.cumsum([0.0, *workers.map(_total_weight, X, weights)])
    positions = _below(bounds[-1], bounds[-1] * shares)
    chunks = np.searchsorted(bounds[1:], positions, side="right")
    drawn = np.unique(chunks)
    arguments = [None] * (len(bounds) - 1)
    for i in drawn:
        arguments[i] = (positions[chunks == i] - bounds[i],)
    rows = np.empty((len(shares), X.shape[1]))
    for i, part in zip(drawn, workers.map(_rows_at, X, weights, arguments), strict=True):
        rows[chunks == i] = part
    return rows


def _total_weight(X, weights):
    return float(len(X)) if weights is None else np.cumsum(weights)[-1]


def _rows_at(X, weights, positions):
    """Return the rows of a chunk at positions in the running sum of its weights."""
    bounds = np.cumsum(np.ones(len(X)) if weights is None else weights)
    return X[np.searchsorted(bounds, _below(bounds[-1], positions), side="right")]


def _below(bound, positions):
    # what rounding has put on the bound would belong to no row
    return np.minimum(positions, np.nextafter(bound, 0.0))


def _distinct(rows):
    """Return each row once, in the order of the first ones, and how often it comes."""
    _, first, counts = np.unique(rows, axis=0, return_index=True, return_counts=True)
    order = np.argsort(first)
    return rows[first[order]], counts[order].astype(np.float64)
