"""Run a gallery example outside sphinx and save its figures: run_example.py EXAMPLE FOLDER."""

import runpy
import sys
import warnings
from pathlib import Path

import matplotlib.pyplot as plt


def main(example, folder):
    warnings.filterwarnings("ignore", message=".*non-interactive", category=UserWarning)
    runpy.run_path(str(example), run_name="__main__")
    folder.mkdir(parents=True, exist_ok=True)
    for number in plt.get_fignums():
        picture = folder / f"{example.stem.removeprefix('plot_')}_{number}.png"
        plt.figure(number).savefig(picture, bbox_inches="tight")
        print(f"Picture saved in {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
