"""SparseCoding: the scikit-learn surface of all models."""

from copy import copy
from dataclasses import replace
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
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from .annealing import Annealing
from .inference.base import Parameters
from .inference.tasks import EvidenceOfChunk, MethodOnChunk, SuperposedChunk
from .learning.diagnostics import diagnose, warn_of_gap
from .learning.em import (
    FitState,
    Run,
    canonical,
    run_em,
)
from .learning.initialisation import INITIALISATIONS, start_moments, start_parameters
from .learning.limits import warn_of_limits
from .learning.moments import data_squares
from .learning.problem import Problem
from .learning.stepwise import Stream, averaged_moments, n_rows, rows_wanted, step
from .messages import warn_user
from .noise import NOISES
from .parallel.workers import Workers
from .posterior import posterior_of
from .priors import NAMED_PRIORS
from .superpositions import SUPERPOSITIONS
from .validation import (
    check_chunk,
    check_data_cut,
    check_holes,
    check_instance,
    check_learn,
    check_scale,
    check_weight,
    checked_array,
    checked_truncation,
    checked_weights,
    counted,
    row_unit,
    settings_hash,
)
from .version import KEY, __version__, written_by

# What the start of EM is made of: to go on from a fit takes the same.
_START = (
    "prior",
    "values",
    "covariance",
    "learn_mean",
    "superposition",
    "noise",
    "fit_offset",
    "components_init",
    "noise_init",
)
# What the methods of a fitted model read anew; all else is as it was fitted.
_READ_ANEW = (
    "center",
    "n_candidates",
    "max_changes",
    "selection",
    "batch_size",
    "code",
    "n_jobs",
    "random_state",
)
# What a fit leaves and a stream does not, and what not all data have.
_OF_A_FIT = ("usage_", "truncation_gap_")
_OPTIONAL = ("feature_names_in_",)
# What leaves the result of a fit as it is.
_IDLE = ("code", "n_jobs", "verbose")


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
    is the score. Data may have missing values, NaN, in every method.

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
        active. "zero" is the state in which none is, as in Expectation Truncation. Of the
        maxima at least 16 inactive latents are looked at on the way to the best state,
        those of the best estimated gain, and latents outside candidates and centre change
        from 0.

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
        variance of the data. It is at least 1e-13 times the mean square of X (its variance,
        with ``fit_offset``), 1e-7 for float32: below that rounding errors outweigh the data.
        What EM learns is at least 1e-5 times the variance, and 1e-11 times the mean square,
        1e-5 for float32.

    annealing : {"auto"}, None or Annealing, default="auto"
        Schedule of the temperature; None runs plain EM.

    n_init : int, default=1
        Runs from different starts; the one with the best lower bound is kept.

    max_iter : int, default=100
        EM iterations of a run. 0 keeps the initial parameters. Moves out of poor optima
        (`~annealing.Annealing`, ``reseed``) are tried for as many more, at most, or twice
        as many where most values are missing.

    tol : float, default=1e-4
        EM has converged when the mean lower bound changes by less, in nats, or its best has
        not risen by as much an iteration over ten of them.

    warm_start : bool, default=False
        Whether `fit` starts from the parameters of the last fit, where annealing ends:
        its schedules have their last values. Of ``n_init`` runs the first does; the others
        start anew. What the start is otherwise made of (``prior``, ``noise``,
        ``noise_init``, ``components_init``, ``fit_offset``, ``superposition``, and
        ``n_components``) must be as it was; a change is an error.

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

    def set_params(self, **params):
        """Set parameters, those of ``prior`` and ``annealing`` as ``prior__probability``.

        Where ``prior`` or ``annealing`` is a name, it becomes the object of that name. A
        fitted model stays what it is: of the parameters of the model itself its methods
        read the truncation (``center``, ``n_candidates``, ``max_changes``, ``selection``),
        ``code``, ``batch_size``, ``n_jobs`` and ``random_state`` alone.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : object
            The estimator.
        """
        own = self.get_params(deep=False)
        for name in sorted({key.split("__")[0] for key in params if "__" in key} & own.keys()):
            value = params.get(name, own[name])
            check_instance(name, value)
            named = {"prior": NAMED_PRIORS, "annealing": {"auto": Annealing}}.get(name, {})
            if isinstance(value, str) and value in named:
                params[name] = named[value]()
            elif not hasattr(value, "set_params"):
                nested = next(key for key in params if key.startswith(f"{name}__"))
                raise ValueError(
                    f"{nested} has nothing to be set on: {name}={value!r}. "
                    + (f"Set {name} to one of {sorted(named)}, or to an object." if named else "")
                )
        return super().set_params(**params)

    # What a model is made of; the named models fix some of it.

    def _prior(self):
        check_instance("prior", self.prior)
        if isinstance(self.prior, str):
            return NAMED_PRIORS[self.prior]()
        return self.prior

    def _superposition(self):
        """Return the superposition that the model was fitted with."""
        return SUPERPOSITIONS[self._made_of["superposition"]]

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
            Data, float64 or float32 (kept), rows are data points; NaN is a value that is not
            known, and only those that are enter the likelihood.

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
        try:
            return self._fit(X, y, sample_weight)
        finally:
            self._fit_state = None

    def _fit(self, X, y, sample_weight):
        """Compute everything before anything is set: a fit that fails leaves no trace."""
        given = X
        X, features = self._new_data(X, ensure_min_samples=2)
        sample_weight = counted(checked_weights(sample_weight, X))
        prior, superposition, n_components, truncation = self._model(X)
        warm = self._parameters(n_components, X.shape[1]) if self._goes_on("warm_start") else None
        random_state = check_random_state(self.random_state)
        context = self._init_callback_context(max_subtasks=self.n_init)
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        # Scoring callbacks want a target; the data are their own.
        hooks = dict(estimator=self, X=given, y=given if y is None else y, metadata=metadata)
        with Workers(self.n_jobs, self.batch_size) as workers:
            moments = start_moments(self.components_init, n_components, X.shape[1])
            moments = workers.sum(moments, X, sample_weight)["moments"]
            check_weight(moments.weight)
            check_scale(moments, X.dtype, self.fit_offset)
            check_holes(moments, self._annealing())
            problem = Problem(X, sample_weight, workers, superposition, truncation, moments)
            state = FitState(self._fingerprint(moments, warm), random_state)
            self._fit_state = state
            context.call_on_fit_task_begin(**hooks)
            if self.verbose and state.begun:
                n_iter = len((state.run or state.best).lower_bounds)
                print(f"goes on from a checkpoint, init {state.init} iteration {n_iter}")
            for init in range(state.init, 0 if state.done else self.n_init):
                if state.run is None and warm is not None and init == 0:
                    state.run = Run(warm, warm=True)
                elif state.run is None:
                    state.run = Run(self._start(problem, prior, n_components, state.random_state))
                run_context = context.subcontext(
                    task_name=f"init {init}", max_subtasks=self.max_iter
                ).call_on_fit_task_begin(**hooks)
                self._run(problem, state, run_context, hooks, features)
                state.end_run()
                if run_context.call_on_fit_task_end(**hooks):
                    break
            state.done, best = True, state.best
            best_bound = best.lower_bound
            if self.max_iter == 0:
                best_bound = problem.expectations(problem.e_step(best.parameters))[1]
            usage, truncation_gap = diagnose(problem, best.parameters)
        fitted = self._fitted(best, X.dtype) | features
        self._become(
            {
                **fitted,
                "lower_bound_": best_bound,
                "usage_": usage,
                "truncation_gap_": truncation_gap,
                "_started_as": self._start_settings(),
                "_stream": None,
            }
        )
        context.call_on_fit_task_end(**hooks, reconstruction_attributes=lambda: fitted)
        if self.n_iter_ == self.max_iter > 0 and not self.converged_:
            warn_user(
                f"EM did not converge in max_iter={self.max_iter} iterations: raise "
                f"max_iter, or tol={self.tol}.",
                ConvergenceWarning,
            )
        if self.max_iter > 0:
            warn_of_limits(problem, best.parameters, usage, self.learn)
        annealing = self._annealing()
        if self.max_iter > 0 and (annealing is None or annealing.at(1.0).data_cut < 1.0):
            warn_of_gap(self.truncation_gap_, truncation)
        return self

    # A fit in progress; callbacks.Checkpoint saves it and hands it back.
    _fit_state = None
    # Where partial_fit stands.
    _stream = None

    def _fingerprint(self, moments, warm):
        """Return what tells this fit from others."""
        params = {k: v for k, v in self.get_params().items() if k not in _IDLE}
        start = None if warm is None else [settings_hash(v) for v in vars(warm).values()]
        return joblib.hash((type(self).__name__, params, moments, start))

    def _annealing(self):
        return Annealing() if isinstance(self.annealing, str) else self.annealing

    def _run(self, problem, state, context, hooks, features):
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
                reconstruction_attributes=lambda: self._fitted(run, problem.X.dtype) | features,
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

        The first rows, twenty for each component at least, are gathered, by one call or
        many, and learned from as `fit` does; for ``noise="full"`` it takes two for each
        feature too. Until then the model is not fitted. Of all later batches the
        statistics are taken into an average over the batches, at a rate that falls as
        t^-0.6 where t is the weight of all rows so far in units of the first, and the
        M-step takes the average. Rows may come once or many times, in random order, in
        batches of any size, which are not held; large ones cost less.

        After `fit` the stream begins from what that has learned: as many rows are
        gathered, and count in full.

        ``n_iter_`` counts the steps, the first rows being one; ``lower_bounds_`` holds
        the lower bounds of the last 1000 batches, each before its step.

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
        fitted, stream = self.__sklearn_is_fitted__(), self._stream_in_use()
        if fitted or stream.held:
            X, features = self._checked(X), {}
        else:
            X, features = self._new_data(X)
        sample_weight = checked_weights(sample_weight, X)
        prior, superposition, n_components, truncation = self._model(X)
        self._goes_on("partial_fit")
        learned = self._parameters(n_components, X.shape[1]) if fitted else None
        found, X = n_rows(X, sample_weight)
        check_weight(found)
        wanted = rows_wanted(n_components, X.shape[1], self.noise)
        features = features | {"_started_as": self._start_settings()}
        if not stream.begun and stream.n_held + found < wanted:
            stream = stream.gathered(X, sample_weight)
            check_chunk(*stream.held[-1])
            self._become({**features, "_stream": stream})
            return self
        X, sample_weight = stream.with_held(X, sample_weight)
        if not stream.begun:
            stream = replace(stream, row_unit=row_unit(sample_weight))
        if sample_weight is None and stream.row_unit != Stream.row_unit:
            sample_weight = checked_weights(1.0, X)
        if sample_weight is not None:
            sample_weight = counted(sample_weight, stream.row_unit)
        with Workers(self.n_jobs, self.batch_size) as workers:
            sums = start_moments(self.components_init, n_components, X.shape[1])
            batch = workers.sum(data_squares if fitted else sums, X, sample_weight)["moments"]
            check_weight(batch.weight)
            moments = averaged_moments(stream.moments, batch, stream.rate(batch.weight))
            check_scale(moments, X.dtype, self.fit_offset)
            check_holes(moments, self._annealing())
            problem = Problem(X, sample_weight, workers, superposition, truncation, moments)
            if not stream.begun:
                if learned is None:
                    learned = self._learned_at_first(replace(problem, moments=batch), prior)
                stream = Stream(learned, row_unit=stream.row_unit)
            steady = fitted or self.max_iter > 1  # as from the second iteration of EM on
            stream = step(stream, problem, batch.weight, self.learn, steady)
        run = Run(canonical(stream.parameters, self.learn), list(stream.lower_bounds))
        self._become(
            {
                **self._fitted(run, X.dtype),
                **features,
                "n_iter_": stream.n_steps,
                "_stream": stream,
            },
            forget=_OF_A_FIT,
        )
        return self

    def _stream_in_use(self):
        """Return where partial_fit stands; anew where the model has been changed since."""
        stream = self._stream or Stream()
        if stream.begun:
            shown = canonical(stream.parameters, self.learn).components
            if not np.array_equal(shown.astype(self.components_.dtype), self.components_):
                return Stream()
        return stream

    def _learned_at_first(self, problem, prior):
        """Return what runs of EM learn from the first rows of a stream."""
        state = FitState("", check_random_state(self.random_state))
        for _ in range(self.n_init):
            state.run = Run(
                self._start(problem, prior, self._n_latents(problem.X), state.random_state)
            )
            run_em(
                problem,
                state.run,
                learn=self.learn,
                annealing=self._annealing(),
                max_iter=max(self.max_iter - 1, 0),  # the step is the last
                tol=self.tol,
                random_state=state.random_state,
                on_iteration=lambda run: False,
                rival=-np.inf if state.best is None else state.best.lower_bound,
            )
            state.end_run()
        return state.best.parameters

    def _n_latents(self, X):
        return self.n_components or X.shape[1]

    def _model(self, X):
        """Return prior, superposition, number of components and truncation, checked."""
        check_learn(self.learn)
        prior, superposition = self._prior(), SUPERPOSITIONS[self.superposition]
        superposition.check(prior, self.noise, self.fit_offset)
        check_data_cut(self._annealing(), self.center)
        n_components = self._n_latents(X)
        return prior, superposition, n_components, self._truncation(n_components, prior)

    def _start_settings(self):
        """Return what the start of EM is made of, as hashes by name."""
        params = self.get_params(deep=False)
        settings = {name: settings_hash(params[name]) for name in _START if name in params}
        return settings | {"prior": settings_hash(self._prior())}

    def _goes_on(self, how):
        """Return whether EM goes on from what was learned; raise where it cannot."""
        if not self.__sklearn_is_fitted__() or not (how == "partial_fit" or self.warm_start):
            return False
        before, now = self._started_as, self._start_settings()
        if changed := [name for name in now if now[name] != before[name]]:
            params = self.get_params(deep=False)
            named = ", ".join(f"{name}={params[name]!r}" for name in changed if name in params)
            raise ValueError(
                f"{how} goes on from what was learned before, which {named} is not the start "
                f"of. Set {' and '.join(changed)} back, or begin anew: fit with "
                "warm_start=False, for instance with components_init=model.components_."
            )
        return True

    def _start(self, problem, prior, n_components, random_state):
        """Return the parameters that a run of EM starts from."""
        return start_parameters(
            problem,
            prior.start(n_components),
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
            # what the learned parameters are parameters of
            "_made_of": {
                name: getattr(self, name)
                for name in ("superposition", "noise", "fit_offset", "learn")
            },
        }

    def _become(self, attributes, forget=()):
        """Set attributes all at once; None stands for one that there is not."""
        gone = {name for name in _OPTIONAL if attributes.get(name, 0) is None}
        state = {k: v for k, v in vars(self).items() if k not in gone.union(forget)}
        self.__dict__ = state | {k: v for k, v in attributes.items() if k not in gone}

    def __sklearn_is_fitted__(self):
        return hasattr(self, "components_")

    def __getstate__(self):
        return super().__getstate__() | {KEY: __version__}

    def __setstate__(self, state):
        state = dict(state)
        if (other := written_by(state.pop(KEY, None))) is not None:
            warn_user(
                f"This {type(self).__name__} was saved by {other} and is read by {__version__}: "
                "it may fail, or give other results. Fit it anew, or read it with the version "
                "that has saved it."
            )
        super().__setstate__(state)

    def _check_ready(self):
        """Raise where the model is not fitted, or what its methods read is not valid."""
        stream = self._stream
        if stream is not None and stream.held and not self.__sklearn_is_fitted__():
            n_components = self.n_components or self.n_features_in_
            wanted = rows_wanted(n_components, self.n_features_in_, self.noise)
            raise NotFittedError(
                f"partial_fit has gathered {stream.n_held} rows of the {wanted} that it begins "
                f"with; call it with {max(wanted - stream.n_held, 1)} more, or call fit."
            )
        check_is_fitted(self)
        validate_parameter_constraints(
            {name: self._parameter_constraints[name] for name in _READ_ANEW},
            {name: getattr(self, name) for name in _READ_ANEW},
            caller_name=type(self).__name__,
        )

    @property
    def _n_features_out(self):
        return len(self.components_)

    # Using a fitted model

    def _parameters(self, n_components=None, n_features=None):
        """Return the learned parameters; they have this shape, where one is given."""
        shape = (n_components, n_features)
        if n_components is not None and self.components_.shape != shape:
            raise ValueError(
                f"Going on needs components_ of shape {shape}; the last fit left "
                f"{self.components_.shape}. Call fit with warm_start=False to begin anew."
            )
        return Parameters(
            self.components_.astype(np.float64),
            self.prior_,
            NOISES[self._made_of["noise"]](self.noise_variance_),
            self.offset_ if self._made_of["fit_offset"] else None,
        )

    def _e_step(self, dtype):
        parameters = self._parameters()
        e_step = self._superposition().e_step(self.prior_)
        truncation = self._truncation(len(self.components_), self.prior_)
        return e_step(parameters, truncation, dtype)

    def _new_data(self, X, **checks):
        """Return valid data, and attributes that say what is known of its features."""
        fresh = copy(self)  # what scikit-learn sets at once is set after the fit
        X = fresh._checked(X, reset=True, **checks)
        names = ("n_features_in_", "feature_names_in_")
        return X, {name: getattr(fresh, name, None) for name in names}

    def _checked(self, X, *, reset=False, ensure_min_samples=1):
        """Return valid data; whether they are finite shows as they are read."""
        checked = checked_array(X, ensure_min_samples)
        validate_data(self, X, reset=reset, skip_check_array=True)
        return checked

    def _map(self, X, method, *arguments):
        """Apply a method of the E-step to chunks of X and stack what it returns."""
        self._check_ready()
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
        self._check_ready()
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

    def impute(self, X, return_std=False):
        """Return the data with the missing values replaced by their posterior mean.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data, NaN where missing.

        return_std : bool, default=False
            Whether to return the standard deviations too.

        Returns
        -------
        X_imputed : ndarray or dask array of shape (n_samples, n_features), dtype of X
            E[y_M | y_O] where a value is missing, X where it is not. With correlated noise
            the residuals of what is observed tell of the noise of what is not.

        std : ndarray or dask array of shape (n_samples, n_features), dtype of X
            Standard deviation of each value given the observed ones, noise included, in
            the units of X; 0 where observed. Only if ``return_std`` is True.
        """
        if not isinstance(return_std, bool | np.bool_):
            raise ValueError(f"return_std={return_std!r} is not valid; give True or False.")
        both = self._map(X, "imputed")
        n_features = self.n_features_in_
        return (both[:, :n_features], both[:, n_features:]) if return_std else both[:, :n_features]

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
        self._check_ready()
        X = self._checked(X)
        sample_weight = counted(checked_weights(sample_weight, X))
        with Workers(self.n_jobs, self.batch_size) as workers:
            total = workers.sum(EvidenceOfChunk(self._e_step(X.dtype)), X, sample_weight)
        check_weight(total["weight"])
        return float(total["log_evidence"] / total["weight"])

    def _n_parameters(self):
        """Return the number of free parameters: what ``learn`` named, and the offset."""
        made_of, (n_components, n_features) = self._made_of, self.components_.shape
        learn = made_of["learn"]
        count = n_features if made_of["fit_offset"] else 0
        if "components" in learn:
            count += n_components * n_features
        if "prior" in learn:
            count += self.prior_.n_parameters(n_components)
            if self.prior_.continuous and "components" in learn:
                count -= n_components  # components and slabs share a scale
        if "noise" in learn:
            count += NOISES[made_of["noise"]].n_parameters(n_features)
        return count

    def bic(self, X):
        """Return the Bayesian information criterion: the lower, the better.

        -2 F + p log N with the lower bound F of the log-likelihood in place of the likelihood,
        N data points and p free parameters: those of the components, the prior, the noise
        and the offset that were learned. A bound that is not tight makes it larger than it
        is; that of `score` on data that were not learned from needs no such penalty.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data, those that were learned from.

        Returns
        -------
        bic : float
            Twice nats.

        References
        ----------
        Schwarz (1978). Estimating the dimension of a model. Annals of Statistics 6.
        """
        n_samples, bound = self._n_and_bound(X)
        return -2.0 * bound + self._n_parameters() * float(np.log(n_samples))

    def aic(self, X):
        """Return the Akaike information criterion: the lower, the better.

        -2 F + 2 p, with the lower bound F of the log-likelihood in place of the likelihood
        and p free parameters, as in `bic`.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_features)
            Data, those that were learned from.

        Returns
        -------
        aic : float
            Twice nats.

        References
        ----------
        Akaike (1974). A new look at the statistical model identification. IEEE Transactions on
        Automatic Control 19.
        """
        _, bound = self._n_and_bound(X)
        return -2.0 * bound + 2.0 * self._n_parameters()

    def _n_and_bound(self, X):
        """Return the number of data points and the lower bound summed over them."""
        self._check_ready()
        X = self._checked(X)
        with Workers(self.n_jobs, self.batch_size) as workers:
            total = workers.sum(EvidenceOfChunk(self._e_step(X.dtype)), X, None)
        return float(total["weight"]), float(total["log_evidence"])

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
        self._check_ready()
        if not isinstance(n_samples, Integral) or n_samples < 1:
            raise ValueError(
                f"n_samples={n_samples!r} is not valid; give an integer of at least 1."
            )
        random_state = check_random_state(self.random_state)
        n_components, n_features = self.components_.shape
        codes = self.prior_.sample(n_samples, n_components, random_state)
        noise = self._parameters().noise
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
            States to return for each data point, at most as many as are kept.

        Returns
        -------
        posterior : Posterior
            States, their probabilities, marginals and entropy.
        """
        if not isinstance(n_states, Integral) or n_states < 1:
            raise ValueError(f"n_states={n_states!r} is not valid; give an integer of at least 1.")
        self._check_ready()
        X = self._checked(X)
        parameters = self._parameters()
        e_step = self._superposition().e_step(self.prior_)
        truncation = self._truncation(len(self.components_), self.prior_)
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
        tags.input_tags.allow_nan = True
        return tags
