/* SPDX-License-Identifier: Apache-2.0 */
/* Handles on namespaces that exist: opened, and checked for their type. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

int netns__is_nsfs(int fd)
{
	struct statfs sf;
	int ret = sys_fstatfs(fd, &sf);

	return ret < 0 ? ret : (unsigned long)sf.f_type == SYS_NSFS_MAGIC;
}

/*
 * types before NS_GET_NSTYPE (Linux 4.11)
 *
 * Problem: the text of a link tells the type, but the link to a mounted
 * namespace has its path for a text.
 * Rejected: /proc/self/mountinfo, which lacks the mounts of other mount
 * namespaces; setns(2), which moves the thread if the type is right.
 * Solution: rtnetlink, asked for the id of a namespace (Linux 4.0), refuses one
 * of another type with EINVAL. That needs no privilege and changes nothing.
 */
static int ask_rtnetlink_for_type(int fd)
{
	int32_t nsid;
	int ret = netns__ask_nsid(fd, &nsid);

	if (ret == -EINVAL)
		return 0;
	return ret < 0 ? ret : CLONE_NEWNET;
}

static int read_type_from_link(int fd)
{
	char path[FD_PATH_SIZE], text[8];
	int ret = sys_readlinkat(AT_FDCWD, netns__fd_path(path, fd), text,
				 sizeof(text));

	if (ret < 0 || text[0] == '/')
		return ask_rtnetlink_for_type(fd);
	return ret > 5 && !memcmp(text, "net:[", 5) ? CLONE_NEWNET : 0;
}

/* For a file of nsfs: 0, or -EINVAL for a namespace of another type. */
static int check_nsfs_type(int fd)
{
	int ret = sys_ioctl(fd, SYS_NS_GET_NSTYPE);

	if (ret == -ENOTTY)
		ret = read_type_from_link(fd);
	if (ret < 0)
		return ret;
	return ret == CLONE_NEWNET ? 0 : -EINVAL;
}

/* nsfs's device is the same for all namespaces; 0: not known yet. */
static _Atomic uint64_t nsfs_device;

/* Another driver may give the request's number another meaning. */
int netns__check_type(int fd, struct stat *st)
{
	int ret = sys_fstat(fd, st);

	if (ret < 0)
		return ret;
	if (st->st_dev != atomic_load(&nsfs_device)) {
		ret = netns__is_nsfs(fd);
		if (ret <= 0)
			return ret < 0 ? ret : -EINVAL;
		atomic_store(&nsfs_device, st->st_dev);
	}
	return check_nsfs_type(fd);
}

/* As netns__wrap(), for a descriptor of any kind. */
static int wrap_checked(int fd, const char *path, struct netns **ns,
			struct netns_error *err)
{
	struct stat st;
	int ret = netns__check_type(fd, &st);

	if (ret < 0) {
		sys_close(fd);
		return netns__fail(err, ret, NETNS_STEP_CHECK_TYPE, path);
	}
	return netns__wrap(fd, &st, ns, err);
}

/*
 * Opens the nsfs file of an O_PATH descriptor for use. Without /proc the name
 * must be opened once more and may by then be another file: O_NONBLOCK keeps
 * that from blocking.
 */
static int reopen_file(int peek, int dir, const char *name)
{
	char path[FD_PATH_SIZE];
	int ret = sys_openat(AT_FDCWD, netns__fd_path(path, peek), O_RDONLY, 0);

	return ret == -ENOENT ? sys_openat(dir, name,
					   O_RDONLY | O_NONBLOCK | O_NOCTTY, 0)
			      : ret;
}

/* An empty file that is mounted there is somebody's, and no leftover. */
static int look_at_stranger(int peek, struct stat *st)
{
	int ret = sys_fstat(peek, st);

	if (!ret && sys_is_mount(peek) == 1)
		*st = (struct stat) { 0 };
	return ret;
}

/*
 * Between the two looks only who may write in the directory can put something
 * else there: O_NONBLOCK keeps a FIFO or a device from blocking, and it is
 * closed again.
 */
int netns__open_seen(int dir, const char *name, const struct stat *seen)
{
	struct stat st;
	int ret, fd;

	fd = sys_openat(dir, name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	if (fd < 0)
		return fd;
	ret = sys_fstat(fd, &st);
	if (!ret && (st.st_dev != seen->st_dev || st.st_ino != seen->st_ino))
		ret = -EAGAIN;
	if (!ret)
		ret = check_nsfs_type(fd);
	if (!ret)
		return fd;
	sys_close(fd);
	return ret;
}

/* Where this fails, for a link for one, the slow way tells. */
static int open_quickly(int dir, const char *name, struct stat *seen)
{
	uint64_t device = atomic_load(&nsfs_device);
	int ret;

	if (!device)
		return -EAGAIN;
	ret = sys_fstatat(dir, name, seen);
	if (ret < 0)
		return ret;
	return seen->st_dev == device ? netns__open_seen(dir, name, seen)
				      : -EAGAIN;
}

int netns__open_file(int dir, const char *name, int follow, struct stat *st,
		     struct netns_error *err, const char *path)
{
	struct stat seen;
	int peek, ret, fd = open_quickly(dir, name, &seen);

	if (fd >= 0) {
		*st = seen;
		return fd;
	}
	peek = sys_openat(dir, name, O_PATH | follow, 0);
	if (peek < 0)
		return netns__fail(err, peek, NETNS_STEP_OPEN_TARGET, path);
	ret = netns__is_nsfs(peek);
	if (ret <= 0) {
		if (!ret)
			ret = look_at_stranger(peek, st);
		sys_close(peek);
		return netns__fail(err, ret < 0 ? ret : -EINVAL,
				   NETNS_STEP_CHECK_TYPE, path);
	}
	fd = reopen_file(peek, dir, name);
	sys_close(peek);
	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_OPEN_TARGET, path);
	ret = netns__check_type(fd, &seen);
	if (!ret) {
		*st = seen;
		return fd;
	}
	sys_close(fd);
	return netns__fail(err, ret, NETNS_STEP_CHECK_TYPE, path);
}

static int open_path(const char *path, bool is_name, struct stat *st,
		     struct netns_error *err)
{
	int fd = netns__open_file(AT_FDCWD, path, 0, st, err, path);

	if (fd == -EINVAL && netns__is_leftover(st, is_name))
		fd = netns__fail(err, -ENOENT, NETNS_STEP_OPEN_TARGET, path);
	return fd;
}

static int open_name(const char *rundir, const char *name, struct stat *st,
		     struct netns_error *err)
{
	struct place place;
	int ret = netns__place_find(&place, rundir, name, err);

	return ret < 0 ? ret : open_path(place.path, true, st, err);
}

int netns_open(const char *rundir, const char *target, struct netns **ns,
	       struct netns_error *err)
{
	struct stat st = { 0 };
	int fd, ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	fd = strchr(target, '/') ? open_path(target, false, &st, err)
				 : open_name(rundir, target, &st, err);
	return fd < 0 ? fd : netns__wrap(fd, &st, ns, err);
}

/* In the /proc of another pid namespace an id is another process, or none. */
static bool is_proc_ours(void)
{
	char text[16];
	int ret =
		sys_readlinkat(AT_FDCWD, "/proc/self", text, sizeof(text) - 1);

	if (ret <= 0)
		return false;
	text[ret] = '\0';
	return atoi(text) == getpid();
}

/*
 * tid 0 is the process's main thread. A thread's pidfd does not tell which
 * process the thread belongs to, so tgkill(2) checks that.
 */
static int open_task_by_pidfd(int pid, int tid)
{
	int fd = netns__open_by_pidfd(tid ? tid : pid,
				      tid ? SYS_PIDFD_THREAD : 0);
	int ret;

	if (fd == -ENOTTY || (tid && fd == -EINVAL))
		return -ENOSYS; /* before Linux 6.11; 6.9 for threads */
	if (fd < 0 || !tid)
		return fd;
	ret = sys_tgkill(pid ? pid : getpid(), tid);
	if (ret != -ESRCH)
		return fd;
	sys_close(fd);
	return ret;
}

/* A main thread that has ended is in no namespace; another one may be. */
static int open_first_thread(int pid)
{
	char path[320];
	struct sys_walk walk;
	const char *tid;
	int dir, ret, fd = -ENOENT;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return dir;
	sys_begin_walk(&walk, dir);
	while (fd == -ENOENT && (tid = sys_next_name(&walk, &ret))) {
		snprintf(path, sizeof(path), "%s/ns/net", tid);
		fd = sys_openat(dir, path, O_RDONLY, 0);
	}
	sys_close(dir);
	return fd;
}

static int open_task(const char *path, int pid, int tid, struct netns **ns,
		     struct netns_error *err)
{
	int fd = is_proc_ours() ? sys_openat(AT_FDCWD, path, O_RDONLY, 0)
				: open_task_by_pidfd(pid, tid);

	if (fd == -ENOENT && !tid)
		fd = open_first_thread(pid);
	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_OPEN_TARGET, path);
	return wrap_checked(fd, path, ns, err);
}

int netns_from_pid(int32_t pid, struct netns **ns, struct netns_error *err)
{
	char path[64];
	int ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	if (pid < 1)
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ARGUMENT,
				   NULL);
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return open_task(path, pid, 0, ns, err);
}

int netns_from_thread(int32_t pid, int32_t tid, struct netns **ns,
		      struct netns_error *err)
{
	char path[64];
	int ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	if (tid < 1 || pid < 0)
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ARGUMENT,
				   NULL);
	if (pid)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/net", pid,
			 tid);
	else
		snprintf(path, sizeof(path), "/proc/self/task/%d/ns/net", tid);
	return open_task(path, pid, tid, ns, err);
}

int netns_from_fd(int fd, struct netns **ns, struct netns_error *err)
{
	int copy, ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	copy = sys_dup(fd);
	if (copy < 0)
		return netns__fail(err, copy, NETNS_STEP_OPEN_TARGET, NULL);
	return wrap_checked(copy, NULL, ns, err);
}

int netns_dup(struct netns *ns, struct netns **made, struct netns_error *err)
{
	int copy, fd = netns__fd_get_usable(ns, err);

	if (fd < 0)
		return fd;
	copy = sys_dup(fd);
	netns__fd_put(ns);
	return copy < 0 ? netns__fail(err, copy, NETNS_STEP_OPEN_TARGET, NULL)
			: netns__wrap(copy, NULL, made, err);
}

/* -ESTALE: none has both numbers, or (Linux 6.18) the inode number is 0. */
int netns_from_cookie(uint64_t cookie, uint64_t ino, struct netns **ns,
		      struct netns_error *err)
{
	uint64_t found = 0;
	struct stat st;
	int fd, ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	fd = sys_open_cookie(cookie, (uint32_t)ino);
	if (fd == -ESTALE)
		fd = -ENOENT;
	else if (fd == -EBADF || fd == -EINVAL || fd == -EOPNOTSUPP)
		fd = -ENOSYS;
	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_OPEN_TARGET, NULL);
	/* The cookie of a namespace of another type, without an inode number. */
	ret = netns__check_type(fd, &st);
	if (!ret)
		ret = sys_ns_id(fd, &found);
	if (!ret && found != cookie)
		ret = -ENOENT;
	if (ret < 0) {
		sys_close(fd);
		return netns__fail(err, ret, NETNS_STEP_CHECK_TYPE, NULL);
	}
	return netns__wrap(fd, &st, ns, err);
}

/* A file that is no socket may give the request's number another meaning. */
int netns_from_socket(int fd, struct netns **ns, struct netns_error *err)
{
	struct stat st;
	int ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	ret = sys_fstat(fd, &st);
	if (!ret)
		ret = S_ISSOCK(st.st_mode) ? sys_ioctl_fd(fd, SYS_SIOCGSKNS)
					   : -ENOTSOCK;
	/*
	 * Linux before 4.10 takes the request for one about a device, whose
	 * name it looks for at the argument, NULL.
	 */
	if (ret == -EFAULT)
		ret = -ENOTTY;
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_OPEN_SOCKET, NULL);
	return netns__wrap(ret, NULL, ns, err);
}

int netns_current(struct netns **ns, struct netns_error *err)
{
	int fd, ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	ret = netns__open_own(&fd, err);
	return ret < 0 ? ret : netns__wrap(fd, NULL, ns, err);
}

int64_t netns_owner_uid(struct netns *ns, struct netns_error *err)
{
	int fd, userns, ret;
	uid_t uid = 0;

	fd = netns__fd_get_usable(ns, err);
	if (fd < 0)
		return fd;
	userns = ret = sys_ioctl_fd(fd, SYS_NS_GET_USERNS);
	if (userns >= 0) {
		ret = sys_owner_uid(userns, &uid);
		sys_close(userns);
	}
	netns__fd_put(ns);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_FIND_OWNER, NULL)
		       : (int64_t)uid;
}
