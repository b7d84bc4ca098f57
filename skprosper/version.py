"""The version of the package, and what was saved by another."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("skprosper")
except PackageNotFoundError:  # a copy of the source on the path, or a frozen program
    __version__ = "0+unknown"

# What the state of a saved estimator calls the version that has saved it.
KEY = "_skprosper_version"


def written_by(saved):
    """Return which version has written something, in words; None where it is this one."""
    if saved == __version__:
        return None
    return "an earlier skprosper" if saved is None else f"skprosper {saved}"
