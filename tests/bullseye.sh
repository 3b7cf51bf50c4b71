#!/bin/sh
# Builds the wheel for glibc 2.17 (by zig), as manylinux does, installs it in a Debian 11
# root, with Python 3.9 and glibc 2.31, and runs tests of the library there. Run it as root,
# with mmdebstrap and what tox -e bullseye installs. The root is removed afterwards.
#     sh tests/bullseye.sh
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

cat >"$work/cc" <<EOF
#!$(command -v python)
import os, sys
# Linker options that zig does not know.
unknown = ("-Wl,--enable-new-dtags", "-fcf-protection", "-Wl,-rpath", "-Wl,-z,relro", "-specs")
args = [arg for arg in sys.argv[1:] if not arg.startswith(unknown)]
command = [sys.executable, "-m", "ziglang", "cc", "-target", "x86_64-linux-gnu.2.17"]
os.execv(sys.executable, command + args)
EOF
chmod +x "$work/cc"
mkdir "$work/source"
git ls-files -z | xargs -0 tar cf - | tar xf - -C "$work/source"
CC=$work/cc LDSHARED="$work/cc -shared" \
	python -m build -q --wheel --no-isolation -o "$work/built" "$work/source" >/dev/null
auditwheel repair -w "$work/wheels" "$work"/built/*.whl >/dev/null 2>&1
ls "$work/wheels"
# pip resolves for the Python that runs it, so what only 3.9 needs is named here.
python -m pip download -q -d "$work/wheels" --python-version 3.9 --only-binary :all: \
	cffi pytest pytest-timeout hypothesis pyroute2 exceptiongroup tomli

mmdebstrap -q --variant=minbase --include=python3,python3-venv,iproute2 bullseye "$root"
cp -r "$work/source" "$work/wheels" "$root"
cat >"$root/use" <<'EOF'
set -eu
export LC_ALL=C.UTF-8
cd /tmp
python3 -m venv v
v/bin/pip install -q --no-index --find-links /wheels pynetns pyroute2 pytest pytest-timeout hypothesis
v/bin/python -W error -c '
import netns, os, sys
print("Python", sys.version.split()[0] + ",", os.confstr("CS_GNU_LIBC_VERSION") + ",", netns.__file__)'
v/bin/netns add one && ip netns exec one true && v/bin/netns list | grep -x one && v/bin/netns delete one
for noun in handle kernels nsid restore socket switch tour; do
	set -- "$@" "/source/tests/test_$noun.py"
done
v/bin/python -m pytest -q -p no:cacheprovider --rootdir=/source -c /source/pyproject.toml "$@"
EOF
unshare --mount --propagation private sh -euc '
	mount --bind "$1" "$1"
	mount -t proc proc "$1/proc"
	mount -t sysfs sysfs "$1/sys"
	mount --rbind /dev "$1/dev"
	mount -t tmpfs tmpfs "$1/run"
	cd "$1"
	mkdir old
	pivot_root . old # in a chroot the kernel refuses to make a user namespace
	exec chroot . /bin/sh -euc "umount --lazy /old; exec /bin/sh /use"' sh "$root"
