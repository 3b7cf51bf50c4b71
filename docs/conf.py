"""Sphinx: `tox -e docs` builds these pages, warnings being errors."""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "netns"
copyright = "the netns authors"
release = version = re.search(  # type: ignore[union-attr]
    r'NETNS_VERSION "(.+)"', (HERE.parent / "csrc/netns.h").read_text()
).group(1)

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "header"]
exclude_patterns = ["_build", "man"]
default_role = "py:obj"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"netns {release}"
html_static_path = ["_static"]
html_show_sphinx = False
html_copy_source = False
