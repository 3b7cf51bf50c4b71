/* SPDX-License-Identifier: Apache-2.0 */
/* Included first: takes from today's headers what those of glibc 2.17 lack. */
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <sys/syscall.h>

#undef SYS_open_tree
#undef SYS_move_mount
#undef SYS_pidfd_open
#undef SYS_mount_setattr
#undef SYS_statx
#undef RTM_NEWNSID
#undef RTM_GETNSID
