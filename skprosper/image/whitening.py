"""Whitening of patches."""

from functools import reduce
from numbers import Real
from operator import add

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from ..learning.moments import moments_of
from ..parallel.chunks import chunk_rows

# Standard deviations whose squares, and inverses, stay finite.
_RANGE = {"float64": (1e-150, 1e150), "float32": (1e-30, 1e30)}


class ZCAWhitening(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Zero-phase whitening: decorrelated features that stay close to the original.

    With the mean m of the data and its covariance :math:`C = U \Lambda U^T`,

    .. math::

        y = U (\Lambda + \epsilon \bar\lambda)^{-1/2} U^T (x - m),

    where :math:`\bar\lambda` is the mean eigenvalue, that is the mean variance of a
    feature. Of all whitening transforms it changes the data least, so that whitened
    patches are still images [1]_; ``PCA(whiten=True)`` rotates them.

    Parameters
    ----------
    epsilon : float, default=0.01
        Directions whose variance is well below `epsilon` times the mean variance are
        noise and are not blown up to variance one.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,), float64
        Mean of the data.
    whitening_ : ndarray of shape (n_features, n_features)
        The symmetric matrix that whitens.
    dewhitening_ : ndarray of shape (n_features, n_features)
        Its inverse.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, where X has names that are all strings.

    References
    ----------
    .. [1] A. J. Bell and T. J. Sejnowski. The "independent components" of natural
       scenes are edge filters. Vision Research 37, 3327-3338, 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper.image import ZCAWhitening
    >>> X = np.random.default_rng(0).normal(size=(500, 2)) @ [[2.0, 1.0], [0.0, 1.0]]
    >>> np.cov(ZCAWhitening(epsilon=1e-9).fit_transform(X).T).round(2) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """

    _parameter_constraints = {"epsilon": [Interval(Real, 0, None, closed="neither")]}

    def __init__(self, epsilon=0.01):
        self.epsilon = epsilon

    def fit(self, X, y=None):
        """Learn the mean and the whitening matrix.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            The data, of at least two samples.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        self._validate_params()
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        # in float64 for float32 data too: small eigenvalues count
        moments = reduce(add, (moments_of(X[rows], None, True) for rows in chunk_rows(len(X))))
        deviation = np.sqrt(moments.variance)
        low, high = _RANGE[X.dtype.name]
        if not low < deviation < high and np.any(X != X[0]):
            raise ValueError(
                f"X has a standard deviation of {deviation:.3g}, outside the range {low:g} to "
                f"{high:g} of {X.dtype.name}; rescale X."
            )
        variances, directions = np.linalg.eigh(moments.covariance)
        variances = np.maximum(variances, 0)
        scales = np.sqrt(variances + self.epsilon * variances.mean())
        if not scales.any():
            scales[:] = 1  # constant data: nothing to whiten
        self.mean_ = moments.mean
        self.whitening_ = ((directions / scales) @ directions.T).astype(X.dtype)
        self.dewhitening_ = ((directions * scales) @ directions.T).astype(X.dtype)
        return self

    def transform(self, X):
        """Whiten data.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data.

        Returns
        -------
        X_white : ndarray of shape (n_samples, n_features)
            Whitened data.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (X - self.mean_).astype(X.dtype, copy=False) @ self.whitening_

    def inverse_transform(self, X):
        """Take whitened data back to where it came from.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Whitened data.

        Returns
        -------
        X_original : ndarray of shape (n_samples, n_features)
            Data in the units of the data before whitening.
        """
        check_is_fitted(self)
        X = check_array(X, dtype=[np.float64, np.float32])
        if X.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {X.shape[1]} features, but ZCAWhitening was fitted with "
                f"{self.n_features_in_}."
            )
        return (X @ self.dewhitening_ + self.mean_).astype(X.dtype, copy=False)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
