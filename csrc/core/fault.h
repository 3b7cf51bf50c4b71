/* SPDX-License-Identifier: Apache-2.0 */
/* The fault seam of test builds (NETNS_FAULTS); see sys.h. */
#ifndef NETNS_FAULT_H
#define NETNS_FAULT_H

#include <stddef.h>

/* cdef: begin */

enum fault_call {
	FAULT_OPENAT,
	FAULT_CLOSE,
	FAULT_DUP,
	FAULT_READLINKAT,
	FAULT_FSTAT,
	FAULT_FSTATAT,
	FAULT_FSTATFS,
	FAULT_STATX,
	FAULT_IOCTL,
	FAULT_SETNS,
	FAULT_UNSHARE,
	FAULT_PIDFD_OPEN,
	FAULT_TGKILL,
	FAULT_OPEN_TREE,
	FAULT_MOVE_MOUNT,
	FAULT_MOUNT_SETATTR,
	FAULT_MOUNT,
	FAULT_UMOUNT,
	FAULT_MKDIR,
	FAULT_UNLINKAT,
	FAULT_FLOCK,
	FAULT_READ,
	FAULT_GETDENTS,
	FAULT_SOCKET,
	FAULT_GETSOCKOPT,
	FAULT_SEND,
	FAULT_RECV,
	FAULT_ALLOC,
	FAULT_THREAD,
	FAULT_CALLS
};

/* As errnos to arm with: the process dies of SIGKILL before the call. */
#define FAULT_KILL 100000

/*
 * Counts every call of the process from now on, and fails the nth with err;
 * persistent: all calls of the nth's kind from there on as well. nth 0 only
 * counts. fault_disarm() ends it and returns how many calls there were.
 */
void fault_arm(int nth, int err, int persistent);
int fault_disarm(void);

/* The kinds of the calls counted since, in order: up to size of them. */
int fault_calls(int *calls, int size);

/* How often the armed fault was given. */
int fault_given(void);

/* "setns" and so on. */
const char *fault_call_name(int call);

/* cdef: end */

int fault_next(enum fault_call call);

#endif
