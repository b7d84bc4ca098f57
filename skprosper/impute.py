"""Imputation by several models, so that what is not known of the parameters counts too."""

from numbers import Integral

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context, clone
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted, validate_data


class BootstrapImputer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Imputation by models of the Bayesian bootstrap.

    A single model takes the parameters that it has learned for certain: where data are few
    for the number of parameters its intervals are too narrow. Here several copies of a model
    are fitted, each with random weights for the rows, :math:`n` times a draw from the flat
    Dirichlet distribution: a draw from a posterior of the parameters [1]_. What is missing is
    replaced by the mean of what the models expect, whose errors partly cancel, and by the law
    of total variance

    .. math::

        \operatorname{Var}[y_M | y_O]
            = \operatorname{E}_\Theta \operatorname{Var}[y_M | y_O, \Theta]
            + \operatorname{Var}_\Theta \operatorname{E}[y_M | y_O, \Theta].

    Parameters
    ----------
    estimator : estimator
        An unfitted model of this package, or any estimator that has ``fit`` with
        `sample_weight` and ``impute`` with `return_std`. It is cloned.

    n_estimators : int, default=10
        How many models are fitted, 2 at least.

    n_jobs : int, default=None
        How many models are fitted at once, in threads; see joblib. The results do not depend
        on it.

    random_state : int, RandomState instance or None, default=None
        Draws the weights and the seeds of the models. An int gives reproducible results.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted models. What each imputes is one of multiple imputations.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during fit, where X has names that are all strings.

    See Also
    --------
    GaussianSparseCoding.impute : Imputation by a single model.
    sklearn.impute.IterativeImputer : Regressions of each feature on the others.

    References
    ----------
    .. [1] Rubin (1981). The Bayesian bootstrap. The Annals of Statistics 9, 130-134.

    Examples
    --------
    >>> import numpy as np
    >>> from skprosper import BinarySparseCoding
    >>> from skprosper.datasets import make_bars
    >>> from skprosper.impute import BootstrapImputer
    >>> X, _, _ = make_bars(300, size=3, random_state=0)
    >>> missing = np.random.default_rng(0).uniform(size=X.shape) < 0.3
    >>> holes = np.where(missing, np.nan, X)
    >>> imputer = BootstrapImputer(BinarySparseCoding(6), n_estimators=4, random_state=0)
    >>> filled, std = imputer.fit(holes).impute(holes, return_std=True)
    >>> bool(np.mean(np.abs(filled - X)[missing] < 1.96 * std[missing]) > 0.9)
    True
    """

    _parameter_constraints = {
        "estimator": [HasMethods(["fit", "impute"])],
        "n_estimators": [Interval(Integral, 2, None, closed="left")],
        "n_jobs": [None, Integral],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator, n_estimators=10, *, n_jobs=None, random_state=None):
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Fit the models.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data, NaN where missing.

        y : Ignored
            Not used, present by convention.

        Returns
        -------
        self : BootstrapImputer
            The fitted imputer.

        Raises
        ------
        ValueError
            If a parameter or X is not valid.
        """
        X = self._validated(X, reset=True)
        random_state = check_random_state(self.random_state)
        models, weights = [], []
        for _ in range(self.n_estimators):
            model = clone(self.estimator)
            seeds = {
                name: random_state.randint(np.iinfo(np.int32).max)
                for name in sorted(model.get_params())
                if name.split("__")[-1] == "random_state"
            }
            models.append(model.set_params(**seeds))
            # exponential deviates over their mean are a Dirichlet draw times their number
            draw = random_state.standard_exponential(len(X))
            weights.append(draw / draw.mean())
        self.estimators_ = Parallel(self.n_jobs, prefer="threads")(
            delayed(model.fit)(X, sample_weight=w) for model, w in zip(models, weights, strict=True)
        )
        return self

    def _validated(self, X, reset):
        return validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan"
        )

    def impute(self, X, return_std=False):
        """Return the data with the missing values replaced by what the models expect.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data, NaN where missing.

        return_std : bool, default=False
            Whether to return the standard deviations too.

        Returns
        -------
        X_imputed : ndarray of shape (n_samples, n_features), dtype of X
            The mean over the models of E[y_M | y_O] where a value is missing, X where it is not.

        std : ndarray of shape (n_samples, n_features), dtype of X
            Standard deviation of each value given the observed ones, noise and the spread of
            the models included, in the units of X; 0 where observed. Only if ``return_std``.
        """
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        # of one model at a time: mean, squares about it, and variance within
        mean, square, within = np.zeros(X.shape), np.zeros(X.shape), np.zeros(X.shape)
        for n, model in enumerate(self.estimators_, 1):
            filled, std = model.impute(X, return_std=True)
            step = filled - mean
            mean += step / n
            square += step * (filled - mean)
            within += np.square(std, dtype=np.float64)
        missing, n = np.isnan(X), len(self.estimators_)
        filled = np.where(missing, mean, X).astype(X.dtype, copy=False)
        if not return_std:
            return filled
        variance = np.where(missing, within / n + square / (n - 1), 0.0)
        return filled, np.sqrt(variance).astype(X.dtype)

    def transform(self, X):
        """Return the data with the missing values replaced; see `impute`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Data, NaN where missing.

        Returns
        -------
        X_imputed : ndarray of shape (n_samples, n_features), dtype of X
            X where it is not missing.
        """
        return self.impute(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
