"""Small fits of any model to any data: finite numbers or one clear error, nothing else.

``python tests/fuzz.py 5000`` fits as many, from a new seed each time or from the one given
after the number, and prints the shortest case of each kind of failure.
`test_fuzz.py` fits a share of them.
"""

import faulthandler
import re
import sys
import time
import traceback
import warnings
from typing import NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import skprosper
from skprosper.annealing import Annealing
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

# Seconds after which a fit hangs; some compile kernels, which takes a slow machine minutes.
LIMIT = 1200

# What the errors say that a user may see, and warnings that tell of the data.
ERRORS = "|".join(
    [
        r"rescale",
        r"contains infinity or a value too large",
        r"minimum of \d+ (is|are) required",
        r"no row that counts",
        r"non-zero number|weights of at least 0",
        r"nothing is left to learn",
        r"noise_init is too small",
        r"components of superposition='maximum' must not be negative",
        r"components_init holds",
        r"gives active latents a root mean square",
        r"needs superposition='linear'",
        r"has no posterior in closed form",
        r"needs center='zero'",
        r"of rows with missing values do not compare",
        r"tied=True is for one distribution",
        r"one for each of the",
    ]
)
WARNINGS = r"What was learned is at a limit|A wider truncation would add"
# Seen twice, of finite factors and results, and not again in 3,000 runs of that case: a flag that
# OpenBLAS is known to raise without a reason (its issue 1924, NumPy's 13173 and 24067). What comes
# of products is checked here.
WARNINGS += r"|invalid value encountered in matmul"


class Data(NamedTuple):
    """Data of a few numbers that hypothesis can shrink."""

    n_samples: int
    n_features: int
    kind: str
    scale: float
    shift: float  # in units of the scale
    units: float  # of the last feature, in those of the first
    missing: float  # share
    empty: str  # "", "row" or "column": what is missing as a whole
    dtype: str
    weights: str
    seed: int

    def arrays(self):
        """Return X and sample weights."""
        rng = np.random.default_rng(self.seed)
        shape = self.n_samples, self.n_features
        X = KINDS[self.kind](rng, *shape)
        X = (X + self.shift) * np.geomspace(1.0, self.units, self.n_features)
        with np.errstate(over="ignore", under="ignore"):
            X = (self.scale * X).astype(self.dtype)
        X[rng.uniform(size=shape) < self.missing] = np.nan
        if self.empty == "row":
            X[: self.n_samples // 2] = np.nan
        if self.empty == "column":
            X[:, self.n_features // 2] = np.nan
        w = rng.uniform(size=self.n_samples)
        return X, {
            "none": None,
            "shares": w / max(w.sum(), 1e-9),
            "some": w * (w > 0.5),
            "zero": 0.0 * w,
            "tiny": 1e-300 * w,
            "huge": 1e300 * w,
            "mixed": 10.0 ** (40.0 * w - 20.0),
        }[self.weights]


def sparse_sums(rng, n, d, noise):
    """Return sums of a few random fields."""
    codes = rng.normal(size=(n, 4)) * (rng.uniform(size=(n, 4)) < 0.4)
    return codes @ rng.normal(size=(4, d)) + noise * rng.normal(size=(n, d))


KINDS = {
    "normal": lambda rng, n, d: rng.normal(size=(n, d)),
    "sparse": lambda rng, n, d: sparse_sums(rng, n, d, 0.1),
    "noiseless": lambda rng, n, d: sparse_sums(rng, n, d, 0.0),
    "binary": lambda rng, n, d: 1.0 * (rng.uniform(size=(n, d)) < 0.3),
    "integers": lambda rng, n, d: rng.integers(-3, 4, size=(n, d)) + 0.0,
    "positive": lambda rng, n, d: rng.exponential(size=(n, d)),
    "negative": lambda rng, n, d: -rng.exponential(size=(n, d)),
    "heavy": lambda rng, n, d: rng.standard_cauchy(size=(n, d)) ** 3,
    "zero": lambda rng, n, d: np.zeros((n, d)),
    "constant": lambda rng, n, d: np.full((n, d), 3.0),
    "constant columns": lambda rng, n, d: np.where(
        np.arange(d) % 2, rng.normal(size=(n, d)), np.arange(d)
    ),
    "repeated": lambda rng, n, d: np.repeat(rng.normal(size=(n // 5 + 1, d)), 5, axis=0)[:n],
    "one row": lambda rng, n, d: np.repeat(rng.normal(size=(1, d)), n, axis=0),
    "collinear": lambda rng, n, d: np.outer(rng.normal(size=n), rng.normal(size=d)),
    "outlier": lambda rng, n, d: np.where(
        np.arange(n * d).reshape(n, d) == 1, 1e12, rng.normal(size=(n, d))
    ),
    "one number": lambda rng, n, d: 1.0 * (np.arange(n * d).reshape(n, d) == 1),
}


WEIGHTS = ["none"] * 12 + ["shares", "some"] * 3 + ["tiny", "huge", "mixed"] * 2 + ["zero"]


class Case(NamedTuple):
    """An estimator, its data, and what is asked of it."""

    model: str
    params: dict
    data: Data
    how: str  # "fit", "stream", "warm" or "stream after fit"

    def estimator(self):
        """Return the estimator."""
        return getattr(skprosper, self.model)(**self.params)


@st.composite
def all_data(draw):
    """Draw data."""
    dtype = draw(st.sampled_from(["float64", "float32"]))
    least, most = (-145, 145) if dtype == "float64" else (-17, 17)
    decades = st.one_of(st.just(0), st.integers(-6, 6), st.integers(least, most))
    return Data(
        n_samples=draw(st.sampled_from([*range(4), *range(2, 41)])),
        n_features=draw(st.integers(1, 12)),
        kind=draw(st.sampled_from(list(KINDS))),
        scale=10.0 ** draw(decades),
        shift=draw(st.sampled_from([0.0] * 6 + [1.0, -1.0, 1e3, 1e7, -1e15])),
        units=draw(st.sampled_from([1.0] * 6 + [1e3, 1e-8, 1e30])),
        missing=draw(st.sampled_from([0.0] * 6 + [0.1, 0.1, 0.5, 0.5, 0.9, 1.0])),
        empty=draw(st.sampled_from([""] * 6 + ["row", "column"])),
        dtype=dtype,
        weights=draw(st.sampled_from(WEIGHTS)),
        seed=draw(st.integers(0, 99)),
    )


def one_or_each(draw, values, n):
    """Draw one of some values, or one for each latent."""
    if draw(st.booleans()):
        return draw(values)
    return [draw(values) for _ in range(n)]


@st.composite
def priors(draw, n):
    """Draw a prior for n latents."""
    cls = draw(st.sampled_from([BinaryPrior, TernaryPrior, DiscretePrior, SpikeSlabPrior]))
    p = one_or_each(draw, st.sampled_from([1e-300, 1e-10, 1e-9, 0.1, 0.3, 0.9, 1.0 - 1e-10]), n)
    p = draw(st.sampled_from([None, p]))
    if cls is SpikeSlabPrior:
        mean = one_or_each(draw, st.sampled_from([0.0, 0.0, 1.0, -3.0, 1e4]), n)
        variance = one_or_each(draw, st.sampled_from([1e-6, 1.0, 1.0, 10.0, 1e6]), n)
        rng = np.random.default_rng(draw(st.integers(0, 9)))
        root = rng.normal(size=(n, n))
        matrix = (root @ root.T + 0.01 * np.eye(n)).tolist()
        covariance = draw(st.sampled_from(["diagonal", "full", variance, matrix]))
        return SpikeSlabPrior(p, mean, covariance, learn_mean=draw(st.booleans()))
    tied = draw(st.booleans()) and not isinstance(p, list)
    if cls is DiscretePrior:
        values = draw(
            st.sampled_from([(0, 1), (0, 1, 2), (-1, 0, 1), (-0.5, 0, 1, 2), (0, 1e-3, 1e3)])
        )
        K = len(values)
        q = draw(st.sampled_from([None, np.full(K, 1.0 / K), np.r_[np.full(K - 1, 1e-9), 0]]))
        if q is not None:
            q[-1] = 1.0 - q[:-1].sum()
        return DiscretePrior(values, None if q is None else q.tolist(), tied=tied)
    return cls(p, tied=tied)


@st.composite
def annealings(draw, center):
    """Draw a schedule."""
    plan = draw(st.sampled_from(["auto", "auto", None, "other"]))
    if plan != "other":
        return plan
    some = st.sampled_from([0.0, 0.0, 0.1, ((0, 3.0), (0.5, 0.0)), 1e6])
    return Annealing(
        temperature=draw(st.sampled_from([1.0, 3.0, 1e4, ((0, 5), (0.5, 1))])),
        target=draw(st.sampled_from(["balanced", "likelihood", "joint"])),
        components_noise=draw(some),
        prior_noise=draw(some),
        variance_noise=draw(some),
        data_share=draw(st.sampled_from([1.0, 1.0, 0.5, 0.01])),
        data_cut=draw(st.sampled_from([0.0] if center == "best" else [0.0, 1.0, ((0, 0), (1, 1))])),
        hold_prior=draw(st.booleans()),
        reseed=draw(st.booleans()),
    )


SUBSETS = [
    ("components", "prior", "noise"),
    ("components", "prior", "noise"),
    ("components", "prior"),
    ("components", "noise"),
    ("prior", "noise"),
    (),
]
NAMED = [
    "BinarySparseCoding",
    "TernarySparseCoding",
    "DiscreteSparseCoding",
    "GaussianSparseCoding",
    "MaximalCausesAnalysis",
    "MaximumMagnitudeCausesAnalysis",
]


@st.composite
def cases(draw):
    """Draw a case."""
    data = draw(all_data())
    model = draw(st.sampled_from(["SparseCoding", *NAMED]))
    n = draw(st.integers(1, 8))
    linear = "Causes" not in model
    params = dict(n_components=n)
    if model == "SparseCoding":
        params["prior"] = draw(
            st.one_of(st.sampled_from(["binary", "ternary", "discrete", "spike-slab"]), priors(n))
        )
        params["superposition"] = draw(
            st.sampled_from(["linear", "linear", "maximum", "magnitude-maximum"])
        )
        linear = params["superposition"] == "linear" or draw(st.integers(0, 9)) == 0
    elif model == "GaussianSparseCoding":
        params["covariance"] = draw(st.sampled_from(["diagonal", "full"]))
        params["learn_mean"] = draw(st.booleans())
    else:
        params["tied"] = draw(st.booleans())
    if linear:
        params["noise"] = draw(st.sampled_from(["isotropic", "isotropic", "diagonal", "full"]))
        params["fit_offset"] = draw(st.booleans())
    start = draw(st.sampled_from([None, None, "k-means++", "random_from_data", "random", "given"]))
    if start == "given":
        rng = np.random.default_rng(draw(st.integers(0, 9)))
        start = np.abs(rng.normal(size=(n, data.n_features))) * data.scale
        start *= draw(st.sampled_from([1.0, 0.0, 1e-6, 1e6]))
        start = start.tolist()
    noise = draw(st.sampled_from([None, None, None, 1.0, 1e-3, 1e-6, 1e-12, 1e6]))
    with np.errstate(over="ignore", under="ignore"):
        square = np.float64(data.scale) ** 2
    if noise is not None and 0.0 < noise * square < np.inf:
        params["noise_init"] = float(noise * square)
    center = draw(st.sampled_from(["best", "best", "zero"]))
    params |= dict(
        components_init=start,
        center=center,
        n_candidates=draw(st.sampled_from([8, None, 1, 3])),
        max_changes=draw(st.sampled_from([5, None, 1, 2])),
        selection=draw(st.sampled_from(["pursuit", "marginal"])),
        learn=draw(st.sampled_from(SUBSETS)),
        annealing=draw(annealings(center)),
        n_init=draw(st.sampled_from([1, 1, 1, 2])),
        max_iter=draw(st.sampled_from([2, 3, 5, 8, 1, 0])),
        tol=draw(st.sampled_from([1e-4, 0.0, 1.0])),
        batch_size=draw(st.sampled_from(["auto", "auto", 7, 1])),
        code=draw(st.sampled_from(["mean", "map", "probability"])),
        random_state=draw(st.integers(0, 9)),
    )
    how = draw(st.sampled_from(["fit", "fit", "fit", "stream", "warm", "stream after fit"]))
    return Case(model, params, data, how)


def finite(value, name):
    """Raise where a number, or an array, is not finite."""
    assert np.all(np.isfinite(np.asarray(value, dtype=np.float64))), f"{name} is {value}"


def understood(call, *arguments, **named):
    """Return what a call returns, None where it raises a clear error."""
    try:
        return call(*arguments, **named)
    except ValueError as error:
        if isinstance(error, np.linalg.LinAlgError) or not re.search(ERRORS, str(error)):
            raise
        return None


def fitted(case, X, weights):
    """Return the fitted model, None where there is none for a reason that the user is told."""
    model = case.estimator()
    steps = {
        "fit": ["fit"],
        "stream": ["partial_fit"] * 10,
        "warm": ["fit", "fit"],
        "stream after fit": ["fit"] + ["partial_fit"] * 3,
    }[case.how]
    if case.how == "warm":
        model.set_params(warm_start=True)
    missing = np.random.default_rng(case.data.seed).uniform(size=X.shape) < 0.3
    for i, step in enumerate(steps):
        batch = np.where(missing, np.nan, X).astype(X.dtype) if i % 3 == 2 else X
        if understood(getattr(model, step), batch, sample_weight=weights) is None:
            return None
    return model


def check_model(model):
    """Raise where a fitted attribute is not finite, or not what it may be."""
    for name, value in vars(model).items():
        if name.endswith("_") and name != "prior_":
            finite(value, name)
    for name, value in vars(model.prior_).items():
        finite(value, f"prior_.{name}")
    variance = np.asarray(model.noise_variance_)
    least = np.linalg.eigvalsh(variance)[0] if variance.ndim == 2 else variance.min()
    assert least > -1e-6 * variance.max() if variance.ndim == 2 else least > 0.0
    activity = model.prior_.activity(len(model.components_))
    assert np.all((activity > 0.0) & (activity < 1.0)), f"activity {activity}"


def check_given(model, X):
    """Raise where what is given, and not to be learned, is not what the model has."""
    given = model.components_init
    if "components" not in model.learn and given is not None and not isinstance(given, str):
        seen = ~np.isnan(X).all(axis=0)
        expected = np.asarray(given, model.components_.dtype)[:, seen]
        np.testing.assert_array_equal(model.components_[:, seen], expected)
    if "noise" not in model.learn and model.noise_init is not None:
        variance = np.asarray(model.noise_variance_)
        variance = np.diag(variance) if variance.ndim == 2 else variance
        np.testing.assert_allclose(variance, model.noise_init, rtol=1e-6)
    prior = model.get_params().get("prior")
    if "prior" not in model.learn and prior is not None and not isinstance(prior, str):
        for name, value in vars(prior).items():
            if value is not None:
                expected = np.broadcast_to(value, np.shape(vars(model.prior_)[name]))
                np.testing.assert_array_equal(vars(model.prior_)[name], expected)


def check_methods(model, X):
    """Raise where a method returns what is not finite, or cannot be."""
    scores = understood(model.score_samples, X)
    score = understood(model.score, X)
    if scores is None or score is None:
        return
    finite(scores, "score_samples")
    if not np.isnan(X).all():
        seen = ~np.isnan(X).all(axis=1)
        size = np.abs(scores[seen]).max()
        assert abs(score - scores.mean()) <= 1e-9 * size or not seen.all()
    codes = model.transform(X)
    finite(codes, "transform")
    assert codes.dtype == X.dtype and codes.shape == (len(X), len(model.components_))
    if model.code == "probability":
        assert codes.min() >= 0.0 and codes.max() <= 1.001, f"probabilities {codes}"
    finite(model.reconstruct(X), "reconstruct")
    filled, std = model.impute(X, return_std=True)
    finite(filled, "impute")
    finite(std, "std of impute")
    missing = np.isnan(X)
    assert np.array_equal(filled[~missing], X[~missing]) and not std[~missing].any()
    posterior = model.posterior(X, 3)
    for name, value in vars(posterior).items():
        finite(value, f"posterior.{name}")
    assert np.all(posterior.probabilities.sum(axis=1) <= 1.001), "probabilities beyond 1"
    samples, codes = model.sample(3)
    finite(samples, "sample")
    finite(model.bic(X), "bic")
    check_density(model, X, scores)


def check_density(model, X, scores):
    """Raise where the likelihood of a row is larger than its noise allows at all."""
    variance = np.asarray(model.noise_variance_)
    if variance.ndim == 2:
        return
    variance = np.broadcast_to(variance, X.shape[1:])
    most = np.where(np.isnan(X), 0.0, -0.5 * np.log(2.0 * np.pi * variance)).sum(axis=1)
    size = np.nansum(X.astype(np.float64) ** 2 / variance, axis=1)
    slack = (1e-4 if X.dtype == np.float32 else 1e-9) * (1.0 + size) + 0.1
    assert np.all(scores <= most + slack), f"log-likelihoods {scores} exceed {most}"


def survives(case):
    """Fit and ask; raise where anything else comes of it than numbers or a clear error."""
    X, weights = case.data.arrays()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fitted(case, X, weights)
        if model is not None:
            try:
                check_model(model)
            except AttributeError:
                with np.testing.assert_raises(NotFittedError):
                    model.transform(X)
            else:
                check_given(model, X)
                check_methods(model, X)
    for warning in caught:
        known = warning.category is ConvergenceWarning or re.match(WARNINGS, str(warning.message))
        assert known, warning
    return model is not None


def main(n_fits, start):
    """Fit so many cases; print the shortest of each kind of failure. Return their number."""
    failures, counts, spent = {}, {True: 0, False: 0}, []

    @seed(start)
    @settings(
        max_examples=n_fits,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def fits(case):
        # ends a kernel that never returns, and says where
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        begun = time.perf_counter()
        try:
            counts[survives(case)] += 1
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = [f for f in frames if "skprosper" in f.filename or "fuzz" in f.filename][-1]
            kind = type(error).__name__, where.filename, where.lineno
            found = (len(repr(case)), f"{kind}: {error}"[:600], case)
            failures[kind] = min(failures.get(kind, found), found, key=lambda f: f[0])
        spent.append(time.perf_counter() - begun)
        faulthandler.cancel_dump_traceback_later()

    fits()
    for _, message, case in failures.values():
        print(f"{message}\n    {case}\n")
    print(
        f"seed {start}: {counts[True]} fitted, {counts[False]} refused, {len(failures)} kinds of "
        f"failure; a fit takes {1e3 * np.median(spent):.0f} ms, the slowest {max(spent):.1f} s"
    )
    return len(failures)


if __name__ == "__main__":
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    sys.exit(main(n, int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 1_000_000) > 0)
