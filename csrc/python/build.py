"""Declares the extension module: its cdef is the marked block of netns.h.

With NETNS_FAULTS set in the environment it is a test build, with the fault seam.
"""

import os
import re
import sysconfig
from pathlib import Path

from cffi import FFI

CSRC = Path(__file__).resolve().parents[1]
FAULTS = bool(os.environ.get("NETNS_FAULTS"))
HEADERS = ["netns.h"] + ["core/fault.h"] * FAULTS
FOLDERS = ("core", "discover", "python")
SOURCES = sorted(path for folder in FOLDERS for path in CSRC.glob(f"{folder}/*.c"))
MARKED = re.compile(r"/\* cdef: begin \*/(.*)/\* cdef: end \*/", re.DOTALL)

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
OLDEST = "0x03090000"

# Of 3.12 and early 3.13: takes no reference, which older interpreters miss.
NONE = """
#undef Py_RETURN_NONE
#define Py_RETURN_NONE return Py_INCREF(Py_None), Py_None
"""

# What netns/_watch.py needs of libc. The first is an opener of io.FileIO, which closes
# itself, should an interrupt fall in between.
INOTIFY_CDEF = """
int open_inotify(const char *, int);
int inotify_add_watch(int, const char *, uint32_t);
int inotify_rm_watch(int, int);
"""
INOTIFY = """
#include <sys/inotify.h>

static int open_inotify(const char *path, int flags)
{
	(void)path;
	(void)flags;
	return inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
}
"""

# What netns/_call.py needs of the core, and a program in C does not: see internal.h.
AGAIN_CDEF = "void netns__wait_on(void);\n"

# module.c has the module's init function, and calls cffi's under this name.
INIT = """
#define PyInit__native netns__init_cffi
#undef PyMODINIT_FUNC
#define PyMODINIT_FUNC __attribute__((visibility("hidden"))) PyObject *
"""


def cdef(header: str) -> str:
    marked = MARKED.search((CSRC / header).read_text())
    if marked is None:
        raise ValueError(f"{header}: no marked block")
    return marked.group(1)


ffi = FFI()
ffi.cdef(INOTIFY_CDEF + AGAIN_CDEF)
for header in HEADERS:
    ffi.cdef(cdef(header))
ffi.set_source(
    "netns._native",
    "".join(f'#include "{header}"\n' for header in HEADERS) + INOTIFY + AGAIN_CDEF + NONE + INIT,
    sources=[
        f"csrc/{path.relative_to(CSRC)}" for path in SOURCES if FAULTS or path.name != "fault.c"
    ],
    include_dirs=["csrc", "csrc/core", "csrc/discover"],
    define_macros=[("_GNU_SOURCE", None), ("_FILE_OFFSET_BITS", "64"), ("NETNS_EXTENSION", None)]
    + [("NETNS_FAULTS", None)] * FAULTS
    + ([] if FREE_THREADED else [("Py_LIMITED_API", OLDEST)]),
    extra_compile_args=[
        *["-std=c11", "-fvisibility=hidden", "-Wall", "-Wextra"],
        "-Werror=implicit-function-declaration",  # what an older limited API lacks
        f"-ffile-prefix-map={CSRC.parent}=.",  # the same bits, wherever they are built
    ],
    py_limited_api=not FREE_THREADED,
)
