"""The estimator checks and the bit-for-bit tests as other processors would run them.

Each setting makes BLAS, numba or NumPy take the code of another processor, which rounds
differently. Prints a line for each: passed, failed, or not for this machine.

    python tests/machines.py            all settings
    python tests/machines.py skylakex   those named
"""

import os
import subprocess
import sys
import time
from pathlib import Path

TESTS = ["tests"]
PARALLEL = ["-n", "auto", "--dist", "loadfile"]
CHOSEN = "scikit_learn_checks or same_bits or read_like_arrays"

# name: (environment, flags of the processor that it takes)
SETTINGS = {
    "skylakex": (dict(OPENBLAS_CORETYPE="SkylakeX"), {"avx512f", "avx512dq"}),
    "sandybridge": (dict(OPENBLAS_CORETYPE="Sandybridge"), {"avx"}),
    "haswell": (dict(OPENBLAS_CORETYPE="Haswell"), {"avx2", "fma"}),
    "zen": (dict(OPENBLAS_CORETYPE="Zen"), {"avx2", "fma"}),
    "nehalem": (dict(OPENBLAS_CORETYPE="Nehalem"), {"sse4_2"}),
    "prescott": (dict(OPENBLAS_CORETYPE="Prescott"), {"pni"}),
    "numba-haswell": (dict(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=""), {"avx2", "fma"}),
    "numba-generic": (dict(NUMBA_CPU_NAME="generic", NUMBA_CPU_FEATURES=""), set()),
    "numpy-no-avx512": (dict(NPY_DISABLE_CPU_FEATURES=""), {"avx512f"}),
}


def flags():
    """Return the flags of this processor; none where the system does not tell."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return set()
    return set(text.partition("flags")[2].partition("\n")[0].split())


def dispatched():
    """Return the processor features for which NumPy has code of its own."""
    from numpy._core._multiarray_umath import __cpu_dispatch__

    return __cpu_dispatch__


def run(name):
    """Run the tests in one setting; return whether they passed."""
    setting, needed = SETTINGS[name]
    if missing := sorted(needed - flags()):
        print(f"{name:16} not for this machine: no {', '.join(missing)}", flush=True)
        return True
    if "NPY_DISABLE_CPU_FEATURES" in setting:
        wide = [name for name in dispatched() if "AVX512" in name or name == "X86_V4"]
        setting = dict(NPY_DISABLE_CPU_FEATURES=" ".join(wide))
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", *PARALLEL, *TESTS, "-k", CHOSEN],
        env={**os.environ, **setting},
        capture_output=True,
        text=True,
    )
    passed = done.returncode == 0
    last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
    seconds = time.perf_counter() - start
    print(f"{name:16} {'passed' if passed else 'FAILED'} {seconds:5.0f} s  {last}", flush=True)
    if not passed:
        print(done.stdout[-3000:])
    return passed


if __name__ == "__main__":
    names = sys.argv[1:] or list(SETTINGS)
    if unknown := [name for name in names if name not in SETTINGS]:
        sys.exit(f"unknown setting {unknown[0]!r}; there are {', '.join(SETTINGS)}.")
    sys.exit(not all([run(name) for name in names]))
