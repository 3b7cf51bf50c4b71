#!/bin/busybox sh
# The first process of a guest. It runs the programs in /c and then, if there is a disk,
# the tests on it. Lines that begin with "@@ " say where it is.
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /etc /root /sbin /usr/bin /usr/sbin
/bin/busybox --install -s /bin
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LANG=C.UTF-8 TMPDIR=/tmp
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 none /dev/pts
mount -t tmpfs none /dev/shm
mount -t tmpfs -o mode=1777 none /tmp
mount -t tmpfs none /run
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
ln -sf /run /var/run 2>/dev/null || { mkdir -p /var; ln -s /run /var/run; }
exec </dev/null >/dev/console 2>&1
stty -onlcr <"/dev/$CONSOLE"
ip link set lo up
echo "@@ kernel $(uname -r) $(uname -v)"
cd /tmp
for program in /c/tests/probe /c/tests/test_*; do
	[ -x "$program" ] || continue
	echo "@@ begin ${program##*/}"
	timeout -k 5 "$SECONDS_EACH" setsid "$program"
	echo "@@ end ${program##*/} $?"
done
for module in virtio_pci virtio_blk ext4; do
	modprobe "$module" 2>/dev/null
done
tries=0
while [ -e /disk ] && [ ! -b /dev/vda ] && [ "$tries" -lt 100 ]; do
	sleep 0.1 # there is no udev to say when the device has come
	tries=$((tries + 1))
done
if [ -e /disk ] && mkdir /new && mount -t ext4 /dev/vda /new; then
	mkdir -p /new/lib/modules /new/proc /new/sys /new/dev /new/run /new/tmp
	mount -t tmpfs none /new/lib/modules
	cp -a /lib/modules/. /new/lib/modules/
	cd / && umount /run /tmp
	for folder in proc sys dev; do
		mount --move /$folder /new/$folder
	done
	mount -t tmpfs none /new/run
	mount -t tmpfs -o mode=1777 none /new/tmp
	cp /bin/busybox /new/run/busybox
	exec switch_root /new /bin/sh /python.sh
fi
[ ! -e /disk ] || echo "@@ no disk"
echo "@@ done"
poweroff -f
