/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds out which features that the library can use the running kernel has, by
 * trying them. Prints a line "@@ feature NAME yes" or "no" for each.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN_LINK "/proc/thread-self/ns/net"

/* The first fields of struct statx; nothing else is read. */
struct statx_head {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t skipped[10];
	uint64_t attributes_mask;
	char rest[256];
};

static int own_fd, own_socket, own_pidfd;

static bool has_request(int fd, unsigned long request, void *argument)
{
	int ret = ioctl(fd, request, argument);

	if (ret > 2)
		close(ret);
	return ret >= 0;
}

static bool has_userns(void)
{
	return has_request(own_fd, _IO(0xb7, 1), NULL);
}

static bool has_socket_netns(void)
{
	return has_request(own_socket, 0x894c, NULL);
}

static bool has_nstype(void)
{
	return ioctl(own_fd, _IO(0xb7, 3)) == CLONE_NEWNET;
}

static bool has_owner_uid(void)
{
	int userns = ioctl(own_fd, _IO(0xb7, 1));
	uid_t uid = 1;

	return userns >= 0 && !ioctl(userns, _IO(0xb7, 4), &uid) && !uid;
}

static bool statx_of(struct statx_head *sx, unsigned int mask)
{
	memset(sx, 0, sizeof(*sx));
	return !syscall(SYS_statx, AT_FDCWD, "/", 0, mask, sx);
}

static bool has_statx(void)
{
	struct statx_head sx;

	return statx_of(&sx, 0x100);
}

static bool has_mount_id(void)
{
	struct statx_head sx;

	return statx_of(&sx, 0x1000) && (sx.mask & 0x1000);
}

static bool has_mount_root(void)
{
	struct statx_head sx;

	return statx_of(&sx, 0x100) && (sx.attributes_mask & 0x2000);
}

/* A kernel that has the call refuses the descriptor -1, not the call. */
static bool has_call(long number)
{
	return syscall(number, -1, NULL, -1, NULL, 0, 0) < 0 && errno != ENOSYS;
}

static bool has_open_tree(void)
{
	return has_call(428);
}

static bool has_move_mount(void)
{
	return has_call(429);
}

static bool has_mount_setattr(void)
{
	return has_call(442);
}

static bool has_close_range(void)
{
	return has_call(436);
}

static bool has_listmount(void)
{
	return has_call(458);
}

static bool has_listns(void)
{
	return has_call(470);
}

static bool has_pidfd_open(void)
{
	own_pidfd = (int)syscall(434, getpid(), 0);
	return own_pidfd >= 0;
}

static bool has_pidfd_thread(void)
{
	int fd = (int)syscall(434, syscall(SYS_gettid), O_EXCL);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool has_pidfd_netns(void)
{
	return has_request(own_pidfd, _IO(0xff, 4), NULL);
}

static bool read_cookie(uint64_t *cookie)
{
	socklen_t size = sizeof(*cookie);

	return !getsockopt(own_socket, SOL_SOCKET, 71, cookie, &size);
}

static bool has_cookie(void)
{
	uint64_t cookie;

	return read_cookie(&cookie);
}

/* The request counts only if it answers with the cookie. */
static bool has_id(void)
{
	uint64_t id, cookie;

	return !ioctl(own_fd, _IOR(0xb7, 13, uint64_t), &id) &&
	       read_cookie(&cookie) && id == cookie;
}

/* Whether act() works, in a child, with which its changes end. */
static bool can(bool (*act)(void))
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(!act());
	return pid > 0 && waitpid(pid, &status, 0) == pid && !status;
}

static bool make_userns(void)
{
	return !unshare(CLONE_NEWUSER);
}

static bool has_userns_creation(void)
{
	return can(make_userns);
}

static bool has_filter(void)
{
	return prctl(PR_SET_SECCOMP, 2 /* FILTER */, NULL) < 0 &&
	       errno == EFAULT;
}

/* Whether a path of /proc inside leads to another file than the one open at home. */
static bool open_at_home_and_inside(const char *path)
{
	int home = open(path, O_RDONLY), inside;
	struct stat one, other;

	if (home < 0 || unshare(CLONE_NEWNET) < 0)
		return false;
	inside = open(path, O_RDONLY);
	return inside >= 0 && !fstat(home, &one) && !fstat(inside, &other) &&
	       one.st_ino != other.st_ino;
}

static bool open_both(void)
{
	return open_at_home_and_inside("/proc/thread-self/net/dev") &&
	       open_at_home_and_inside("/proc/thread-self/net/stat/rt_cache");
}

static bool has_own_proc_net(void)
{
	return can(open_both);
}

/*
 * Reads a mount table of several pages, and unmounts the first mount after the
 * first page: whether all the other mounts are in the rest.
 */
static bool read_while_unmounting(void)
{
	enum { COUNT = 200 };
	char path[64], *text = calloc(1, 1 << 20), *at = text;
	int i, fd, size;

	if (unshare(CLONE_NEWNS) ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/tmp", "tmpfs", 0, NULL))
		return false;
	for (i = 0; i < COUNT; i++) {
		snprintf(path, sizeof(path), "/tmp/mount-%03d", i);
		if (mkdir(path, 0755) ||
		    mount("none", path, "tmpfs", 0, "size=4k"))
			return false;
	}
	fd = open("/proc/self/mountinfo", O_RDONLY);
	at += read(fd, at, 4096);
	if (umount("/tmp/mount-000"))
		return false;
	while ((size = (int)read(fd, at, 4096)) > 0)
		at += size;
	for (i = 1; i < COUNT; i++) {
		snprintf(path, sizeof(path), "/tmp/mount-%03d ", i);
		if (!strstr(text, path))
			return false;
	}
	return true;
}

static bool has_whole_mountinfo(void)
{
	return can(read_while_unmounting);
}

static const struct {
	const char *name;
	bool (*is_there)(void);
} features[] = {
	{ "NS_GET_USERNS", has_userns },
	{ "SIOCGSKNS", has_socket_netns },
	{ "NS_GET_NSTYPE", has_nstype },
	{ "NS_GET_OWNER_UID", has_owner_uid },
	{ "statx", has_statx },
	{ "open_tree", has_open_tree },
	{ "move_mount", has_move_mount },
	{ "pidfd_open", has_pidfd_open },
	{ "STATX_MNT_ID", has_mount_id },
	{ "STATX_ATTR_MOUNT_ROOT", has_mount_root },
	{ "close_range", has_close_range },
	{ "listmount", has_listmount },
	{ "mountinfo_cursor", has_whole_mountinfo },
	{ "proc_net_follows", has_own_proc_net },
	{ "mount_setattr", has_mount_setattr },
	{ "SO_NETNS_COOKIE", has_cookie },
	{ "PIDFD_THREAD", has_pidfd_thread },
	{ "PIDFD_GET_NET_NAMESPACE", has_pidfd_netns },
	{ "NS_GET_ID", has_id },
	{ "listns", has_listns },
	{ "CLONE_NEWUSER", has_userns_creation },
	{ "SECCOMP_MODE_FILTER", has_filter },
};

int main(void)
{
	size_t i;

	own_fd = open(OWN_LINK, O_RDONLY);
	own_socket = socket(AF_INET, SOCK_DGRAM, 0);
	if (own_fd < 0 || own_socket < 0)
		return 1;
	for (i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		bool is_there = features[i].is_there();

		printf("@@ feature %s %s\n", features[i].name,
		       is_there ? "yes" : "no");
		fflush(stdout);
	}
	return 0;
}
