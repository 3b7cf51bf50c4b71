/* SPDX-License-Identifier: Apache-2.0 */
/* What failed, and at which step. */
#include <string.h>

#include "internal.h"

static const char *const step_texts[NETNS_STEP_COUNT] = {
	[NETNS_STEP_NONE] = "nothing",

	/* argument and memory */
	[NETNS_STEP_CHECK_ARGUMENT] = "check the argument",
	[NETNS_STEP_ALLOCATE] = "allocate memory",

	/* thread */
	[NETNS_STEP_CHECK_STRANDED] = "use a stranded thread",
	[NETNS_STEP_SET_UP_THREAD] = "set up the thread",
	[NETNS_STEP_START_THREAD] = "start a thread",
	[NETNS_STEP_OPEN_HOME] = "open the thread's namespace",

	/* handle */
	[NETNS_STEP_USE_HANDLE] = "use the handle",
	[NETNS_STEP_IDENTIFY] = "identify the namespace",
	[NETNS_STEP_FIND_OWNER] = "find the owner",

	/* switch */
	[NETNS_STEP_CHECK_RETURN] = "check the way back",
	[NETNS_STEP_ENTER] = "enter the namespace",
	[NETNS_STEP_CHECK_ORDER] = "check the order of guards",
	[NETNS_STEP_RETURN] = "return home",

	/* open */
	[NETNS_STEP_OPEN_TARGET] = "open the namespace",
	[NETNS_STEP_CHECK_TYPE] = "check for a network namespace",
	[NETNS_STEP_OPEN_SOCKET] = "open the socket's namespace",

	/* run directory */
	[NETNS_STEP_MAKE_RUNDIR] = "make the run directory",
	[NETNS_STEP_OPEN_RUNDIR] = "open the run directory",
	[NETNS_STEP_LOCK_RUNDIR] = "lock the run directory",
	[NETNS_STEP_SHARE_RUNDIR] = "share the run directory",
	[NETNS_STEP_LIST] = "list the run directory",

	/* create and delete */
	[NETNS_STEP_CHECK_MOUNTS] = "check who would see the name",
	[NETNS_STEP_UNSHARE] = "make a namespace",
	[NETNS_STEP_OPEN_NEW] = "open the new namespace",
	[NETNS_STEP_MAKE_MOUNT_POINT] = "make the mount point",
	[NETNS_STEP_BIND] = "bind the namespace",
	[NETNS_STEP_UNMOUNT] = "unmount the namespace",
	[NETNS_STEP_UNLINK] = "remove the mount point",

	/* socket */
	[NETNS_STEP_MAKE_SOCKET] = "make a socket",
	[NETNS_STEP_ASK_COOKIE] = "ask for the cookie",

	/* nsid */
	[NETNS_STEP_GET_NSID] = "get the id",
	[NETNS_STEP_SET_NSID] = "set the id",

	/* exec */
	[NETNS_STEP_JOIN_OWNER] = "join the owner's user namespace",
	[NETNS_STEP_UNSHARE_MOUNTS] = "make a mount namespace",
	[NETNS_STEP_MOUNT_SYSFS] = "mount /sys",
	[NETNS_STEP_CARRY_MOUNT] = "carry a mount over to the new /sys",
	[NETNS_STEP_BIND_CONFIGURATION] = "bind files over /etc",

	/* discovery */
	[NETNS_STEP_READ_MOUNTS] = "read the mounts",
	[NETNS_STEP_READ_PROCESSES] = "read the processes",
};

const char *netns_step_text(int step)
{
	if (step < 0 || step >= NETNS_STEP_COUNT)
		step = NETNS_STEP_NONE;
	return step_texts[step];
}

const char *netns_version(void)
{
	return NETNS_VERSION;
}

int netns__fail(struct netns_error *err, int ret, enum netns_step step,
		const char *path)
{
	if (!err)
		return ret;
	err->err = -ret;
	err->step = (int)step;
	err->path[0] = '\0';
	if (path)
		strncat(err->path, path, sizeof(err->path) - 1);
	return ret;
}

int netns__pass(struct netns_error *err, const struct netns_error *kept)
{
	if (err)
		*err = *kept;
	return -kept->err;
}
