"""The models beside other libraries: time, reconstruction, mixing, digits, denoising, memory.

Patches are those of benchmarks/time_to_quality.py, natural, whitened, of 12 x 12 pixels, with
256 components (absolute values for MCA and NMF, 143 components for FastICA and
FactorAnalysis, which have no more than the data have dimensions). Other learners are those of
benchmarks/learners.py. Prints for

- time: microseconds per data point, one thread, of a learning pass, for the models an
  iteration of EM at the end of a default fit, for others the difference of fits of 5 and 10
  passes, and of coding held-out patches: posterior means, or what each library has;
- reconstruction: the share of the square of held-out patches that ten elements explain, all
  dictionaries coded by the same orthogonal matching pursuit; then each model's own codes,
  modes and means of the posterior, beside that pursuit over its dictionary and those of
  others, with as many elements on average as the modes have;
- amari: the distance from a square mixing matrix of five sources of each kind under noise, mean
  and standard deviation over seeds;
- digits: the accuracy of logistic regression on codes of unseen digits, 48 components, of
  pixels as they are and standardised, mean and standard deviation over seeds and splits;
- denoising: two photographs of the test set under noise of standard deviation 25, as
  benchmarks/denoising.py prints them;
- memory: megabytes that a learner takes at its peak above what there was before, in a process
  of its own.

    python benchmarks/peers.py --parts time memory
"""

import argparse
import subprocess
import sys
import tempfile
import warnings
from copy import deepcopy
from functools import cache
from pathlib import Path
from time import perf_counter

import denoising
import numpy as np
import spams
from headline import Clock
from iteration import MODELS
from learners import PEERS, dictionary, explained, explained_by_mean, unit_rows
from separation import DRAWN, mixture
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skprosper.datasets import load_image_patches
from skprosper.metrics import amari_distance

POSITIVE = ("MCA", "NMF")
NOT_SPARSE = ("FastICA", "FactorAnalysis")
ADDING = ("BSC", "TSC", "DSC", "GSC")
N_COMPONENTS = 256


def learner(name, n_components, n_passes=None, n_jobs=1, seed=0):
    """Return an estimator, one of the models or another library's."""
    if name in PEERS:
        return PEERS[name](n_components, n_passes, n_jobs, seed)
    passes = {} if n_passes is None else dict(max_iter=n_passes, tol=0)
    return MODELS[name](n_components, n_jobs=n_jobs, random_state=seed, **passes)


@cache
def patches(n_samples, seed):
    return load_image_patches(n_samples, patch_size=12, random_state=seed)


def patches_for(name, n_samples, seed=0):
    X = patches(n_samples, seed)
    return np.abs(X) if name in POSITIVE else X


def components_for(name):
    return 143 if name in NOT_SPARSE else N_COMPONENTS


@cache
def learned(name, n_samples, seed):
    """Return what was learned from the patches, two threads, and the seconds it took."""
    X = patches_for(name, n_samples)
    if name in MODELS:
        learner(name, N_COMPONENTS, 1, 2).fit(X[:600])  # compiles
    start = perf_counter()
    fitted = learner(name, components_for(name), n_jobs=2, seed=seed).fit(X)
    return fitted, perf_counter() - start


def spread(values, digits):
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def seconds(function):
    start = perf_counter()
    function()
    return perf_counter() - start


def pass_time(name, X):
    """Return the seconds of a pass over X, one thread, and what was learned."""
    if name in MODELS:
        clock = Clock()
        fitted = deepcopy(learned(name, len(X), 0)[0])
        fitted.set_params(warm_start=True, annealing=None, max_iter=6, tol=0, n_jobs=1)
        fitted.set_callbacks(clock).fit(X)
        return np.median(np.diff(clock.times)), fitted
    short, long = (learner(name, components_for(name), n_passes) for n_passes in (5, 10))
    deepcopy(short).fit(X[:600])  # imports, compiles
    first = seconds(lambda: short.fit(X))
    return (seconds(lambda: long.fit(X)) - first) / 5, long


def coders(name, fitted):
    """Yield the name of each way to code data points by what was learned, and a function."""
    if name == "SPAMS":
        D = np.asfortranarray(unit_rows(fitted.components_).T)
        yield "lasso", fitted.transform
        yield "10 by pursuit", lambda X: spams.omp(np.asfortranarray(X.T), D=D, L=10, numThreads=1)
    elif name in ("DictionaryLearning", "MiniBatchDictionaryLearning"):
        yield "10 by pursuit", fitted.transform
        lasso = deepcopy(fitted).set_params(transform_algorithm="lasso_cd", transform_alpha=1.0)
        yield "lasso", lasso.transform
    elif name == "dictlearn K-SVD":
        yield "10 by pursuit", fitted.transform
    elif name in MODELS:
        yield "posterior mean", fitted.transform
    else:
        yield "transform", fitted.transform


def time(options):
    print(f"{options.samples} patches, one thread, us per data point")
    print(f"{'':28}{'pass':>9}   coding")
    for name in (*MODELS, *PEERS):
        X = patches_for(name, options.samples)
        held_out = patches_for(name, options.samples // 4, 1)
        with threadpool_limits(1):
            spent, fitted = pass_time(name, X)
            coding = ""
            for what, code in coders(name, fitted):
                best = min(seconds(lambda: code(held_out)) for _ in range(3))
                coding += f"{best / len(held_out) * 1e6:9.1f} {what:15}"
        print(f"{name:28}{spent / len(X) * 1e6:9.1f}{coding}", flush=True)


def reconstruction(options):
    held_out = patches(options.samples // 4, 1)
    rivals = [name for name in PEERS if name != "NMF"]
    seeds = range(options.seeds)
    print(f"{options.samples} patches, two threads: % of held-out ones that 10 elements explain")
    for name in (*ADDING, *rivals):
        fits = [learned(name, options.samples, seed) for seed in seeds]
        shares = [100 * explained(dictionary(fitted), held_out)[0] for fitted, _ in fits]
        spent = [took for _, took in fits]
        print(
            f"{name:28}{spread(shares, 1):>14}   {min(spent):5.1f} to {max(spent):.1f} s to learn",
            flush=True,
        )
    others = ("SPAMS", "dictlearn K-SVD", "DictionaryLearning", "MiniBatchDictionaryLearning")
    print("\n% explained by a model's modes and means, and by as many elements on average of its")
    print(f"own dictionary and of {', '.join(others)}")
    print("model  elements   modes   means     own   " + "  ".join(f"{n[:8]:8}" for n in others))
    for name in (*ADDING, "MMCA"):
        model, _ = learned(name, options.samples, 0)
        modes = deepcopy(model).set_params(code="map").transform(held_out)
        n_elements = np.count_nonzero(modes) / len(modes)
        drawn = model.inverse_transform(modes), model.reconstruct(held_out)
        shares = [1.0 - np.sum((held_out - Y) ** 2) / np.sum(held_out**2) for Y in drawn]
        for other in (name, *others):
            D = dictionary(learned(other, options.samples, 0)[0])
            adds = other != "MMCA"
            shares.append(explained_by_mean(D, held_out, n_elements) if adds else np.nan)
        text = "".join(f"{100 * share:8.1f}" for share in shares[:3])
        text += "  " + "".join(f"{100 * share:8.1f}  " for share in shares[3:])
        print(f"{name:5} {n_elements:9.1f}{text}".replace("nan", "  -"), flush=True)


def amari(options):
    settings = dict(n_init=5, max_iter=500, tol=1e-5)
    names = [*ADDING, *(name for name in PEERS if name != "NMF")]
    print("five sources, 1000 data points, noise 0.1; distance from the mixing")
    print(f"{'':28}" + "".join(f"{kind:>19}" for kind in DRAWN))
    for name in names:
        text = f"{name:28}"
        for kind in DRAWN:
            distances = []
            for seed in range(options.mixtures):
                X, mixing = mixture(5, 1000, 0.1, np.random.default_rng(seed), kind)
                if name in MODELS:
                    estimator = learner(name, 5, seed=seed).set_params(**settings)
                else:
                    estimator = square(name, seed)
                if name == "GSC":
                    estimator.set_params(learn_mean=False)
                found = dictionary(estimator.fit(X))
                distances.append(amari_distance(found, mixing))
            text += f"{spread(distances, 3):>19}"
        print(text, flush=True)


def square(name, seed):
    """Return another library's learner of five components: of few, few are in a data point."""
    estimator = learner(name, 5, seed=seed)
    if name == "dictlearn K-SVD":
        return estimator.set_params(n_nonzero_coefs=2, max_iter=100)
    if name == "SPAMS":
        return estimator.set_params(n_passes=50)
    return estimator.set_params(max_iter=100) if name == "DictionaryLearning" else estimator


def digits(options):
    X, y = load_digits(return_X_y=True)
    X = X / 16
    print("accuracy on unseen digits, %: pixels as they are, standardised; seconds of a fit")
    for name in ("the pixels alone", *MODELS, *PEERS):
        text = f"{name:28}"
        spent = []
        for scaled in (False, True):
            if scaled and name in POSITIVE:
                text += f"{'-':>14}"
                continue
            scores = []
            for seed in range(options.splits):
                split = train_test_split(X, y, test_size=0.25, stratify=y, random_state=seed)
                learn, test, learn_y, test_y = split
                steps = [StandardScaler()] if scaled else []
                if name in (*MODELS, *PEERS):
                    steps.append(learner(name, 48, n_jobs=2, seed=seed))
                # codes to a common scale: the penalty of the regression knows but one
                steps += [StandardScaler(), LogisticRegression(max_iter=2000)]
                pipeline = make_pipeline(*steps)
                spent.append(seconds(lambda: pipeline.fit(learn, learn_y)))
                scores.append(100 * pipeline.score(test, test_y))
            text += f"{spread(scores, 1):>14}"
        print(f"{text}{np.mean(spent):9.1f} s", flush=True)


def denoise(options):
    methods = ["full", "fast", "BM3D", "K-SVD", "MiniBatch"]
    denoising.table(25, options.images, methods, options.seeds, jobs=2)


def memory(options):
    """Print what each learner takes, told by a process that fits nothing else."""
    print(f"MB above those before: {2 * options.samples} patches, one thread, two passes")
    with tempfile.TemporaryDirectory() as folder:
        for name in (*MODELS, *PEERS):
            path = Path(folder, "X.npy")
            np.save(path, patches_for(name, 2 * options.samples))
            program = f"import peers; peers.report_memory({name!r}, {str(path)!r})"
            run = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", program],
                cwd=Path(__file__).parent,
                capture_output=True,
                text=True,
                check=True,
            )
            print(f"{name:28}{float(run.stdout):8.0f}", flush=True)
    print(f"{'X itself':28}{2 * options.samples * 144 * 8 / 1e6:8.0f}")


def report_memory(name, path):
    """Print the megabytes that learning takes at its peak above what there was before.

    Linux is told to forget the peak so far. ``ru_maxrss`` would not do: it begins with the
    peak of the process that started this one.
    """
    X = np.load(path)
    learner(name, 10, 2).fit(X[:600])  # compiles and imports
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    learner(name, components_for(name), 2).fit(X)
    print((resident("VmHWM") - before) / 1e6)


def resident(entry):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(entry))


PARTS = dict(
    time=time,
    reconstruction=reconstruction,
    amari=amari,
    digits=digits,
    denoising=denoise,
    memory=memory,
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", choices=PARTS, nargs="+", default=list(PARTS))
    parser.add_argument("--samples", type=int, default=10_000, help="patches to learn from")
    parser.add_argument("--seeds", type=int, default=2, help="of reconstruction and denoising")
    parser.add_argument("--mixtures", type=int, default=5)
    parser.add_argument("--splits", type=int, default=3, help="of the digits")
    parser.add_argument("--images", nargs="+", default=["brick", "page"])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for part in options.parts:
        print(f"\n{part}", flush=True)
        start = perf_counter()
        PARTS[part](options)
        print(f"({perf_counter() - start:.0f} s)", flush=True)
