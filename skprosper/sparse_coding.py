"""SparseCoding: the scikit-learn surface of all models."""

import warnings
from numbers import Integral, Real

import joblib
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from .annealing import Annealing
from .inference.tasks import EvidenceOfChunk, MethodOnChunk, SuperposedChunk
from .learning.diagnostics import diagnose, warn_of_gap
from .learning.em import (
    FitState,
    Run,
    canonical,
    run_em,
)
from .learning.initialisation import INITIALISATIONS, start_moments, start_parameters
from .learning.problem import Parameters, Problem, data_squares, mean_square
from .learning.stepwise import Stream, averaged, step
from .noise import NOISES
from .parallel.workers import Workers
from .posterior import posterior_of
from .priors import NAMED_PRIORS
from .superpositions import SUPERPOSITIONS
from .validation import (
    check_data_cut,
    check_learn,
    check_scale,
    check_weight,
    checked_array,
    checked_truncation,
    checked_weights,
)


class SparseCoding(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Probabilistic sparse coding: a prior, a superposition and Gaussian noise.

    Latents s_h are drawn independently from the prior, combined with the components
    W_h by the superposition, and observed under noise:

    .. math::

        s_h \\sim \\mathrm{prior}, \\qquad
        y \\mid s \\sim \\mathcal{N}(m + \\bar y(s, W), \\Sigma)

    Components, prior and noise are learned together by truncated variational EM: the
    posterior of a data point is kept on the states that can matter, with its many
    modes and correlations, and the lower bound of the log-likelihood that this gives
    is the score.

    Parameters
    ----------
    n_components : int, default=None
        Number of latents H; None takes ``n_features``.

    prior : {"binary", "ternary", "discrete", "spike-slab"} or prior object, default="binary"
        Prior of a latent. An object of `skprosper.priors` sets its start values.

    superposition : {"linear", "maximum", "magnitude-maximum"}, default="linear"
        How active components combine: "linear" adds them; "maximum" takes the largest
        s_h W_hd at each feature, 0 from inactive ones, and keeps components non-negative;
        "magnitude-maximum" takes the one of largest magnitude, with its sign. The last
        two go with discrete priors.

    noise : {"isotropic", "diagonal", "full"}, default="isotropic"
        Structure of the noise covariance Sigma; the last two for the linear superposition.

    fit_offset : bool, default=False
        Whether to learn the offset m; without it m is 0. For the linear superposition.

    center : {"best", "zero"}, default="best"
        The state around which the posterior of a data point is truncated: kept are the
        centre, all states that differ from it in one latent, and those that differ in up
        to ``max_changes`` of the candidates. "best" is a local maximum of the
        log-joint, found by changing one latent at a time: any number of latents may be
        active. "zero" is the state in which none is, as in Expectation Truncation.

    n_candidates : int or None, default=8
        Latents H' that a data point's states may combine, chosen for each data point;
        cut to ``n_components``. None takes all.

    max_changes : int or None, default=5
        Most candidates in which a state may differ from the centre; cut to
        ``n_candidates``. None takes ``n_candidates``. With None for both the posterior is
        exact. With ``center="zero"`` it is the most latents active in a state.

    selection : {"pursuit", "marginal"}, default="pursuit"
        How candidates are found for ``center="zero"``. "marginal" takes the latents that
        explain the data point best alone. "pursuit" takes the best, removes what it
        explains, takes the next: better for overcomplete, coherent components. Around
        the best state the candidates are the latents whose change costs least.

    learn : tuple of str, default=("components", "prior", "noise")
        What EM updates; the rest stays as initialised.

    components_init : {"k-means++", "random_from_data", "random"} or array-like, default=None
        Components at the start of EM, (n_components, n_features). None draws them with the
        data's mean and covariance, "random" with its mean and mean variance alone.
        "random_from_data" takes data points at random, "k-means++" data points far from
        each other, both scaled such that the model has about the mean and covariance of
        the data. Of fewer distinct data points than components each is taken once, and
        the rest are drawn as with None.

    noise_init : float or array-like, default=None
        Noise variance at the start of EM, in squared units of X: a number, or
        (n_features,) or (n_features, n_features) as ``noise`` has it. None takes the
        variance of the data.

    annealing : {"auto"}, None or Annealing, default="auto"
        Schedule of the temperature; None runs plain EM.

    n_init : int, default=1
        Runs from different starts; the one with the best lower bound is kept.

    max_iter : int, default=100
        EM iterations of a run. 0 keeps the initial parameters. Moves out of poor optima
        (`~annealing.Annealing`, ``reseed``) are tried for as many more, at most.

    tol : float, default=1e-4
        EM has converged when the mean lower bound changes by less, in nats.

    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the last fit.

    batch_size : int or "auto", default="auto"
        Rows per chunk, the unit of parallel work and of memory. The blocks of a dask
        array are its chunks.

    code : {"mean", "map", "probability"}, default="mean"
        What `transform` returns: the posterior mean of the latents, the most probable
        state, or the posterior probability of being active.

    n_jobs : int, default=None
        Chunks worked on at a time, by threads unless ``joblib.parallel_config`` says
        otherwise. The result does not depend on it.

    random_state : int, RandomState instance or None, default=None
        Seeds the initial components and `sample`.

    verbose : int, default=0
        1 prints a line every ten iterations, 2 every iteration.

    Attributes
    ----------
    components_ : ndarray of shape (n_components, n_features), dtype of X
        The components W.

    prior_ : prior object
        The prior with the learned values.

    noise_variance_ : float or ndarray
        Noise variance: a float, (n_features,) or (n_features, n_features).

    offset_ : ndarray of shape (n_features,)
        The offset m, 0 without ``fit_offset``.

    lower_bound_ : float
        Lower bound of the log-likelihood per data point at the last E-step, nats.

    lower_bounds_ : ndarray of shape (`n_iter_`,), float64
        Lower bound per data point at the E-step of each iteration, nats.

    n_iter_ : int
        EM iterations of the best run.

    converged_ : bool
        Whether the best run met ``tol`` at temperature 1.

    usage_ : ndarray of shape (n_components,), float64
        Share of the data points in which a component is active, by the posterior, after
        `fit`; `skprosper.metrics.distinct_components` tells those that are not needed.

    truncation_gap_ : float
        What two candidates and one change more would add to the lower bound, in nats per
        data point, after `fit`; of at most 128 rows per chunk. 0 where there are no more. A
        warning tells where it is large enough to bias what is learned.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of features seen during `fit`, where X has such.

    See Also
    --------
    BinarySparseCoding, TernarySparseCoding, DiscreteSparseCoding, GaussianSparseCoding, \
    MaximalCausesAnalysis, MaximumMagnitudeCausesAnalysis : The named models.
    sklearn.decomposition.DictionaryLearning : L1 sparse coding, a point estimate.

    References
    ----------
    Luecke, Eggert (2010). Expectation Truncation and the benefits of preselection in
    training generative models. JMLR 11.

    Luecke (2016). Truncated variational expectation maximization. arXiv:1610.03113.

    Examples
    --------
    >>> from skprosper import SparseCoding
    >>> from skprosper.datasets import make_bars
    >>> X, codes, bars = make_bars(400, size=3, random_state=0)
    >>> model = SparseCoding(6, prior="binary", random_state=0).fit(X)
    >>> model.transform(X).shape
    (400, 6)
    """

    _parameter_constraints = {
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "prior": [StrOptions(set(NAMED_PRIORS)), HasMethods(["start", "updated"])],
        "superposition": [StrOptions(set(SUPERPOSITIONS))],
        "noise": [StrOptions(set(NOISES))],
        "fit_offset": ["boolean"],
        "center": [StrOptions({"best", "zero"})],
        "n_candidates": [Interval(Integral, 1, None, closed="left"), None],
        "max_changes": [Interval(Integral, 1, None, closed="left"), None],
        "selection": [StrOptions({"pursuit", "marginal"})],
        "learn": [tuple, list, set],
        "components_init": [StrOptions(INITIALISATIONS), "array-like", None],
        "noise_init": [Interval(Real, 0, None, closed="neither"), "array-like", None],
        "annealing": [StrOptions({"auto"}), Annealing, None],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "code": [StrOptions({"mean", "map", "probability"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components=None,
        *,
        prior="binary",
        superposition="linear",
        noise="isotropic",
        fit_offset=False,
        center="best",
        n_candidates=8,
        max_changes=5,
        selection="pursuit",
        learn=("components", "prior", "noise"),
        components_init=None,
        noise_init=None,
        annealing="auto",
        n_init=1,
        max_iter=100,
        tol=1e-4,
        warm_start=False,
        batch_size="auto",
        code="mean",
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.n_components = n_components
        self.prior = prior
        self.superposition = superposition
        self.noise = noise
        self.fit_offset = fit_offset
        self.center = center
        self.n_candidates = n_candidates
        self.max_changes = max_changes
        self.selection = selection
        self.learn = learn
        self.components_init = components_init
        self.noise_init = noise_init
        self.annealing = annealing
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.batch_size = batch_size
        self.code = code
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    # What a model is made of; the named models fix some of it.

    def _prior(self):
        if isinstance(self.prior, str):
            return NAMED_PRIORS[self.prior]()
        return self.prior

    def _superposition(self):
        return SUPERPOSITIONS[self.superposition]

    def _truncation(self, n_components, prior):
        return checked_truncation(
            self.n_candidates,
            self.max_changes,
            self.center,
            self.selection,
            n_components,
            prior.n_values,
        )

    # Fitting

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
        """Learn components, prior and noise from data.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data, float64 or float32 (kept), rows are data points.

        y : None
            Ignored; present for the convention of scikit-learn.

        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Non-negative weight of each data point; a weight of 2 equals the row twice.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is not valid; the message names value and remedy.
        """
        given, X = X, self._checked(X, reset=True, ensure_min_samples=2)
        sample_weight = checked_weights(sample_weight, X)
        self._stream = None
        random_state = check_random_state(self.random_state)
        prior, superposition, n_components, truncation = self._model(X)
        context = self._init_callback_context(max_subtasks=self.n_init)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        # Scoring callbacks want a target; the data are their own.
        hooks = dict(estimator=self, X=given, y=given if y is None else y, metadata=metadata)
        context.call_on_fit_task_begin(**hooks)
        with Workers(self.n_jobs, self.batch_size) as workers:
            moments = start_moments(self.components_init, n_components, X.shape[1])
            moments = workers.sum(moments, X, sample_weight)
            check_weight(moments)
            check_scale(mean_square(moments, centred=False), X.dtype)
            problem = Problem(X, sample_weight, workers, superposition, truncation, moments)
            state = self._state(FitState(self._fingerprint(moments), random_state))
            for init in range(state.init, self.n_init):
                if state.run is None:
                    start = self._start(problem, prior, n_components, state.random_state)
                    state.run = Run(start)
                run_context = context.subcontext(
                    task_name=f"init {init}", max_subtasks=self.max_iter
                ).call_on_fit_task_begin(**hooks)
                self._run(problem, state, run_context, hooks)
                state.end_run()
                if run_context.call_on_fit_task_end(**hooks):
                    break
            best, self._fit_state = state.best, None
            if self.max_iter == 0:
                e_step = problem.e_step(best.parameters)
                best_bound = problem.expectations(e_step)[1]
            else:
                best_bound = best.lower_bound
            self.usage_, self.truncation_gap_ = diagnose(problem, best.parameters)
        self._set_fitted(best, X.dtype)
        self.lower_bound_ = best_bound
        context.call_on_fit_task_end(
            **hooks, reconstruction_attributes=lambda: self._fitted(best, X.dtype)
        )
        if self.n_iter_ == self.max_iter > 0 and not self.converged_:
            warnings.warn(
                f"EM did not converge in max_iter={self.max_iter} iterations: raise "
                f"max_iter, or tol={self.tol}.",
                ConvergenceWarning,
                stacklevel=2,
            )
        annealing = self._annealing()
        if self.max_iter > 0 and (annealing is None or annealing.at(1.0).data_cut < 1.0):
            warn_of_gap(self.truncation_gap_, truncation)
        return self

    # A fit in progress; callbacks.Checkpoint saves it and hands it back.
    _fit_state = None
    _saved = None

    def _resume(self, state, path):
        """Let the next fit go on from a saved state."""
        self._saved = state, path

    def _state(self, new):
        """Return the state to go on from: the saved one, or a new one."""
        (saved, path), self._saved = self._saved or (None, None), None
        if saved is not None and getattr(saved, "fingerprint", None) != new.fingerprint:
            raise ValueError(
                f"{path} is the checkpoint of another fit: of other data or parameters. "
                "Delete it to begin anew, or give another path."
            )
        self._fit_state = saved or new
        return self._fit_state

    def _fingerprint(self, moments):
        """Return what tells this fit from others."""
        params = self.get_params()
        for name in ("n_jobs", "verbose"):  # what does not change the result
            params.pop(name)
        return joblib.hash((type(self).__name__, params, moments))

    def _annealing(self):
        return Annealing() if isinstance(self.annealing, str) else self.annealing

    def _run(self, problem, state, context, hooks):
        """Run EM from where the run is, telling callbacks and user how it goes."""
        run = state.run
        iterations = iter(range(len(run.lower_bounds), self.max_iter))
        task = None

        def begin():
            nonlocal task
            if next(iterations, None) is not None:
                task = context.subcontext(task_name="iteration")
                task.call_on_fit_task_begin(**hooks)

        def on_iteration(run):
            n_iter = len(run.lower_bounds)
            if self.verbose > 1 or (self.verbose == 1 and n_iter % 10 == 0):
                print(
                    f"init {state.init} iteration {n_iter}: lower bound "
                    f"{run.lower_bound:.6g} nats per data point"
                )
            stop = task.call_on_fit_task_end(
                **hooks,
                reconstruction_attributes=lambda: self._fitted(run, problem.X.dtype),
            )
            if not (stop or run.finished):
                begin()
            return stop

        if not run.finished:
            begin()
        run_em(
            problem,
            run,
            learn=self.learn,
            annealing=self._annealing(),
            max_iter=self.max_iter,
            tol=self.tol,
            random_state=state.random_state,
            on_iteration=on_iteration,
            rival=-np.inf if state.best is None else state.best.lower_bound,
        )

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
        """Learn from a mini-batch of a stream: one step of stepwise EM.

        The k-th call takes the statistics of its batch into an average over the batches
        at the rate k^-0.6, and the M-step takes the average. Rows may come once or many
        times; the data are never held. Take batches of a few thousand rows, more than
        components and features, in random order.

        It begins from ``components_init`` or the moments of the first batch, and after
        `fit` from what that has learned; the first batch then counts in full. There is
        no annealing. ``lower_bounds_`` holds the lower bound of each batch before its
        step.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            The batch, float64 or float32 (kept).

        y : None
            Ignored; present for the convention of scikit-learn.

        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Non-negative weight of each data point in the batch.

        Returns
        -------
        self : object
            The estimator after the step.

        References
        ----------
        Cappe, Moulines (2009). On-line expectation-maximization algorithm for latent
        data models. Journal of the Royal Statistical Society B 71.
        """
        fitted = hasattr(self, "components_")
        X = self._checked(X, reset=not fitted)
        sample_weight = checked_weights(sample_weight, X)
        prior, superposition, n_components, truncation = self._model(X)
        start = self._parameters(n_components) if fitted else None
        stream = getattr(self, "_stream", None) or Stream(start)
        with Workers(self.n_jobs, self.batch_size) as workers:
            sums = start_moments(self.components_init, n_components, X.shape[1])
            sums = workers.sum(data_squares if fitted else sums, X, sample_weight)
            check_weight(sums)
            moments = averaged(stream.moments, sums, stream.rate)
            check_scale(mean_square(moments, centred=False), X.dtype)
            problem = Problem(X, sample_weight, workers, superposition, truncation, moments)
            if not fitted:
                random_state = check_random_state(self.random_state)
                stream = Stream(self._start(problem, prior, n_components, random_state))
            stream = step(stream, problem, self.learn)
        run = Run(canonical(stream.parameters, self.learn), list(stream.lower_bounds))
        self._set_fitted(run, X.dtype)
        self._stream = stream
        return self

    def _model(self, X):
        """Return prior, superposition, number of components and truncation, checked."""
        check_learn(self.learn)
        check_data_cut(self._annealing(), self.center)
        prior, superposition = self._prior(), self._superposition()
        superposition.check(prior, self.noise, self.fit_offset)
        n_components = self.n_components or X.shape[1]
        return prior, superposition, n_components, self._truncation(n_components, prior)

    def _start(self, problem, prior, n_components, random_state):
        """Return the parameters that a run of EM starts from."""
        prior = prior.start(n_components)
        if self.warm_start and hasattr(self, "components_"):
            return self._parameters(n_components)
        return start_parameters(
            problem,
            prior,
            n_components,
            components_init=self.components_init,
            noise=self.noise,
            noise_init=self.noise_init,
            fit_offset=self.fit_offset,
            random_state=random_state,
        )

    def _fitted(self, run, dtype):
        """Return the fitted attributes of a run of EM."""
        parameters = run.parameters
        n_features = parameters.components.shape[1]
        offset = parameters.offset
        return {
            "components_": parameters.components.astype(dtype),
            "prior_": parameters.prior,
            "noise_variance_": parameters.noise.variance,
            "offset_": np.zeros(n_features) if offset is None else offset,
            "lower_bounds_": np.array(run.lower_bounds),
            "lower_bound_": run.lower_bound,
            "n_iter_": len(run.lower_bounds),
            "converged_": run.converged,
        }

    def _set_fitted(self, run, dtype):
        for name, value in self._fitted(run, dtype).items():
            setattr(self, name, value)

    @property
    def _n_features_out(self):
        return len(self.components_)

    # Using a fitted model

    def _parameters(self, n_components=None):
        """Return the learned parameters."""
        shape = (n_components or len(self.components_), self.n_features_in_)
        if self.components_.shape != shape:
            raise ValueError(
                f"Going on needs components_ of shape {shape}; the last fit left "
                f"{self.components_.shape}. Call fit with warm_start=False to begin anew."
            )
        return Parameters(
            self.components_.astype(np.float64),
            self.prior_,
            NOISES[self.noise](self.noise_variance_),
            self.offset_ if self.fit_offset else None,
        )

    def _e_step(self, dtype):
        parameters = self._parameters()
        truncation = self._truncation(len(self.components_), self.prior_)
        e_step = self._superposition().e_step(self.prior_)
        return e_step(parameters, truncation, dtype)

    def _checked(self, X, *, reset=False, ensure_min_samples=1):
        """Return valid data; whether they are finite shows as they are read."""
        checked = checked_array(X, ensure_min_samples)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return checked

    def _map(self, X, method, *arguments):
        """Apply a method of the E-step to chunks of X and stack what it returns."""
        check_is_fitted(self)
        X = self._checked(X)
        with Workers(self.n_jobs, self.batch_size) as workers:
            return workers.concatenate(MethodOnChunk(self._e_step(X.dtype), method, arguments), X)

    def transform(self, X):
        """Return the codes of data points: what ``code`` says.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data.

        Returns
        -------
        codes : ndarray or dask array of shape (n_samples, n_components), dtype of X
            Posterior mean of the latents, most probable state, or probability of
            being active.
        """
        return self._map(X, "codes", self.code)

    def inverse_transform(self, X):
        """Superpose codes to data, without noise.

        Parameters
        ----------
        X : array-like, sparse array or dask array of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        X_original : ndarray or dask array of shape (n_samples, n_features)
            Superposition of the components, plus the offset.
        """
        check_is_fitted(self)
        codes = checked_array(X, accept_sparse=True)
        if codes.shape[1] != len(self.components_):
            raise ValueError(
                f"X has {codes.shape[1]} columns; codes of this model have {len(self.components_)}."
            )
        components = self.components_.astype(codes.dtype, copy=False)
        offset = self.offset_.astype(codes.dtype)
        superposed = SuperposedChunk(self._superposition(), components, offset)
        with Workers(self.n_jobs, self.batch_size) as workers:
            return workers.concatenate(superposed, codes)

    def reconstruct(self, X):
        """Return the posterior mean of the noiseless data.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data.

        Returns
        -------
        X_denoised : ndarray or dask array of shape (n_samples, n_features), dtype of X
            E[m + ybar(s) | y], averaged over the states of the posterior.
        """
        return self._map(X, "reconstruct")

    def score_samples(self, X):
        """Return the lower bound of the log-likelihood of each data point.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data.

        Returns
        -------
        log_likelihood : ndarray or dask array of shape (n_samples,), float64
            log sum_s p(s, y) over the states kept, in nats.
        """
        return self._map(X, "log_evidence")

    def score(self, X, y=None, sample_weight=None):
        """Return the mean lower bound of the log-likelihood.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data.

        y : None
            Ignored; present for the convention of scikit-learn.

        sample_weight : array-like or dask array of shape (n_samples,), default=None
            Weight of each data point in the mean.

        Returns
        -------
        score : float
            Nats per data point. It holds every normalising constant, so priors,
            superpositions and sizes compare.
        """
        check_is_fitted(self)
        X = self._checked(X)
        sample_weight = checked_weights(sample_weight, X)
        with Workers(self.n_jobs, self.batch_size) as workers:
            total = workers.sum(EvidenceOfChunk(self._e_step(X.dtype)), X, sample_weight)
        check_weight(total)
        return float(total["log_evidence"] / total["weight"])

    def sample(self, n_samples=1):
        """Draw data points from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of data points.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Data points.

        codes : ndarray of shape (n_samples, n_components)
            The latents they were made from.
        """
        check_is_fitted(self)
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(
                f"n_samples={n_samples!r} is not valid; give an integer of at least 1."
            )
        random_state = check_random_state(self.random_state)
        n_components, n_features = self.components_.shape
        codes = self.prior_.sample(n_samples, n_components, random_state)
        noise = NOISES[self.noise](self.noise_variance_)
        X = self.inverse_transform(codes)
        return X + noise.sample(n_samples, n_features, random_state), codes

    def posterior(self, X, n_states=10):
        """Return the most probable states of each data point.

        The posterior of a data point is found anew with more candidates and changes as
        long as that adds more than 0.01 nats to its evidence, up to 50,000 states.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data.

        n_states : int, default=10
            States to return for each data point.

        Returns
        -------
        posterior : Posterior
            States, their probabilities, marginals and entropy.
        """
        if not isinstance(n_states, Integral) or n_states < 1:
            raise ValueError(f"n_states={n_states!r} is not valid; give an integer of at least 1.")
        check_is_fitted(self)
        X = self._checked(X)
        parameters = self._parameters()
        truncation = self._truncation(len(self.components_), self.prior_)
        e_step = self._superposition().e_step(self.prior_)
        with Workers(self.n_jobs, self.batch_size) as workers:
            return posterior_of(
                X,
                n_states,
                workers,
                lambda truncation: e_step(parameters, truncation, X.dtype),
                truncation,
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
