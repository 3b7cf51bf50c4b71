/* SPDX-License-Identifier: Apache-2.0 */
/* Test builds only: counts the core's system calls and fails the nth. */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	{ "fcntl", { EBADF, EMFILE, EINVAL } },
	{ "readlinkat",
	  { EACCES, EIO, EINVAL, ENAMETOOLONG, ENOENT, ENOMEM, ENOTDIR,
	    ESRCH } },
	{ "fstat", { EBADF, ENOMEM, EOVERFLOW } },
	{ "fstatat", { EACCES, ELOOP, ENOENT, ENOMEM, ENOTDIR, EOVERFLOW } },
	{ "fstatfs", { EBADF, EINTR, EIO, ENOMEM, ENOSYS, EOVERFLOW } },
	{ "statx", { EACCES, EBADF, ENOMEM, ENOSYS } },
	{ "ioctl", { EBADF, ENOTTY, EPERM, EMFILE, ENOMEM } },
	{ "setns", { EBADF, EINVAL, ENOMEM, EPERM, ESRCH } },
	{ "unshare", { EINVAL, ENOMEM, ENOSPC, EPERM, EUSERS } },
	{ "pidfd_open",
	  { EINVAL, EMFILE, ENFILE, ENODEV, ENOMEM, ESRCH, ENOSYS } },
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
	{ "flock", { EINTR, ENOLCK } },
	{ "read", { EINTR, EINVAL, EIO, ENOMEM } },
	{ "getdents64", { ENOENT, ENOMEM } },
	{ "socket", { EACCES, EAFNOSUPPORT, EMFILE, ENFILE, ENOBUFS, ENOMEM } },
	{ "getsockopt", { ENOPROTOOPT, ENOMEM } },
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
	return fail_errno;
}
