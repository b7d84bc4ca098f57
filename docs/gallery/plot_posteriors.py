"""
Two explanations of one data point
==================================

What is seen often has more than one explanation. A code, one number for each component, has to
choose or to blur; the posterior keeps the explanations apart and says how probable each is.
"""

# %%
# Components are the rows and columns of an image, on or off, learned from images in full.

import matplotlib.pyplot as plt
import numpy as np

from skprosper import BinarySparseCoding
from skprosper.datasets import make_bars
from skprosper.plotting import ExplanationsDisplay

X, codes, bars = make_bars(2000, size=5, noise=1.5, random_state=0)
model = BinarySparseCoding(10, random_state=0).fit(X)

# %%
# Of a new image nine pixels in a corner are known, the others (yellow) are not. All nine are
# bright: three rows, or three columns, or ... The posterior lists what can be, most
# probable first, and what each explanation would make of the whole image.

x = np.full((5, 5), np.nan)
x[:3, :3] = 10.0
rows_or_columns = ExplanationsDisplay.from_estimator(model, x.ravel(), n_states=5)

# %%
# One more pixel decides: to the right of the corner it is dark, and rows are ruled out. What is
# left open is what happens outside of the columns.

x[0, 3] = 0.0
one_more = ExplanationsDisplay.from_estimator(model, x.ravel(), n_states=5)

# %%
# A point estimate blurs. The posterior mean of the image is a mixture of explanations, none of
# which it looks like; a sample, or a list as above, does not have that fault. The entropy of the
# posterior tells beforehand which data points to be careful with.

x[0, 3] = np.nan
mean = model.reconstruct(x.reshape(1, -1))[0]
posterior = model.posterior(x.reshape(1, -1), n_states=50)
print(f"entropy of this posterior {posterior.entropy[0]:.2f} nats")
print(f"entropy of images in full {model.posterior(X[:500]).entropy.mean():.2f} nats on average")
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained", width_ratios=(1, 1, 2))
for ax, picture, title in zip(axes, (x.ravel(), mean), ("known", "posterior mean")):
    cmap = plt.get_cmap("gray").with_extremes(bad="#f6e3a1")
    ax.imshow(picture.reshape(5, 5), cmap=cmap, vmin=0, vmax=20)
    ax.set(title=title, xticks=[], yticks=[])
order = np.argsort(-posterior.marginals[0])
axes[2].bar(np.arange(10), posterior.marginals[0][order])
axes[2].set(xlabel="component", ylabel="probability of being active", xticks=[], ylim=(0, 1))
plt.show()
