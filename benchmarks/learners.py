"""Learners of other libraries as scikit-learn estimators, and how one judges a dictionary.

``PEERS`` holds a function for each: of the number of components, and of passes over the data,
threads and the seed; without passes it takes as many as serve it well, SPAMS without a seed
draws its start itself. scikit-learn's dictionary learners take the lasso by coordinate
descent, which is many times as quick here as their default, least angle regression: that
takes a step for each element, of which the first dictionaries need many.
"""

import dictlearn
import numpy as np
import spams
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import (
    NMF,
    DictionaryLearning,
    FactorAnalysis,
    FastICA,
    MiniBatchDictionaryLearning,
)

N_ELEMENTS = 10


def unit_rows(components):
    """Return the components that are not 0, scaled to length one."""
    length = np.linalg.norm(components, axis=1, keepdims=True)
    return (components / np.where(length > 0.0, length, 1.0))[length[:, 0] > 0.0]


def explained(components, X, n_elements=N_ELEMENTS, error=None, n_jobs=2):
    """Return the share of the square of X that matching pursuit explains, and its elements.

    The elements of a row of X are so many, or, on average, as many as leave this error.
    """
    D = np.asfortranarray(unit_rows(components).T)
    Y = np.asfortranarray(X.T)
    stop = dict(L=n_elements) if error is None else dict(L=min(D.shape), eps=error)
    codes = spams.omp(Y, D=D, numThreads=n_jobs, **stop)
    left = np.sum((Y - D @ codes.toarray()) ** 2) / np.sum(Y**2)
    return 1.0 - left, codes.nnz / len(X)


def explained_by_mean(components, X, n_elements, n_jobs=2):
    """Return the share that so many elements on average explain, more where more is left."""
    largest = np.max(np.sum(X**2, axis=1))
    low, high = 1e-4 * largest, largest
    while high > 1.005 * low:
        error = np.sqrt(low * high)
        share, n_taken = explained(components, X, error=error, n_jobs=n_jobs)
        low, high = (error, high) if n_taken > n_elements else (low, error)
    return share


class SpamsDictionaryLearning(TransformerMixin, BaseEstimator):
    """SPAMS: trainDL learns, lasso codes, both with a penalty in units of 1 / sqrt(n_features)."""

    def __init__(self, n_components, penalty=1.2, n_passes=10, n_jobs=1, random_state=None):
        self.n_components = n_components
        self.penalty = penalty
        self.n_passes = n_passes
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _params(self, X):
        return dict(lambda1=self.penalty / np.sqrt(X.shape[1]), numThreads=self.n_jobs)

    def fit(self, X, y=None):
        start = dict(K=self.n_components)
        if self.random_state is not None:
            chosen = np.random.default_rng(self.random_state).permutation(len(X))
            start = dict(D=np.asfortranarray(unit_rows(X[chosen[: self.n_components]]).T))
        n_batches = self.n_passes * -(-len(X) // 512)
        D = spams.trainDL(
            np.asfortranarray(X.T),
            iter=n_batches,
            batchsize=512,
            verbose=False,
            **start,
            **self._params(X),
        )
        self.components_ = np.ascontiguousarray(D.T)
        return self

    def transform(self, X):
        D = np.asfortranarray(self.components_.T)
        return spams.lasso(np.asfortranarray(X.T), D=D, **self._params(X)).T.toarray()


def by_spams(n_components, n_passes=None, n_jobs=1, seed=None):
    return SpamsDictionaryLearning(
        n_components, n_passes=n_passes or 10, n_jobs=n_jobs, random_state=seed
    )


def by_dictlearn(n_components, n_passes=None, n_jobs=1, seed=0):
    return dictlearn.DictionaryLearning(
        n_components,
        fit_algorithm="aksvd",
        n_nonzero_coefs=N_ELEMENTS,
        max_iter=n_passes or 10,
        random_state=seed,
    )


def _passes(n_passes, usual, **no_stop):
    """Return parameters: so many passes in all, or so many at most."""
    return dict(max_iter=usual) if n_passes is None else dict(max_iter=n_passes, **no_stop)


def by_batch(n_components, n_passes=None, n_jobs=1, seed=0):
    return DictionaryLearning(
        n_components,
        fit_algorithm="cd",
        transform_n_nonzero_coefs=N_ELEMENTS,
        n_jobs=n_jobs,
        random_state=seed,
        **_passes(n_passes, 20, tol=0.0),
    )


def by_mini_batch(n_components, n_passes=None, n_jobs=1, seed=0):
    # one thread: to hand the rows of a batch to others takes longer than to code them
    return MiniBatchDictionaryLearning(
        n_components,
        fit_algorithm="cd",
        transform_n_nonzero_coefs=N_ELEMENTS,
        random_state=seed,
        **_passes(n_passes, 1000, tol=0.0, max_no_improvement=None),
    )


def by_ica(n_components, n_passes=None, n_jobs=1, seed=0):
    return FastICA(n_components, random_state=seed, **_passes(n_passes, 200, tol=0.0))


def by_factors(n_components, n_passes=None, n_jobs=1, seed=0):
    return FactorAnalysis(n_components, random_state=seed, **_passes(n_passes, 100, tol=0.0))


def by_nmf(n_components, n_passes=None, n_jobs=1, seed=0):
    return NMF(n_components, random_state=seed, **_passes(n_passes, 200, tol=0.0))


PEERS = {
    "SPAMS": by_spams,
    "dictlearn K-SVD": by_dictlearn,
    "DictionaryLearning": by_batch,
    "MiniBatchDictionaryLearning": by_mini_batch,
    "FastICA": by_ica,
    "FactorAnalysis": by_factors,
    "NMF": by_nmf,
}


def dictionary(fitted):
    """Return the components in the units of X, a row each."""
    return fitted.mixing_.T if isinstance(fitted, FastICA) else fitted.components_
