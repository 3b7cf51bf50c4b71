/* SPDX-License-Identifier: Apache-2.0 */
/* Test builds only: counts the core's system calls and fails the nth. */
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "fault.h"

#define TRACED 4096

static const char *const names[FAULT_CALLS] = {
	[FAULT_OPENAT] = "openat",
	[FAULT_CLOSE] = "close",
	[FAULT_DUP] = "fcntl(F_DUPFD)",
	[FAULT_READLINKAT] = "readlinkat",
	[FAULT_FSTAT] = "fstat",
	[FAULT_FSTATAT] = "fstatat",
	[FAULT_FSTATFS] = "fstatfs",
	[FAULT_STATX] = "statx",
	[FAULT_IOCTL] = "ioctl",
	[FAULT_SETNS] = "setns",
	[FAULT_UNSHARE] = "unshare",
	[FAULT_PIDFD_OPEN] = "pidfd_open",
	[FAULT_TGKILL] = "tgkill",
	[FAULT_OPEN_TREE] = "open_tree",
	[FAULT_MOVE_MOUNT] = "move_mount",
	[FAULT_MOUNT_SETATTR] = "mount_setattr",
	[FAULT_MOUNT] = "mount",
	[FAULT_UMOUNT] = "umount2",
	[FAULT_MKDIR] = "mkdir",
	[FAULT_UNLINKAT] = "unlinkat",
	[FAULT_FLOCK] = "flock",
	[FAULT_READ] = "read",
	[FAULT_GETDENTS] = "getdents64",
	[FAULT_SOCKET] = "socket",
	[FAULT_GETSOCKOPT] = "getsockopt",
	[FAULT_SEND] = "send",
	[FAULT_RECV] = "recv",
	[FAULT_ALLOC] = "malloc",
	[FAULT_THREAD] = "pthread_create",
};

/* One operation is swept at a time, but it may use several threads. */
static atomic_int armed, count, given, kind, trace[TRACED];
static int nth, err, persistent;

void fault_arm(int n, int error, int from_there_on)
{
	nth = n;
	err = error;
	persistent = from_there_on;
	atomic_store(&count, 0);
	atomic_store(&given, 0);
	atomic_store(&kind, -1);
	atomic_store(&armed, 1);
}

int fault_disarm(void)
{
	atomic_store(&armed, 0);
	return atomic_load(&count);
}

int fault_calls(int *calls, int size)
{
	int i, made = atomic_load(&count);

	for (i = 0; i < made && i < size && i < TRACED; i++)
		calls[i] = atomic_load(&trace[i]);
	return i;
}

int fault_given(void)
{
	return atomic_load(&given);
}

const char *fault_call_name(int call)
{
	return call >= 0 && call < FAULT_CALLS ? names[call] : "?";
}

int fault_next(enum fault_call call)
{
	int index;

	if (!atomic_load(&armed))
		return 0;
	index = atomic_fetch_add(&count, 1);
	if (index < TRACED)
		atomic_store(&trace[index], (int)call);
	if (index + 1 == nth)
		atomic_store(&kind, (int)call);
	else if (!persistent || (int)call != atomic_load(&kind))
		return 0;
	atomic_fetch_add(&given, 1);
	if (err == FAULT_KILL)
		kill(getpid(), SIGKILL);
	return err;
}
