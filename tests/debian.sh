#!/bin/sh
# Builds the three Debian packages from the files in git, and uses them on a copy of this
# system: an overlay in a mount namespace, which ends with it. Run it as root. It needs
# dpkg-dev, debhelper, dh-python and the Build-Depends of debian/control.
#     sh tests/debian.sh [FOLDER]     (keeps the packages in FOLDER)
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin  # the system's Python, not one of a virtual environment
unset VIRTUAL_ENV PYTHONPATH 2>/dev/null || true
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/pynetns"
git ls-files -z | xargs -0 tar cf - | tar xf - -C "$work/pynetns"
(cd "$work/pynetns" && dpkg-buildpackage -b -uc -us >"$work/log" 2>&1) || {
	tail -40 "$work/log"
	exit 1
}
echo "built, $(grep -c '^ok' "$work/log") tests of the C library passed:"
(cd "$work" && printf '%s\n' *.deb)
if command -v lintian >/dev/null; then
	lintian --allow-root --fail-on error --suppress-tags initial-upload-closes-no-bugs "$work"/*.changes
fi

cat >"$work/consumer.c" <<'EOF'
#include <netns.h>
#include <stdio.h>
int main(void)
{
	struct netns *ns;
	struct netns_error err;

	if (netns_new(&ns, &err) < 0)
		return 1;
	netns_unref(ns);
	printf("C: libnetns %s\n", netns_version());
	return 0;
}
EOF
cat >"$work/use" <<'EOF'
set -eu
cd /
dpkg -i "$1"/python3-netns_*.deb "$1"/libnetns0_*.deb "$1"/libnetns-dev_*.deb >/dev/null
netns exec --new true
netns add debian-check && netns list | grep -x debian-check && netns delete debian-check
/usr/bin/python3 -W error -c '
import netns
with netns.new() as ns:
    print("Python:", netns.__file__, ns.do(lambda host: ns.is_current()))'
cc "$1/consumer.c" $(pkg-config --cflags --libs netns) -o /tmp/consumer
/tmp/consumer
ldd /tmp/consumer | grep libnetns.so.0
cc "$1/consumer.c" $(pkg-config --cflags netns) -l:libnetns.a -pthread -o /tmp/consumer
/tmp/consumer
man -w 1 netns
man -w netns_do 2>/dev/null || man -w netns_enter
bash -c '. /usr/share/bash-completion/completions/netns; complete -p netns'
dpkg -r python3-netns libnetns-dev libnetns0 >/dev/null
test ! -e /usr/bin/netns
EOF
# shellcheck disable=SC2016
unshare --mount sh -euc '
	mkdir "$1/disk"
	mount -t tmpfs none "$1/disk"
	mkdir "$1/disk/upper" "$1/disk/work" "$1/disk/root"
	mount -t overlay -o "lowerdir=/,upperdir=$1/disk/upper,workdir=$1/disk/work" none "$1/disk/root"
	root=$1/disk/root
	for each in proc sys dev; do mount --rbind "/$each" "$root/$each"; done
	mount -t tmpfs none "$root/run"
	mkdir -p "$root/mnt/packages"
	cp "$1"/*.deb "$1/consumer.c" "$1/use" "$root/mnt/packages"
	chroot "$root" sh /mnt/packages/use /mnt/packages
' sh "$work"
if [ $# -gt 0 ]; then
	mkdir -p "$1"
	cp "$work"/*.deb "$1"
fi
echo "installed, used and removed"
