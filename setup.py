"""The extension module's build, and what pyproject.toml cannot say to old setuptools."""

import gzip
import json
import os
import re
import shutil
import sys
import sysconfig
import tarfile
import time
from pathlib import Path

import setuptools
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1, which may be without wheel
    try:
        from wheel.bdist_wheel import bdist_wheel
    except ImportError:
        bdist_wheel = object

if not sys.platform.startswith("linux"):
    sys.exit("netns: network namespaces exist on Linux only; this is " + sys.platform)

ROOT = Path(__file__).resolve().parent
CSRC = ROOT / "csrc"
HEADER = CSRC / "netns.h"
VERSION = re.search(r'NETNS_VERSION "(.+)"', HEADER.read_text())
assert VERSION is not None
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
LICENSE = "Apache-2.0"
# As an SPDX expression (PEP 639) where setuptools knows these.
LICENSE_KEY = (
    "license_expression" if int(setuptools.__version__.split(".")[0]) >= 77 else "license"
)
# The addresses of pyproject.toml's [project.urls].
URLS = dict(re.findall(r'^(\w+) = "(https:.+)"$', (ROOT / "pyproject.toml").read_text(), re.M))


def readme() -> str:
    """README.md with complete links, for the package index."""

    def complete(link: "re.Match[str]") -> str:
        path = link[1]
        if path.startswith("docs/"):  # a page of the site, or a picture
            page = re.sub(r"\.md(?=#|$)", ".html", path[len("docs/") :])
            return f"]({URLS['Documentation']}/{page})"
        return f"]({URLS['Source']}/{path})"

    return re.sub(r"\]\((?!https:|#)([^)\s]+)\)", complete, (ROOT / "README.md").read_text())


def sbom(version: str) -> "dict[str, object]":
    """What the wheel is made of, as an SPDX 2.3 document (PEP 770)."""
    when = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    package = {
        "name": "pynetns",
        "SPDXID": "SPDXRef-pynetns",
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": LICENSE,
        "licenseDeclared": LICENSE,
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "LIBRARY",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": f"pkg:generic/pynetns@{version}",
            }
        ],
    }
    cffi = {
        "name": "cffi",
        "SPDXID": "SPDXRef-cffi",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "comment": "Needed at run time; no part of this file.",
    }
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": f"pynetns-{version}",
        "documentNamespace": f"{URLS['Homepage']}/spdx/pynetns-{version}",
        "creationInfo": {
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
            "creators": ["Tool: setup.py"],
        },
        "packages": [package, cffi],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": "SPDXRef-pynetns",
            },
            {
                "spdxElementId": "SPDXRef-cffi",
                "relationshipType": "RUNTIME_DEPENDENCY_OF",
                "relatedSpdxElement": "SPDXRef-pynetns",
            },
        ],
    }


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


class WheelWithSbom(bdist_wheel):
    def egg2dist(self, egginfo_path: str, distinfo_path: str) -> None:
        super().egg2dist(egginfo_path, distinfo_path)
        boms = Path(distinfo_path) / "sboms"
        boms.mkdir()
        text = json.dumps(sbom(self.distribution.get_version()), indent=1)
        (boms / "pynetns.spdx.json").write_text(text + "\n")


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


setuptools.setup(
    version=VERSION.group(1),
    long_description=readme(),
    long_description_content_type="text/markdown",
    cffi_modules=["csrc/python/build.py:ffi"],
    cmdclass={"build_ext": BuildForC, "sdist": SameSdist}
    | ({} if bdist_wheel is object else {"bdist_wheel": WheelWithSbom}),
    options={} if FREE_THREADED else {"bdist_wheel": {"py_limited_api": "cp39"}},
    **{LICENSE_KEY: LICENSE},
)
