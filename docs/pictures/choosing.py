"""Data of each kind, what the model for it learns, and the values of its codes."""

import matplotlib.pyplot as plt
import numpy as np

from skprosper import (
    BinarySparseCoding,
    DiscreteSparseCoding,
    GaussianSparseCoding,
    MaximalCausesAnalysis,
    MaximumMagnitudeCausesAnalysis,
    TernarySparseCoding,
)
from skprosper.datasets import make_bars
from skprosper.plotting import ComponentsDisplay

SIDE = 5


def _tiles(ax, images, title):
    """Eight images with one scale for all, zero being white where there are both signs."""
    limit = np.abs(images).max()
    tiles = np.full((2, SIDE + 1, 4, SIDE + 1), np.nan)
    tiles[:, :SIDE, :, :SIDE] = images.reshape(2, 4, SIDE, SIDE).transpose(0, 2, 1, 3)
    ax.imshow(
        tiles.reshape(2 * SIDE + 2, 4 * SIDE + 4)[:-1, :-1], cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    ax.set_axis_off()
    ax.set_title(title, fontsize="medium")


def _picture(model, bins, **kind):
    kind = dict(noise=1.0) | kind
    X, codes, bars = make_bars(1000, size=SIDE, random_state=1, **kind)
    model.fit(X)
    figure, axes = plt.subplots(
        1, 3, figsize=(9, 2.3), width_ratios=(2, 2.4, 1.8), layout="constrained"
    )
    _tiles(axes[0], X[np.count_nonzero(codes, axis=1) > 1][:8], "eight data points")
    ComponentsDisplay.from_estimator(model, (SIDE, SIDE), ax=axes[1])
    axes[1].set_title("learned components", fontsize="medium")
    found = model.set_params(code="map").transform(X)
    axes[2].hist(found[found != 0], bins=bins)
    axes[2].set_title("values of active codes", fontsize="medium")
    axes[2].set(yticks=[])
    axes[2].spines[["top", "right", "left"]].set_visible(False)


_STEPS = np.linspace(-2.55, 2.55, 52)


def present():
    _picture(BinarySparseCoding(10, random_state=0), _STEPS)


def signs():
    _picture(TernarySparseCoding(10, random_state=0), _STEPS, prior="ternary")


def steps():
    _picture(DiscreteSparseCoding(10, values=(0, 1, 2), random_state=0), _STEPS, prior="discrete")


def strengths():
    _picture(GaussianSparseCoding(10, random_state=0), np.linspace(-70, 70, 50), prior="spike-slab")


def occlusion():
    _picture(MaximalCausesAnalysis(10, random_state=0), _STEPS, superposition="maximum", n_active=3)


def occlusion_signs():
    _picture(
        MaximumMagnitudeCausesAnalysis(10, random_state=0),
        _STEPS,
        superposition="magnitude-maximum",
        signed=True,
        n_active=3,
    )


def holes():
    """Images of which half is missing, and what is filled in."""
    X, codes, _ = make_bars(1000, size=SIDE, noise=1.0, random_state=1)
    missing = np.random.default_rng(0).random(X.shape) < 0.5
    holes = np.where(missing, np.nan, X)
    filled = BinarySparseCoding(10, random_state=0).fit(holes).impute(holes)
    several = np.count_nonzero(codes, axis=1) > 1
    figure, axes = plt.subplots(1, 3, figsize=(9, 2.3), layout="constrained")
    figure.get_layout_engine().set(wspace=0.1)
    titles = ("half is missing (grey)", "filled in", "what was there")
    for ax, images, title in zip(axes, (holes, filled, X), titles):
        images = images[several][:8].reshape(2, 4, SIDE, SIDE).transpose(0, 2, 1, 3)
        tiles = np.full((2, SIDE + 1, 4, SIDE + 1), -100.0)
        tiles[:, :SIDE, :, :SIDE] = images
        tiles = tiles.reshape(2 * SIDE + 2, 4 * SIDE + 4)[:-1, :-1]
        colours = plt.get_cmap("RdBu_r").with_extremes(bad="0.75", under="w")
        ax.imshow(tiles, cmap=colours, vmin=-20, vmax=20)
        ax.set_axis_off()
        ax.set_title(title, fontsize="medium")
