"""
Learning from a stream
======================

Data come in batches and are not kept. `partial_fit` learns from each as it comes, and is after one
pass close to where many passes over all the data lead.
"""

# %%
# Patches of a photograph, 1,000 at a time. What a batch is scored with has not seen it.

import matplotlib.pyplot as plt
import numpy as np

from skprosper import TernarySparseCoding
from skprosper.datasets import load_image_patches
from skprosper.plotting import ComponentsDisplay

X = load_image_patches(52_000, image="astronaut", patch_size=8, random_state=0)
stream, test = X[:50_000], X[50_000:]
model = TernarySparseCoding(49, max_iter=30, tol=0.05, random_state=0)
seen, scores, shown = [], [], {}
for batch in np.split(stream, 50):
    model.partial_fit(batch)  # the first rows, twenty for each component, are gathered
    if not hasattr(model, "components_"):
        continue
    seen.append(1000 * (model.n_iter_ + 1))
    if model.n_iter_ % 3 == 1:
        scores.append((seen[-1], model.score(test)))
    if model.n_iter_ in (1, 9, 49):
        shown[seen[-1]] = model.components_, model.prior_.activity(49)

# %%
# The same model from all of them at once, for comparison.

whole = TernarySparseCoding(49, max_iter=30, tol=0.1, random_state=0).fit(stream)
print(f"one pass of the stream       {scores[-1][1]:8.2f} nats per new patch")
print(f"{whole.n_iter_} passes over everything    {whole.score(test):8.2f} nats per new patch")

# %%

figure = plt.figure(figsize=(10, 6), layout="constrained")
axes = figure.subplot_mosaic("AAA;BCD", height_ratios=(2, 3))
axes["A"].plot(*zip(*scores), ".-", label="stream")
axes["A"].axhline(whole.score(test), color="0.6", linestyle="--", label="all data, many passes")
axes["A"].set(xlabel="patches seen", ylabel="nats per new patch")
axes["A"].legend(frameon=False)
for place, (n, (components, activity)) in zip("BCD", shown.items()):
    ComponentsDisplay.from_components(components, order=np.argsort(-activity), ax=axes[place])
    axes[place].set_title(f"after {n:,} patches", fontsize="medium")
plt.show()
