/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling this checks the core's own call numbers against today's headers. */
#include <sys/syscall.h>

enum {
	OPEN_TREE = SYS_open_tree,
	MOVE_MOUNT = SYS_move_mount,
	PIDFD_OPEN = SYS_pidfd_open,
	MOUNT_SETATTR = SYS_mount_setattr,
	STATX = SYS_statx,
};

#include "oldest.h"
#include "sys.h"

#define MATCHES(own, todays) \
	_Static_assert((own) == (todays) || (own) == -1, #own)

MATCHES(SYS_open_tree, OPEN_TREE);
MATCHES(SYS_move_mount, MOVE_MOUNT);
MATCHES(SYS_pidfd_open, PIDFD_OPEN);
MATCHES(SYS_mount_setattr, MOUNT_SETATTR);
MATCHES(SYS_statx, STATX);
