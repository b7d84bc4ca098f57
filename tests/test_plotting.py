import sys
from copy import copy
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from skprosper import BinarySparseCoding
from skprosper.annealing import Annealing
from skprosper.datasets import make_bars
from skprosper.plotting import (
    BoundDisplay,
    ComponentsDisplay,
    ExplanationsDisplay,
    PosteriorDisplay,
    PriorDisplay,
    ScheduleDisplay,
    TruncationDisplay,
)

pyplot = pytest.importorskip("matplotlib.pyplot")


class Fitted(BaseEstimator):
    """Stands in for an estimator: fitted attributes and nothing else."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)

    def fit(self, X, y=None):
        return self


@pytest.fixture(autouse=True)
def no_window():
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


def tiles_of(display, image_shape):
    """The tiles of the mosaic without frame and zoom, found through the frame."""
    mosaic = np.ma.filled(display.im_.get_array(), np.nan)
    inside = (mosaic >= -1) if mosaic.ndim == 2 else np.ptp(mosaic[..., :3], axis=-1) > 0
    tiles = []
    for rows in _runs(inside.any(axis=1)):
        for columns in _runs(inside[rows].any(axis=0)):
            tile = mosaic[rows, columns]
            zoom = tile.shape[0] // image_shape[0], tile.shape[1] // image_shape[1]
            tiles.append(tile[:: zoom[0], :: zoom[1]])
    return np.array(tiles)


def _runs(flags):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags, [0]])))
    return [slice(*pair) for pair in edges.reshape(-1, 2)]


@pytest.mark.parametrize("image_shape", [(5, 5), (3, 8), (8, 3), (40, 20), (1, 6)])
@pytest.mark.parametrize("signed", [False, True])
def test_every_tile_shows_its_component_scaled_by_its_own_largest_magnitude(image_shape, signed):
    rng = np.random.default_rng(0)
    components = rng.uniform(-1 if signed else 0, 1, size=(7, np.prod(image_shape)))
    components *= np.logspace(-3, 3, 7)[:, np.newaxis]
    display = ComponentsDisplay.from_components(components, image_shape)
    expected = components / np.abs(components).max(axis=1, keepdims=True)
    assert_allclose(tiles_of(display, image_shape), expected.reshape(7, *image_shape))


@pytest.mark.parametrize("signed", [False, True])
def test_colour_components_are_shown_in_colour(signed):
    rng = np.random.default_rng(0)
    components = rng.uniform(-1 if signed else 0, 1, size=(4, 4 * 6 * 3))
    display = ComponentsDisplay.from_components(components, (4, 6, 3))
    expected = components / np.abs(components).max(axis=1, keepdims=True)
    if signed:
        expected = (1 + expected) / 2
    shown = tiles_of(display, (4, 6))
    assert_allclose(shown[..., :3], expected.reshape(4, 4, 6, 3))
    assert_array_equal(shown[..., 3], 1)


def test_zero_is_the_middle_of_the_colours_where_there_are_both_signs():
    components = np.random.default_rng(0).normal(size=(4, 9))
    assert ComponentsDisplay.from_components(components).im_.get_clim() == (-1, 1)
    non_negative = ComponentsDisplay.from_components(np.abs(components))
    assert non_negative.im_.get_clim() == (0, 1)


def test_a_component_of_zeros_is_shown():
    display = ComponentsDisplay.from_components(np.vstack([np.zeros(9), np.ones(9)]))
    assert_array_equal(tiles_of(display, (3, 3))[0], np.zeros((3, 3)))


def test_places_without_a_tile_are_transparent():
    display = ComponentsDisplay.from_components(np.ones((7, 9)))
    corner = np.ma.getmaskarray(display.im_.get_array())[-1, -1]
    assert corner
    assert display.im_.get_cmap().get_bad()[3] == 0


def test_tiles_come_in_the_order_asked_for():
    components = np.eye(4)
    display = ComponentsDisplay.from_components(components, order=[2, 0])
    assert_array_equal(tiles_of(display, (2, 2)), components[[2, 0]].reshape(2, 2, 2))


def test_order_by_usage_starts_with_the_most_probable_component():
    prior = SimpleNamespace(probability=np.array([0.1, 0.3, 0.05, 0.2]))
    estimator = Fitted(components_=np.eye(4), prior_=prior)
    display = ComponentsDisplay.from_estimator(estimator, order="usage")
    assert_array_equal(display.components, np.eye(4)[[1, 3, 0, 2]])


def test_order_by_usage_takes_what_the_fit_has_found():
    prior = SimpleNamespace(probability=0.2)
    usage = np.array([0.1, 0.3, 0.05, 0.2])
    estimator = Fitted(components_=np.eye(4), prior_=prior, usage_=usage)
    display = ComponentsDisplay.from_estimator(estimator, order="usage")
    assert_array_equal(display.components, np.eye(4)[[1, 3, 0, 2]])


@pytest.mark.parametrize("more", [{}, {"usage_": np.ones(3)}, {"prior_": None}])
def test_without_a_number_for_each_component_they_stay_as_they_are(more):
    estimator = Fitted(
        **{"components_": np.eye(4), "prior_": SimpleNamespace(probability=0.1), **more}
    )
    display = ComponentsDisplay.from_estimator(estimator)
    assert_array_equal(display.components, np.eye(4))


@pytest.mark.parametrize("shape", [None, (6,), 6])
def test_signals_are_lines_from_top_to_bottom_each_in_its_own_scale(shape):
    signals = np.array([[0, 1, 2, 3, -4, 0], [0, 0, 0.01, 0, 0, 0]])
    display = ComponentsDisplay.from_components(signals, shape)
    first, second = (line.get_ydata() for line in display.lines_)
    assert_allclose(first, signals[0] / 8)
    assert_allclose(second, signals[1] / 0.02 - 1)
    ComponentsDisplay(2 * signals, (6,)).plot(ax=display.ax_)
    assert len(display.ax_.lines) == 2


@pytest.mark.parametrize("order", ["size", [0, 4], [-1], [0.5], [[0, 1]]])
def test_an_order_that_is_none_is_an_error(order):
    estimator = Fitted(components_=np.eye(4))
    with pytest.raises(ValueError, match="order must"):
        ComponentsDisplay.from_estimator(estimator, order=order)


@pytest.mark.parametrize(
    ("image_shape", "message"),
    [
        ((2, 4), "does not fit 6 features"),
        ((5,), "does not fit"),
        ((1, 3, 2), "does not fit"),
    ],
)
def test_an_image_shape_that_does_not_fit_is_an_error(image_shape, message):
    with pytest.raises(ValueError, match=message):
        ComponentsDisplay.from_components(np.ones((2, 6)), image_shape)


@pytest.mark.parametrize(
    ("prior", "heights", "labels"),
    [
        ({"probability": np.array([0.1, 0.3])}, [0.1, 0.3], None),
        ({"probability": 0.2}, [0.8, 0.2], ["inactive", "active"]),
        (
            {"values": np.array([0, 1, 2.5]), "probabilities": np.array([0.7, 0.2, 0.1])},
            [0.7, 0.2, 0.1],
            ["0", "1", "2.5"],
        ),
    ],
)
def test_prior_bars_have_the_height_of_the_probabilities(prior, heights, labels):
    display = PriorDisplay.from_estimator(Fitted(prior_=SimpleNamespace(**prior)))
    assert_allclose([bar.get_height() for bar in display.bars_], heights)
    if labels is None:
        assert display.ax_.get_xlabel() == "Component"
    else:
        assert [tick.get_text() for tick in display.ax_.get_xticklabels()] == labels


def test_bound_curve_runs_over_the_iterations():
    display = BoundDisplay.from_estimator(Fitted(lower_bounds_=[-9.0, -5.0, -4.0]))
    assert_array_equal(display.line_.get_xdata(), [1, 2, 3])
    assert_array_equal(display.line_.get_ydata(), [-9, -5, -4])
    assert "nats" in display.ax_.get_ylabel()


def test_bounds_of_two_estimators_can_share_axes_with_a_legend():
    first = BoundDisplay(np.array([-3.0, -1.0])).plot(label="binary")
    second = BoundDisplay(np.array([-3.0, -2.0])).plot(ax=first.ax_, label="ternary")
    assert second.figure_ is first.figure_
    texts = [text.get_text() for text in first.ax_.get_legend().get_texts()]
    assert texts == ["binary", "ternary"]


DISPLAYS = [ComponentsDisplay, PriorDisplay, BoundDisplay]


@pytest.mark.parametrize("Display", DISPLAYS)
def test_a_display_draws_into_the_axes_given(Display):
    estimator = Fitted(
        components_=np.eye(4),
        prior_=SimpleNamespace(probability=np.full(4, 0.1)),
        lower_bounds_=[-2.0, -1.0],
    )
    figure, axes = pyplot.subplots(1, 2)
    display = Display.from_estimator(estimator, ax=axes[1])
    assert display.ax_ is axes[1]
    assert display.figure_ is figure
    assert axes[1].has_data()
    assert not axes[0].has_data()


@pytest.mark.parametrize("Display", DISPLAYS)
def test_a_display_of_an_unfitted_estimator_is_an_error(Display):
    with pytest.raises(NotFittedError):
        Display.from_estimator(Fitted())


@pytest.mark.parametrize("Display", DISPLAYS)
def test_a_missing_matplotlib_is_named(Display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    estimator = Fitted(
        components_=np.eye(4),
        prior_=SimpleNamespace(probability=0.1),
        lower_bounds_=[-2.0, -1.0],
    )
    with pytest.raises(ImportError, match=r"pip install skprosper\[plot\]"):
        Display.from_estimator(estimator)


def drawings(ax):
    """Draw, one after the other, every display on the Axes."""
    components = np.random.default_rng(0).normal(size=(5, 9))
    shared = Fitted(prior_=SimpleNamespace(probability=0.2))
    each = Fitted(prior_=SimpleNamespace(probability=np.array([0.1, 0.3, 0.2])))
    return {
        "components": lambda: ComponentsDisplay.from_components(components, ax=ax),
        "shared prior": lambda: PriorDisplay.from_estimator(shared, ax=ax),
        "prior of each": lambda: PriorDisplay.from_estimator(each, ax=ax),
        "bound": lambda: BoundDisplay(np.array([-9.0, -5.0, -4.0])).plot(ax, label="one"),
        "posterior": lambda: PosteriorDisplay(["3", "3, 5"], np.array([0.8, 0.2])).plot(ax),
        "schedule": lambda: ScheduleDisplay.from_annealing(
            Annealing(components_noise=0.0), axes=[ax]
        ),
    }


def picture(figure):
    figure.canvas.draw()
    return np.array(figure.canvas.buffer_rgba())


@pytest.mark.parametrize("axis", ["linear", "log x", "log y", "ticks"])
@pytest.mark.parametrize("name", drawings(None))
@pytest.mark.filterwarnings("ignore:Data has no positive values")  # of bounds, which are negative
@pytest.mark.filterwarnings("error")
def test_drawn_again_on_any_axes_it_is_the_same_picture(name, axis):
    figure, ax = pyplot.subplots()
    if axis.startswith("log"):
        ax.set(**{f"{axis[-1]}scale": "log"})
    elif axis == "ticks":
        ax.set_xticks([1, 3])
        ax.set_yticks([0, 1])
    draw = drawings(ax)[name]
    draw()
    once = picture(figure)
    display = draw()
    assert_array_equal(picture(figure), once)
    display.plot(
        ax if name != "schedule" else [ax], **({"label": "one"} if name == "bound" else {})
    )
    assert_array_equal(picture(figure), once)


@pytest.mark.parametrize("name", ["components", "shared prior", "posterior"])
def test_another_display_of_the_kind_takes_the_place_of_the_first(name):
    (first, ax), (other, fresh) = (pyplot.subplots() for _ in range(2))
    old = {
        "components": lambda: ComponentsDisplay.from_components(np.ones((3, 4)), ax=ax),
        "shared prior": lambda: PriorDisplay(np.array([0.5, 0.5]), ["off", "on"]).plot(ax),
        "posterior": lambda: PosteriorDisplay(list("abc"), np.ones(3)).plot(ax),
    }
    old[name]()
    drawings(ax)[name]()
    drawings(fresh)[name]()
    assert_array_equal(picture(first), picture(other))


def test_the_last_bounds_of_a_stream_stand_at_their_iterations():
    display = BoundDisplay.from_estimator(Fitted(lower_bounds_=[-5.0, -4.0], n_iter_=1002))
    assert_array_equal(display.line_.get_xdata(), [1001, 1002])


@pytest.fixture(scope="module")
def bars():
    X = make_bars(300, size=3, random_state=0)[0]
    return BinarySparseCoding(6, max_iter=20, tol=0.01, random_state=0).fit(X), X


def test_dots_beside_the_prior_are_the_posterior_s(bars):
    model, _ = bars
    display = PriorDisplay.from_estimator(model)
    assert_array_equal(display.dots_.get_ydata(), model.usage_)
    assert_array_equal(display.dots_.get_xdata(), np.arange(6))
    shared = SimpleNamespace(probability=0.25)
    display = PriorDisplay.from_estimator(Fitted(prior_=shared, usage_=np.array([0.1, 0.2])))
    assert_allclose(display.dots_.get_ydata(), [0.85, 0.15])
    assert PriorDisplay.from_estimator(Fitted(prior_=shared)).dots_ is None


def test_the_hot_iterations_are_shaded_once(bars):
    model, X = bars
    display = BoundDisplay.from_estimator(model)
    # to T = 1 in three tenths of 20 iterations
    assert display.n_annealed == 6
    BoundDisplay.from_estimator(model, ax=display.ax_)
    assert len(display.ax_.patches) == 1
    cold = BinarySparseCoding(6, annealing=None, max_iter=5, random_state=0).fit(X)
    assert BoundDisplay.from_estimator(cold).n_annealed == 0


def test_explanations_are_the_states_of_the_posterior(bars):
    model, X = bars
    x = np.where(np.arange(9) == 4, X[0], np.nan)  # the centre alone
    display = ExplanationsDisplay.from_estimator(model, x, n_states=3)
    posterior = model.posterior(x[None], n_states=3)
    assert_allclose(display.probabilities, posterior.probabilities[0])
    for rank, ax in enumerate(display.axes_[1:]):
        expected = model.inverse_transform(posterior.codes(rank))[0]
        assert_allclose(ax.images[0].get_array().ravel(), expected)
    assert np.ma.getmaskarray(display.axes_[0].images[0].get_array()).sum() == 8
    display.plot(axes=display.axes_)
    assert all(len(ax.images) == 1 for ax in display.axes_)
    signals = ExplanationsDisplay.from_estimator(model, x, image_shape=9, n_states=1)
    assert_array_equal(signals.axes_[0].lines[0].get_ydata(), x)


def test_explanations_of_what_is_no_data_point_are_errors(bars):
    model, X = bars
    with pytest.raises(ValueError, match="x holds 300 data points"):
        ExplanationsDisplay.from_estimator(model, X)
    with pytest.raises(ValueError, match="axes holds 1 Axes; give 3"):
        ExplanationsDisplay.from_estimator(model, X[0], n_states=2, axes=pyplot.gca())


def test_the_bound_rises_with_the_states_up_to_the_likelihood(bars):
    model, X = bars
    narrow = copy(model).set_params(n_candidates=2, max_changes=1)
    display = TruncationDisplay.from_estimator(narrow, X)
    assert_allclose(display.scores[display.own], narrow.score(X))
    exact = copy(model).set_params(n_candidates=None, max_changes=None)
    assert np.all(np.diff(display.n_states) > 0)
    assert display.scores[0] < display.scores[-1] <= exact.score(X) + 1e-9
    assert narrow.n_candidates == 2
    display.plot(ax=display.ax_)
    assert len(display.ax_.lines) == 2
