/* SPDX-License-Identifier: Apache-2.0 */
/* What the core's files know of each other. */
#ifndef NETNS_INTERNAL_H
#define NETNS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "netns.h"

/* handle.c */

struct netns {
	atomic_uint refs; /* owners of this memory */
	atomic_uint uses; /* users of fd at this moment, and HANDLE_CLOSED */
	_Atomic uint64_t
		owner; /* inode of the owning user namespace, 0: not asked */
	int fd;
	bool is_home; /* a thread's: not the user's to close */
	uint64_t dev;
	uint64_t ino;
	char text[32]; /* as readlink(2) of a ns/net link gives it */
	size_t text_size;
};

int netns__wrap(int fd, struct netns **ns, struct netns_error *err);
int netns__open_here(int *fd, struct netns_error *err);
int netns__open_file(int dir, const char *name, int follow, struct stat *st,
		     struct netns_error *err, const char *path);
int netns__check_type(int fd);
int netns__hold(struct netns *ns, struct netns_error *err);
void netns__release(struct netns *ns);
uint64_t netns__owner(struct netns *ns);

/* thread.c */

struct frame {
	int64_t guard;
	bool moved;	    /* the thread left its home for this body */
	struct netns *here; /* where the body runs, once it enters further */
};

struct thread {
	struct thread *next, *previous;
	int link; /* O_PATH on its own ns/net, or LINK_UNKNOWN, LINK_ABSENT */
	struct netns
		*home; /* where it was when it last entered, guards aside */
	struct frame *frames;
	uint32_t depth, room;
	uint32_t serial; /* the high half of its guards */
	uint32_t guards; /* the low half of the last one */
	bool stranded;
	_Atomic int64_t recalled; /* a guard of its that another thread left */
};

#define LINK_UNKNOWN (-1)
#define LINK_ABSENT  (-2)

struct thread *netns__recorded(void);
int netns__thread(struct thread **thread, struct netns_error *err);
int netns__use_thread(struct thread **thread, struct netns_error *err);
int netns__ready(struct netns_error *err);
void netns__recall(int64_t guard);
int netns__start(pthread_t *thread, void *(*run)(void *), void *argument);
int netns__in_thread(void *(*run)(void *), void *arg, struct netns_error *err);

/* switch.c */

int netns__go_home(struct thread *thread, struct netns_error *err);
bool netns__has_guard(const struct thread *thread, int64_t guard);
int netns__visit_new(struct netns_error *err);
bool netns__may_not_return(int ret, const struct netns_error *err);

/* rundir.c */

struct place {
	int dir; /* the directory, open and, if asked for, locked */
	int lock;
	bool is_name;
	char name[256];
	char path[NETNS_PATH_SIZE]; /* directory and name, for messages */
};

enum place_use { PLACE_READ, PLACE_CHANGE, PLACE_MAKE };

/* "/proc/self/fd/N": the way from a descriptor for calls that take a path. */
#define FD_PATH_SIZE 32
const char *netns__fd_path(char *buf, int fd);

/* "/run/netns/" as "/run/netns": O_NOFOLLOW minds no link before a slash. */
void netns__strip(char *path);

/* That of a name, for show; 0, or -errno where it can be none. */
int netns__path(char path[NETNS_PATH_SIZE], const char *rundir,
		const char *name);
int netns__place(struct place *place, const char *rundir, const char *target,
		 enum place_use use, struct netns_error *err);
int netns__place_beside(struct place *place, const struct place *other,
			const char *rundir, const char *name,
			struct netns_error *err);
void netns__place_done(struct place *place);
bool netns__is_leftover(const struct stat *st);

/* error.c */

int netns__fail(struct netns_error *err, int ret, enum netns_step step,
		const char *path);
int netns__pass(struct netns_error *err, const struct netns_error *kept);

#endif
