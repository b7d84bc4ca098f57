"""
How few states are enough
=========================

Fourteen binary latents have 16,384 states. Which of them matter differs from data point to
data point: those near its best explanation. The lower bound of the likelihood from a few
states around that one comes close to the likelihood; from as many states around "nothing is
active", as Expectation Truncation was published, it does not where many latents are active.
"""

# %%
# Data with half of the latents active, and a model that holds the parameters they were
# drawn from: ``max_iter=0`` only takes over the start values.

from math import comb

import matplotlib.pyplot as plt
import numpy as np

from skprosper import SparseCoding
from skprosper.priors import BinaryPrior

H = 14
rng = np.random.default_rng(0)
model = SparseCoding(
    H,
    prior=BinaryPrior(0.5),
    components_init=rng.standard_normal((H, 64)),
    noise_init=4.0,
    max_iter=0,
    random_state=0,
).fit(rng.standard_normal((20, 64)))
X, codes = model.sample(300)

# %%
# The likelihood, and the bound for more and more candidates. The truncation of a fitted model
# may be changed: what is inferred follows, what was learned stays.

likelihood = model.set_params(n_candidates=None, max_changes=None).score(X)
sizes = [(1, 1), (4, 2), (6, 3), (8, 5), (10, 6), (12, 8)]
states, bounds = [], {"best": [], "zero": []}
for n_candidates, max_changes in sizes:
    model.set_params(n_candidates=n_candidates, max_changes=max_changes)
    for center, found in bounds.items():
        found.append(model.set_params(center=center).score(X))
    among_candidates = sum(comb(n_candidates, k) for k in range(max_changes + 1))
    states.append(among_candidates + H - n_candidates)
    print(
        f"{n_candidates:2} candidates, {max_changes:2} changes: nats short of the likelihood "
        f"{likelihood - bounds['best'][-1]:8.4f} around the best state, "
        f"{likelihood - bounds['zero'][-1]:8.4f} around 0"
    )

# %%
# The default, 8 candidates and 5 changes, is all but exact here.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
left.axhline(likelihood, color="0.3", linestyle="--", label="exact: the log-likelihood")
labels = {"best": "around the best state", "zero": "around 0, as published"}
for center, found in bounds.items():
    left.plot(states, found, marker="o", label=labels[center])
    right.plot(states, likelihood - np.array(found), marker="o", label=labels[center])
left.set(xscale="log", xlabel="states kept of a data point", ylabel="nats per data point")
right.set(xscale="log", yscale="log", xlabel="states kept of a data point")
right.set_ylabel("nats short of the likelihood")
left.legend(frameon=False)
plt.show()
