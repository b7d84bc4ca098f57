"""numba's njit, and where the machine code of the kernels is kept.

numba would keep it beside the sources, would hold it for fresh while the file of the
function itself is unchanged, and would end a fit where its files are damaged or cannot be
written. Helpers are inlined from other files here, and a cache is no reason to fail: each
piece of machine code has a file of its own, named after the sources of all kernels, in a
folder of the user's; what cannot be read is compiled, what cannot be written is not kept.
"""

import os
import pickle
import sys
import warnings
from functools import lru_cache
from hashlib import sha256
from importlib import resources
from uuid import uuid4

import llvmlite
import numba
from numba.core import config
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

_warned = []  # of code that could not be kept: once is enough


def njit(cache=False, fastmath=False, **options):
    """Return numba's decorator of the same name, its cache in the user's folder.

    What numba is not told of ``fastmath`` a function takes from whichever caller it is first
    compiled for: then results would depend on what was compiled before.
    """

    def compiled(function):
        dispatcher = numba.njit(fastmath=fastmath, **options)(function)
        if cache and not config.DISABLE_JIT:
            dispatcher._cache = KernelCache(function)
        return dispatcher

    return compiled


class KernelCache(_Cache):
    """The machine code of one kernel, a file for each signature and processor."""

    def __init__(self, function):
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._enabled = True

    @property
    def cache_path(self):
        """The folder, None where there is nowhere to keep anything."""
        return folder()

    def enable(self):
        """Read and write from now on."""
        self._enabled = True

    def disable(self):
        """Neither read nor write from now on."""
        self._enabled = False

    def flush(self):
        """Remove the kernel's machine code."""
        self._remove_others(keep="")

    def load_overload(self, sig, target_context):
        """Return the machine code for a signature, None where there is none."""
        target_context.refresh()
        path = self._path(sig, target_context.codegen())
        if path is None:
            return None
        try:
            with open(path, "rb") as file:
                digest, content = file.read(32), file.read()
            if sha256(content).digest() != digest:
                return None
            return CompileResult._rebuild(target_context, *pickle.loads(content))
        except Exception:  # whatever is wrong with it: compiling is always right
            return None

    def save_overload(self, sig, data):
        """Keep machine code where that is possible."""
        if not self._enabled or data.library.has_dynamic_globals:
            return
        path = self._path(sig, data.codegen)
        if path is None:
            _warn_once("there is no folder to keep it in")
            return
        content = dumps(data._reduce())
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write(path, sha256(content).digest() + content)
        except OSError as error:
            _warn_once(str(error))
        else:
            self._remove_others(keep=stamp())

    def _path(self, sig, codegen):
        if not self._enabled or folder() is None or stamp() is None:
            return None
        key = sha256(repr((sig, codegen.magic_tuple())).encode()).hexdigest()[:16]
        return os.path.join(folder(), f"{self._name}-{stamp()}-{key}.bin")

    def _remove_others(self, keep):
        """Remove what other sources than those of a stamp were compiled to."""
        try:
            for name in os.listdir(folder() or ""):
                kernel, *rest = name.split("-")
                if kernel == self._name and rest[:1] != [keep]:
                    os.unlink(os.path.join(folder(), name))
        except OSError:  # another process was faster
            pass


@lru_cache(maxsize=1)
def stamp():
    """Return what tells the sources of all kernels, and what compiles them, from others.

    None where there are no sources to tell by.
    """
    digest = sha256(repr((numba.__version__, llvmlite.__version__)).encode())
    if getattr(sys, "frozen", False):
        status = os.stat(sys.executable)
        digest.update(repr((status.st_size, status.st_mtime_ns)).encode())
        return digest.hexdigest()[:16]
    try:
        sources = sorted(resources.files(__package__).iterdir(), key=lambda file: file.name)
        sources = [file for file in sources if file.name.endswith(".py")]
        for file in sources:
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    except OSError:
        return None
    return digest.hexdigest()[:16] if sources else None


@lru_cache(maxsize=1)
def folder():
    """Return the folder for this installation and this Python, None where there is none.

    It lies in ``NUMBA_CACHE_DIR`` where that is set, else in the user's cache folder.
    """
    home = AppDirs("skprosper", appauthor=False).user_cache_dir
    if config.CACHE_DIR:
        home = os.path.abspath(config.CACHE_DIR)
    if not os.path.isabs(home):  # the user has no home
        return None
    place = sys.executable if getattr(sys, "frozen", False) else os.path.abspath(__file__)
    place = sha256(os.path.dirname(place).encode()).hexdigest()[:16]
    return os.path.join(home, f"skprosper-{sys.implementation.cache_tag}-{place}")


def _write(path, content):
    """Write a file as a whole: other processes see all of it or nothing."""
    draft = f"{path}.{uuid4().hex[:16]}"
    try:
        with open(draft, "xb") as file:
            file.write(content)
        os.replace(draft, path)
    except BaseException:
        try:
            os.unlink(draft)
        except OSError:
            pass
        raise


def _warn_once(reason):
    if not _warned:
        _warned.append(reason)
        warnings.warn(
            f"Compiled code could not be kept ({reason}): every process will compile anew, which "
            "takes some seconds for each model. Set the environment variable NUMBA_CACHE_DIR to a "
            "folder that can be written.",
            stacklevel=2,
        )
