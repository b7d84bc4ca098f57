"""
Which unit fired? Spikes that shrink in a burst
===============================================

Four wires of a tetrode hear several neurons. A spike has the shape of its unit, at full size or,
late in a burst, at a smaller one; spikes of two units overlap. Discrete sparse coding has both in
its model: a few sizes, and sums.
"""

# %%
# A simulated recording: three units, each with a shape on every wire, in which every fourth
# spike is at 0.6 of its size, and noise. Spikes are cut out where a threshold is crossed, as in
# spike sorting, and aligned to their trough.

import matplotlib.pyplot as plt
import numpy as np

from skprosper import BinarySparseCoding, DiscreteSparseCoding
from skprosper.metrics import match_components
from skprosper.plotting import ComponentsDisplay, PriorDisplay

rng = np.random.default_rng(0)
rate, seconds, length = 10_000, 60, 32
t = np.arange(length) / rate * 1000 - 1.0  # milliseconds from the trough


def shape(width, rebound):
    return -np.exp(-((t / width) ** 2)) + rebound * np.exp(
        -(((t - 2.5 * width) / (2 * width)) ** 2)
    )


gains = np.array([[1.0, 0.6, 0.3, 0.2], [0.2, 0.9, 0.8, 0.3], [0.5, 0.2, 0.4, 1.0]])
shapes = [shape(0.18, 0.35), shape(0.28, 0.5), shape(0.14, 0.2)]
units = np.array([60 * np.outer(gain, form) for gain, form in zip(gains, shapes)])
trace = 6.0 * rng.standard_normal((4, rate * seconds))  # microvolts
truth = np.zeros((3, rate * seconds))
for unit in range(3):
    times = np.flatnonzero(rng.uniform(size=rate * seconds - 100) < 12 / rate)
    times = times[np.diff(times, prepend=-100) > 40]
    truth[unit, times] = rng.choice([1.0, 0.6], size=len(times), p=[0.75, 0.25])
    for start in times:
        trace[:, start : start + length] += truth[unit, start] * units[unit]

deepest = trace.min(axis=0)
crossed = np.flatnonzero(deepest < -28)
crossed = crossed[np.diff(crossed, prepend=-100) > 12]
troughs = np.array([i + np.argmin(deepest[i : i + 6]) for i in crossed])
starts = troughs[(troughs > 40) & (troughs < rate * seconds - 40)] - 10
X = np.array([trace[:, s : s + length].ravel() for s in starts])
print(f"{len(X)} events of {X.shape[1]} numbers, four wires of {length / 10} ms")

# %%
# Nearly every event has a spike, so that units exclude each other, where the model has them
# independent. Twice as many windows of silence make them so.

quiet = rng.integers(40, rate * seconds - 40, 20_000)
after = np.searchsorted(troughs, quiet).clip(1, len(troughs) - 1)
distance = np.minimum(abs(quiet - troughs[after]), abs(quiet - troughs[after - 1]))
quiet = quiet[distance > 60][: 2 * len(starts)]
X_learn = np.vstack([X, [trace[:, s : s + length].ravel() for s in quiet]])

# %%
# Sizes of 0, 0.6 and 1; a few components to spare take what is not aligned.

model = DiscreteSparseCoding(6, values=(0, 0.6, 1), random_state=0).fit(X_learn)
binary = BinarySparseCoding(6, random_state=0).fit(X_learn)
print(f"discrete {model.score(X):8.2f} nats per event")
print(f"binary   {binary.score(X):8.2f} nats per event")
order, _, cosine = match_components(model.components_, units.reshape(3, -1))
print("cosines with the true shapes " + ", ".join(f"{c:.3f}" for c in cosine))
print("probabilities of 0, 0.6, 1 for each unit")
print(np.round(model.prior_.probabilities[:, order].T, 3))

# %%
# Components to spare have become a unit's shape a sample earlier or later: noise moves the
# troughs. A component belongs to the unit that it is most like, at any shift.


def likeness(component, unit):
    shifted = [np.roll(component.reshape(4, -1), k, axis=1).ravel() for k in range(-8, 9)]
    return max(np.array(shifted) @ unit.ravel()) / np.linalg.norm(component) / np.linalg.norm(unit)


unit_of = np.argmax([[likeness(c, unit) for unit in units] for c in model.components_], axis=1)
print(f"units of the components {unit_of + 1}")

# %%
# Does the most probable state name the units that fired, and their sizes? A spike counts as in
# an event if its trough is within 0.2 ms of that of the event.

codes = model.set_params(code="map").transform(X)
fired = np.array([codes[:, unit_of == unit].max(axis=1) for unit in range(3)]).T
near = np.array([truth[:, s - 2 : s + 3].max(axis=1) for s in starts])
known = near.max(axis=1) > 0
right = (fired > 0) == (near > 0)
print(f"units named rightly {right[known].mean():.1%}")
both = (fired > 0) & (near > 0)
print(f"sizes of these right {(fired == near)[both].mean():.1%}")

# %%

milliseconds = np.arange(rate // 20) / rate * 1000
busiest = np.argmin(starts[8:] - starts[:-8])  # eight spikes in the shortest time
some = slice(starts[busiest] - 20, starts[busiest] - 20 + rate // 20)
figure = plt.figure(figsize=(11, 6), layout="constrained")
axes = figure.subplot_mosaic("AAAAA;BBBCC")
for wire in range(4):
    axes["A"].plot(milliseconds, trace[wire, some] - 90 * wire, color="0.3", linewidth=0.7)
colors = ("#2a6f97", "#e07a5f", "#5b8e7d")
for start, code in zip(starts, codes):
    if some.start <= start < some.stop - length:
        x = (np.arange(length) + start - some.start) / rate * 1000
        for h in np.flatnonzero(code):
            for wire, drawn in enumerate(code[h] * model.components_[h].reshape(4, -1)):
                axes["A"].plot(x, drawn - 90 * wire, color=colors[unit_of[h]], linewidth=2)
axes["A"].set(
    title="Recording, and what each unit explains of it", xlabel="milliseconds", yticks=[]
)
axes["A"].spines[["top", "right", "left"]].set_visible(False)
ComponentsDisplay.from_estimator(model, (4 * length,), ax=axes["B"])
axes["B"].set(title="Components, most used first: four wires in a row", xlabel="sample")
probabilities = model.prior_.probabilities[1:, order]
PriorDisplay(
    probabilities.ravel(order="F"), [f"{k}: {v}" for k in (1, 2, 3) for v in (0.6, 1)]
).plot(ax=axes["C"])
axes["C"].set(title="How often, at which size", xlabel="unit: size", ylim=(0, 0.12))
plt.show()
