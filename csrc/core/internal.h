/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core's files share. The sections stand in the order of the files: a
 * file uses only what stands above its own section.
 */
#ifndef NETNS_INTERNAL_H
#define NETNS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "netns.h"

/* error.c */

/* Fills err, if there is one, and returns ret, which is -errno. */
int netns__fail(struct netns_error *err, int ret, enum netns_step step,
		const char *path);

/* The same where ret is a failure; returns ret. */
static inline int netns__check(struct netns_error *err, int ret,
			       enum netns_step step, const char *path)
{
	return ret < 0 ? netns__fail(err, ret, step, path) : ret;
}

/* Copies an error that was held back until it was sure to be one. */
int netns__pass(struct netns_error *err, const struct netns_error *kept);

/* handle.c */

struct netns {
	atomic_uint refs; /* owners of this memory */
	atomic_uint uses; /* users of fd at this moment, and HANDLE_CLOSED */
	_Atomic uint64_t owner; /* see netns__owner_ino() */
	int fd;
	bool is_borrowed; /* netns_close() does nothing */
	uint64_t dev;
	uint64_t ino;
	char text[32]; /* as readlink(2) of a ns/net link gives it */
	size_t text_size;
};

/*
 * Makes room for count items in an array that has room for *room. Returns the
 * array, which may have moved, or NULL without memory: the old one stays valid.
 */
void *netns__grow(void *array, size_t *room, size_t count, size_t item);

/* "/proc/self/fd/N", for calls that take a path and no descriptor. */
#define FD_PATH_SIZE 32
const char *netns__fd_path(char *buf, int fd);

/* Makes a handle of fd, which it owns from now on, or closes it on failure. */
int netns__wrap(int fd, struct netns **ns, struct netns_error *err);

/*
 * netns__fd_get() keeps the descriptor open until netns__fd_put(), whoever
 * closes the handle in between.
 */
int netns__fd_get(struct netns *ns, struct netns_error *err);
void netns__fd_put(struct netns *ns);

/*
 * The inode of the user namespace that owns ns; 0 where the kernel does not
 * tell, because it is not the caller's nor a descendant of that.
 */
uint64_t netns__owner_ino(struct netns *ns);

/* thread.c */

struct frame {
	int64_t guard;
	bool moved;	    /* the thread left home for this body */
	struct netns *home; /* where the thread was when it entered */
};

/*
 * frames is the stack of homes. There is always one frame more than depth,
 * whose home is the last known answer to where the thread is now, or NULL.
 */
struct thread {
	struct thread *next, *previous;
	int link; /* O_PATH on its own ns/net, or LINK_UNKNOWN, LINK_ABSENT */
	struct frame *frames;
	size_t depth, room;
	uint32_t serial; /* the high half of its guards */
	uint32_t guards; /* the low half of the last one */
	bool stranded;
	_Atomic int64_t recalled; /* a guard of its that another thread left */
};

#define LINK_UNKNOWN (-1)
#define LINK_ABSENT  (-2)

/* The calling thread's record: NULL if it has none yet, or made now. */
struct thread *netns__thread_peek(void);
int netns__thread_get(struct thread **thread, struct netns_error *err);

/* Notes a guard on the thread that has it, if that is another one. */
void netns__thread_recall(int64_t guard);

/* Opens the namespace of a process, or of a thread with SYS_PIDFD_THREAD. */
int netns__open_by_pidfd(int id, unsigned int flags);

/* Opens the calling thread's own namespace. */
int netns__open_own(int *fd, struct netns_error *err);

/* The same as a borrowed handle, which replaces *home. */
int netns__open_home(struct netns **home, struct netns_error *err);

/* Makes *home, a handle or NULL, the namespace where the thread is now. */
int netns__prove_home(struct thread *thread, struct netns **home,
		      struct netns_error *err);

/* helper.c */

/* Bytes of stack: enough for the core's own calls, or the default. */
#define HELPER_STACK	   ((size_t)128 * 1024)
#define HELPER_STACK_WHOLE ((size_t)0)

/*
 * Starts a thread in the caller's namespace, with all signals blocked, for the
 * caller to join.
 */
int netns__helper_start(pthread_t *thread, size_t stack, void *(*run)(void *),
			void *arg);

/* Starts one and waits for its end. */
int netns__helper_run(size_t stack, void *(*run)(void *), void *arg,
		      struct netns_error *err);

/* switch.c */

/*
 * The calling thread's record, for calls that a stranded thread is refused.
 * netns__thread_check() is for those that need no record.
 */
int netns__thread_get_usable(struct thread **thread, struct netns_error *err);
int netns__thread_check(struct netns_error *err);

/* netns__thread_check() and netns__fd_get(). */
int netns__fd_get_usable(struct netns *ns, struct netns_error *err);

/* Where a job runs. */
struct inside {
	struct netns *host; /* where the calling thread was; borrowed */
	int64_t guard; /* 0 on a thread made for the job, which need not return */
};

/* Returns 0 or more, or -errno with err filled. */
typedef int netns__job(const struct inside *inside, void *arg,
		       struct netns_error *err);

/*
 * Runs a job in ns, on the calling thread or, where that would not be allowed
 * to return, on one made for it. Returns what the job returns, or -errno where
 * the thread could not enter or return: what the job made is then its caller's
 * to undo.
 */
int netns__run_inside(struct netns *ns, netns__job *job, void *arg,
		      struct netns_error *err);

/*
 * The same for a job that moves on by netns__visit_next() and
 * netns__visit_new(). Where a visit is refused the return, the job must undo
 * what it did and fail, and is run again.
 */
int netns__run_tour(netns__job *job, void *arg, struct netns_error *err);
int netns__visit_next(const struct inside *inside, struct netns *ns,
		      struct netns_error *err);
int netns__visit_new(const struct inside *inside, struct netns_error *err);

/* rundir.c */

struct place {
	int dir;  /* the directory, open */
	int lock; /* the same file, locked; may lie below dir; or -1 */
	bool is_name;
	char name[256];
	char dir_path[NETNS_PATH_SIZE];
	char path[NETNS_PATH_SIZE]; /* directory and name, for messages */
};

enum place_use {
	PLACE_READ,
	PLACE_CHANGE, /* locks the directory */
	PLACE_MAKE,   /* makes a run directory and shares its mount as well */
};

/* 1 to 255 bytes, no '/', neither "." nor "..". */
bool netns__is_name(const char *text);

/* Copies the run directory's path, rundir or by the rule; -ENAMETOOLONG. */
int netns__rundir_text(char buf[NETNS_PATH_SIZE], const char *rundir);

/* Opens it: the descriptor, or -ENOENT with err untouched if there is none. */
int netns__rundir_open(char path[NETNS_PATH_SIZE], const char *rundir,
		       int flags, struct netns_error *err);

int netns__place_open(struct place *place, const char *rundir,
		      const char *target, enum place_use use,
		      struct netns_error *err);

/* Another name in the same run directory; other owns the descriptors. */
int netns__place_beside(struct place *place, const struct place *other,
			const char *name, struct netns_error *err);
void netns__place_close(struct place *place);

/* An empty file that a creator left, or has not bound a namespace over yet. */
bool netns__is_leftover(const struct stat *st);

/* open.c */

/* 0 for the descriptor of a network namespace, -EINVAL for any other. */
int netns__check_type(int fd);

/*
 * Opens the network namespace at a file: the descriptor, or -errno. -EINVAL
 * means another file; *st is filled if that is not in nsfs. follow is 0 or
 * O_NOFOLLOW, path is for messages.
 */
int netns__open_file(int dir, const char *name, int follow, struct stat *st,
		     struct netns_error *err, const char *path);

#endif
