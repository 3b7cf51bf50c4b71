/* SPDX-License-Identifier: Apache-2.0 */
/* The fault seam of test builds (NETNS_FAULTS); see sys.h. */
#ifndef NETNS_FAULT_H
#define NETNS_FAULT_H

/* cdef: begin */

/* As an errno to arm with: the process dies of SIGKILL before the call. */
#define FAULT_KILL 100000

/*
 * Instead of an errno: the call is not failed, but before it the process is
 * forked, on the calling thread and on another. The children look at themselves
 * with the handle of fault_fork_with() and end.
 */
#define FAULT_FORK 100001
void fault_fork_with(struct netns *ns);

/* How many children were not as they should be, and why the last was not. */
int fault_bad_forks(void);
const char *fault_bad_fork(void);

/*
 * fault_arm - count every call from now on, and fail the nth with err
 *
 * With persistent, all later calls of the nth one's name fail as well. With nth
 * 0 none fails.
 */
void fault_arm(int nth, int err, int persistent);

/* Stops counting; returns how many calls there were. */
int fault_disarm(void);

/* How often a call was failed. */
int fault_given(void);

/*
 * The calls that were counted, in order, as numbers for fault_name(). Fills up
 * to size of them and returns how many it filled.
 */
int fault_calls(int *calls, int size);

/* The name of a call, as "setns"; NULL for a number that no call has. */
const char *fault_name(int call);

/*
 * The errnos that a call can fail with. Fills up to size of them and returns
 * how many there are, or -1 where no call has the name.
 */
int fault_errnos(const char *name, int *errnos, int size);

/* cdef: end */

/* Counts one call: returns the errno to fail it with, or 0. */
int fault_next(const char *name);

#endif
