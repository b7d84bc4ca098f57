"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
for requirement in {*PROJECT["dependencies"], *EXTRAS["dask"], *EXTRAS["demo"], *EXTRAS["plot"]}:
    if found := re.match(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", requirement):
        print("==".join(found.groups()))
