"""Sphinx: `tox -e docs` builds these pages, warnings being errors."""

import re
import sys
import zlib
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "netns"
copyright = "the netns authors"
release = version = re.search(  # type: ignore[union-attr]
    r'NETNS_VERSION "(.+)"', (HERE.parent / "csrc/netns.h").read_text()
).group(1)

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "docstrings",
    "header",
]
exclude_patterns = ["_build", "man"]

# Links to the standard library, of an inventory written here: a build needs no network.
PYTHON = {
    "builtins": "exceptions",
    "exception": "BlockingIOError FileExistsError FileNotFoundError OSError PermissionError"
    " RuntimeError TypeError ValueError KeyboardInterrupt ResourceWarning",
    "class": "concurrent.futures.ThreadPoolExecutor os.PathLike socket.socket subprocess.Popen"
    " subprocess.CompletedProcess",
    "function": "socket.create_connection socket.create_server subprocess.run"
    " threading.get_native_id",
}


def inventory() -> bytes:
    lines = []
    for role in ("exception", "class", "function"):
        for name in PYTHON[role].split():
            module = name.rpartition(".")[0] or PYTHON["builtins"]
            lines.append(f"{name} py:{role} 1 library/{module}.html#$ -\n")
    head = "# Sphinx inventory version 2\n# Project: Python\n# Version: 3\n"
    note = "# The remainder of this file is compressed using zlib.\n"
    return (head + note).encode() + zlib.compress("".join(lines).encode())


(HERE / "_build").mkdir(exist_ok=True)
(HERE / "_build/python.inv").write_bytes(inventory())
intersphinx_mapping = {"python": ("https://docs.python.org/3", "_build/python.inv")}
default_role = "py:obj"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"netns {release}"
html_static_path = ["_static"]
html_css_files = ["netns.css"]
html_show_sphinx = False
html_copy_source = False
