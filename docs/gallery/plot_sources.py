"""
Sources that come and go, under sensor noise
============================================

Thirty-two sensors around a head see mixtures of a few sources: blinks, bursts of rhythms, slow
waves. FastICA unmixes them when the sensors are quiet. Spike-and-slab sparse coding has the noise
of the sensors in its model, and says when a source is silent.
"""

# %%
# A faithful simulation: sources are silent most of the time; each reaches the sensors through
# a smooth map; every sensor adds noise of its own.

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import windows
from sklearn.decomposition import FastICA

from skprosper import GaussianSparseCoding
from skprosper.metrics import match_components

rng = np.random.default_rng(0)
rate, seconds, names = 100, 60, ("blinks", "alpha", "beta", "slow wave", "heart")
time = np.arange(rate * seconds) / rate


def events(starts, length, wave):
    """A wave of so many seconds at each start, and silence in between."""
    source, n = np.zeros(len(time)), int(length * rate)
    for start in starts:
        i = int(start * rate)
        source[i : i + n] += (rng.choice([0.7, 1.0, 1.3]) * wave(np.arange(n) / rate))[
            : len(time) - i
        ]
    return source


def burst(frequency, length):
    taper = windows.tukey(int(length * rate), 0.5)
    return lambda t: taper * np.sin(2 * np.pi * (frequency * t + rng.uniform()))


sources = np.array(
    [
        events(rng.uniform(0, 58, 15), 0.4, lambda t: windows.hann(len(t)) * 2),
        events(rng.uniform(0, 58, 14), 1.2, burst(10, 1.2)),
        events(rng.uniform(0, 58, 20), 0.6, burst(21, 0.6)),
        events(rng.uniform(0, 58, 8), 1.5, burst(1.5, 1.5)),
        events(np.arange(0.3, 58, 0.9), 0.08, lambda t: windows.hann(len(t)) * 1.5),
    ]
)
angle = 2 * np.pi * np.arange(32) / 32
places = np.array([0.3, 2.1, 3.3, 4.4, 5.6])
maps = np.exp(1.5 * np.cos(angle - places[:, None])) / np.exp(1.5)
maps -= 0.5 * np.roll(maps, 8, axis=1)  # a dipole has two ends

# %%
# Data points are moments in time, features are sensors. How well is each source found, as its
# correlation with the true one, as the sensors get noisier?

levels = (0.1, 0.3, 0.6)
found = {"FastICA": [], "spike and slab": []}
for noise in levels:
    X = sources.T @ maps + noise * rng.standard_normal((len(time), 32))
    ica = FastICA(5, whiten="unit-variance", max_iter=1000, random_state=0).fit(X)
    model = GaussianSparseCoding(5, learn_mean=False, tol=0.001, random_state=0).fit(X)
    for name, components, codes in (
        ("FastICA", ica.mixing_.T, ica.transform(X)),
        ("spike and slab", model.components_, model.transform(X)),
    ):
        order = match_components(components, maps, ignore_sign=True)[0]
        likeness = [abs(np.corrcoef(codes[:, h], s)[0, 1]) for h, s in zip(order, sources)]
        found[name].append(likeness)
        print(
            f"noise {noise:.1f} {name:15}"
            + "".join(f"  {n} {r:.2f}" for n, r in zip(names, likeness))
        )

# %%
# At the highest noise, the ten seconds in which every source is heard.

print(f"deviation of the sensors' noise, learned {model.noise_variance_**0.5:.3f}, true {noise}")
loudest = [np.abs(sources[:, rate * t : rate * (t + 10)]).max(axis=1).min() for t in range(50)]
shown = slice(rate * np.argmax(loudest), rate * (np.argmax(loudest) + 10))
figure, axes = plt.subplots(5, 3, figsize=(12, 6), sharex=True, layout="constrained")
columns = {
    "true": (sources.T, range(5)),
    "spike and slab": (
        model.transform(X),
        match_components(model.components_, maps, ignore_sign=True)[0],
    ),
    "FastICA": (ica.transform(X), match_components(ica.mixing_.T, maps, ignore_sign=True)[0]),
}
for column, (title, (codes, order)) in zip(axes.T, columns.items()):
    for ax, h, source, name in zip(column, order, sources, names):
        curve = codes[:, h] * np.sign(codes[:, h] @ source)
        ax.plot(time[shown], curve[shown] / np.abs(curve).max(), linewidth=0.8)
        ax.set(ylim=(-1.1, 1.1), yticks=[])
        ax.spines[["top", "right", "left"]].set_visible(False)
        if title == "true":
            ax.set_ylabel(name, rotation=0, ha="right", va="center")
    column[0].set_title(title)
    column[-1].set_xlabel("seconds")

# %%
# The maps of the sources on the ring of sensors.

figure, axes = plt.subplots(1, 5, figsize=(12, 2.6), layout="constrained", sharey=True)
for k, (ax, name) in enumerate(zip(axes, names)):
    for title, components in (
        ("true", maps),
        ("spike and slab", model.components_),
        ("FastICA", ica.mixing_.T),
    ):
        row = components[match_components(components, maps, ignore_sign=True)[0][k]]
        row = row * np.sign(row @ maps[k]) / np.linalg.norm(row)
        ax.plot(
            row,
            label=title,
            color="0.7" if title == "true" else None,
            linewidth=4 if title == "true" else 1.2,
        )
    ax.set(title=name, xlabel="sensor", yticks=[])
axes[0].legend(frameon=False, fontsize="small")
plt.show()
