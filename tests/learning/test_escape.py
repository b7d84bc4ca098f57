"""Moves out of poor optima where data are many: tried on a sample, kept by all data."""

from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import linalg
from sklearn.decomposition import _fastica

from skprosper import (
    BinarySparseCoding,
    GaussianSparseCoding,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
)
from skprosper.annealing import Annealing, AnnealingStep
from skprosper.datasets import make_bars
from skprosper.learning import em
from skprosper.learning import escape as escaping
from skprosper.learning.escape import escape
from skprosper.learning.moments import data_moments
from skprosper.learning.problem import Problem
from skprosper.metrics import recovered_components
from skprosper.parallel.workers import Workers
from skprosper.priors import BinaryPrior, SpikeSlabPrior, TernaryPrior

N = 12_000
X, _, BARS = make_bars(N, size=3, random_state=0)
LEARN = ("components", "prior", "noise")


def problem_of(workers, model):
    prior, superposition, n_components, truncation = model._model(X)
    return Problem(X, None, workers, superposition, truncation, data_moments(X, None)["moments"])


def iteration(problem, parameters, rows, share=None, steady=True):
    """One iteration of EM on some data; notes how many rows they have."""
    if share is not None:
        share.append(len(problem.X) / N)
    step = em._Iteration(problem, parameters, AnnealingStep(), np.random.RandomState(0))
    return step.bound, step.maximised(LEARN, problem.floor(False), steady, rows)


@pytest.mark.parametrize(
    "estimator", [BinarySparseCoding, GaussianSparseCoding, MaximumMagnitudeCausesAnalysis]
)
def test_an_m_step_of_some_rows_leaves_the_others_and_raises_the_bound(estimator):
    start = BARS + 0.5 * np.random.default_rng(0).standard_normal(BARS.shape)
    model = estimator(6, components_init=start, annealing=None, max_iter=1, random_state=0)
    with Workers() as workers:
        problem = problem_of(workers, model)
        before = model.set_params(max_iter=0).fit(X)._parameters()
        bound, after = iteration(problem, before, [1, 4], steady=False)
        # in canonical units a row may have another length
        unit = np.linalg.norm(after.components, axis=1) / np.linalg.norm(start, axis=1)
        others = [0, 2, 3, 5]
        np.testing.assert_allclose(
            (after.components / unit[:, None])[others], before.components[others], rtol=1e-9
        )
        assert np.abs(after.components[[1, 4]] - before.components[[1, 4]]).max() > 0.01
        _, all_rows = iteration(problem, before, None)
        assert iteration(problem, after, None)[0] > bound
        assert iteration(problem, all_rows, None)[0] > bound


def escaped(problem, parameters, bound, em):
    """Return what `escape` makes of parameters in at most 50 iterations."""
    random_state = np.random.RandomState(0)
    settings = dict(learn=LEARN, most=50, settled=1e-2, pace=0.0, random_state=random_state)
    return escape(problem, parameters, bound, em, **settings)


def test_moves_are_tried_on_a_sample_and_raise_the_bound_of_all_data():
    # two components are one bar, and one bar has none
    start = BARS.copy()
    start[0] = start[1]
    model = BinarySparseCoding(6, components_init=start, annealing=None, random_state=0)
    shares = []
    with Workers() as workers:
        problem = problem_of(workers, model)
        parameters = model.set_params(max_iter=30).fit(X)._parameters()
        bound, _ = iteration(problem, parameters, None)
        better, spent, last, n_tried = escaped(
            problem, parameters, bound, partial(iteration, share=shares)
        )
        after, _ = iteration(problem, better, None)
    assert after > bound + 0.1 and not last and n_tried == 1
    assert spent == pytest.approx(sum(shares))
    # more iterations than this are of the sample, and few of all data
    assert min(shares) == pytest.approx(4096 / N, rel=1e-3) and shares.count(1.0) <= 10
    assert recovered_components(better.components, BARS) == 6


def test_where_no_move_pays_there_is_none():
    model = BinarySparseCoding(6, components_init=BARS, annealing=None, random_state=0).fit(X)
    with Workers() as workers:
        problem = problem_of(workers, model)
        parameters = model._parameters()
        bound, _ = iteration(problem, parameters, None)
        better, _, last, n_tried = escaped(problem, parameters, bound, iteration)
    assert better is None and last


def test_a_move_of_all_components_that_only_a_sample_likes_hides_no_other(monkeypatch):
    H, D = BARS.shape
    everything = escaping.Move(tuple(range(H)), np.full((H, D), 1.0), (), tuple(range(H)))
    one = escaping.Move((0,), np.full((1, D), 2.0), (), (0,))
    monkeypatch.setattr(escaping, "proposals", lambda *_: iter([[everything], [one]]))
    monkeypatch.setattr(escaping, "_PLENTY", 10_000)  # data are few for each component
    bounds = {0.0: (0.0, 0.0), 1.0: (5.0, -1.0), 2.0: (1.0, 1.0)}  # of the sample, of all

    def em(problem, parameters, rows):
        return bounds[parameters.components[0, 0]][len(problem.X) == N], parameters

    start = np.zeros((H, D))
    model = BinarySparseCoding(H, components_init=start, max_iter=0).fit(X)
    with Workers() as workers:
        better, *_ = escaped(problem_of(workers, model), model._parameters(), 0.0, em)
    assert better.components[0, 0] == 2.0


def test_a_move_that_raises_the_bound_for_a_moment_alone_is_not_tried_again(monkeypatch):
    skipped = []

    def nothing_gained(problem, parameters, bound, em, *, skip, **options):
        skipped.append(skip)
        return (None, 1.0, True, 3) if skip else (parameters, 1.0, False, 3)

    monkeypatch.setattr(em, "escape", nothing_gained)
    BinarySparseCoding(6, components_init=BARS, annealing=Annealing(1.0), random_state=0).fit(X)
    assert skipped[0] == 0 and skipped[-1] == 3
    assert skipped.count(3) == 1  # after which there is no other


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_default_fits_of_many_data_have_the_same_bits_for_any_number_of_workers(n_jobs):
    fit = BinarySparseCoding(6, random_state=0, n_jobs=n_jobs, batch_size=1000).fit(X)
    one = BinarySparseCoding(6, random_state=0, batch_size=1000).fit(X)
    assert recovered_components(fit.components_, BARS) == 6
    assert_array_equal(fit.components_, one.components_)
    assert_array_equal(fit.lower_bounds_, one.lower_bounds_)


def test_hot_iterations_draw_few_of_many_data_and_cold_ones_all():
    hot, cold = AnnealingStep(temperature=6.0), AnnealingStep()
    assert hot.share(3000, 10) == 1.0  # fewer than enough
    assert hot.share(40_960, 10) == pytest.approx(0.1 ** (25 / 36))
    assert hot.share(81_920, 1000) == pytest.approx((40_000 / 81_920) ** (25 / 36))
    assert cold.share(1e9, 10) == 1.0 and cold.exact
    assert AnnealingStep(temperature=6.0, data_share=0.5).share(1e9, 10) == 0.5
    assert Annealing().at(0.0).data_share is None


def test_a_share_is_drawn_of_a_dask_array_too():
    da = pytest.importorskip("dask.array")
    annealing = Annealing(data_share=((0, 0.3), (0.5, 1)), reseed=False)
    params = dict(annealing=annealing, max_iter=8, random_state=0)
    blocks = BinarySparseCoding(6, **params).fit(da.from_array(X, chunks=(1000, 9)))
    rows = BinarySparseCoding(6, batch_size=1000, **params).fit(X)
    assert_array_equal(blocks.components_, rows.components_)


@pytest.mark.parametrize("seed", [2, 4, 6, 9])
def test_all_bars_are_found_in_many_data(seed):
    # moves of a few components alone, tried on a sample, found nine of them
    X, _, bars = make_bars(20_000, size=5, noise=2.0, random_state=seed)
    fit = BinarySparseCoding(10, random_state=seed).fit(X)
    assert recovered_components(fit.components_, bars) == 10


@pytest.mark.parametrize(
    "prior",
    [
        BinaryPrior(np.linspace(0.05, 0.3, 8)),
        TernaryPrior(np.linspace(0.05, 0.3, 8)),
        SpikeSlabPrior(np.linspace(0.05, 0.3, 8), np.linspace(1.0, 2.0, 8), np.ones(8)),
    ],
)
def test_moves_leave_a_prior_that_is_given_as_it_is(prior, monkeypatch):
    refreshed = []
    moved = escaping.moved

    def noted(parameters, moves, *others):
        refreshed.extend(h for move in moves for h in move.fresh)
        return moved(parameters, moves, *others)

    monkeypatch.setattr(escaping, "moved", noted)
    X, _, _ = make_bars(500, size=4, random_state=0)
    X[np.random.default_rng(0).uniform(size=X.shape) < 0.8] = np.nan
    model = SparseCoding(
        8, prior=prior, learn=("components", "noise"), annealing=Annealing(1.0), random_state=0
    ).fit(X)
    assert refreshed
    assert_array_equal(model.prior_.probability, prior.probability)
    if isinstance(prior, SpikeSlabPrior):
        assert_array_equal(model.prior_.mean, prior.mean)
        assert_array_equal(model.prior_.covariance, prior.covariance)


def test_an_inverse_that_fails_does_not_hide_what_is_independent(monkeypatch):
    def failing(*args, **kwargs):
        raise linalg.LinAlgError("SVD did not converge")

    rng = np.random.default_rng(0)
    sources = rng.laplace(size=(4000, 5))
    turn = linalg.qr(rng.standard_normal((5, 5)))[0]
    white = (sources - sources.mean(axis=0)) / sources.std(axis=0) @ turn.T
    sound, _ = escaping._independent(white, "logcosh", np.random.RandomState(0))
    monkeypatch.setattr(_fastica.linalg, "pinv", failing)
    rotation, _ = escaping._independent(white, "logcosh", np.random.RandomState(0))
    assert_array_equal(rotation, sound)
    assert np.all(np.sort(np.abs(rotation @ turn), axis=1)[:, -1] > 0.99)


def test_where_the_analysis_fails_there_is_no_rotation(monkeypatch):
    def failing(*args, **kwargs):
        raise linalg.LinAlgError("Eigenvalues did not converge")

    white = np.random.default_rng(0).laplace(size=(400, 3))
    monkeypatch.setattr(_fastica.linalg, "eigh", failing)
    assert escaping._independent(white, "logcosh", np.random.RandomState(0)) == (None, False)
