"""The guide's prior, superposition and noise of one's own: what they rest on stays as it is."""

import subprocess
import sys
from os import environ
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "docs" / "gallery" / "plot_extending.py"


@pytest.mark.skipif(not EXAMPLE.exists(), reason="tests without the documentation")
def test_the_example_runs_to_its_end():
    # in a process of its own: it adds names to the package
    run = subprocess.run(
        [sys.executable, EXAMPLE],
        env=environ | {"MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
