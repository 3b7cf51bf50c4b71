/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Namespaces that descriptors hold: those of namespaces, of sockets and of
 * /dev/net/tun.
 */
#include <stdio.h>
#include <sys/sysmacros.h>

#include "holders.h"
#include "sys.h"

#define TUN makedev(10, 200)

/* What a descriptor is open on. */
struct file {
	dev_t dev, device;
	mode_t mode;
};

/*
 * One statx(2) for each descriptor. It must not wait for a file system that
 * hangs, as stat(2) would before Linux 4.11.
 */
static int look_at_file(int dir, const char *name, struct file *file)
{
	struct sys_statx sx = { 0 };
	struct stat st;
	char path[FD_PATH_SIZE + 16], folder[FD_PATH_SIZE];
	int ret = sys_locate(dir, name, 0, &sx);

	if (!ret) {
		file->dev = makedev(sx.dev_major, sx.dev_minor);
		file->device = makedev(sx.rdev_major, sx.rdev_minor);
		file->mode = sx.mode;
	}
	if (ret != -ENOSYS)
		return ret;
	snprintf(path, sizeof(path), "%s/%s", netns__fd_path(folder, dir),
		 name);
	ret = sys_stat(path, &st);
	if (!ret)
		*file = (struct file) { st.st_dev, st.st_rdev, st.st_mode };
	return ret;
}

static bool is_socket(const struct file *file)
{
	return S_ISSOCK(file->mode) ||
	       (S_ISCHR(file->mode) && file->device == TUN);
}

/*
 * *ino is 0 for another type of namespace. The link's text tells the type; that
 * of a descriptor which was opened at a mount is a path, or "/" if it is the
 * mount itself, so that the namespace is asked.
 */
static int read_namespace(int dir, const char *name, uint64_t *ino)
{
	char text[64];
	struct stat st;
	int fd, ret = sys_readlinkat(dir, name, text, sizeof(text));

	*ino = ret > 0 ? netns__parse_ino(text, (size_t)ret) : 0;
	if (ret < 0 || *ino || text[0] != '/')
		return ret < 0 ? ret : 0;
	fd = sys_openat(dir, name, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	ret = netns__check_type(fd, &st);
	sys_close(fd);
	*ino = ret < 0 ? 0 : st.st_ino;
	return ret == -EINVAL ? 0 : ret;
}

/* Opens the namespace of a socket that another process has. */
static int open_socket(int pidfd, int32_t number)
{
	int sock, fd;

	sock = sys_pidfd_getfd(pidfd, number);
	if (sock < 0)
		return sock;
	fd = sys_ioctl_fd(sock, SYS_SIOCGSKNS);
	sys_close(sock);
	return fd;
}

/* 0 where the kernel does not tell: Linux 5.6 and the rights are needed. */
static int read_socket(int pidfd, int32_t number, uint64_t *ino)
{
	struct stat st;
	int ret, fd = open_socket(pidfd, number);

	*ino = 0;
	if (fd < 0)
		return netns__is_shortage(fd) ? fd : 0;
	ret = sys_fstat(fd, &st);
	sys_close(fd);
	if (!ret)
		*ino = st.st_ino;
	return ret;
}

static int open_pidfd(const struct task *task)
{
	return task->tid ? sys_pidfd_open(task->tid, SYS_PIDFD_THREAD)
			 : sys_pidfd_open(task->pid, 0);
}

/* *pidfd is opened for the first socket: -1 before. */
static int look_at_descriptor(const struct task *task, int dir,
			      const char *name, dev_t nsfs, int *pidfd,
			      struct holders *found)
{
	int32_t number = (int32_t)atoi(name);
	enum holder_kind kind = HOLDER_DESCRIPTOR;
	struct file file = { 0 };
	uint64_t ino = 0;
	int ret = look_at_file(dir, name, &file);

	if (!ret && file.dev == nsfs) {
		ret = read_namespace(dir, name, &ino);
	} else if (!ret && is_socket(&file)) {
		kind = HOLDER_SOCKET;
		if (*pidfd == -1)
			*pidfd = open_pidfd(task);
		if (*pidfd >= 0)
			ret = read_socket(*pidfd, number, &ino);
	}
	/* One that is closed meanwhile, or not the caller's to look at. */
	if (ret < 0)
		return netns__is_shortage(ret) ? ret : 0;
	if (!ino || ino == task->ino)
		return 0;
	return netns__holders_add_fd(found, ino, kind,
				     task->tid ? task->tid : task->pid, number);
}

int netns__scan_descriptors(const struct task *task, dev_t nsfs,
			    struct holders *found)
{
	char folder[64];
	struct sys_walk walk;
	const char *name;
	int dir, walked, pidfd = -1, ret = 0;

	snprintf(folder, sizeof(folder), "%s/fd", task->folder);
	dir = sys_openat(task->proc, folder, O_RDONLY | O_DIRECTORY, 0);
	if (netns__is_gone(dir) || netns__is_refused(dir))
		return 0;
	if (dir < 0)
		return dir;
	sys_begin_walk(&walk, dir);
	while (!ret && (name = sys_next_name(&walk, &walked)))
		ret = look_at_descriptor(task, dir, name, nsfs, &pidfd, found);
	if (pidfd >= 0)
		sys_close(pidfd);
	sys_close(dir);
	return ret < 0 ? ret : netns__is_gone(walked) ? 0 : walked;
}

static int open_held(int dir, int32_t pid, int32_t number, const char *path,
		     struct netns_error *err)
{
	char name[16];
	struct file file = { 0 };
	struct stat st;
	int pidfd, fd, ret;

	snprintf(name, sizeof(name), "%d", number);
	ret = look_at_file(dir, name, &file);
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_OPEN_TARGET, path);
	if (!is_socket(&file))
		return netns__open_file(dir, name, 0, &st, err, path);
	pidfd = sys_pidfd_open(pid, 0);
	if (pidfd == -EINVAL || pidfd == -ENOENT)
		pidfd = sys_pidfd_open(pid, SYS_PIDFD_THREAD);
	fd = pidfd;
	if (pidfd >= 0) {
		fd = open_socket(pidfd, number);
		sys_close(pidfd);
	}
	return netns__check(err, fd, NETNS_STEP_OPEN_SOCKET, path);
}

int netns_from_descriptor(int32_t pid, int32_t fd, struct netns **ns,
			  struct netns_error *err)
{
	char path[64], folder[32];
	int dir, ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	if (pid < 1 || fd < 0)
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ARGUMENT,
				   NULL);
	snprintf(folder, sizeof(folder), "/proc/%d/fd", pid);
	snprintf(path, sizeof(path), "%s/%d", folder, fd);
	dir = sys_openat(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return netns__fail(err, dir, NETNS_STEP_OPEN_TARGET, path);
	ret = open_held(dir, pid, fd, path, err);
	sys_close(dir);
	return ret < 0 ? ret : netns__wrap(ret, NULL, ns, err);
}
