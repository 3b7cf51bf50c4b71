"""The extension module's build. Everything else is in pyproject.toml."""

import re
import sys
import sysconfig
from pathlib import Path

from setuptools import setup

if not sys.platform.startswith("linux"):
    sys.exit("netns: network namespaces are Linux's own; this is " + sys.platform)

HEADER = Path(__file__).with_name("csrc") / "netns.h"
VERSION = re.search(r'NETNS_VERSION "(.+)"', HEADER.read_text())
assert VERSION is not None
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

setup(
    version=VERSION.group(1),
    cffi_modules=["csrc/ffi_build.py:ffi"],
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp39"}},
)
