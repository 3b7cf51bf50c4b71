"""The extension module's build. Everything else is in pyproject.toml."""

import gzip
import os
import re
import shutil
import sys
import sysconfig
import tarfile
import time
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

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
        os.environ.setdefault("ARFLAGS", "rcsD")  # no dates: the same bits each time
        super().run()
        package = Path(self.get_ext_fullpath("netns._native")).parent
        (package / "include").mkdir(exist_ok=True)
        shutil.copy(HEADER, package / "include")
        sources = [path for extension in self.extensions for path in extension.sources]
        core = [path for path in sources if path.startswith(("csrc/core/", "csrc/discover/"))]
        library = package / "lib" / "libnetns.a"
        library.unlink(missing_ok=True)  # or ar(1) would add to it
        self.compiler.create_static_lib(
            self.compiler.object_filenames(core, output_dir=self.build_temp),
            "netns",
            output_dir=str(library.parent),
        )


class SameSdist(sdist):
    """From the same files the same bits: of no owner, and of SOURCE_DATE_EPOCH if set."""

    def make_archive(self, base_name: str, format: str, *_: object, **how: str) -> str:
        when = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.mtime, member.mode = when, 0o755 if member.mode & 0o100 else 0o644
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            return member

        name = f"{base_name}.tar.gz"
        with (
            gzip.GzipFile(name, "wb", mtime=when) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.add(how["base_dir"], filter=plain)
        return name


setup(
    version=VERSION.group(1),
    cffi_modules=["csrc/python/build.py:ffi"],
    cmdclass={"build_ext": BuildForC, "sdist": SameSdist},
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp39"}},
)
