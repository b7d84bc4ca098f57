"""Where EM starts; components at deviations of their own from the data's mean.

What is drawn here are the deviations; ``initial_components`` of the superposition makes
components of them such that the model has about the mean and the covariance of the data.
"""

import numpy as np
from scipy import linalg

from ..inference.base import Parameters
from ..noise import NOISES
from ..validation import check_prior, check_start, checked_components, checked_noise
from .moments import data_moments, data_squares
from .sampling import drawn, few, few_rows

INITIALISATIONS = {"k-means++", "random_from_data", "random"}
# Rows that are drawn to choose from: at least, and for each component.
_LEAST_ROWS, _ROWS_PER_COMPONENT = 1024, 10


def start_moments(components_init, n_components, n_features):
    """Return the function that sums a chunk to what a start is drawn from."""
    given = components_init is not None and not isinstance(components_init, str)
    return data_squares if given or n_features > few(n_components) else data_moments


def start_parameters(
    problem, prior, n_components, *, components_init, noise, noise_init, fit_offset, random_state
):
    """Return the parameters that a run of EM starts from; ``prior`` has concrete values."""
    superposition, n_features = problem.superposition, problem.X.shape[1]
    check_prior(prior, n_components, problem.X.dtype)
    if components_init is None or isinstance(components_init, str):
        components = initial_components(
            components_init, problem, prior, n_components, fit_offset, random_state
        )
    else:
        components = checked_components(components_init, n_components, n_features, superposition)
    if problem.moments.observed is not None:
        components = np.where(problem.moments.observed > 0.0, components, 0.0)
    offset = problem.moments.mean if fit_offset else None
    if noise_init is None:
        noise_init = max(problem.moments.variance, problem.floor(centred=fit_offset))
    noise = NOISES[noise](checked_noise(noise_init, noise, n_features))
    check_start(components, prior, noise, problem.moments, problem.X.dtype, fit_offset)
    return Parameters(components, prior, noise, offset)


def initial_components(init, problem, prior, n_components, centred, random_state):
    """Return components (H, D) to start from, for data less their mean or as they are."""
    mean, deviations = mean_and_deviations(init, problem, n_components, random_state)
    return problem.superposition.initial_components(mean, deviations, prior, centred)


def mean_and_deviations(init, problem, n_components, random_state):
    """Return the data's mean (D,), and a deviation from it for each component (H, D).

    Without an ``init`` the deviations are normal with the data's covariance; "random" ones
    have its mean variance alone. "random_from_data" are those of different rows,
    "k-means++" of rows far apart; where there are too few rows, the others are normal.
    They do not depend on the unit of the data, normal ones not on the order of the rows,
    unless there are many rows of many features: then only some rows are looked at.
    """
    mean = problem.moments.mean
    normal = random_state.standard_normal((n_components, len(mean)))
    wide = problem.moments.second is None or len(mean) > few(n_components)
    deviations, norm = (_from_rows if wide else _from_covariance)(normal, problem)
    if init == "random":
        return mean, normal * (norm / np.sqrt(len(mean)))
    if init is not None:
        n_rows = max(_LEAST_ROWS, _ROWS_PER_COMPONENT * n_components)
        shares = random_state.uniform(size=n_rows)
        rows, which = drawn(problem, shares)
        rows, counts = _distinct(_filled(rows, mean), which)
        n_found = min(n_components, len(rows))
        if init == "k-means++":
            from sklearn.cluster import kmeans_plusplus  # slow, and seldom needed

            rows, _ = kmeans_plusplus(
                rows, n_found, sample_weight=counts, random_state=random_state
            )
        deviations[:n_found] = rows[:n_found] - mean
    return mean, deviations


def _from_covariance(normal, problem):
    """Return normal deviates (H, D) given the data's covariance, and the norm of its root.

    They are multiplied by the symmetric root.
    """
    eigenvalues, vectors = linalg.eigh(problem.moments.covariance)
    # rounding errors of vanishing eigenvalues would be magnified by the root
    eigenvalues[eigenvalues < 1e-10 * eigenvalues[-1]] = 0.0
    root = (vectors * np.sqrt(eigenvalues)) @ vectors.T
    return normal @ root, linalg.norm(root)


def _from_rows(normal, problem):
    """Return the same with no matrix over the features, from few rows.

    With R the rows less their mean, of which the covariance is R^T R, its root is
    R^T (R R^T)^(-1/2) R.
    """
    rows, weights = few_rows(problem, few(len(normal)))
    rows = _filled(rows, problem.moments.mean) - problem.moments.mean
    if problem.moments.observed is not None:
        # as large as if nothing were missing
        rows *= np.sqrt(problem.moments.weight / np.maximum(problem.moments.observed, 1e-300))
    rows *= np.sqrt(weights / weights.sum())[:, None]
    eigenvalues, vectors = linalg.eigh(rows @ rows.T)
    there = eigenvalues > 1e-10 * eigenvalues[-1]
    eigenvalues, vectors = eigenvalues[there], vectors[:, there]
    along = normal @ rows.T @ (vectors / np.sqrt(eigenvalues)) @ vectors.T
    return along @ rows, np.sqrt(eigenvalues.sum())


def _filled(rows, mean):
    """Return rows with the mean in place of what is missing."""
    return np.where(np.isnan(rows), mean, rows)


def _distinct(rows, which):
    """Return each row once, in the order in which they are drawn, and how often it comes."""
    _, first = np.unique(which, return_index=True)
    order = np.argsort(first)
    rows, counts = rows[order], np.bincount(which)[order]
    _, first, which = np.unique(rows, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return rows[first[order]], np.bincount(which, counts)[order]
