"""Private memory of a fit of a memory map of 4 GB: H = 200, D = 256.

Writes patches of a photograph to a file, block by block, and fits it. Private memory is
what the process alone holds (``Private_Clean`` and ``Private_Dirty`` of Linux, less the
pages of the file itself), sampled while the fit runs.
"""

import argparse
import os
import re
import tempfile
import threading
import time
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from skprosper import BinarySparseCoding
from skprosper.datasets import load_image_patches


def private_megabytes(path):
    """Return the private memory of this process less the pages that map the file."""
    total, inside = 0, False
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                inside = line.rstrip().endswith(path)
            elif line.startswith("Private_") and not inside and "Hugetlb" not in line:
                total += int(line.split()[1])
    return total / 1024


class Peak(threading.Thread):
    """Samples the private memory until stopped."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.peak, self.running = path, 0.0, True

    def run(self):
        while self.running:
            self.peak = max(self.peak, private_megabytes(self.path))
            time.sleep(0.02)


def write(path, options):
    """Write the patches to a file of .npy format, a block at a time."""
    n_features = options.patch**2
    n_samples = int(options.gigabytes * 1e9 / (n_features * np.dtype(options.dtype).itemsize))
    block = load_image_patches(20_000, patch_size=options.patch, random_state=0)
    block = block.astype(options.dtype)
    rng = np.random.default_rng(0)
    rows = np.lib.format.open_memmap(path, "w+", options.dtype, (n_samples, n_features))
    for start in range(0, n_samples, len(block)):
        part = rows[start : start + len(block)]
        part[:] = block[rng.permutation(len(block))[: len(part)]]
    rows.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=4.1)
    parser.add_argument("--components", type=int, default=200)
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    parser.add_argument("--folder", default=None, help="where the file is written")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = os.path.join(folder, "X.npy")
        write(path, options)
        params = dict(tol=0, annealing=None, n_jobs=options.jobs, random_state=0)
        # compiled before the start: what numba holds is not of the data
        few = np.load(path, mmap_mode="r")[:2000]
        BinarySparseCoding(10, max_iter=1, **params).fit(few)
        X = np.load(path, mmap_mode="r")
        start = private_megabytes(path)
        sampler = Peak(path)
        sampler.start()
        began = time.perf_counter()
        BinarySparseCoding(options.components, max_iter=options.iterations, **params).fit(X)
        seconds = time.perf_counter() - began
        sampler.running = False
        sampler.join()
    print(
        f"{X.nbytes / 1e9:.2f} GB, {len(X)} rows of {X.shape[1]}, {X.dtype.name}, "
        f"H = {options.components}, {options.jobs} jobs, {options.iterations} iterations "
        f"in {seconds:.0f} s"
    )
    print(
        f"private memory: {start:.0f} MB at the start, {sampler.peak:.0f} MB at its peak, "
        f"{sampler.peak - start:.0f} MB more"
    )
