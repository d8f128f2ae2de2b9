"""Sphinx builds the site from the pages of this folder: `make docs`."""

import sys
from pathlib import Path

import pixelrnn

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "_site"))  # the extensions of this site

project = "pixelrnn"
author = "the pixelrnn authors"
release = version = pixelrnn.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "command_output"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
nitpicky = False
default_role = "code"  # `x` in a docstring is code

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings give shapes and ranges, which say more
autodoc_preserve_defaults = True
maximum_signature_line_length = 90

html_theme = "furo"
html_title = "pixelrnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
smartquotes = False  # quoted words are often code
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#2e4057", "color-brand-content": "#2e4057"},
    "dark_css_variables": {"color-brand-primary": "#9fc0ec", "color-brand-content": "#9fc0ec"},
}
