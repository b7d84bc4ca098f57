"""scikit-learn's contract: checks, pipelines, searches, callbacks, parallel workers."""

from functools import partial

import numpy as np
import pytest
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
    TernarySparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars
from skprosper.image import extract_patches
from skprosper.parallel.chunks import chunk_rows
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

# The named models and the parameters that only they have.
NAMED = {
    BinarySparseCoding: {"tied"},
    TernarySparseCoding: {"tied"},
    DiscreteSparseCoding: {"values", "tied"},
    GaussianSparseCoding: {"covariance", "learn_mean"},
    MaximalCausesAnalysis: {"tied"},
    MaximumMagnitudeCausesAnalysis: {"tied"},
}


@parametrize_with_checks(
    [
        SparseCoding(),
        *(model() for model in NAMED),
        GaussianSparseCoding(covariance="full", noise="full", fit_offset=True),
    ]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("named", NAMED)
def test_named_models_have_the_parameters_they_do_not_fix(named):
    general = set(SparseCoding().get_params())
    assert set(named().get_params()) == general - {"prior", "superposition"} | NAMED[named]
    for name in named().get_params():
        assert f"\n{name} : " in named.__doc__
    assert named(7, tol=0.5).get_params()["tol"] == 0.5
    with pytest.raises(TypeError, match="prior"):
        named(prior="binary")


def test_named_models_equal_their_composition():
    X, _, _ = make_bars(200, size=3, random_state=0)
    pairs = [
        (BinarySparseCoding, "binary", "linear"),
        (TernarySparseCoding, "ternary", "linear"),
        (DiscreteSparseCoding, DiscretePrior((0, 1, 2)), "linear"),
        (GaussianSparseCoding, "spike-slab", "linear"),
        (
            partial(GaussianSparseCoding, learn_mean=False),
            SpikeSlabPrior(learn_mean=False),
            "linear",
        ),
        (
            partial(GaussianSparseCoding, covariance="full"),
            SpikeSlabPrior(covariance="full"),
            "linear",
        ),
        (MaximalCausesAnalysis, "binary", "maximum"),
        (MaximumMagnitudeCausesAnalysis, "binary", "magnitude-maximum"),
    ]
    params = dict(n_components=6, max_iter=3, tol=1e9, annealing=None, random_state=0)
    for named, prior, superposition in pairs:
        one = named(**params).fit(X)
        other = SparseCoding(prior=prior, superposition=superposition, **params).fit(X)
        assert_array_equal(one.components_, other.components_)


@pytest.mark.parametrize("true", ["binary", "ternary", "discrete", "spike-slab"])
def test_grid_search_picks_the_true_prior(true):
    kind = dict(probabilities=(0.7, 0.15, 0.15)) if true == "discrete" else {}
    X, _, _ = make_bars(900, size=3, prior=true, random_state=0, **kind)
    grid = {"prior": ["binary", "ternary", "discrete", "spike-slab"]}
    search = GridSearchCV(SparseCoding(6, random_state=0), grid, cv=3).fit(X)
    scores = dict(zip(grid["prior"], search.cv_results_["mean_test_score"], strict=True))
    others = [score for prior, score in scores.items() if prior != true]
    if true == "binary":  # 0, 1 and 2 with no use for 2 are 0 and 1
        assert_allclose(scores.pop("discrete"), scores["binary"], atol=1e-2)
        others = [scores["ternary"], scores["spike-slab"]]
    assert scores[true] > max(others)


def test_grid_search_reaches_the_parameters_of_a_prior():
    X, _, _ = make_bars(100, size=3, random_state=0)
    estimator = SparseCoding(6, prior=BinaryPrior(), max_iter=2, tol=1e9, random_state=0)
    grid = {"prior__probability": [0.1, 0.4], "prior": [BinaryPrior(), TernaryPrior()]}
    search = GridSearchCV(estimator, grid, cv=2).fit(X)
    assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))


@pytest.mark.parametrize("true", ["linear", "maximum", "magnitude-maximum"])
def test_grid_search_picks_the_true_superposition(true):
    signed = true == "magnitude-maximum"  # of positive bars both maxima are the same
    X, _, _ = make_bars(900, size=3, superposition=true, signed=signed, random_state=0)
    grid = {"superposition": ["linear", "maximum", "magnitude-maximum"]}
    search = GridSearchCV(SparseCoding(6, random_state=0), grid, cv=3).fit(X)
    scores = dict(zip(grid["superposition"], search.cv_results_["mean_test_score"], strict=True))
    assert scores[true] >= max(scores.values()) - 0.01 * (true == "maximum")
    others = {"linear": "maximum", "maximum": "linear", "magnitude-maximum": "linear"}
    assert scores[true] > scores[others[true]] + 0.1


@pytest.mark.parametrize(
    "named",
    [
        TernarySparseCoding,
        GaussianSparseCoding,
        MaximalCausesAnalysis,
        MaximumMagnitudeCausesAnalysis,
    ],
)
def test_pipeline_classifies_digits_from_codes(named):
    X, y = load_digits(return_X_y=True)
    # the maximum of non-negative components is for data with a meaningful zero
    pipeline = make_pipeline(
        StandardScaler(with_mean=named is not MaximalCausesAnalysis),
        named(64, random_state=0, max_iter=60),
        LogisticRegression(max_iter=2000),
    )
    assert pipeline.fit(X[:1200], y[:1200]).score(X[1200:], y[1200:]) > 0.85


def test_feature_names_and_pandas_output():
    pandas = pytest.importorskip("pandas")
    X = pandas.DataFrame(make_bars(60, size=3, random_state=0)[0]).add_prefix("pixel")
    model = BinarySparseCoding(4, max_iter=2, tol=1e9, random_state=0)
    codes = model.set_output(transform="pandas").fit_transform(X)
    assert list(codes.columns) == [f"binarysparsecoding{h}" for h in range(4)]
    assert model.feature_names_in_[0] == "pixel0"


@pytest.mark.parametrize(
    "model",
    [
        dict(noise="full"),
        dict(noise="full", prior=SpikeSlabPrior(covariance="full")),
        dict(superposition="maximum"),
        dict(superposition="magnitude-maximum", prior="discrete"),
    ],
)
@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_any_workers_give_the_same_bits(backend, model):
    X, _, _ = make_bars(700, size=3, random_state=0)
    params = dict(n_components=6, batch_size=100, max_iter=5, tol=1e9, random_state=0, **model)
    alone = SparseCoding(n_jobs=1, **params).fit(X)
    with parallel_config(backend=backend):
        together = SparseCoding(n_jobs=2, **params).fit(X)
        codes = together.transform(X)
    assert_array_equal(together.components_, alone.components_)
    assert_array_equal(together.lower_bounds_, alone.lower_bounds_)
    assert_array_equal(codes, alone.transform(X))


def test_chunks_cover_the_rows_once():
    for n_samples in (1, 511, 5000, 100_001):
        rows = np.concatenate([np.arange(n_samples)[c] for c in chunk_rows(n_samples)])
        assert_array_equal(rows, np.arange(n_samples))
    assert [c.stop - c.start for c in chunk_rows(10, 4)] == [4, 4, 2]


def test_memory_maps_are_read_like_arrays(tmp_path):
    X, _, _ = make_bars(300, size=3, random_state=0)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    params = dict(n_components=6, max_iter=3, tol=1e9, random_state=0)
    one, other = SparseCoding(**params).fit(X), SparseCoding(**params).fit(mapped)
    assert_array_equal(one.components_, other.components_)
    assert_array_equal(one.transform(X), other.transform(mapped))


def test_inverse_transform_of_codes_and_reconstruction_agree():
    X, _, _ = make_bars(100, size=3, random_state=0)
    model = SparseCoding(6, fit_offset=True, random_state=0).fit(X)
    assert_allclose(model.inverse_transform(model.transform(X)), model.reconstruct(X))


def test_scoring_monitor_logs_the_score_of_every_iteration():
    X, _, _ = make_bars(100, size=3, random_state=0)
    monitor = ScoringMonitor(scoring={"nats": lambda model, X, y: model.score(X)})
    model = BinarySparseCoding(6, annealing=None, max_iter=4, tol=0, random_state=0)
    model.set_callbacks(monitor).fit(X)
    logs = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    scores = [row["nats"] for row in logs]
    assert len(scores) == 4
    # the bound of an iteration is that of the parameters before it
    assert_allclose(scores[:-1], model.lower_bounds_[1:])


def test_progress_bar_runs_through_a_fit(capsys):
    pytest.importorskip("rich")
    X, _, _ = make_bars(100, size=3, random_state=0)
    BinarySparseCoding(6, random_state=0).set_callbacks(ProgressBar()).fit(X)
    assert "BinarySparseCoding" in capsys.readouterr().out


class StopAfter:
    """Callback that ends the run after some iterations."""

    def __init__(self, n_iter):
        self.n_iter, self.begun, self.ended = n_iter, [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        self.begun.append(context.task_name)

    def on_fit_task_end(self, estimator, context):
        self.ended.append(context.task_name)
        return self.ended.count("iteration") >= self.n_iter


def test_a_callback_stops_the_fit_and_every_task_that_began_ends():
    X, _, _ = make_bars(100, size=3, random_state=0)
    callback = StopAfter(3)
    model = BinarySparseCoding(6, random_state=0).set_callbacks(callback).fit(X)
    assert model.n_iter_ == 3
    assert sorted(callback.begun) == sorted(callback.ended)


def test_verbose_prints_iterations(capsys):
    X, _, _ = make_bars(60, size=3, random_state=0)
    BinarySparseCoding(4, verbose=2, max_iter=2, tol=1e9, annealing=None).fit(X)
    assert "lower bound" in capsys.readouterr().out


def test_a_fit_is_never_converged_while_annealing():
    X, _, _ = make_bars(100, size=3, random_state=0)
    with pytest.warns(match="did not converge"):
        model = BinarySparseCoding(
            6, annealing=Annealing(temperature=2.0), tol=1e9, max_iter=6, random_state=0
        ).fit(X)
    assert model.n_iter_ == 6


def test_patches_fit_as_they_are_extracted():
    patches = extract_patches(np.random.default_rng(0).uniform(size=(20, 20)), (4, 4))
    model = TernarySparseCoding(8, fit_offset=True, max_iter=2, tol=1e9, annealing=None)
    assert model.fit(patches).components_.shape == (8, 16)
