"""A photograph, the components learned from it, and patches as sums of a few of them."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Rectangle
from skimage import data
from skimage.color import rgb2gray

from skprosper import TernarySparseCoding
from skprosper.image import ZCAWhitening, extract_patches
from skprosper.plotting import ComponentsDisplay

SIDE = 12
image = rgb2gray(data.astronaut())
patches = extract_patches(image, SIDE, max_patches=12_000, random_state=0)
whitening = ZCAWhitening(epsilon=0.1)
X = whitening.fit_transform(patches - patches.mean(axis=1, keepdims=True))
model = TernarySparseCoding(144, tol=0.02, max_iter=60, n_jobs=2, random_state=0).fit(X)

corners = [(350, 236), (362, 266), (296, 362)]
shown = np.array([image[r : r + SIDE, c : c + SIDE].ravel() for r, c in corners])
shown = whitening.transform(shown - shown.mean(axis=1, keepdims=True))
posterior = model.posterior(shown, n_states=1)

figure = plt.figure(figsize=(12, 4), layout="constrained")
left, middle, right = figure.subfigures(1, 3, width_ratios=(3, 3, 5))
ax = left.subplots()
ax.imshow(image, cmap="gray")
colours = ("#f4a259", "#5b8e7d", "#bc4b51")
for (row, column), colour in zip(corners, colours):
    ax.add_patch(Rectangle((column - 8, row - 8), 28, 28, fill=False, ec=colour, lw=2.5))
ax.set_axis_off()
left.suptitle("Data")

ComponentsDisplay.from_estimator(model, order="usage", ax=middle.subplots())
middle.suptitle("Learned components")

WIDTH = 5
axes = right.subplots(3, 2 + WIDTH)
for n, (row, colour) in enumerate(zip(axes, colours)):
    support, values = posterior.support[n, 0], posterior.values[n, 0]
    active = [(h, v) for h, v in zip(support, values) if h >= 0]
    explained = model.inverse_transform(posterior.codes()[[n]])[0]
    active.sort(key=lambda part: -part[1] * (model.components_[part[0]] @ shown[n]))
    limit = np.abs(shown[n]).max()
    tiles = [shown[n], explained] + [v * model.components_[h] for h, v in active[:WIDTH]]
    signs = ["", "≈", "="] + ["+"] * WIDTH
    for ax, tile, sign in zip(row, tiles, signs):
        ax.imshow(tile.reshape(SIDE, SIDE), cmap="RdBu_r", vmin=-limit, vmax=limit)
        ax.set(xticks=[], yticks=[])
        ax.text(-0.28, 0.5, sign, transform=ax.transAxes, ha="center", va="center", fontsize=15)
        ax.spines[:].set_color("0.7")
    row[0].spines[:].set(color=colour, linewidth=3)
    for ax in row[len(tiles) :]:
        ax.set_axis_off()
right.suptitle("Data points = a few components, plus noise")
