"""
Few labels: codes as features
=============================

Most digits come without a label. A dictionary is learned from all of them, a classifier from the
codes of those that have one, in one pipeline. Which codes serve a classifier best is another
question than which model describes the data: here L1 dictionary learning gives the better features.
"""

# %%
# 1,797 digits of scikit-learn, a third of them kept for testing.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skprosper import BinarySparseCoding, GaussianSparseCoding
from skprosper.plotting import ComponentsDisplay

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, test_size=1 / 3, random_state=0)

# %%
# Each transformer is the first step of the same pipeline; one scale for all its codes keeps those
# that are rarely active from being blown up.

transformers = {
    "pixels": FunctionTransformer(),
    "L1 dictionary": MiniBatchDictionaryLearning(
        100,
        alpha=0.3,
        max_iter=20,
        transform_algorithm="lasso_cd",
        transform_alpha=0.3,
        random_state=0,
    ),
    "spike and slab": GaussianSparseCoding(
        30, fit_offset=True, max_iter=60, tol=0.2, random_state=0
    ),
    "binary": BinarySparseCoding(60, fit_offset=True, max_iter=60, tol=0.2, random_state=0),
}
sizes, draws = (20, 50, 100, 300, len(X)), 10
accuracy = {}
for name, transformer in transformers.items():
    codes = transformer.fit(X).transform(X)
    scale = FunctionTransformer(lambda codes, by: codes / by, kw_args={"by": codes.std()})
    pipeline = make_pipeline(FrozenEstimator(transformer), scale, LogisticRegression(max_iter=500))
    accuracy[name] = np.empty((len(sizes), draws))
    for row, size in enumerate(sizes):
        for draw in range(draws):
            labelled = np.random.default_rng(draw).permutation(len(X))[:size]
            pipeline.fit(X[labelled], y[labelled])
            accuracy[name][row, draw] = pipeline.score(X_test, y_test)
print("labels         " + "".join(f"{size:8}" for size in sizes))
for name, values in accuracy.items():
    print(f"{name:15}" + "".join(f"{value:8.3f}" for value in values.mean(axis=1)))

# %%
# What the models have beside features: a score, which tells how well they describe digits that
# they have not seen, and which of them does it better.

for name in ("spike and slab", "binary"):
    print(f"{name:15} {transformers[name].score(X_test):8.2f} nats per digit")

# %%

figure, axes = plt.subplots(1, 2, figsize=(11, 4.4), layout="constrained")
for name, values in accuracy.items():
    mean, deviation = values.mean(axis=1), values.std(axis=1)
    axes[0].errorbar(sizes, mean, deviation, marker="o", capsize=3, label=name)
axes[0].set(xscale="log", xlabel="digits with a label", ylabel="accuracy on new digits")
axes[0].set_xticks(sizes, sizes)
axes[0].legend(frameon=False)
ComponentsDisplay.from_estimator(transformers["spike and slab"], (8, 8), ax=axes[1])
axes[1].set_title("spike-and-slab components, most used first")
plt.show()
