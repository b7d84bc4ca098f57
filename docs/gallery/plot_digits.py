"""
Handwritten digits, covered or added
====================================

Where lines of a pen cross, ink does not add up: the darker one is seen. Maximal Causes
Analysis has that rule built in. Binary sparse coding adds, and has to take ink away
again where components overlap.
"""

# %%
# 1,797 digits of 8 x 8 pixels, inked from 0 to 16, that scikit-learn ships.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skprosper import BinarySparseCoding, MaximalCausesAnalysis
from skprosper.plotting import ComponentsDisplay

X_train, X_test = train_test_split(load_digits().data, random_state=0)
settings = dict(n_components=32, max_iter=200, n_jobs=2, random_state=0)
models = {
    "covered (MCA)": MaximalCausesAnalysis(**settings).fit(X_train),
    "added (BSC)": BinarySparseCoding(**settings).fit(X_train),
}
for name, model in models.items():
    active = model.set_params(code="probability").transform(X_test).sum(axis=1).mean()
    print(f"{name:14} {model.score(X_test):8.2f} nats per digit, {active:.1f} components in one")

# %%
# What they learned: variants of whole digits, and parts of them. Both describe new digits
# equally well. MCA does so with fewer components in a digit, and without negative ink
# (blue), which BSC needs where its components overlap.

figure, axes = plt.subplots(1, 2, figsize=(11, 3.4), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    ComponentsDisplay.from_estimator(model, image_shape=(8, 8), ax=ax)
    ax.set_title(name)

# %%
# Digits that were not learned from, and what MCA makes of them.

mca = models["covered (MCA)"]
figure, axes = plt.subplots(2, 10, figsize=(11, 2.6), layout="constrained")
for column, (digit, drawn) in enumerate(zip(X_test[:10], mca.reconstruct(X_test[:10]))):
    for ax, picture in zip(axes[:, column], (digit, drawn)):
        ax.imshow(picture.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set_axis_off()
plt.show()
