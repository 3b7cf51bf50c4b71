/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of discovery share, in the order of the files. */
#ifndef NETNS_HOLDERS_H
#define NETNS_HOLDERS_H

#include "internal.h"

/* holders.c */

enum holder_kind {
	HOLDER_NAME,
	HOLDER_PATH,
	HOLDER_PROCESS,
	HOLDER_THREAD,
	HOLDER_UNSEEN, /* a mount that no path leads to, or the kernel's list */
	HOLDER_DESCRIPTOR,
	HOLDER_SOCKET,
	HOLDER_MOUNT, /* in another mount namespace */
};

/* What keeps a namespace alive. */
struct holder {
	uint64_t ino;
	enum holder_kind kind;
	union {
		struct {
			int32_t id;
			int32_t fd; /* of a descriptor or socket */
		};
		uint64_t cookie; /* of HOLDER_UNSEEN; 0: not known */
	};
	const char *text;
};

struct holders {
	struct holder *held;
	size_t count, room;
};

/* 0, or -ENOMEM. */
int netns__holders_add(struct holders *holders, uint64_t ino,
		       enum holder_kind kind, int32_t id, const char *text);
int netns__holders_append(struct holders *holders, const struct holders *more);

/* The same for a HOLDER_DESCRIPTOR or HOLDER_SOCKET of a process. */
int netns__holders_add_fd(struct holders *holders, uint64_t ino,
			  enum holder_kind kind, int32_t pid, int32_t fd);

/* The same for a HOLDER_UNSEEN that the kernel's list has. */
int netns__holders_add_cookie(struct holders *holders, uint64_t ino,
			      uint64_t cookie);

/* By namespace, kind, id and text; each once. */
void netns__holders_sort(struct holders *holders);

/* The number in "net:[4026531840]"; 0 for any other text. */
uint64_t netns__parse_ino(const char *text, size_t size);

/* The same for a type of namespace, as "mnt". */
uint64_t netns__parse_link(const char *type, const char *text, size_t size);

/* A process or descriptor that is gone; one that may not be looked at. */
bool netns__is_gone(int ret);
bool netns__is_refused(int ret);

/* Want of memory or descriptors, which tells nothing of what was looked at. */
bool netns__is_shortage(int ret);

/* The device of nsfs, which all namespaces are files of. */
int netns__nsfs_device(dev_t *dev, struct netns_error *err);

/* names.c */

struct text_block {
	struct text_block *next;
	char text[];
};

struct names {
	struct holders found;
	struct text_block *texts; /* of the holders */
};

/* The names that are links, and what they lead to. */
int netns__scan_links(struct names *names, const char *rundir,
		      struct netns_error *err);
void netns__free_names(struct names *names);

/* mounts.c */

/* Which directory a path leads to. */
struct location {
	uint64_t ino; /* 0: none */
	dev_t dev;
	uint64_t mount;
	bool has_mount; /* the kernel tells by which mount: Linux 5.8 */
};

struct mounts {
	dev_t nsfs;
	struct location rundir;
	struct holders found;
	char *text; /* the paths in found point into it */
};

int netns__locate_rundir(struct location *location, const char *rundir,
			 struct netns_error *err);

/* Fills found and text, which are to be freed, also on failure. */
int netns__scan_mounts(struct mounts *mounts);

/*
 * Adds the mounts in the mount namespace of a process, by its folder's name in
 * /proc. Their texts point into *bytes, which is to be freed, also on failure.
 */
int netns__scan_other_mounts(int proc, const char *task, int32_t pid,
			     dev_t nsfs, struct holders *found, char **bytes);

/* descriptors.c */

/* Whose descriptor table. */
struct task {
	int proc;	    /* /proc, open */
	const char *folder; /* in there: "PID" or "PID/task/TID" */
	int32_t pid, tid;   /* tid is 0 for the process's own table */
	uint64_t ino;	    /* the namespace that the task is in: not added */
};

/* Adds those that hold a network namespace. */
int netns__scan_descriptors(const struct task *task, dev_t nsfs,
			    struct holders *found);

/* processes.c */

/* The text of a mount table, which holders point into. */
struct text_node {
	struct text_node *next;
	char *text;
};

struct scan {
	int what; /* NETNS_PROCESSES, NETNS_THREADS, NETNS_DESCRIPTORS */
	dev_t nsfs;
	struct holders found;
	struct text_node *texts;
	uint32_t hidden;      /* processes that may not be looked at */
	enum netns_step step; /* that failed */
	/* A second task, for the first thread that has time, or NULL. */
	int (*second_task)(void *arg);
	void *second_arg;
	enum netns_step second_step;
};

/* Fills found and texts, which are to be freed, also on failure. */
int netns__scan_processes(struct scan *scan);

#endif
