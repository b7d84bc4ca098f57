"""A weight of 2 is the row twice: do fits agree where only rounding tells them apart?

For each model small random problems: 5 to 60 rows, 2 to 30 latents, 2 to 40 features,
weights from 0 to 4. One fit takes the weights, in another order of the rows, the other
each row as often as its weight says. By the mathematics the two are one, and so the codes
of the rows are to agree: to 1e-7 of the largest code. Sums run in another order, as they
do on another processor.

    python benchmarks/equivalence.py --models MCA --problems 200

Of a problem where they do not agree a line says why: the difference of the codes, in how
many of the codes, the iteration of the first fit from which on the components differ by
more than 1e-9 and how fast the difference had grown before (per iteration, geometric
mean), the iterations of both fits, how many components are doubles of others, and how many
entries of the components no data point has a say in.

What is left apart, one problem of 200 for TSC and DSC, are 7 rows for 12 latents: the M-step
is all but undetermined there, and a difference of 1e-16 grows by a constant factor in every
iteration, without a comparison that it decides.
"""

import argparse
import warnings

import numpy as np
from recovery import MODELS

import skprosper
from skprosper.datasets import make_sparse_coding

AGREE = 1e-7
# Relative difference of the components from which on a fit goes its own way.
_PARTED = 1e-9


class Trace:
    """Callback that keeps the components after each iteration."""

    def __init__(self):
        self.components = []

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        """Keep the components."""
        if context.task_name == "iteration":
            self.components.append(fitted_estimator.components_)


def problem(name, seed):
    """Return rows, weights and latents of a random problem."""
    rng = np.random.default_rng(seed)
    n_rows, n_latents = int(rng.integers(5, 61)), int(rng.integers(2, 31))
    n_features = int(rng.integers(2, 41))
    if seed % 2:  # noise alone, as scikit-learn's own check has it
        X = rng.uniform(size=(n_rows, n_features))
    else:
        kind = {k: v for k, v in MODELS[name][1].items() if k in ("prior", "superposition")}
        components = rng.standard_normal((int(rng.integers(2, 31)), n_features))
        if name == "MCA":
            components = np.abs(components)
        X, _ = make_sparse_coding(components, n_rows, noise=0.3, random_state=seed, **kind)
    weights = rng.integers(0, 5, n_rows).astype(float)
    weights[:2] = 1.0  # two rows at least
    return X, weights, n_latents


def compared(name, seed, **params):
    """Return the two fits of a problem, their traces and their codes of its rows."""
    X, weights, n_latents = problem(name, seed)
    order = np.random.default_rng(seed).permutation(len(X))
    fits, traces, codes = [], [], []
    for rows, w in ((X[order], weights[order]), (np.repeat(X, weights.astype(int), axis=0), None)):
        trace = Trace()
        model = getattr(skprosper, MODELS[name][0])(n_latents, random_state=seed, **params)
        model.set_callbacks(trace).fit(rows, sample_weight=w)
        fits.append(model)
        traces.append(trace.components)
        codes.append(model.transform(X))
    return fits, traces, codes


def relative(one, other):
    """Return the largest difference in units of the largest entry."""
    return np.abs(one - other).max() / max(np.abs(one).max(), np.finfo(np.float64).tiny)


def explanation(fits, traces, codes):
    """Return what differs, in words."""
    n_codes = np.sum(np.abs(codes[0] - codes[1]) > AGREE * np.abs(codes[0]).max())
    differences = [relative(a, b) for a, b in zip(*traces, strict=False)]
    parted = next((i for i, d in enumerate(differences) if d > _PARTED), None)
    if parted is None:
        growth = "components agree"
    else:
        before = max(differences[max(parted - 1, 0)], 1e-17)
        growth = f"parted in iteration {parted + 1}: {before:.0e} to {differences[parted]:.0e}"
    W = fits[0].components_
    length = np.linalg.norm(W, axis=1)
    distance = np.linalg.norm(W[:, None] - W, axis=2)
    near = np.triu(distance < 1e-3 * np.maximum(length[:, None], length), 1)
    return (
        f"{relative(*codes):.0e} in {n_codes} of {codes[0].size} codes; {growth}; "
        f"{fits[0].n_iter_} and {fits[1].n_iter_} iterations; {near.any(axis=0).sum()} of "
        f"{len(W)} components double; bounds {fits[0].lower_bound_ - fits[1].lower_bound_:+.0e}"
    )


def study(name, seeds, verbose=True, **params):
    """Print the row of a model, and a line for each problem that does not agree."""
    apart, differences = [], []
    for seed in seeds:
        fits, traces, codes = compared(name, seed, **params)
        differences.append(relative(*codes))
        if not differences[-1] <= AGREE:
            X, _, n_latents = problem(name, seed)
            text = explanation(fits, traces, codes)
            apart.append(f"  problem {seed} ({len(X)} x {X.shape[1]}, {n_latents}): {text}")
    share = 1.0 - len(apart) / len(seeds)
    agreeing = [d for d in differences if d <= AGREE]
    print(
        f"{name:5} {len(seeds) - len(apart):4} of {len(seeds):4}  {share:7.1%}   "
        f"{np.median(agreeing or [0.0]):.0e}  {max(agreeing, default=0.0):.0e}",
        flush=True,
    )
    if verbose:
        print(*apart, sep="\n" if apart else "", end="\n" if apart else "", flush=True)
    return share


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("model  codes agree    share   difference: median, largest of those that agree")
    for name in options.models:
        study(name, range(options.first, options.first + options.problems))
