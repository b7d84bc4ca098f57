"""Small random problems, as estimators with given parameters and as references."""

import numpy as np
from enumeration import Model

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
    TernarySparseCoding,
)
from skprosper.priors import BinaryPrior, DiscretePrior, TernaryPrior

PRIORS = {
    "binary": (BinaryPrior(0.2, tied=True), [1.0], [0.2]),
    "ternary": (TernaryPrior(0.3, tied=True), [-1.0, 1.0], [0.15, 0.15]),
    "discrete": (
        DiscretePrior((-0.5, 0, 1, 2), (0.1, 0.6, 0.2, 0.1), tied=True),
        [-0.5, 1.0, 2.0],
        [0.1, 0.2, 0.1],
    ),
}

# Each named model, the bars of its own process, whether its components have either sign.
NAMED = [
    (BinarySparseCoding, {}, False),
    (TernarySparseCoding, dict(prior="ternary"), True),
    (DiscreteSparseCoding, dict(prior="discrete"), False),
    (GaussianSparseCoding, dict(prior="spike-slab", noise=1.0), True),
    (MaximalCausesAnalysis, dict(superposition="maximum"), False),
    (
        MaximumMagnitudeCausesAnalysis,
        dict(superposition="magnitude-maximum", signed=True),
        False,
    ),
]


def noise_of(kind, n_features, rng):
    """Return a noise variance of the kind."""
    if kind == "isotropic":
        return 0.7
    if kind == "diagonal":
        return rng.uniform(0.3, 1.5, n_features)
    root = rng.standard_normal((n_features, n_features))
    return 0.5 * np.eye(n_features) + root @ root.T / n_features


def random_problem(
    prior,
    noise="isotropic",
    superposition="linear",
    *,
    offset=True,
    seed=0,
    n_components=5,
    n_features=6,
    **params,
):
    """Return an estimator holding random parameters, the reference, and data."""
    rng = np.random.default_rng(seed)
    components = rng.standard_normal((n_components, n_features))
    if superposition == "maximum":
        components = np.abs(components)
    variance = noise_of(noise, n_features, rng)
    start, values, probabilities = PRIORS[prior]
    X = 1.5 * rng.standard_normal((30, n_features))
    estimator = SparseCoding(
        n_components,
        prior=start,
        noise=noise,
        superposition=superposition,
        components_init=components,
        noise_init=variance,
        fit_offset=offset,
        max_iter=0,
        **params,
    ).fit(X)
    m = X.mean(axis=0) if offset else np.zeros(n_features)
    model = Model(
        components, np.array(values), np.array(probabilities), variance, superposition, offset=m
    )
    return estimator, model, X
