"""Boots a kernel in QEMU, which emulates the processor: no KVM is needed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from fetch import AbsentError, busybox

HERE = Path(__file__).resolve().parent
CSRC = HERE.parent.parent / "csrc"
EACH = 300  # seconds for one program


def words(text: str) -> list[str]:
    return text.split()


# Programs that the tests run; they are copied from this machine.
PROGRAMS = words("""
    bash cat chmod chown cp cut env false find flock grep head hostname id ip ls lsns mkdir mkfifo
    mknod mktemp mount mountpoint mv nsenter ps readlink rm rmdir sed seq setpriv setsid sh sleep
    sort stat strace stty tail tc test timeout touch tr true umount uname unshare wc modprobe
""")
FILES = words("""
    /etc/passwd /etc/group /etc/nsswitch.conf /etc/services /etc/protocols /etc/ld.so.cache
    /etc/iproute2 /usr/share/iproute2 /usr/lib/locale/C.utf8
""")

# Arguments of find(1): the modules for the disk, and for the devices that tests make.
MODULES = words("""
    -path */drivers/virtio/* -o -name virtio_blk.ko* -o -path kernel/net/* -o -path kernel/lib/*
    -o -path kernel/crypto/* -o -path */fs/ext4/* -o -path */fs/jbd2/* -o -name mbcache.ko*
    -o -path */fs/overlayfs/* -o -path */drivers/net/* ! -path */drivers/net/*/*
""")


class Machine:
    """How QEMU is started for a processor, and what it runs."""

    def __init__(self, arch: str) -> None:
        self.arch = arch
        self.busybox = busybox(arch)
        self.triple, self.qemu, self.console, options = {
            "amd64": ("", "qemu-system-x86_64", "ttyS0", "-vga none -cpu Nehalem"),
            "arm64": (
                "aarch64-linux-gnu-",
                "qemu-system-aarch64",
                "ttyAMA0",
                "-M virt -cpu cortex-a72",
            ),
        }[arch]
        self.options = options.split()
        for program in (self.qemu, f"{self.triple}gcc", "cpio", "depmod"):
            if shutil.which(program) is None:
                raise AbsentError(f"no {program}")
        # pthread_exit(3) loads it when a thread ends, so ldd(1) does not show it.
        ask = [f"{self.triple}gcc", "-print-file-name=libgcc_s.so.1"]
        self.unwinder = subprocess.run(ask, stdout=subprocess.PIPE, text=True).stdout.strip()

    def libraries(self, program: Path) -> set[str]:
        """What a program or library loads, by path; for another processor its whole libc."""
        if self.triple:
            lib = Path(f"/usr/{self.triple[:-1]}/lib")
            return {str(path) for name in ("lib*.so.*", "ld-linux*") for path in lib.glob(name)}
        done = subprocess.run(["ldd", program], capture_output=True, text=True)
        words = [*done.stdout.split(), self.unwinder]
        return {os.path.abspath(word) for word in words if word[0] == "/" and Path(word).is_file()}


def run(command: list[str]) -> None:
    """Runs a command; its output is shown only if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise AbsentError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}")


def copy(path: str | Path, root: Path) -> None:
    """Copies a file or folder to the same place below root; links are followed."""
    source, to = Path(path), root / str(path).lstrip("/")
    if not os.path.lexists(source) or os.path.lexists(to):
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, to, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy2(source, to)  # a link's own content: bin/python3 and so on


def c_programs(machine: Machine, into: Path) -> None:
    """Builds the tests of the core, and the probe."""
    variant = f"kernels-{machine.arch}"
    cc = f"{machine.triple}gcc"
    build = CSRC / "build" / variant
    names = [path.stem for path in sorted((CSRC.parent / "tests/c").glob("test_*.c"))]
    programs = [str((build / "tests" / name).relative_to(CSRC)) for name in names]
    make = ["make", "-s", "-C", str(CSRC), f"VARIANT={variant}", f"CC={cc}"]
    make.append(f"CFLAGS=-DSECONDS={EACH - 10}")  # after which its own alarm ends a program
    run([*make, f"AR={machine.triple}ar", *programs, f"build/{variant}/libnetns.so"])
    into.mkdir(parents=True)
    run([cc, "-Wall", "-Wextra", "-O2", "-o", str(into / "probe"), str(HERE / "probe.c")])
    for name in names:
        shutil.copy2(build / "tests" / name, into)
    # test_embed looks for it in the folder above its own.
    shutil.copy2(build / "libnetns.so", into.parent)


def modules(kernel: Path, root: Path) -> None:
    """Copies the modules of a kernel that is a folder of unpacked packages."""
    found = sorted(path for path in kernel.glob("**/lib/modules/*/kernel") if path.is_dir())
    if not found:
        return
    release = found[0].parent
    to = root / "lib/modules" / release.name
    to.mkdir(parents=True)
    names = subprocess.run(
        ["find", "kernel", "(", *MODULES, ")", "-name", "*.ko*"],
        cwd=release,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    subprocess.run(["cpio", "-pdm", "--quiet", to], cwd=release, input=names, check=True)
    for each in release.glob("modules.[bo]*"):
        shutil.copy2(each, to)
    for suffix, command in ((".xz", ["xz", "-d"]), (".zst", ["zstd", "-q", "-d", "--rm"])):
        packed = [str(path) for path in to.glob(f"**/*.ko{suffix}")]
        if packed:
            run([*command, *packed])
    run(["depmod", "-b", str(root), release.name])


def image(kernel: Path) -> Path:
    """The kernel's own file: the path, or a file in that folder."""
    if kernel.is_file():
        return kernel
    found = sorted((*kernel.glob("**/vmlinuz*"), *kernel.glob("**/bzImage")))
    if not found:
        raise AbsentError(f"no kernel (vmlinuz*) in {kernel}")
    return found[0]


def initrd(machine: Machine, kernel: Path, programs: Path, work: Path, disk: bool) -> Path:
    """Makes the initial file system of the guest, which is in memory."""
    root = work / "initrd"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(programs, root)
    (root / "bin").mkdir()
    shutil.copy2(machine.busybox, root / "bin/busybox")
    shutil.copy2(HERE / "guest.sh", root / "init")
    (root / "init").chmod(0o755)
    for program in [*root.glob("c/tests/*"), root / "c/libnetns.so"]:
        for library in machine.libraries(program):
            to = library
            if machine.triple:
                to = f"/lib/{Path(library).name}"
            (root / to.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(library, root / to.lstrip("/"))
    (root / "etc").mkdir()
    (root / "etc/resolv.conf").touch()
    (root / "etc/passwd").write_text(
        "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
    )
    if disk:
        (root / "disk").touch()
    modules(kernel, root)
    packed = work / "initrd.gz"
    pack = "find . | cpio -o -H newc -R 0:0 --quiet | gzip -1"
    packed.write_bytes(subprocess.run(["sh", "-c", pack], cwd=root, stdout=subprocess.PIPE).stdout)
    return packed


def disk(machine: Machine, options: list[str], work: Path) -> Path:
    """Makes a root file system: this Python with its packages, and the checkout."""
    root, made = work / "root", work / "root.ext4"
    checkout = CSRC.parent
    for name in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
        (root / name).mkdir(parents=True)
        (root / Path(name).name).symlink_to(name)
    programs = [Path(path) for name in PROGRAMS if (path := shutil.which(name))]
    programs += [Path(sys.executable), Path(os.path.realpath(sys.executable))]
    folders = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib")}
    folders |= {Path(each) for each in (sys.prefix, sys.base_prefix) if each != "/usr"}
    for folder in sorted(folders):
        copy_python(folder, root)
    binaries = [*programs, *(path for folder in folders for path in folder.glob("**/*.so*"))]
    needed = {library for path in binaries for library in machine.libraries(path)}
    for each in [*map(str, programs), *FILES, *sorted(needed)]:
        copy(usr(each), root)
    ignored = shutil.ignore_patterns("build", "_build", ".*", "__pycache__", "*.egg-info")
    # This Python's environment may be in it, as tox's is, and is copied by now.
    to = root / str(checkout).lstrip("/")
    shutil.copytree(checkout, to, ignore=ignored, symlinks=True, dirs_exist_ok=True)
    for name in ("tmp", "proc", "sys", "dev", "run", "root", "var"):
        (root / name).mkdir(exist_ok=True)
    (root / "var/run").symlink_to("/run")
    (root / "etc/resolv.conf").touch()
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n")
    pytest = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:hypothesispytest",
        f"--rootdir={checkout}",
    ]
    pytest += ["-c", f"{checkout}/pyproject.toml", "--color=no", "-v", "-rfEs", "--durations=8"]
    pytest += ["-o", "faulthandler_timeout=580", "--timeout=600", *options]
    (root / "python.sh").write_text(
        f"""hostname guest
mkdir -p /run/empty && cd /run/empty
export PYTHONDONTWRITEBYTECODE=1
echo "@@ begin calls"
timeout -k 5 {EACH} {sys.executable} {HERE / "calls.py"}
echo "@@ end calls $?"
echo "@@ begin python"
{shlex.join(pytest)}
echo "@@ end python $?"
echo "@@ done"
/run/busybox poweroff -f
"""
    )
    made.unlink(missing_ok=True)
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-O", "^has_journal,^metadata_csum"]
    make += ["-N", "120000", "-d", str(root), str(made), f"{size_of(root) * 5 // 4 + 300}M"]
    run(make)
    shutil.rmtree(root)
    return made


def usr(path: str) -> str:
    """The path below /usr, as the folders of / are links into it."""
    first = path.split("/")[1]
    return f"/usr{path}" if first in ("bin", "sbin", "lib", "lib64") else path


def copy_python(folder: Path, root: Path) -> None:
    to = root / str(folder).lstrip("/")
    if to.exists() or not folder.exists():
        return
    names = "test tests idlelib ensurepip tkinter lib2to3 config-* *.a *.opt-?.pyc include share"
    ignored = shutil.ignore_patterns(*words(names))
    shutil.copytree(folder, to, symlinks=True, ignore=ignored, ignore_dangling_symlinks=True)


def size_of(root: Path) -> int:
    """The size of a folder, in MiB."""
    command = ["du", "-sm", "--apparent-size", str(root)]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.split()[0])


def boot(
    machine: Machine, kernel: Path, packed: Path, root: Path | None, seconds: int, log: Path
) -> None:
    """Runs the guest until it ends or its time is over; its output goes to log."""
    command = ["timeout", "-k", "5", str(seconds), machine.qemu]
    command += ["-accel", "tcg", *machine.options, "-smp", "1", "-m", "2048", "-display", "none"]
    command += ["-monitor", "none", "-nic", "none", "-no-reboot", "-serial", "stdio"]
    command += ["-kernel", str(image(kernel)), "-initrd", str(packed), "-append"]
    command += [
        f"console={machine.console} panic=-1 mitigations=off quiet loglevel=1"
        f" CONSOLE={machine.console} SECONDS_EACH={EACH}"
    ]
    if root is not None:
        command += ["-drive", f"file={root},if=virtio,format=raw,snapshot=on"]
    with log.open("wb") as out:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
