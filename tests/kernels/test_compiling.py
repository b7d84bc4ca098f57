"""Machine code of the kernels: kept where it can be, never older than any kernel's source."""

import importlib
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import NullCache
from numba.core.dispatcher import Dispatcher
from numpy.testing import assert_allclose

import skprosper.kernels
from skprosper import MaximumMagnitudeCausesAnalysis, SparseCoding
from skprosper.kernels import compiling

HELPER = """
from .compiling import njit

@njit(forceinline=True)
def helper(x):
    return x + {}
"""
KERNELS = """
from .compiling import njit
from .helper import helper

@njit(cache=True)
def kernel(x):
    return helper(x)

@njit(cache=True)
def other(x):
    return 2 * helper(x)
"""
CALLS = """
from tiny.kernels import kernel, other
print(kernel(1), other(1), sum(kernel.stats.cache_hits.values()))
"""


@pytest.fixture
def tiny(tmp_path):
    """Return a package of two kernels with a helper in a file of its own."""
    package = tmp_path / "tiny"
    package.mkdir()
    (package / "__init__.py").touch()
    shutil.copy(compiling.__file__, package)
    (package / "helper.py").write_text(HELPER.format(1))
    (package / "kernels.py").write_text(KERNELS)
    return package


def called(package, cache, code=CALLS, **environment):
    """Return what a new process prints, and what it warns of."""
    environment |= {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(package.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def files(cache):
    return sorted(path for path in Path(cache).rglob("*") if path.is_file())


def test_later_processes_read_the_code_from_the_folder_asked_for(tiny, tmp_path):
    assert called(tiny, tmp_path / "cache") == (["2", "4", "0"], "")
    assert called(tiny, tmp_path / "cache") == (["2", "4", "1"], "")
    assert len(files(tmp_path / "cache")) == 2
    # what pip has not installed it would leave behind
    assert {path.suffix for path in files(tiny)} <= {".py", ".pyc"}


def test_code_is_compiled_anew_where_only_a_helper_has_changed(tiny, tmp_path):
    called(tiny, tmp_path / "cache")
    before = files(tmp_path / "cache")
    (tiny / "helper.py").write_text(HELPER.format(10))
    assert called(tiny, tmp_path / "cache") == (["11", "22", "0"], "")
    after = files(tmp_path / "cache")
    assert len(after) == 2 and not set(before) & set(after)


@pytest.mark.parametrize("content", [b"", b"no code", None])
def test_damaged_files_are_compiled_anew(tiny, tmp_path, content):
    called(tiny, tmp_path / "cache")
    for path in files(tmp_path / "cache"):
        whole = path.read_bytes()
        damaged = whole[: len(whole) // 2] if content is None else content
        path.write_bytes(damaged)
    assert called(tiny, tmp_path / "cache") == (["2", "4", "0"], "")
    assert called(tiny, tmp_path / "cache") == (["2", "4", "1"], "")


def test_one_wrong_bit_is_noticed(tiny, tmp_path):
    called(tiny, tmp_path / "cache")
    for path in files(tmp_path / "cache"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    assert called(tiny, tmp_path / "cache") == (["2", "4", "0"], "")


def test_without_a_folder_that_can_be_written_all_works_with_one_warning(tiny):
    printed, warned = called(tiny, "/dev/null/cache")
    assert printed == ["2", "4", "0"]
    assert warned.count("UserWarning") == 1
    assert "Set the environment variable NUMBA_CACHE_DIR" in warned


@pytest.mark.skipif(sys.platform == "win32", reason="has no limit for the size of a file")
def test_a_full_disk_does_not_end_a_call(tiny, tmp_path):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    printed, warned = called(tiny, tmp_path / "cache", full + CALLS)
    assert printed == ["2", "4", "0"]
    assert warned.count("UserWarning") == 1
    assert files(tmp_path / "cache") == []


def test_a_user_without_a_home_has_no_folder(monkeypatch):
    class Homeless:
        user_cache_dir = "~/.cache/skprosper"

        def __init__(self, *args, **kwargs):
            pass

    monkeypatch.setattr(compiling, "AppDirs", Homeless)
    monkeypatch.setattr(compiling.config, "CACHE_DIR", "")
    assert compiling.folder.__wrapped__() is None


def test_all_kernels_keep_their_code_here():
    kept = []
    for module in pkgutil.iter_modules(skprosper.kernels.__path__):
        module = importlib.import_module(f"skprosper.kernels.{module.name}")
        kernels = [x for x in vars(module).values() if isinstance(x, Dispatcher)]
        for kernel in kernels:
            assert isinstance(kernel._cache, compiling.KernelCache | NullCache), kernel
            kept.append(isinstance(kernel._cache, compiling.KernelCache))
    assert sum(kept) >= 3


WITHOUT_METADATA = """
import importlib.metadata

def version(name):
    raise importlib.metadata.PackageNotFoundError(name)

importlib.metadata.version = version
import skprosper
print(skprosper.__version__)
"""


def test_the_package_imports_without_its_metadata():
    package = Path(skprosper.__file__).parent
    printed, _ = called(package, "", WITHOUT_METADATA)
    assert printed == ["0+unknown"]


MODELS = [
    ("SparseCoding", SparseCoding, dict(prior="binary")),
    ("SparseCoding", SparseCoding, dict(prior="spike-slab")),
    ("MaximumMagnitudeCausesAnalysis", MaximumMagnitudeCausesAnalysis, {}),
]
IN_PYTHON = """
import warnings
import numpy as np
from skprosper import {name}
warnings.simplefilter("error")
X = np.array({X})
model = {name}(2, max_iter=0, random_state=0, **{params}).fit(X)
model.transform(X)
print(*model.score_samples(X), *model.reconstruct(X).ravel(), model.posterior(X, 2).entropy[0])
"""


@pytest.mark.parametrize("name, model, params", MODELS)
def test_numba_switched_off_changes_nothing_but_the_speed(name, model, params):
    X = 2.0 * np.random.default_rng(0).standard_normal((4, 3))
    code = IN_PYTHON.format(name=name, X=X.tolist(), params=params)
    package = Path(skprosper.__file__).parent
    printed, _ = called(package, "", code, NUMBA_DISABLE_JIT="1")
    model = model(2, max_iter=0, random_state=0, **params).fit(X)
    entropy = model.posterior(X, 2).entropy[0]
    expected = [*model.score_samples(X), *model.reconstruct(X).ravel(), entropy]
    assert_allclose(np.array(printed, float), expected, rtol=1e-10, atol=1e-12)


def test_a_helper_does_not_take_over_the_arithmetic_of_its_first_caller():
    @compiling.njit(error_model="numpy", forceinline=True)
    def rounded(x, y):
        return (x + y) - y

    @compiling.njit(fastmath=True)
    def caller(x, y):
        return rounded(x, y)

    assert caller(1.0, 1e17) == 0.0  # nothing is reassociated
