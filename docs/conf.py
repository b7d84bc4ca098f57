"""Sphinx settings of the documentation; `make docs` builds it."""

from importlib.metadata import distribution
from importlib.metadata import version as package_version

project = "skprosper"
author = "skprosper developers"
copyright = author
version = release = package_version("skprosper")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "matplotlib.sphinxext.plot_directive",
    "numpydoc",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
# These are read as parts of other pages.
exclude_patterns = ["gallery", "pictures", "_templates"]
default_role = "py:obj"
# The references may list a paper that no page cites.
suppress_warnings = ["ref.citation"]

html_theme = "pydata_sphinx_theme"
html_title = "skprosper"
html_theme_options = {"show_prev_next": False, "header_links_before_dropdown": 4}
# Pages with nothing below them need no list of what is.
html_sidebars = {
    name: []
    for name in (
        "index",
        "choosing",
        "installation",
        "from_sklearn",
        "from_prosper",
        "extending",
        "reproducing",
        "references",
    )
}
html_show_sourcelink = False

# One file with MathJax and its fonts, part of the pages: formulas show without a network.
_mathjax = "sphinx-mathjax-offline/static/mathjax/tex-svg.js"
html_static_path = ["_static", str(distribution("sphinx-mathjax-offline").locate_file(_mathjax))]
mathjax_path = "tex-svg.js"
html_css_files = ["skprosper.css"]

# Pictures that pages draw as they are built, by the programs in pictures/.
plot_basedir = "pictures"
plot_formats = [("png", 150)]
plot_html_show_formats = plot_html_show_source_link = False

autosummary_generate = True
autosummary_ignore_module_all = False
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "auto_gallery",
    "backreferences_dir": "generated/backreferences",
    # The gallery's own index, which groups the examples.
    "copyfile_regex": r"index\.rst",
    "doc_module": ("skprosper",),
    "reference_url": {"skprosper": None},
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
}


def is_from_sklearn(app, what, name, member, skip, options):
    # scikit-learn's docstrings refer to its own user guide, which is not part of these pages.
    return True if (getattr(member, "__module__", None) or "").startswith("sklearn.") else None


def setup(app):
    app.connect("autodoc-skip-member", is_from_sklearn)
