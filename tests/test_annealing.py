"""Annealing, data truncation, moves out of poor optima, growing posteriors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import ConvergenceWarning

from skprosper import (
    BinarySparseCoding,
    GaussianSparseCoding,
    MaximumMagnitudeCausesAnalysis,
    SparseCoding,
    TernarySparseCoding,
)
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars, make_sparse_coding
from skprosper.learning.data_truncation import correction, within
from skprosper.metrics import recovered_components
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

PLAIN = dict(temperature=1.0, components_noise=0.0, reseed=False)


def test_schedules_are_piecewise_linear_and_exact_where_nothing_disturbs():
    schedule = Annealing(
        temperature=((0, 5), (0.5, 1)),
        components_noise=0,
        prior_noise=((0.6, 0.4), (0.8, 0)),
        data_share=((0, 0.5), (0.5, 1)),
        data_cut=((0, 0), (1, 1)),
    )
    step = schedule.at(0.25)
    assert (step.temperature, step.data_share, step.data_cut) == (3.0, 0.75, 0.25)
    assert schedule.at(0.7).prior_noise == pytest.approx(0.2)
    assert not step.exact and not schedule.at(0.7).exact and schedule.at(0.9).exact


def test_an_annealing_shows_what_is_not_default_and_plots_what_is_not_plain():
    assert repr(Annealing(data_cut=1.0)) == "Annealing(data_cut=1.0)"
    pytest.importorskip("matplotlib").use("agg")
    display = Annealing(data_cut=((0.2, 0), (0.8, 1)), components_noise=0.0).plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["temperature", "data truncation"]
    line = display.axes_[1].lines[0]
    assert_allclose(np.interp([0.5, 1.0], *line.get_data()), [0.5, 1.0], atol=1e-6)
    with pytest.raises(ValueError, match="give 2, one per schedule"):
        display.plot(axes=display.axes_[0])


@pytest.mark.parametrize("name", ["prior_noise", "variance_noise", "components_noise"])
def test_noise_disturbs_what_is_learned_and_nothing_else(name):
    X, _, bars = make_bars(200, size=3, random_state=0)
    noisy = Annealing(**{**PLAIN, name: 0.3})
    params = dict(components_init=bars, max_iter=3, random_state=0)
    part = {"prior_noise": "prior", "variance_noise": "noise", "components_noise": "components"}
    others = tuple({"components", "prior", "noise"} - {part[name]})
    bounds = [
        SparseCoding(6, annealing=annealing, learn=learn, **params).fit(X).lower_bounds_
        for learn in (("components", "prior", "noise"), others)
        for annealing in (None, noisy)
    ]
    assert np.abs(bounds[0] - bounds[1]).max() > 1e-3
    assert_array_equal(bounds[2], bounds[3])


@pytest.mark.parametrize(
    "prior",
    [
        BinaryPrior([0.1, 0.2, 0.3]),
        TernaryPrior(0.2),
        DiscretePrior((0, 1, 2), (0.6, 0.3, 0.1)),
        SpikeSlabPrior(0.2),
    ],
)
def test_priors_stay_priors_under_noise_and_correction(prior):
    prior = prior.start(3)
    activity = prior.activity(3)
    assert_allclose(prior.rescaled(1.5).activity(3), 1.5 * activity)
    assert np.all(prior.rescaled(1e3).activity(3) < 1)
    noisy = prior.perturbed(0.5, 3, np.random.RandomState(0)).activity(3)
    assert np.all((noisy > 0) & (noisy < 1)) and np.all(noisy != activity)


def test_a_share_of_the_data_is_drawn_anew_in_each_iteration():
    X, _, bars = make_bars(400, size=3, random_state=0)
    params = dict(components_init=bars, max_iter=6, random_state=0)
    whole = SparseCoding(6, annealing=None, tol=0, **params).fit(X)
    half = SparseCoding(6, annealing=Annealing(**PLAIN, data_share=0.5), tol=1e9, **params)
    half.fit(X)
    again = half.fit(X).lower_bounds_
    assert len(again) == 6  # never converged on a part of the data
    assert_array_equal(half.fit(X).lower_bounds_, again)
    assert_allclose(again[-3:], whole.lower_bounds_[-3:], rtol=0.05)
    assert np.abs(np.diff(again[-3:])).min() > 1e-6


def test_activity_within_the_truncation_is_that_of_enumeration():
    p = np.array([0.1, 0.3, 0.5, 0.2])
    states = (np.arange(16)[:, None] >> np.arange(4)) & 1
    probability = np.prod(np.where(states, p, 1 - p), axis=1)
    number = states.sum(axis=1)
    kept = number <= 2
    total, mean = within(p, 2)
    assert_allclose(total, probability[kept].sum())
    assert_allclose(mean, probability[kept] @ number[kept] / probability[kept].sum())
    assert correction(p, 2, 0.0) == correction(p, 4, 1.0) == 1.0


@pytest.mark.parametrize("prior", ["binary", "ternary", "spike-slab"])
def test_data_truncation_removes_the_bias_of_many_active_causes(prior):
    rng = np.random.default_rng(0)
    components = 5.0 * rng.standard_normal((12, 30))
    X, codes = make_sparse_coding(
        components, 4000, prior=prior, n_active=4.0, noise=1.0, random_state=0
    )
    errors = {}
    for cut in (0.0, 1.0):
        model = SparseCoding(
            12,
            prior=prior,
            components_init=components,
            n_candidates=8,
            max_changes=4,
            annealing=Annealing(**PLAIN, data_cut=cut),
            center="zero",
            learn=("prior", "noise"),
            max_iter=60,
        ).fit(X)
        share = np.mean(model.prior_.activity(12))
        errors[cut] = share / np.mean(codes != 0) - 1.0
    assert errors[0.0] < -0.1
    assert abs(errors[1.0]) < 0.03


def test_data_truncation_counts_a_weight_of_two_as_the_row_twice():
    X, _, _ = make_bars(150, size=3, n_active=3, random_state=0)
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    params = dict(
        max_changes=2, annealing=Annealing(data_cut=1.0), center="zero", max_iter=15, random_state=0
    )
    weighted = BinarySparseCoding(6, **params).fit(X, sample_weight=weights)
    repeated = BinarySparseCoding(6, **params).fit(np.repeat(X, weights, axis=0))
    assert_allclose(weighted.lower_bounds_, repeated.lower_bounds_, rtol=1e-8)


def test_a_component_that_is_a_difference_of_causes_is_mended():
    rng = np.random.default_rng(0)
    causes = 4.0 * rng.standard_normal((3, 8))
    X, _ = make_sparse_coding(causes, 600, prior="ternary", n_active=1.2, noise=1.0, random_state=0)
    wrong = causes.copy()
    wrong[1] = causes[0] - causes[1]
    params = dict(components_init=wrong, noise_init=1.0)
    stuck = TernarySparseCoding(3, annealing=None, **params).fit(X)
    mended = TernarySparseCoding(3, annealing=Annealing(**{**PLAIN, "reseed": True}), **params)
    assert recovered_components(stuck.components_, causes, ignore_sign=True) == 2
    assert recovered_components(mended.fit(X).components_, causes, ignore_sign=True) == 3
    assert mended.lower_bound_ > stuck.lower_bound_ + 0.1
    assert mended.converged_


@pytest.mark.parametrize("prior", ["ternary", "spike-slab"])
def test_components_that_are_sums_and_differences_of_causes_are_unmixed(prior):
    rng = np.random.default_rng(0)
    causes = 4.0 * rng.standard_normal((4, 12))
    X, _ = make_sparse_coding(causes, 1000, prior=prior, n_active=1.2, noise=1.0, random_state=0)
    signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    params = dict(prior=prior, components_init=signs @ causes / 2.0, noise_init=1.0)
    stuck = SparseCoding(4, annealing=None, random_state=0, **params).fit(X)
    annealing = Annealing(**{**PLAIN, "reseed": True})
    mended = SparseCoding(4, annealing=annealing, random_state=0, **params).fit(X)
    assert recovered_components(stuck.components_, causes, ignore_sign=True) < 4
    assert recovered_components(mended.components_, causes, ignore_sign=True) == 4
    assert mended.lower_bound_ > stuck.lower_bound_ + 0.1


@pytest.mark.parametrize("prior", [BinaryPrior(0.02), TernaryPrior(0.1), SpikeSlabPrior(0.02)])
def test_balanced_temperatures_keep_the_candidates_as_active_as_all_latents(prior):
    def activity(temperature):
        odds = np.exp(prior.log_odds(100) / temperature).sum(axis=0)
        return np.mean(odds / (1.0 + odds))

    prior = prior.start(100)
    step = Annealing(temperature=50.0).at(0.0)
    likelihood, balanced = step.temperatures(prior, 100, 25)
    assert likelihood == 50.0
    assert_allclose(25 * activity(balanced), 100 * activity(1.0))
    assert step.temperatures(prior, 100, 100) == (50.0, 1.0)
    assert Annealing(temperature=1.2).at(0.0).temperatures(prior, 100, 25) == (1.2, 1.2)
    joint, alone = (Annealing(temperature=3.0, target=t).at(0.0) for t in ("joint", "likelihood"))
    assert joint.temperatures(prior, 100, 25) == (3.0, 3.0)
    assert alone.temperatures(prior, 100, 25) == (3.0, 1.0)


@pytest.mark.parametrize("fault", ["unused", "double"])
def test_unused_and_double_components_are_seeded_anew(fault):
    X, _, bars = make_bars(1000, size=3, random_state=0)
    start = bars.copy()
    start[0] = 0.0 if fault == "unused" else start[1] + 0.1
    annealing = Annealing(**{**PLAIN, "reseed": True})
    params = dict(components_init=start, noise_init=4.0)
    model = BinarySparseCoding(6, annealing=annealing, **params).fit(X)
    assert recovered_components(model.components_, bars) == 6


def test_what_does_not_raise_the_bound_is_taken_back():
    X, _, bars = make_bars(1000, size=3, random_state=0)
    params = dict(components_init=bars, noise_init=4.0, tol=1e-6)
    model = BinarySparseCoding(6, annealing=None, **params).fit(X)
    annealing = Annealing(**{**PLAIN, "reseed": True})
    other = BinarySparseCoding(6, annealing=annealing, **params).fit(X)
    assert recovered_components(other.components_, bars) == 6
    assert other.lower_bound_ >= model.lower_bound_ - 1e-4


@pytest.mark.parametrize("estimator", [TernarySparseCoding, GaussianSparseCoding])
def test_the_defaults_find_signed_and_graded_bars(estimator):
    kind = {TernarySparseCoding: "ternary", GaussianSparseCoding: "spike-slab"}[estimator]
    noise = 2.0 if kind == "ternary" else 1.0
    for seed in range(2):
        X, _, bars = make_bars(1000, prior=kind, noise=noise, random_state=seed)
        model = estimator(10, random_state=seed).fit(X)
        assert recovered_components(model.components_, bars, ignore_sign=True) == 10


def test_the_defaults_find_bars_of_either_sign_that_cover_each_other():
    X, _, bars = make_bars(1000, superposition="magnitude-maximum", signed=True, random_state=0)
    model = MaximumMagnitudeCausesAnalysis(10, random_state=0).fit(X)
    assert recovered_components(model.components_, bars) == 10
    assert_allclose(model.noise_variance_, 4.0, rtol=0.1)


def test_moves_do_not_depend_on_the_unit_of_the_data():
    X, _, _ = make_bars(1000, prior="ternary", random_state=3)
    params = dict(fit_offset=True, random_state=0)
    model = TernarySparseCoding(10, **params).fit(X)
    other = TernarySparseCoding(10, **params).fit(1e6 * X + 1e7)
    assert_allclose(other.components_ / 1e6, model.components_, atol=1e-4)


def test_a_fit_that_ends_while_annealing_warns():
    X, _, _ = make_bars(100, size=3, random_state=0)
    with pytest.warns(ConvergenceWarning):
        model = BinarySparseCoding(6, annealing=Annealing(temperature=2.0), max_iter=5).fit(X)
    assert not model.converged_


def test_a_posterior_shows_its_states_and_turns_sparse():
    X, _, bars = make_bars(50, size=3, random_state=0)
    model = BinarySparseCoding(6, components_init=bars, noise_init=4.0, max_iter=0).fit(X)
    found = model.posterior(X, n_states=3)
    assert_array_equal(found.to_sparse(1).toarray(), found.codes(1))
    pytest.importorskip("matplotlib").use("agg")
    display = found.plot(sample=4)
    assert_allclose([bar.get_width() for bar in display.bars_], found.probabilities[4])


@pytest.mark.parametrize("center", ["best", "zero"])
def test_a_posterior_grows_where_that_adds_to_the_evidence(center):
    components = 10.0 * np.eye(9, 12)
    codes = (np.arange(9) < np.array([[1], [3], [8]])).astype(float)
    X = codes @ components
    params = dict(components_init=components, noise_init=1.0, max_iter=0, center=center)
    model = BinarySparseCoding(9, n_candidates=4, max_changes=2, **params).fit(X)
    found = model.posterior(X, n_states=2)
    assert_array_equal(found.codes(), codes)
    assert_array_equal(found.n_active[:, 0], [1, 3, 8])
    # around the best state no more is needed
    assert_array_equal(found.max_changes, 2 if center == "best" else [2, 3, 8])
    assert np.all(found.truncation_gap < 0.01)
    assert_array_equal(found.marginals.round(), codes)
    assert np.all(model.score_samples(X) <= found.log_evidence + 1e-9)


def test_diagnostics_tell_what_is_used_and_what_the_truncation_costs():
    components = 6.0 * np.random.default_rng(0).standard_normal((6, 20))
    X, codes = make_sparse_coding(components, 2000, n_active=2.4, random_state=0)
    params = dict(components_init=components, annealing=None, max_iter=20, tol=1e-9)
    zero = dict(center="zero", max_changes=2)
    with pytest.warns(UserWarning, match="max_changes=2 may bias the fit.*center='best'"):
        model = BinarySparseCoding(6, **zero, **params).fit(X)
    wider = SparseCoding(
        6,
        prior=model.prior_,
        components_init=model.components_,
        max_iter=0,
        noise_init=model.noise_variance_,
        center="zero",
        max_changes=3,
    ).fit(X)
    assert_allclose(model.truncation_gap_, wider.score(X) - model.score(X), rtol=0.1)
    assert model.truncation_gap_ > 1.0
    model = BinarySparseCoding(6, max_changes=2, **params).fit(X)
    assert_allclose(model.usage_, codes.mean(axis=0), atol=0.01)
    assert 0.0 <= model.truncation_gap_ < 1e-3
    model = BinarySparseCoding(6, max_changes=None, n_candidates=None, **params).fit(X)
    assert model.truncation_gap_ == 0.0


def test_a_start_that_cannot_win_any_more_is_given_up():
    X, _, bars = make_bars(400, size=3, random_state=0)
    params = dict(annealing=None, max_iter=60, tol=0, random_state=0)
    starts = BinarySparseCoding(6, n_init=4, **params)
    begun = []

    class Count:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context):
            begun.append(context.task_name)

        def on_fit_task_end(self, estimator, context): ...

    starts.set_callbacks(Count()).fit(X)
    assert 60 < begun.count("iteration") < 4 * 60
    rng = np.random.RandomState(0)
    params["random_state"] = rng
    single = [BinarySparseCoding(6, **params).fit(X).lower_bound_ for _ in range(4)]
    assert starts.lower_bound_ == max(single)
