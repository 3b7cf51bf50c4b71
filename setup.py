"""The extension module's build. Everything else is in pyproject.toml."""

import re
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

if not sys.platform.startswith("linux"):
    sys.exit("netns: network namespaces are Linux's own; this is " + sys.platform)

CSRC = Path(__file__).with_name("csrc")
HEADER = CSRC / "netns.h"
VERSION = re.search(r'NETNS_VERSION "(.+)"', HEADER.read_text())
assert VERSION is not None
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


class BuildForC(build_ext):
    """Beside the extension, what C programs take: the header, the core as an archive."""

    def run(self) -> None:
        super().run()
        package = Path(self.get_ext_fullpath("netns._native")).parent
        (package / "include").mkdir(exist_ok=True)
        shutil.copy(HEADER, package / "include")
        sources = [path for extension in self.extensions for path in extension.sources]
        core = [path for path in sources if path.startswith("csrc/") and "/ffi_" not in path]
        library = package / "lib" / "libnetns.a"
        library.unlink(missing_ok=True)  # or ar(1) would add to it
        self.compiler.create_static_lib(
            self.compiler.object_filenames(core, output_dir=self.build_temp),
            "netns",
            output_dir=str(library.parent),
        )


setup(
    version=VERSION.group(1),
    cffi_modules=["csrc/ffi_build.py:ffi"],
    cmdclass={"build_ext": BuildForC},
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp39"}},
)
