"""What a data point costs against each size of the problem, one thread, processor's time.

Data are drawn from the model itself, so that it is alive: components on an eighth of the
features each, ten times as strong as the noise, a few of them active in a data point. The fit
starts from what the data were drawn from. One size is varied at a time, the others stay: N =
4,000 data points, D = 144 features, H = 256 components, H' = 8 candidates, 5 changes, 4
active. Prints the microseconds per data point of an iteration of ``fit`` (of several the
median) and of ``transform``, and their exponents: the slope of log time against log size over
all sizes and, after it, between the last two, as most curves are sums of which the largest
part shows at the end. ``--picture`` draws both and the exponents of an iteration.

    python benchmarks/cost.py --picture docs/_static/cost.png
"""

import argparse
import warnings
from time import process_time

import numpy as np
from headline import Clock
from threadpoolctl import threadpool_limits

from skprosper import SparseCoding
from skprosper.priors import BinaryPrior, DiscretePrior, SpikeSlabPrior, TernaryPrior

USUAL = dict(N=4000, D=144, H=256, candidates=8, changes=5, active=4)
SIZES = dict(
    N=(500, 1000, 2000, 4000, 8000),
    D=(64, 144, 256, 400, 784, 1024),
    H=(32, 64, 128, 256, 512, 1024),
    candidates=(2, 4, 6, 8, 10, 12),
    changes=(1, 2, 3, 4, 5, 6, 8),
    active=(1, 2, 5, 10, 20, 40),
)
TITLES = dict(
    N="data points N",
    D="features D",
    H="components H",
    candidates="candidates H'",
    changes="max_changes",
    active="components active",
)
# a prior of that probability of being active, and a superposition
MODELS = {
    "BSC": (BinaryPrior, "linear"),
    "TSC": (TernaryPrior, "linear"),
    "DSC": (lambda p: DiscretePrior((0, 1, 2), (1 - p, p / 2, p / 2)), "linear"),
    "GSC": (lambda p: SpikeSlabPrior(p, 1.0, 0.1), "linear"),
    "MCA": (BinaryPrior, "maximum"),
    "MMCA": (BinaryPrior, "magnitude-maximum"),
}
STRENGTH, SHARE = 10.0, 1 / 8


def problem(model, sizes):
    """Return an estimator that starts from a model of these sizes, and data drawn from it."""
    prior, superposition = MODELS[model]
    rng = np.random.default_rng(0)
    W = rng.standard_normal((sizes["H"], sizes["D"]))
    W *= rng.uniform(size=W.shape).argsort(axis=1) < SHARE * sizes["D"]
    W *= STRENGTH / np.linalg.norm(W, axis=1, keepdims=True)
    estimator = SparseCoding(
        sizes["H"],
        prior=prior(sizes["active"] / sizes["H"]),
        superposition=superposition,
        components_init=np.abs(W) if superposition == "maximum" else W,
        noise_init=1.0,
        n_candidates=sizes["candidates"],
        max_changes=sizes["changes"],
        annealing=None,
        max_iter=0,
        tol=0,
        n_jobs=1,
        random_state=0,
    )
    X, _ = estimator.fit(rng.standard_normal((10, sizes["D"]))).sample(sizes["N"])
    return estimator, X


def times(model, n_iterations, **sizes):
    """Return microseconds per data point of an iteration and of coding, and how many are active."""
    estimator, X = problem(model, USUAL | sizes)
    estimator.set_params(max_iter=1).fit(X[:100]).transform(X[:100])  # compiles
    clock = Clock(process_time)
    estimator.set_params(max_iter=n_iterations + 1).set_callbacks(clock).fit(X)
    coding = []
    for _ in range(3):
        start = process_time()
        estimator.transform(X)
        coding.append(process_time() - start)
    each = np.median(np.diff(clock.times)), min(coding)
    return np.array(each) / len(X) * 1e6, estimator.usage_.sum()


def exponents(sizes, seconds):
    """Return the slope of log time against log size, over all sizes and at the last two."""
    x, y = np.log(sizes), np.log(seconds)
    return np.polyfit(x, y, 1)[0], (y[-1] - y[-2]) / (x[-1] - x[-2])


def vary(name, options):
    """Print the times of each model against one size, and return them."""
    print(f"\n{TITLES[name]}, us per data point{'':10}" + "".join(f"{n:9}" for n in SIZES[name]))
    found = {}
    for model in options.models:
        rows, active = [], []
        for size in SIZES[name]:
            each, n_active = times(model, options.iterations, **{name: size})
            rows.append(each)
            active.append(n_active)
        found[model] = np.transpose(rows)
        for what, row in zip(("iteration", "transform"), found[model]):
            over_all, last = exponents(SIZES[name], row)
            print(
                f"{model:5} {what}  {over_all:5.2f} {last:5.2f}"
                + f"{'':10}"
                + "".join(f"{value:9.2f}" for value in row),
                flush=True,
            )
        print(f"{'':5} active{'':27}" + "".join(f"{value:9.2f}" for value in active), flush=True)
    return found


def draw(found, path):
    """Save a panel for each size: an iteration solid, coding dashed."""
    import matplotlib.pyplot as plt
    from PIL import Image

    n_rows = -(-len(found) // 3)
    figure, axes = plt.subplots(
        n_rows, 3, figsize=(9, 3.6 * n_rows), layout="constrained", squeeze=False, sharey=True
    )
    for ax in axes.flat[len(found) :]:
        ax.remove()
    for ax, (name, by_model) in zip(axes.flat, found.items()):
        ticks = SIZES[name]
        for k, (model, (iteration, coding)) in enumerate(by_model.items()):
            over_all, last = exponents(ticks, iteration)
            label = f"{model} {over_all:.2f}, {last:.2f}"
            ax.plot(ticks, iteration, f"C{k}-o", markersize=3, label=label)
            ax.plot(ticks, coding, f"C{k}--", linewidth=0.8)
        ax.set(xscale="log", yscale="log", xlabel=TITLES[name])
        labels, last = [], np.inf
        for tick in reversed(ticks):  # those that would touch the next one have none
            apart = np.log(last / tick) > 0.12 * np.log(ticks[-1] / ticks[0])
            labels.insert(0, f"{tick:g}" if apart else "")
            last = tick if apart else last
        ax.set_xticks(ticks, labels)
        ax.set_xticks([], minor=True)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(
            title="exponent, at the end",
            frameon=False,
            fontsize=7,
            title_fontsize=7,
            columnspacing=1.0,
            handlelength=1.2,
            loc="upper left",
            ncols=2,
        )
    largest = max(rows.max() for by_model in found.values() for rows in by_model.values())
    axes[0, 0].set_ylim(top=8 * largest)  # room for the legends; one scale for all panels
    for ax in axes[:, 0]:
        ax.set_ylabel("us per data point")
    figure.savefig(path, dpi=130)
    with Image.open(path) as picture:  # of few colours, which makes a small file
        few = picture.convert("RGB").quantize(128)
    few.save(path, optimize=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=list(SIZES))
    parser.add_argument("--models", choices=MODELS, nargs="+", default=list(MODELS))
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--picture", metavar="PATH")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with threadpool_limits(1):
        found = {name: vary(name, options) for name in options.sizes}
    if options.picture:
        draw(found, options.picture)
