"""
Bars that hide each other
=========================

Where two bars cross in these images, one hides the other: the magnitudes do not add up.
Maximum Magnitude Causes Analysis learns that rule's components; methods that add components
up, such as NMF and ICA, find mixtures.
"""

# %%
# Bars of either sign; at each pixel the one of largest magnitude is seen. NMF wants
# non-negative data and sees the magnitudes, in which bars are non-negative too.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.decomposition import NMF, FastICA

from skprosper import MaximumMagnitudeCausesAnalysis
from skprosper.datasets import make_bars
from skprosper.metrics import recovered_components

X, codes, bars = make_bars(2000, signed=True, superposition="magnitude-maximum", random_state=0)
model = MaximumMagnitudeCausesAnalysis(n_components=10, random_state=0).fit(X)
nmf = NMF(n_components=10, max_iter=1000, random_state=0).fit(np.abs(X))
ica = FastICA(n_components=10, whiten="unit-variance", max_iter=1000, random_state=0).fit(X)

# %%
# How many of the ten bars have a component of their own?

learned = {
    "Some of the data": X[:10],
    "Maximum magnitude causes": model.components_,
    "NMF of the magnitudes": nmf.components_,
    "ICA": ica.mixing_.T,
}
for name, components in list(learned.items())[1:]:
    truth = np.abs(bars) if "NMF" in name else bars
    found = recovered_components(components, truth, ignore_sign=name == "ICA")
    print(f"{name:25} {found:2} of 10 bars")
print(f"bars active on average    {model.prior_.probability.sum():.2f}, in the data 2")
print(f"deviation of the noise    {model.noise_variance_**0.5:.2f}, in the data 2")

# %%

figure, axes = plt.subplots(4, 1, figsize=(9, 5), layout="constrained")
for ax, (name, components) in zip(axes, learned.items(), strict=True):
    tiles = np.pad(components.reshape(10, 5, 5), ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    limit = np.abs(components).max()
    ax.imshow(np.hstack(list(tiles)), cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_title(name)
    ax.axis("off")
plt.show()
