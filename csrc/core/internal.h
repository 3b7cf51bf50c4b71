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

/* process.c */

extern _Atomic uint32_t *netns__generation_word;

/* Numbers a child's generation; returns it, or the one that another began. */
uint32_t netns__begin_generation(void);

/* Never 0. */
static inline uint32_t netns__generation(void)
{
	uint32_t now = atomic_load_explicit(netns__generation_word,
					    memory_order_relaxed);

	return now ? now : netns__begin_generation();
}

static inline bool netns__is_same_process(uint32_t one, uint32_t other)
{
	return one >> 16 == other >> 16;
}

/* For a child of fork(), whatever the kernel has cleared. */
void netns__note_fork(void);

/* A remembered descriptor was found to be another file, or closed. */
void netns__note_loss(void);

/* handle.c */

/* Which file a descriptor was, to tell later whether it still is. */
struct identity {
	uint64_t dev, ino;
};

struct netns {
	atomic_uint refs;	/* owners of this memory */
	_Atomic uint64_t uses;	/* HANDLE_CLOSED, generation, users of fd */
	_Atomic uint64_t owner; /* see netns__owner_ino() */
	int fd;
	bool is_borrowed;    /* netns_close() does nothing */
	atomic_bool is_lost; /* other code has closed or replaced fd */
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

/* "/proc/thread-self/fd/N", for calls that take a path and no descriptor. */
#define FD_PATH_SIZE 48
const char *netns__fd_path(char *buf, int fd);

/* Its own file descriptors' directory, or that of its process. */
const char *netns__own_proc(void);

/* Fills *identity; 0 or -errno. */
int netns__identify(int fd, struct identity *identity);

/* Whether fd still is that file. */
bool netns__is_file(int fd, const struct identity *identity);

/* Closes fd if it still is that file; a stranger's is left alone. */
void netns__close_own(int fd, const struct identity *identity);

/*
 * Decodes a path of a mount table in place, which has "\040" for a blank, and
 * so for newlines and backslashes.
 */
void netns__decode_path(char *path);

/*
 * Makes a handle of fd, which it owns from now on, or closes it on failure. st
 * is what fstat(2) said of fd, or NULL.
 */
int netns__wrap(int fd, const struct stat *st, struct netns **ns,
		struct netns_error *err);

/*
 * netns__fd_get() keeps the descriptor open until netns__fd_put(), whoever
 * closes the handle in between. netns__fd_get_proven() also asks the kernel
 * whether the descriptor still is the handle's namespace; netns__fd_get()
 * does so where the generation has changed.
 */
int netns__fd_get(struct netns *ns, struct netns_error *err);
int netns__fd_get_proven(struct netns *ns, struct netns_error *err);
void netns__fd_put(struct netns *ns);

/*
 * Whether ns, which may be NULL, has lost its descriptor to other code: what was
 * seen in this generation, or asked now.
 */
bool netns__fd_is_lost(struct netns *ns);
bool netns__fd_is_lost_now(struct netns *ns);

/* Closes the descriptor unless it has other owners; frees nothing. */
void netns__fd_abandon(struct netns *ns);

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
 * A forked child that sees what is written after sees what was written before.
 * The thread sanitizer knows no fences, and no child either.
 */
static inline void netns__order_for_fork(void)
{
#ifdef __SANITIZE_THREAD__
	atomic_signal_fence(memory_order_release);
#else
	atomic_thread_fence(memory_order_release);
#endif
}

/*
 * frames is the stack of homes. There is always one frame more than depth,
 * whose home is the last known answer to where the thread is now, or NULL.
 *
 * A forked child reads the records of threads that it has not inherited, which
 * may have been about to change them: what is replaced is freed only after the
 * pointer to it has changed.
 */
struct thread {
	struct thread *next, *previous;
	uint32_t
		generation; /* in which the descriptors were seen to be right */
	int tid;
	int link; /* O_PATH on its own ns/net, or LINK_UNKNOWN, LINK_ABSENT */
	struct identity link_identity;
	int lock; /* the descriptor that locks a run directory, or -1 */
	struct identity lock_identity;
	struct frame *frames;
	size_t depth, room;
	uint32_t serial; /* the high half of its guards */
	uint32_t guards; /* the low half of the last one */
	bool stranded;
	/* Guards that other threads left: under the lock of the list. */
	int64_t *recalled;
	size_t recalled_count, recalled_room;
	atomic_bool is_recalled;
};

#define LINK_UNKNOWN (-1)
#define LINK_ABSENT  (-2)

/* The calling thread's record: NULL if it has none yet, or made now. */
struct thread *netns__thread_peek(void);
int netns__thread_get(struct thread **thread, struct netns_error *err);

/* Asks whether the record's descriptors are still the library's. */
void netns__thread_look(struct thread *thread);

/* Replaces what *home refers to, a handle or NULL. */
void netns__set_home(struct netns **home, struct netns *ns);

/*
 * Notes a guard on the thread that has it, if that is another one. Returns 0 or
 * -ENOMEM.
 */
int netns__thread_recall(int64_t guard);

/*
 * Whether one of the guards that other threads left is among those of the
 * frames. Forgets them all.
 */
bool netns__thread_was_recalled(struct thread *thread);

/*
 * Remembers a descriptor that locks a run directory, or none (-1), so that a
 * forked child closes its copy.
 */
int netns__thread_set_lock(int fd, struct netns_error *err);

/* Opens the namespace of a process, or of a thread with SYS_PIDFD_THREAD. */
int netns__open_by_pidfd(int id, unsigned int flags);

/* Opens the calling thread's own namespace. */
int netns__open_own(int *fd, struct netns_error *err);

/* The same as a borrowed handle, which replaces *home. */
int netns__open_home(struct netns **home, struct netns_error *err);

/*
 * Makes *home, a handle or NULL, the namespace where the thread is now. Returns
 * 0 where the thread's link has proven it, which also proves that nobody has
 * closed the library's descriptors; 1 where it was looked up.
 */
int netns__prove_home(struct thread *thread, struct netns **home,
		      struct netns_error *err);

/* helper.c */

/* Bytes of stack beside thread-local storage: enough for the core, or the default. */
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

/* netns__thread_check() and netns__fd_get_proven(). */
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

/* Microseconds, at most, between two tries to take the lock. */
#define LOCK_SLEEP 5000

/*
 * The thread makes the call again that a signal ended with -EINTR: its wait for
 * the lock is the same one, and ends when it would have.
 */
void netns__wait_on(void);

/* 1 to 255 bytes, no '/', neither "." nor "..". */
bool netns__is_name(const char *text);

/* Copies the run directory's path, rundir or by the rule; -ENAMETOOLONG. */
int netns__rundir_text(char buf[NETNS_PATH_SIZE], const char *rundir);

/* Opens it: the descriptor, or -ENOENT with err untouched if there is none. */
int netns__rundir_open(char path[NETNS_PATH_SIZE], const char *rundir,
		       int flags, struct netns_error *err);

/* Builds the texts, opens nothing. */
int netns__place_find(struct place *place, const char *rundir,
		      const char *target, struct netns_error *err);

int netns__place_open(struct place *place, const char *rundir,
		      const char *target, enum place_use use,
		      struct netns_error *err);

/* Another name in the same run directory; other owns the descriptors. */
int netns__place_beside(struct place *place, const struct place *other,
			const char *name, struct netns_error *err);
void netns__place_close(struct place *place);

/*
 * The id, as in a mount table, of the mount that a descriptor is open on (Linux
 * 3.15), or -errno.
 */
int netns__read_mount_id(int fd);

/* Of the mount points that are made here; the file is never opened for use. */
#define OUR_MODE 0400

static inline bool netns__is_our_mode(const struct stat *st)
{
	return (st->st_mode & 0777) == OUR_MODE;
}

/* An empty file that a creator left, or has not bound a namespace over yet. */
bool netns__is_leftover(const struct stat *st, bool is_name);

/* nsid.c */

/* As netns_get_nsids(); -EINVAL for a namespace of another type. */
int netns__ask_nsid(int fd, int32_t *nsid);

/* open.c */

/* 1 for a file of nsfs, 0 for any other, or -errno. */
int netns__is_nsfs(int fd);

/* 0 for the descriptor of a network namespace, -EINVAL for any other; fills *st. */
int netns__check_type(int fd, struct stat *st);

/*
 * Opens the network namespace at a file that fstatat(2) has seen in nsfs.
 * -EAGAIN: it is another file now.
 */
int netns__open_seen(int dir, const char *name, const struct stat *seen);

/*
 * Opens the network namespace at a file: the descriptor, with *st filled, or
 * -errno. -EINVAL means another file; *st is filled if that is neither in nsfs
 * nor a mount.
 * follow is 0 or O_NOFOLLOW, path is for messages.
 */
int netns__open_file(int dir, const char *name, int follow, struct stat *st,
		     struct netns_error *err, const char *path);

#endif
