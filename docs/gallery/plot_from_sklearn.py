"""
The same job with scikit-learn's decompositions
===============================================

Ten bars are hidden in images. Five estimators of scikit-learn and the model that fits the data
look for them; what each finds, what it takes, and what each can say afterwards.
"""

# %%
# Bars that are there or not, under noise; then bars of any strength.

import warnings
from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import NMF, DictionaryLearning, FastICA, MiniBatchDictionaryLearning
from sklearn.mixture import GaussianMixture

from skprosper import BinarySparseCoding, GaussianSparseCoding
from skprosper.datasets import make_bars
from skprosper.metrics import recovered_components
from skprosper.plotting import ComponentsDisplay

warnings.simplefilter("ignore")  # of fits that max_iter ends
data = {
    "there or not": make_bars(600, n_active=2.5, noise=3.0, random_state=0),
    "any strength": make_bars(600, n_active=2.5, noise=1.0, prior="spike-slab", random_state=0),
}
settings = dict(n_components=10, random_state=0)
# Compiled before it is timed: the first fit of a model takes some seconds more.
for model in (BinarySparseCoding, GaussianSparseCoding):
    model(10, max_iter=1).fit(data["there or not"][0][:300])

# %%
# NMF needs data above zero and is given what is. The penalty of dictionary learning is set to
# the better of two values, by looking at the true bars, which an analysis could not.


def penalties(model, **more):
    return [model(alpha=a, **settings, **more) for a in (1, 10)]


def candidates(name):
    own = BinarySparseCoding if name == "there or not" else GaussianSparseCoding
    return {
        own.__name__: [own(**settings)],
        "DictionaryLearning": penalties(DictionaryLearning, max_iter=20),
        "MiniBatchDictionaryLearning": penalties(MiniBatchDictionaryLearning, max_iter=20),
        "FastICA": [FastICA(whiten="unit-variance", max_iter=1000, **settings)],
        "NMF": [NMF(init="nndsvda", max_iter=1000, **settings)],
        "GaussianMixture": [GaussianMixture(covariance_type="spherical", **settings)],
    }


def components_of(model):
    if isinstance(model, FastICA):
        return model.mixing_.T
    return model.means_ if isinstance(model, GaussianMixture) else model.components_


learned = {}
for name, (X, _, bars) in data.items():
    print(f"Bars that are {name}: found of 10, seconds of a fit")
    for method, models in candidates(name).items():
        results = []
        for model in models:
            start = perf_counter()
            model.fit(np.maximum(X, 0) if method == "NMF" else X)
            seconds = perf_counter() - start
            found = recovered_components(components_of(model), bars, ignore_sign=True)
            results.append((found, seconds, components_of(model)))
        best = max(results, key=lambda result: result[0])
        learned[name, method] = best
        print(f"  {method:29}{best[0]:3} {best[1]:8.2f} s")

# %%
# What they learned from the bars that are there or not.

names = list(candidates("there or not"))
figure, axes = plt.subplots(2, 3, figsize=(10, 4.4), layout="constrained")
for ax, method in zip(axes.flat, names, strict=True):
    found, seconds, components = learned["there or not", method]
    ComponentsDisplay.from_components(components, (5, 5), ax=ax)
    ax.set_title(f"{method}: {found} of 10", fontsize="medium")

# %%
# And from those of any strength.

figure, axes = plt.subplots(2, 3, figsize=(10, 4.4), layout="constrained")
for ax, method in zip(axes.flat, candidates("any strength"), strict=True):
    found, seconds, components = learned["any strength", method]
    ComponentsDisplay.from_components(components, (5, 5), ax=ax)
    ax.set_title(f"{method}: {found} of 10", fontsize="medium")
plt.show()
