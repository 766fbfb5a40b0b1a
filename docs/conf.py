"""Sphinx's configuration. fastnn must be importable, for its docstrings are read."""

import fastnn

project = "fastnn"
author = "The fastnn developers"
copyright = f"2026, {author}"
version = release = fastnn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3

default_role = "py:obj"  # a link where there is such a name, and code where not
autodoc_typehints = "none"  # the docstrings say them, with shapes and units
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False  # autodoc lists them

html_theme = "furo"
html_title = f"fastnn {release}"
html_show_sphinx = False
html_copy_source = False
