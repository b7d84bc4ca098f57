"""
A stream that changes
=====================

Data come in batches and do not end. `partial_fit` learns as they come, and goes on learning: after
two thirds of the stream its sources are exchanged one by one.
"""

# %%
# Images of bars. The stream begins with horizontal bars alone; later vertical ones take the place of
# three of them.

import matplotlib.pyplot as plt
import numpy as np

from skprosper import BinarySparseCoding
from skprosper.datasets import make_bars_components, make_sparse_coding
from skprosper.metrics import recovered_components
from skprosper.plotting import ComponentsDisplay

bars = make_bars_components(6)
before, after = bars[:6], np.vstack([bars[:3], bars[6:9]])


def batch(number):
    truth = before if number < 100 else after
    return make_sparse_coding(truth, 100, n_active=1.5, noise=2.0, random_state=number)[0]


# %%
# Every batch is scored before it is learned from: the bound of data not yet seen.

model = BinarySparseCoding(6, random_state=0)
bounds, found, shown = [], [], {}
for number in range(300):
    X = batch(number)
    if hasattr(model, "components_"):
        bounds.append(model.score(X))
    model.partial_fit(X)
    if hasattr(model, "components_"):
        found.append(recovered_components(model.components_, before if number < 100 else after))
    if number in (99, 110, 299):
        shown[number + 1] = model.components_
print(f"steps {model.n_iter_}, bars found {found[98 - (100 - len(found[:99]))]} before the change")
print(f"nats per image: before {np.mean(bounds[50:95]):.2f}, at the change {bounds[-200]:.2f}")
print(f"after it {np.mean(bounds[-50:]):.2f}, with {found[-1]} of 6 bars found")

# %%

figure = plt.figure(figsize=(10, 4.4), layout="constrained")
axes = figure.subplot_mosaic("AAA;BCD", height_ratios=(3, 2))
first = 300 - len(bounds)
axes["A"].plot(np.arange(first, 300), bounds, linewidth=1)
axes["A"].axvline(100, color="0.6", linestyle="--")
axes["A"].text(101, min(bounds), "the sources change", color="0.4")
axes["A"].set(xlabel="batch of 100 images", ylabel="nats per new image")
for place, (number, components) in zip("BCD", shown.items()):
    ComponentsDisplay.from_components(components, (6, 6), ax=axes[place])
    axes[place].set_title(f"after {number} batches", fontsize="medium")
plt.show()
