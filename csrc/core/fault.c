/* SPDX-License-Identifier: Apache-2.0 */
/* Test builds only: counts the core's system calls and fails the nth. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netns.h"

#include "fault.h"

#define TRACED 4096

/* Each call with the errnos of its manual page that can come up here. */
static const struct fault {
	const char *name;
	int errnos[13]; /* ended by 0 */
} faults[] = {
	{ "openat",
	  { EACCES, EMFILE, ENFILE, ENOENT, ENOMEM, ELOOP, ENOTDIR, EINTR,
	    EEXIST, EROFS, ENOSPC, EDQUOT } },
	{ "close", { EIO, EINTR, ENOSPC, EDQUOT } },
	{ "close_range", { EINVAL, EMFILE, ENOMEM, ENOSYS, EPERM } },
	{ "fcntl", { EBADF, EMFILE, EINVAL } },
	{ "readlinkat",
	  { EACCES, EIO, EINVAL, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR,
	    ESRCH } },
	{ "fstat", { EBADF, ENOMEM, EOVERFLOW } },
	{ "rmdirat", { EACCES, EPERM, EROFS } },
	{ "fstatat", { EACCES, ELOOP, ENOENT, ENOMEM, ENOTDIR, EOVERFLOW } },
	{ "fstatfs", { EBADF, EINTR, EIO, ENOMEM, ENOSYS, EOVERFLOW } },
	{ "statx", { EACCES, EBADF, ENOMEM, ENOSYS } },
	{ "listmount", { EPERM, ENOMEM, ENOSYS } },
	{ "statmount", { EOVERFLOW, EPERM, ENOMEM } },
	{ "ioctl", { EBADF, ENOTTY, EPERM, EMFILE, ENOMEM } },
	{ "setns", { EBADF, EINVAL, ENOMEM, EPERM, ESRCH } },
	{ "unshare", { EINVAL, ENOMEM, ENOSPC, EPERM, EUSERS } },
	{ "pidfd_open",
	  { EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM, ESRCH, ENOSYS } },
	{ "pidfd_getfd", { EBADF, EMFILE, ENFILE, EPERM, ESRCH, ENOSYS } },
	{ "kcmp", { EPERM, ESRCH, ENOSYS } },
	{ "open_by_handle_at",
	  { EBADF, EINVAL, EMFILE, ENFILE, ENOMEM, ENOSYS, EPERM, ESTALE } },
	{ "listns", { EINVAL, EOVERFLOW, ENOMEM, ENOSYS, EPERM } },
	{ "tgkill", { EINVAL, EPERM, ESRCH } },
	{ "open_tree",
	  { EACCES, EBADF, EINVAL, ELOOP, EMFILE, ENFILE, ENOENT, ENOMEM,
	    ENOSYS, EPERM } },
	{ "move_mount",
	  { EACCES, EBUSY, EINVAL, ELOOP, ENOENT, ENOMEM, ENOSPC, ENOTDIR,
	    ENOSYS, EPERM } },
	{ "mount_setattr",
	  { EBADF, EINVAL, ENOENT, ENOMEM, ENOSPC, ENOSYS, EPERM } },
	{ "mount",
	  { EACCES, EBUSY, EINVAL, ELOOP, EMFILE, ENOENT, ENOMEM, ENOSPC,
	    ENOTDIR, EPERM, EROFS } },
	{ "umount2", { EAGAIN, EBUSY, EINVAL, ENOENT, ENOMEM, EPERM } },
	{ "mkdir",
	  { EACCES, EDQUOT, ELOOP, EMLINK, ENOENT, ENOMEM, ENOSPC, ENOTDIR,
	    EROFS } },
	{ "unlinkat",
	  { EACCES, EBUSY, EIO, EISDIR, ELOOP, ENOENT, ENOMEM, EPERM, EROFS } },
	{ "flock", { EINTR, ENOLCK, EWOULDBLOCK } },
	{ "read", { EINTR, EINVAL, EIO, ENOMEM } },
	{ "lseek", { EBADF, EINVAL } },
	{ "poll", { EINTR, ENOMEM } },
	{ "getdents64", { ENOENT, ENOMEM } },
	{ "socket", { EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM } },
	{ "getsockopt", { ENOPROTOOPT, ENOMEM } },
	{ "connect", { EINTR, ENOMEM, EPERM } },
	{ "setsockopt", { ENOPROTOOPT, ENOMEM } },
	{ "send", { EINTR, ENOBUFS, ENOMEM, EPERM } },
	{ "recv", { EINTR, ENOBUFS, ENOMEM } },
	{ "malloc", { ENOMEM } },
	{ "pthread_create", { EAGAIN, EPERM } },
};

#define CALLS ((int)(sizeof(faults) / sizeof(faults[0])))

/* One operation is swept at a time, but it may use several threads. */
static atomic_int armed, count, given, failing, trace[TRACED];
static int fail_nth, fail_errno;
static int fails_on; /* later calls of the name as well */

void fault_arm(int nth, int err, int persistent)
{
	fail_nth = nth;
	fail_errno = err;
	fails_on = persistent;
	atomic_store(&count, 0);
	atomic_store(&given, 0);
	atomic_store(&failing, -1);
	atomic_store(&armed, 1);
}

int fault_disarm(void)
{
	atomic_store(&armed, 0);
	return atomic_load(&count);
}

int fault_given(void)
{
	return atomic_load(&given);
}

int fault_calls(int *calls, int size)
{
	int i, made = atomic_load(&count);

	for (i = 0; i < made && i < size && i < TRACED; i++)
		calls[i] = atomic_load(&trace[i]);
	return i;
}

const char *fault_name(int call)
{
	return call >= 0 && call < CALLS ? faults[call].name : NULL;
}

static int find_call(const char *name)
{
	int call = 0;

	while (call < CALLS && strcmp(faults[call].name, name) != 0)
		call++;
	return call < CALLS ? call : -1;
}

int fault_errnos(const char *name, int *errnos, int size)
{
	int i, call = find_call(name);

	if (call < 0)
		return -1;
	for (i = 0; faults[call].errnos[i]; i++) {
		if (i < size)
			errnos[i] = faults[call].errnos[i];
	}
	return i;
}

/* children that look at themselves */

static struct netns *fork_ns;
static atomic_int bad_forks, bad_fork;

static const char *const bad_texts[] = {
	"right",
	"did not enter",
	"did not come back to where it was",
	"has a handle open that it has closed",
	"keeps a lock",
	"died",
};

void fault_fork_with(struct netns *ns)
{
	fork_ns = ns;
	atomic_store(&bad_forks, 0);
	atomic_store(&bad_fork, 0);
}

int fault_bad_forks(void)
{
	return atomic_load(&bad_forks);
}

const char *fault_bad_fork(void)
{
	return bad_texts[atomic_load(&bad_fork)];
}

static ssize_t read_own_link(char *text, size_t size)
{
	return readlink("/proc/thread-self/ns/net", text, size);
}

/*
 * A descriptor of a locked directory that can take the lock again is a copy of
 * the one that has it.
 */
static bool keeps_lock(int fd)
{
	char path[32];
	int other;
	bool keeps;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	other = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (other < 0)
		return false;
	keeps = flock(other, LOCK_EX | LOCK_NB) < 0 &&
		flock(fd, LOCK_EX | LOCK_NB) == 0;
	close(other);
	return keeps;
}

static bool keeps_any_lock(void)
{
	int fd;

	for (fd = 3; fd < 256; fd++) {
		if (keeps_lock(fd))
			return true;
	}
	return false;
}

static int look_at_child(bool may_keep_lock)
{
	char before[64], after[64];
	ssize_t size = read_own_link(before, sizeof(before));
	int fd = netns_fd(fork_ns);
	int64_t guard;

	guard = netns_enter(fork_ns, NULL);
	if (guard < 0)
		return 1;
	netns_leave(guard, NULL);
	if (read_own_link(after, sizeof(after)) != size ||
	    memcmp(before, after, (size_t)size) != 0)
		return 2;
	netns_close(fork_ns);
	if (fcntl(fd, F_GETFD) >= 0)
		return 3;
	return !may_keep_lock && keeps_any_lock() ? 4 : 0;
}

static void fork_once(bool is_same_thread)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		atomic_store(&armed, 0);
		/* The same thread is in the midst of what it has locked. */
		_exit(look_at_child(is_same_thread));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !status)
		return;
	atomic_fetch_add(&bad_forks, 1);
	atomic_store(&bad_fork, WIFEXITED(status) ? WEXITSTATUS(status) : 5);
}

static void *fork_on_thread(void *unused)
{
	fork_once(false);
	return unused;
}

static bool has_own_files(void)
{
	return syscall(SYS_kcmp, getpid(), syscall(SYS_gettid), KCMP_FILES, 0,
		       0) > 0;
}

static void fork_here(const char *name)
{
	pthread_t thread;

	/*
	 * Memory is asked for under locks that fork(2) takes as well, and the
	 * program's handles are not in a helper's own table of descriptors.
	 */
	if (!strcmp(name, "malloc") || has_own_files())
		return;
	fork_once(true);
	if (!pthread_create(&thread, NULL, fork_on_thread, NULL))
		pthread_join(thread, NULL);
}

int fault_next(const char *name)
{
	int index, call;

	if (!atomic_load(&armed))
		return 0;
	call = find_call(name);
	if (call < 0)
		abort(); /* sys.h has a call that the table lacks */
	index = atomic_fetch_add(&count, 1);
	if (index < TRACED)
		atomic_store(&trace[index], call);
	if (index + 1 == fail_nth)
		atomic_store(&failing, call);
	else if (!fails_on || call != atomic_load(&failing))
		return 0;
	atomic_fetch_add(&given, 1);
	if (fail_errno == FAULT_KILL)
		kill(getpid(), SIGKILL);
	if (fail_errno == FAULT_FORK) {
		fork_here(name);
		return 0;
	}
	return fail_errno;
}
