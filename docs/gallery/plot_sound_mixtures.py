r"""
Which notes sound? Spectrograms mix by their maximum
====================================================

In a logarithmic spectrogram the strongest source all but hides the others, since
:math:`\log(a + b) \approx \max(\log a, \log b)`. Maximal Causes Analysis learns the
spectra of the sources, and when each of them sounds, from their mixture alone.
"""

# %%
# Frames of a synthetic spectrogram, powers added and then taken to decibels.

import matplotlib.pyplot as plt
import numpy as np

from skprosper import BinarySparseCoding, MaximalCausesAnalysis
from skprosper.datasets import make_spectrograms
from skprosper.metrics import match_components

X, codes, spectra = make_spectrograms(3000, n_components=8, n_active=2.5, random_state=0)

# %%
# The same prior and noise under two superpositions: the score tells which one holds.

mca = MaximalCausesAnalysis(8, random_state=0).fit(X)
bsc = BinarySparseCoding(8, random_state=0).fit(X)
for name, model in {"maximum": mca, "sum": bsc}.items():
    order, _, cosine = match_components(model.components_, spectra)
    error = np.sqrt(np.mean((model.components_[order] - spectra) ** 2))
    right = np.mean((model.transform(X)[:, order] > 0.5) == codes)
    print(
        f"{name:8} {model.score(X):8.2f} nats per frame, spectra off by {error:4.1f} dB, "
        f"{right:.1%} of the notes right"
    )

# %%

order = match_components(mca.components_, spectra)[0]
time = slice(0, 150)
figure, axes = plt.subplots(3, 1, figsize=(9, 8), layout="constrained")
axes[0].imshow(X[time].T, aspect="auto", origin="lower", cmap="magma")
axes[0].set(title="Spectrogram, dB", xlabel="frame", ylabel="frequency bin")
axes[1].plot(spectra[2], color="0.7", linewidth=4, label="true")
axes[1].plot(mca.components_[order[2]], label="Maximal Causes Analysis")
axes[1].plot(
    bsc.components_[match_components(bsc.components_, spectra)[0][2]],
    linestyle="--",
    label="Binary Sparse Coding",
)
axes[1].set(title="Spectrum of one source", xlabel="frequency bin", ylabel="dB")
axes[1].legend()
shown = np.vstack([codes[time].T, np.full((1, 150), np.nan), mca.transform(X[time])[:, order].T])
axes[2].imshow(shown, aspect="auto", cmap="Greys", interpolation="nearest")
axes[2].set(title="Which notes sound: true, and found", xlabel="frame", yticks=(3.5, 12.5))
axes[2].set_yticklabels(["true", "found"])
plt.show()
