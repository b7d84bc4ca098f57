"""How many rows hot iterations should draw: held-out score of fits with fewer and with more.

Natural image patches of 12 x 12 pixels (absolute values for MCA), 256 components, 20,000 of
them to learn from and 5,000 others held out. At temperature T an iteration draws the share
s^((1 - 1/T)^2) of the rows, s being the share that has so many rows for each component;
the default is forty. Prints the held-out score (nats per data point), the iterations and the
seconds of a fit for each start.

    python benchmarks/hot_rows.py --images flower gravel --models BSC MMCA --rows 20 40 80
"""

import argparse
import warnings

import numpy as np
from iteration import MODELS, seconds
from sklearn.exceptions import ConvergenceWarning
from time_to_quality import N_COMPONENTS, data

from skprosper.annealing import Annealing


def schedule(rows, n_samples, max_iter):
    """Return the annealing that draws so many rows for each component."""
    positions = np.arange(max_iter) / (max_iter - 1)
    flat = np.array([1.0 - 1.0 / Annealing().at(position).temperature for position in positions])
    share = min(1.0, rows * N_COMPONENTS / n_samples) ** flat**2
    return Annealing(data_share=np.column_stack([positions, share]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", nargs="+", default=["flower", "astronaut", "gravel"])
    parser.add_argument("--models", choices=MODELS, nargs="+", default=["BSC", "TSC", "DSC"])
    parser.add_argument("--rows", type=int, nargs="+", default=[20, 40])
    parser.add_argument("--seeds", type=int, default=2)
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)

    print("image      model  rows  held-out score, iterations, seconds of each start")
    for image in options.images:
        for model in options.models:
            X, held_out = data(model, image)
            for rows in options.rows:
                row = f"{image:10} {model:5} {rows:5}"
                for seed in range(options.seeds):
                    estimator = MODELS[model](N_COMPONENTS, random_state=seed, n_jobs=2)
                    annealing = schedule(rows, len(X), estimator.max_iter)
                    spent, fit = seconds(lambda: estimator.set_params(annealing=annealing).fit(X))
                    row += f"  {fit.score(held_out):9.2f} {fit.n_iter_:4d} {spent:6.1f}"
                print(row, flush=True)
