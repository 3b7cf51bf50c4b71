/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: opened, checked, identified, shared, closed. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

#define HANDLE_CLOSED (1U << 31)

/*
 * closing
 *
 * Problem: a descriptor closed while another thread is about to use it may be
 * reused in between, and that thread would enter whatever it is now.
 * Solution: one word holds both "closed" and the number of users. A user adds
 * itself only where "closed" is not set; whoever finds "closed" set and nobody
 * left closes the descriptor, once.
 */
int netns__hold(struct netns *ns, struct netns_error *err)
{
	unsigned int uses = ns ? atomic_load(&ns->uses) : HANDLE_CLOSED;

	do {
		if (uses & HANDLE_CLOSED)
			return netns__fail(err, -EBADF, NETNS_STEP_USE_HANDLE,
					   NULL);
	} while (!atomic_compare_exchange_weak(&ns->uses, &uses, uses + 1));
	return ns->fd;
}

void netns__release(struct netns *ns)
{
	if (atomic_fetch_sub(&ns->uses, 1) == (HANDLE_CLOSED | 1))
		sys_close(ns->fd);
}

static void close_handle(struct netns *ns)
{
	if (atomic_fetch_or(&ns->uses, HANDLE_CLOSED) == 0)
		sys_close(ns->fd);
}

void netns_close(struct netns *ns)
{
	if (ns && !ns->is_home)
		close_handle(ns);
}

struct netns *netns_ref(struct netns *ns)
{
	atomic_fetch_add(&ns->refs, 1);
	return ns;
}

void netns_unref(struct netns *ns)
{
	if (!ns || atomic_fetch_sub(&ns->refs, 1) != 1)
		return;
	close_handle(ns);
	free(ns);
}

int netns_fd(const struct netns *ns)
{
	return netns_is_closed(ns) ? -EBADF : ns->fd;
}

int netns_is_closed(const struct netns *ns)
{
	return !ns || (atomic_load(&ns->uses) & HANDLE_CLOSED) != 0;
}

uint64_t netns_ino(const struct netns *ns)
{
	return ns ? ns->ino : 0;
}

uint64_t netns_dev(const struct netns *ns)
{
	return ns ? ns->dev : 0;
}

/* Takes fd over, also when it fails. */
int netns__wrap(int fd, struct netns **ns, struct netns_error *err)
{
	struct netns *made;
	struct stat st;
	int ret;

	ret = sys_fstat(fd, &st);
	if (ret < 0) {
		netns__fail(err, ret, NETNS_STEP_IDENTIFY, NULL);
		goto out;
	}
	made = sys_alloc(sizeof(*made));
	if (!made) {
		ret = netns__fail(err, -ENOMEM, NETNS_STEP_ALLOCATE, NULL);
		goto out;
	}
	atomic_init(&made->refs, 1);
	made->fd = fd;
	made->dev = st.st_dev;
	made->ino = st.st_ino;
	made->text_size =
		(size_t)snprintf(made->text, sizeof(made->text), "net:[%llu]",
				 (unsigned long long)st.st_ino);
	*ns = made;
	return 0;
out:
	sys_close(fd);
	return ret;
}

/* 1 for a file of nsfs, 0 for any other. */
static int is_nsfs(int fd)
{
	struct statfs sf;
	int ret = sys_fstatfs(fd, &sf);

	return ret < 0 ? ret : (unsigned long)sf.f_type == SYS_NSFS_MAGIC;
}

/*
 * Before NS_GET_NSTYPE (Linux 4.11) only the text of a link tells the type,
 * and that of a mounted one is its path. Such a one is taken for what it is
 * said to be: setns(2), told to expect a network namespace, refuses others.
 */
static int type_from_link(int fd)
{
	char path[FD_PATH_SIZE], text[8];
	int ret = sys_readlinkat(AT_FDCWD, netns__fd_path(path, fd), text,
				 sizeof(text));

	if (ret < 0)
		return ret;
	return text[0] == '/' || (ret > 5 && !memcmp(text, "net:[", 5))
		     ? CLONE_NEWNET
		     : 0;
}

/* Of an nsfs file: 0, or -EINVAL for a namespace of another type. */
static int check_net(int fd)
{
	int ret = sys_ioctl(fd, SYS_NS_GET_NSTYPE);

	if (ret == -ENOTTY)
		ret = type_from_link(fd);
	if (ret < 0)
		return ret;
	return ret == CLONE_NEWNET ? 0 : -EINVAL;
}

/*
 * Only nsfs is asked for the type: the request's number may mean something
 * else to another driver.
 */
int netns__check_type(int fd)
{
	int ret = is_nsfs(fd);

	if (ret > 0)
		return check_net(fd);
	return ret < 0 ? ret : -EINVAL;
}

/* As netns__wrap(), for a descriptor of whatever kind. */
static int wrap_unknown(int fd, const char *path, struct netns **ns,
			struct netns_error *err)
{
	int ret = netns__check_type(fd);

	if (ret < 0) {
		sys_close(fd);
		return netns__fail(err, ret, NETNS_STEP_CHECK_TYPE, path);
	}
	return netns__wrap(fd, ns, err);
}

/*
 * The nsfs file behind an O_PATH descriptor, opened for good. Without /proc
 * there is no way from the descriptor, so the name is opened once more: by then
 * it may be another file, which O_NONBLOCK keeps from blocking and *known from
 * passing for what it was.
 */
static int reopen(int peek, int dir, const char *name, bool *known)
{
	char path[FD_PATH_SIZE];
	int ret = sys_openat(AT_FDCWD, netns__fd_path(path, peek), O_RDONLY, 0);

	*known = ret != -ENOENT;
	return *known ? ret
		      : sys_openat(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY,
				   0);
}

/*
 * A descriptor of the network namespace at a file, or -errno: -EINVAL for any
 * other file, of which *st tells if it is no nsfs file either.
 */
int netns__open_file(int dir, const char *name, int follow, struct stat *st,
		     struct netns_error *err, const char *path)
{
	int peek, fd, ret;
	bool known;

	peek = sys_openat(dir, name, O_PATH | follow, 0);
	if (peek < 0)
		return netns__fail(err, peek, NETNS_STEP_OPEN_TARGET, path);
	ret = is_nsfs(peek);
	if (ret <= 0) {
		if (!ret)
			ret = sys_fstat(peek, st);
		sys_close(peek);
		return netns__fail(err, ret < 0 ? ret : -EINVAL,
				   NETNS_STEP_CHECK_TYPE, path);
	}
	fd = reopen(peek, dir, name, &known);
	sys_close(peek);
	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_OPEN_TARGET, path);
	ret = known ? check_net(fd) : netns__check_type(fd);
	if (!ret)
		return fd;
	sys_close(fd);
	return netns__fail(err, ret, NETNS_STEP_CHECK_TYPE, path);
}

int netns_open(const char *rundir, const char *target, struct netns **ns,
	       struct netns_error *err)
{
	struct place place;
	struct stat st = { 0 };
	int fd, ret = netns__ready(err);

	if (ret < 0)
		return ret;
	if (strchr(target, '/')) {
		fd = netns__open_file(AT_FDCWD, target, 0, &st, err, target);
	} else {
		ret = netns__place(&place, rundir, target, PLACE_READ, err);
		if (ret < 0)
			return ret;
		fd = netns__open_file(place.dir, place.name, O_NOFOLLOW, &st,
				      err, place.path);
		if (fd == -EINVAL && netns__is_leftover(&st))
			fd = netns__fail(err, -ENOENT, NETNS_STEP_OPEN_TARGET,
					 place.path);
		netns__place_done(&place);
	}
	return fd < 0 ? fd : netns__wrap(fd, ns, err);
}

static int open_by_pidfd(int id, unsigned int flags)
{
	int pidfd = sys_pidfd_open(id, flags);
	int ret;

	if (pidfd < 0)
		return pidfd;
	ret = sys_ioctl(pidfd, SYS_PIDFD_GET_NET_NAMESPACE);
	sys_close(pidfd);
	return ret;
}

/* In that of another pid namespace a number is another process, or none. */
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

/* tid 0: the process's main thread. A pidfd does not tell whose thread it is. */
static int open_task_by_pidfd(int pid, int tid)
{
	int fd = open_by_pidfd(tid ? tid : pid, tid ? SYS_PIDFD_THREAD : 0);
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

static int open_task(const char *path, int pid, int tid, struct netns **ns,
		     struct netns_error *err)
{
	int fd = is_proc_ours() ? sys_openat(AT_FDCWD, path, O_RDONLY, 0)
				: open_task_by_pidfd(pid, tid);

	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_OPEN_TARGET, path);
	return wrap_unknown(fd, path, ns, err);
}

int netns_from_pid(int32_t pid, struct netns **ns, struct netns_error *err)
{
	char path[64];
	int ret = netns__ready(err);

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
	int ret = netns__ready(err);

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
	int copy, ret = netns__ready(err);

	if (ret < 0)
		return ret;
	copy = sys_dup(fd);
	if (copy < 0)
		return netns__fail(err, copy, NETNS_STEP_OPEN_TARGET, NULL);
	return wrap_unknown(copy, NULL, ns, err);
}

/* Held meanwhile: closed by another thread, its descriptor may be another's. */
int netns_dup(struct netns *ns, struct netns **made, struct netns_error *err)
{
	int fd, copy, ret = netns__ready(err);

	if (ret < 0)
		return ret;
	fd = netns__hold(ns, err);
	if (fd < 0)
		return fd;
	copy = sys_dup(fd);
	netns__release(ns);
	return copy < 0 ? netns__fail(err, copy, NETNS_STEP_OPEN_TARGET, NULL)
			: netns__wrap(copy, made, err);
}

/* Only a socket is asked: the request may mean something else to others. */
int netns_from_socket(int fd, struct netns **ns, struct netns_error *err)
{
	struct stat st;
	int ret = netns__ready(err);

	if (ret < 0)
		return ret;
	ret = sys_fstat(fd, &st);
	if (!ret)
		ret = S_ISSOCK(st.st_mode) ? sys_ioctl(fd, SYS_SIOCGSKNS)
					   : -ENOTSOCK;
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_OPEN_SOCKET, NULL);
	return netns__wrap(ret, ns, err);
}

/*
 * The calling thread's own namespace. /proc/thread-self is newer (3.17) than
 * any kernel this runs on, but not every sandbox has it; /proc itself may be
 * missing, or be that of another pid namespace, which knows no such thread.
 */
int netns__open_here(int *fd, struct netns_error *err)
{
	static const char link[] = "/proc/thread-self/ns/net";
	char path[64];
	int ret, tid;

	ret = sys_openat(AT_FDCWD, link, O_RDONLY, 0);
	if (ret == -ENOENT) {
		tid = sys_gettid();
		snprintf(path, sizeof(path), "/proc/self/task/%d/ns/net", tid);
		ret = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
		if (ret == -ENOENT) {
			ret = open_by_pidfd(tid, SYS_PIDFD_THREAD);
			if (ret == -ENOTTY || ret == -EINVAL)
				ret = -ENOSYS;
		}
	}
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_OPEN_HOME, link);
	*fd = ret;
	return 0;
}

int netns_current(struct netns **ns, struct netns_error *err)
{
	int fd, ret = netns__ready(err);

	if (ret < 0)
		return ret;
	ret = netns__open_here(&fd, err);
	return ret < 0 ? ret : netns__wrap(fd, ns, err);
}

/*
 * The user namespace that owns the network namespace, which is what setns(2)
 * asks for CAP_SYS_ADMIN in; 0 where it may not be known, because it is not a
 * descendant of ours.
 */
uint64_t netns__owner(struct netns *ns)
{
	uint64_t owner = atomic_load_explicit(&ns->owner, memory_order_relaxed);
	struct stat st;
	int fd;

	if (owner)
		return owner;
	fd = sys_ioctl(ns->fd, SYS_NS_GET_USERNS);
	if (fd < 0)
		return 0;
	if (!sys_fstat(fd, &st)) {
		owner = st.st_ino;
		atomic_store_explicit(&ns->owner, owner, memory_order_relaxed);
	}
	sys_close(fd);
	return owner;
}

int64_t netns_owner_uid(struct netns *ns, struct netns_error *err)
{
	int fd, userns, ret;
	uid_t uid = 0;

	ret = netns__ready(err);
	if (ret < 0)
		return ret;
	fd = netns__hold(ns, err);
	if (fd < 0)
		return fd;
	userns = ret = sys_ioctl(fd, SYS_NS_GET_USERNS);
	if (userns >= 0) {
		ret = sys_owner_uid(userns, &uid);
		sys_close(userns);
	}
	netns__release(ns);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_FIND_OWNER, NULL)
		       : (int64_t)uid;
}

/*
 * On a thread made for it: the caller's stays where it is, whatever fails, and
 * may be one that could not come back. It is born where the caller is, and so
 * need not move, nor have the right to, where that is the namespace itself.
 */
struct question {
	struct netns *ns;
	int fd;
	uint64_t cookie;
	int ret;
	struct netns_error *err;
};

static int go_inside(const struct question *question)
{
	struct stat st;
	int here, ret;

	ret = netns__open_here(&here, question->err);
	if (ret < 0)
		return ret;
	ret = sys_fstat(here, &st);
	sys_close(here);
	if (!ret && st.st_ino == question->ns->ino &&
	    st.st_dev == question->ns->dev)
		return 0;
	ret = sys_setns(question->fd);
	return ret < 0 ? netns__fail(question->err, ret, NETNS_STEP_ENTER, NULL)
		       : 0;
}

static void *ask_cookie(void *argument)
{
	struct question *question = argument;
	int fd, ret;

	question->ret = go_inside(question);
	if (question->ret < 0)
		return NULL;
	fd = ret = sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd >= 0) {
		ret = sys_getsockopt(fd, SYS_SO_NETNS_COOKIE, &question->cookie,
				     sizeof(question->cookie));
		sys_close(fd);
	}
	if (ret < 0)
		question->ret = netns__fail(question->err, ret,
					    NETNS_STEP_ASK_COOKIE, NULL);
	return NULL;
}

int netns_cookie(struct netns *ns, uint64_t *cookie, struct netns_error *err)
{
	struct question question = { .ns = ns, .err = err };
	pthread_t thread;
	int ret = netns__ready(err);

	if (ret < 0)
		return ret;
	question.fd = netns__hold(ns, err);
	if (question.fd < 0)
		return question.fd;
	ret = netns__start(&thread, ask_cookie, &question);
	if (ret < 0) {
		netns__fail(err, ret, NETNS_STEP_START_THREAD, NULL);
	} else {
		pthread_join(thread, NULL);
		ret = question.ret;
	}
	netns__release(ns);
	if (!ret)
		*cookie = question.cookie;
	return ret;
}
