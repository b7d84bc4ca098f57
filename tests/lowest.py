"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

import re
import tomllib
from pathlib import Path


def lowest():
    """Yield a constraint for each requirement of the package that has a lowest version."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    for requirement in [*project["dependencies"], *extras["dask"], *extras["demo"]]:
        if found := re.match(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", requirement):
            yield "==".join(found.groups())


if __name__ == "__main__":
    print(*lowest(), sep="\n")
