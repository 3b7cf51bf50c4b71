/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of discovery know of each other. */
#ifndef NETNS_HOLDERS_H
#define NETNS_HOLDERS_H

#include "internal.h"

/* holders.c */

enum holder_kind {
	HOLDER_NAME,
	HOLDER_PATH,
	HOLDER_PROCESS,
	HOLDER_THREAD,
	HOLDER_UNSEEN, /* a mount that no path leads to */
};

struct holder {
	uint64_t ino;
	enum holder_kind kind;
	int32_t id;
	const char *text;
};

struct holders {
	struct holder *held;
	size_t count, room;
};

int netns__hold_by(struct holders *holders, uint64_t ino, enum holder_kind kind,
		   int32_t id, const char *text);
uint64_t netns__inode(const char *text, size_t size);

/* mounts.c */

struct sys_statx;
void netns__place_of(const struct stat *st, struct sys_statx *sx);
int netns__scan_mounts(dev_t nsfs, const struct sys_statx *rundir,
		       struct holders *holders, char **text);

/* scan.c */

struct scan {
	int what; /* NETNS_PROCESSES or also NETNS_THREADS */
	struct holders found;
	uint32_t hidden;      /* processes that may not be looked at */
	enum netns_step step; /* that failed */
	/* Done meanwhile by whoever is free; its result is that of the scan. */
	int (*aside)(void *argument);
	void *argument;
};

int netns__scan(struct scan *scan);

#endif
