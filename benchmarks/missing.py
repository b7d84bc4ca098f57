"""Missing values: what they cost, what is recovered, how well they are imputed.

    python benchmarks/missing.py cost bars parameters dense imputation

cost: an EM iteration of ``fit`` where values are missing at random, in units of one on
complete data (patches of 12 x 12, 256 components, one thread); with full noise for 20
patterns of missing values. bars: how often defaults find all bars of 5 x 5 images when half
of the pixels are missing. parameters: the six models on data sampled from themselves, 20, 50
and 80 % missing. dense: components of 25 normal features each, that overlap everywhere, found
from 50 and 80 % missing. imputation: held-out entries of digits and of patches, against
scikit-learn's imputers: root mean square error, and the share inside intervals of 95 %.
The numbers of components were chosen with other entries taken out.
"""

import argparse
import warnings
from time import perf_counter

import numpy as np
from iteration import PLAIN
from recovery import EITHER_SIGN, MODELS, active_probability, bars
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import skprosper
from skprosper.datasets import load_image_patches
from skprosper.impute import BootstrapImputer
from skprosper.metrics import match_components
from skprosper.superpositions import SUPERPOSITIONS

# Values of active latents.
VALUES = {
    "BSC": lambda rng, shape: 1.0,
    "TSC": lambda rng, shape: rng.choice([-1.0, 1.0], size=shape),
    "DSC": lambda rng, shape: rng.choice([1.0, 2.0], p=[0.7, 0.3], size=shape),
    "GSC": lambda rng, shape: rng.normal(1.0, 1.0, size=shape),
    "MCA": lambda rng, shape: 1.0,
    "MMCA": lambda rng, shape: 1.0,
}


def with_holes(X, share, seed, n_patterns=None):
    """Return a copy of data with a share of its values missing at random."""
    rng = np.random.default_rng(seed)
    if n_patterns is None:
        missing = rng.uniform(size=X.shape) < share
    else:
        patterns = rng.uniform(size=(n_patterns, X.shape[1])) < share
        missing = patterns[rng.integers(n_patterns, size=len(X))]
    return np.where(missing, np.nan, X)


def seconds_of(estimator, X):
    start = perf_counter()
    estimator.fit(X)
    return perf_counter() - start


def cost(options):
    """Print the ratio of an iteration with missing values to one without."""
    X = load_image_patches(4000, patch_size=12, random_state=0)
    cases = [
        ("BSC", "isotropic", None),
        ("GSC", "isotropic", None),
        ("BSC", "full", 20),
        ("GSC", "full", 20),
    ]
    print("model  noise      patterns  ratio at 50 % missing")
    for model, noise, patterns in cases:
        holes = with_holes(X, 0.5, 0, patterns)

        def iteration(data):
            def fit(max_iter):
                estimator = skprosper.SparseCoding(
                    256, prior=dict(BSC="binary", GSC="spike-slab")[model], noise=noise,
                    max_iter=max_iter, n_jobs=1, **PLAIN,
                )  # fmt: skip
                return seconds_of(estimator, data)

            short = fit(10)
            return (fit(16) - short) / 6

        with threadpool_limits(1):
            for data in (X, holes):
                skprosper.SparseCoding(
                    256, prior=dict(BSC="binary", GSC="spike-slab")[model], noise=noise,
                    max_iter=1, n_jobs=1, **PLAIN,
                ).fit(data[:600])  # compiles  # fmt: skip
            ratios = [iteration(holes) / iteration(X) for _ in range(options.repeats)]
        print(
            f"{model:5}  {noise:9}  {patterns or 'rows':>8}  {np.median(ratios):5.2f}", flush=True
        )


def bars_found(options):
    """Print how often all bars are found from half of the pixels."""
    print("model  all bars found from half of the pixels")
    for model in options.models:
        found = []
        for seed in range(options.seeds):
            X, _, true, _ = bars(model, 5, seed, 2000)
            estimator = getattr(skprosper, MODELS[model][0])(10, random_state=seed)
            estimator.fit(with_holes(X, 0.5, seed))
            cosine = match_components(
                estimator.components_, true, ignore_sign=model in EITHER_SIGN
            )[2]
            found.append(np.all(np.abs(cosine) > 0.95))
        print(f"{model:5}  {sum(found)} of {options.seeds}", flush=True)


def parameters(options):
    """Print what is recovered of data with missing values, and without."""
    print("model  missing  least cosine  pi error  sigma error  (medians)  bars found in each draw")
    for model in options.models:
        for share in options.shares:
            rows = []
            for seed in range(min(options.seeds, 5)):
                X, codes, true, noise = bars(model, 5, seed, 4000)
                estimator = getattr(skprosper, MODELS[model][0])(
                    10, max_iter=options.max_iter, random_state=seed
                )
                estimator.fit(with_holes(X, share, seed) if share else X)
                cosine = match_components(
                    estimator.components_, true, ignore_sign=model in EITHER_SIGN
                )[2]
                pi = active_probability(estimator.prior_) / np.mean(codes != 0) - 1.0
                sigma = np.sqrt(estimator.noise_variance_) / noise - 1.0
                rows.append((np.sum(np.abs(cosine) > 0.95), np.min(np.abs(cosine)), pi, sigma))
            _, least, pi, sigma = np.median(rows, axis=0)
            found = " ".join(f"{row[0]}" for row in rows)
            print(
                f"{model:5}  {share:6.0%}  {least:12.4f}  {pi:+8.1%}  {sigma:+10.1%}  {found:>33}",
                flush=True,
            )


def dense(options):
    """Print how many of ten components that overlap everywhere are found, in each draw."""
    print("model  missing  components found in each draw")
    for model in options.models:
        superposition = SUPERPOSITIONS[MODELS[model][1].get("superposition", "linear")]
        for share in (0.5, 0.8):
            found = []
            for seed in range(min(options.seeds, 8)):
                rng = np.random.default_rng(seed)
                true = 4.0 * rng.standard_normal((10, 25))
                if model == "MCA":
                    true = np.abs(true)
                active = rng.uniform(size=(3000, 10)) < 0.2
                codes = active * VALUES[model](rng, active.shape)
                X = superposition.superpose(codes, true) + rng.standard_normal((3000, 25))
                estimator = getattr(skprosper, MODELS[model][0])(10, random_state=seed)
                estimator.fit(with_holes(X, share, seed))
                cosine = match_components(
                    estimator.components_, true, ignore_sign=model in EITHER_SIGN
                )[2]
                found.append(np.sum(np.abs(cosine) > 0.95))
            print(f"{model:5}  {share:6.0%}  {' '.join(map(str, found))}", flush=True)


def imputation(options):
    """Print error and coverage of imputed entries, beside those of scikit-learn's imputers.

    The numbers of components were chosen with the entries that seed 0 takes out.
    """
    digits = load_digits().data
    digits = digits[:, digits.std(axis=0) > 0.0]
    tumours = StandardScaler().fit_transform(load_breast_cancer().data)
    patches = load_image_patches(3000, patch_size=8, random_state=1, whiten=False)
    correlated = dict(noise="full", max_iter=30, fit_offset=True, annealing=None, random_state=0)
    binary, gaussian = skprosper.BinarySparseCoding, skprosper.GaussianSparseCoding
    seeds = range(1, 1 + min(options.seeds, 2))
    print(f"means over {len(seeds)} masks")
    print("data     missing  imputer                       rmse  inside 95 %  seconds")
    for name, X, one, many in (
        ("digits", digits, binary(20, **correlated), binary(40, **correlated)),
        ("tumours", tumours, gaussian(4, **correlated), gaussian(8, **correlated)),
        ("patches", patches, gaussian(4, **correlated), gaussian(16, **correlated)),
    ):
        for share in (0.2, 0.5):
            for imputer in (
                BootstrapImputer(many, n_jobs=2, random_state=0),
                one,
                KNNImputer(n_neighbors=10),
                IterativeImputer(random_state=0),
            ):
                results = [imputed(imputer, X, with_holes(X, share, seed)) for seed in seeds]
                error, inside, seconds = np.mean(results, axis=0)
                inside = "" if np.isnan(inside) else f"{inside:.1%}"
                label = type(imputer).__name__
                print(
                    f"{name:8} {share:6.0%}  {label:24} {error:9.4f}  {inside:>11}  {seconds:7.1f}",
                    flush=True,
                )


def imputed(imputer, X, holes):
    """Return root mean square error, share inside intervals of 95 %, seconds."""
    start, missing, inside = perf_counter(), np.isnan(holes), np.nan
    if hasattr(imputer, "impute"):
        mean, std = imputer.fit(holes).impute(holes, return_std=True)
        inside = np.mean((np.abs(mean - X) < 1.96 * std)[missing])
    else:
        mean = imputer.fit_transform(holes)
    seconds = perf_counter() - start
    return np.sqrt(np.mean((mean - X)[missing] ** 2)), inside, seconds


if __name__ == "__main__":
    studies = dict(
        cost=cost, bars=bars_found, parameters=parameters, dense=dense, imputation=imputation
    )
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", choices=[[], *studies], default=list(studies))
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--max-iter", type=int, default=100, help="of parameters")
    shares = [0.0, 0.2, 0.5, 0.8]
    parser.add_argument("--shares", nargs="+", type=float, default=shares, help="of parameters")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for study in options.studies:
        studies[study](options)
