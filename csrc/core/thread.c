/* SPDX-License-Identifier: Apache-2.0 */
/* What the core remembers of a thread, and how it learns where the thread is. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

#define OWN_LINK "/proc/thread-self/ns/net"

/*
 * The records are on the heap and in a list, not in thread-local storage: a
 * fork's child must close the descriptors of the threads that it did not
 * inherit, whose thread-local storage it can't reach.
 */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int once_result;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct thread *threads;
static _Atomic uint32_t listed; /* the generation in which the list is right */
static uint32_t serials;
static _Thread_local struct thread *self;

static void close_link(struct thread *t)
{
	int fd = t->link;

	t->link = LINK_UNKNOWN;
	if (fd >= 0)
		netns__close_own(fd, &t->link_identity);
}

static void close_lock(struct thread *t)
{
	int fd = t->lock;

	t->lock = -1;
	if (fd >= 0)
		netns__close_own(fd, &t->lock_identity);
}

static void discard_thread(struct thread *t)
{
	size_t i;

	close_link(t);
	close_lock(t);
	for (i = 0; i <= t->depth; i++)
		netns_unref(t->frames[i].home);
	free(t->frames);
	free(t->recalled);
	free(t);
}

void netns__set_home(struct netns **home, struct netns *ns)
{
	struct netns *old = *home;

	*home = ns;
	netns__order_for_fork();
	netns_unref(old);
}

static void link_thread(struct thread *t)
{
	t->next = threads;
	t->previous = NULL;
	netns__order_for_fork();
	if (threads)
		threads->previous = t;
	threads = t;
}

static void unlink_thread(struct thread *t)
{
	if (t->previous)
		t->previous->next = t->next;
	else
		threads = t->next;
	if (t->next)
		t->next->previous = t->previous;
	netns__order_for_fork();
}

/*
 * a child's threads
 *
 * A forked child has one thread. The records of the others are discarded: their
 * descriptors are closed, those that are still the library's. The link of its
 * own goes on to report the namespace of the parent's thread, so the child opens
 * another. Homes are descriptors of namespaces and stay right: the child can
 * leave the guards that the fork happened in.
 *
 * Without pthread_atfork(3) the fork may have come at any point of another
 * thread: the lock may be taken for good, and so may be that of malloc(3).
 * Nothing is freed then, and the thread that finds the new generation does it
 * if it is surely the one that forked.
 */
static void keep_alone(struct thread *kept, bool may_free)
{
	struct thread *t = threads, *next;

	atomic_store(&listed, netns__generation());
	threads = NULL;
	for (; t; t = next) {
		next = t->next;
		if (t == kept || t->generation == netns__generation()) {
			link_thread(t);
		} else if (may_free) {
			discard_thread(t);
		} else {
			size_t i;

			close_link(t);
			close_lock(t);
			for (i = 0; i <= t->depth; i++)
				netns__fd_abandon(t->frames[i].home);
		}
	}
}

static void keep_alone_after_clone(struct thread *kept)
{
	pthread_mutex_init(&lock, NULL);
	keep_alone(kept, false);
}

/* The record of the calling thread, in a new generation. */
static void renew_thread(struct thread *t)
{
	uint32_t now = netns__generation();
	bool forked = !netns__is_same_process(t->generation, now);
	size_t i;

	t->generation = now;
	if (forked) {
		t->tid = sys_gettid();
		close_link(t);
	} else if (t->link >= 0 &&
		   !netns__is_file(t->link, &t->link_identity)) {
		t->link = LINK_UNKNOWN;
	}
	for (i = 0; i <= t->depth; i++)
		netns__fd_is_lost(t->frames[i].home);
	if (netns__fd_is_lost(t->frames[t->depth].home))
		netns__set_home(&t->frames[t->depth].home, NULL);
}

static void thread_ended(void *arg)
{
	struct thread *t = arg;

	if (!netns__is_same_process(t->generation, netns__generation()))
		keep_alone_after_clone(t);
	pthread_mutex_lock(&lock);
	unlink_thread(t);
	pthread_mutex_unlock(&lock);
	self = NULL;
	discard_thread(t);
}

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
	pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
	netns__note_fork();
	keep_alone(self, true);
	pthread_mutex_unlock(&lock);
	if (self)
		renew_thread(self);
}

/*
 * An archive may be part of a plugin that is unloaded while its threads still
 * have a destructor here to run. So the object stays, as the shared library does
 * (-z nodelete). libc has these functions in a library of its own before glibc
 * 2.34, and not at all in a static program.
 */
#pragma weak dladdr
#pragma weak dlopen

static void stay_loaded(void)
{
	Dl_info object;

	if (dladdr && dlopen && dladdr(&once, &object) && object.dli_fname)
		dlopen(object.dli_fname,
		       RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

static void set_up_process(void)
{
	atomic_store(&listed, netns__generation());
	once_result = -pthread_key_create(&key, thread_ended);
	if (!once_result)
		once_result = -pthread_atfork(before_fork, after_fork_in_parent,
					      after_fork_in_child);
	stay_loaded();
}

static struct thread *make_thread(void)
{
	struct thread *t = sys_alloc(sizeof(*t));

	if (!t)
		return NULL;
	t->generation = netns__generation();
	t->tid = sys_gettid();
	t->link = LINK_UNKNOWN;
	t->lock = -1;
	t->frames = netns__grow(NULL, &t->room, 1, sizeof(*t->frames));
	if (!t->frames) {
		free(t);
		return NULL;
	}
	t->frames[0].home = NULL;
	return t;
}

/* A clone's child that has no record of its own inherits those of others. */
static void lock_threads(void)
{
	if (!netns__is_same_process(atomic_load(&listed),
				    netns__generation()) &&
	    sys_gettid() == getpid())
		keep_alone_after_clone(self);
	pthread_mutex_lock(&lock);
}

static int set_up_thread(struct netns_error *err)
{
	struct thread *t;
	int ret;

	pthread_once(&once, set_up_process);
	if (once_result)
		return netns__fail(err, once_result, NETNS_STEP_SET_UP_THREAD,
				   NULL);
	t = make_thread();
	if (!t)
		return netns__fail(err, -ENOMEM, NETNS_STEP_ALLOCATE, NULL);
	ret = -pthread_setspecific(key, t);
	if (ret) {
		discard_thread(t);
		return netns__fail(err, ret, NETNS_STEP_SET_UP_THREAD, NULL);
	}
	lock_threads();
	t->serial = ++serials & INT32_MAX;
	link_thread(t);
	pthread_mutex_unlock(&lock);
	self = t;
	return 0;
}

static struct thread *renewed(struct thread *t)
{
	if (!netns__is_same_process(t->generation, netns__generation()))
		keep_alone_after_clone(t);
	renew_thread(t);
	return t;
}

struct thread *netns__thread_peek(void)
{
	struct thread *t = self;

	return t && t->generation != netns__generation() ? renewed(t) : t;
}

int netns__thread_get(struct thread **thread, struct netns_error *err)
{
	int ret = self ? 0 : set_up_thread(err);

	*thread = netns__thread_peek();
	return ret;
}

/* The link and the homes go together: who closes all closes the link. */
void netns__thread_look(struct thread *t)
{
	if (t->link < 0 || netns__is_file(t->link, &t->link_identity))
		return;
	netns__note_loss();
	renew_thread(t);
}

/*
 * recalls
 *
 * Any number of a thread's guards may be left by others before it comes back to
 * the library, and some of them may be over: each is kept, because only the
 * thread itself knows which of them it is still in.
 */
static int add_recall(struct thread *t, int64_t guard)
{
	int64_t *recalled =
		netns__grow(t->recalled, &t->recalled_room,
			    t->recalled_count + 1, sizeof(*recalled));

	if (!recalled)
		return -ENOMEM;
	t->recalled = recalled;
	t->recalled[t->recalled_count++] = guard;
	atomic_store(&t->is_recalled, true);
	return 0;
}

int netns__thread_recall(int64_t guard)
{
	struct thread *t;
	int ret = 0;

	lock_threads();
	for (t = threads; t && !ret; t = t->next) {
		if (t != self && t->serial == (uint64_t)guard >> 32)
			ret = add_recall(t, guard);
	}
	pthread_mutex_unlock(&lock);
	return ret;
}

bool netns__thread_was_recalled(struct thread *t)
{
	bool found = false;
	size_t i, frame;

	lock_threads();
	for (i = 0; i < t->recalled_count; i++) {
		for (frame = 0; frame < t->depth; frame++)
			found |= t->frames[frame].guard == t->recalled[i];
	}
	t->recalled_count = 0;
	atomic_store(&t->is_recalled, false);
	pthread_mutex_unlock(&lock);
	return found;
}

int netns__thread_set_lock(int fd, struct netns_error *err)
{
	struct thread *t;
	int ret = netns__thread_get(&t, err);

	if (ret < 0)
		return ret;
	t->lock = -1;
	if (fd < 0)
		return 0;
	ret = netns__check(err, netns__identify(fd, &t->lock_identity),
			   NETNS_STEP_LOCK_RUNDIR, NULL);
	if (!ret)
		t->lock = fd;
	return ret;
}

int netns__open_by_pidfd(int id, unsigned int flags)
{
	int pidfd = sys_pidfd_open(id, flags);
	int ret;

	if (pidfd < 0)
		return pidfd;
	ret = sys_ioctl_fd(pidfd, SYS_PIDFD_GET_NET_NAMESPACE);
	sys_close(pidfd);
	return ret;
}

/*
 * Every kernel that this runs on has /proc/thread-self (Linux 3.17), but not
 * every sandbox. /proc may also be missing, or belong to another pid namespace,
 * which does not know this thread.
 */
int netns__open_own(int *fd, struct netns_error *err)
{
	char path[64];
	int ret, tid;

	ret = sys_openat(AT_FDCWD, OWN_LINK, O_RDONLY, 0);
	if (ret == -ENOENT) {
		tid = sys_gettid();
		snprintf(path, sizeof(path), "/proc/self/task/%d/ns/net", tid);
		ret = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
		if (ret == -ENOENT) {
			ret = netns__open_by_pidfd(tid, SYS_PIDFD_THREAD);
			if (ret == -ENOTTY || ret == -EINVAL)
				ret = -ENOSYS;
		}
	}
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_OPEN_HOME, OWN_LINK);
	*fd = ret;
	return 0;
}

int netns__open_home(struct netns **home, struct netns_error *err)
{
	struct netns *opened;
	int fd, ret;

	ret = netns__open_own(&fd, err);
	if (ret < 0)
		return ret;
	ret = netns__wrap(fd, NULL, &opened, err);
	if (ret < 0)
		return ret;
	opened->is_borrowed = true;
	netns__set_home(home, opened);
	return 0;
}

/*
 * where the thread is
 *
 * Problem: other code may move a thread without this library, so each enter
 * must prove where the thread is, cheaply.
 * Rejected: opening the link each time (three times the cost, and it can fail
 * with EMFILE); the cookie of a new socket (four times the cost); trusting the
 * answer of the last time.
 * Solution: the thread keeps a descriptor of its ns/net link and one of its
 * home, and compares the text of the link with the text of home. The second
 * descriptor keeps the namespace alive, so no other namespace can get its inode
 * number.
 */
static int open_link(struct thread *t)
{
	int ret = sys_openat(AT_FDCWD, OWN_LINK, O_PATH | O_NOFOLLOW, 0);

	if (ret == -ENOENT || ret == -EACCES)
		t->link = LINK_ABSENT;
	if (ret < 0)
		return ret;
	if (netns__identify(ret, &t->link_identity) < 0) {
		sys_close(ret);
		return -EBADF;
	}
	/* The child of a vfork(2) may have made the record. */
	t->tid = sys_gettid();
	t->link = ret;
	return 0;
}

static bool is_home_by_link(const struct thread *t, const struct netns *home)
{
	char text[sizeof(home->text)];
	int size = sys_readlinkat(t->link, "", text, sizeof(text));

	return size > 0 && (size_t)size == home->text_size &&
	       !memcmp(text, home->text, home->text_size);
}

static bool is_home_by_inode(const struct netns *home)
{
	struct stat st;
	bool same;
	int fd = -1;

	if (netns__open_own(&fd, NULL) < 0)
		return false;
	same = !sys_fstat(fd, &st) && st.st_ino == home->ino &&
	       st.st_dev == home->dev;
	sys_close(fd);
	return same;
}

int netns__prove_home(struct thread *t, struct netns **home,
		      struct netns_error *err)
{
	int ret;

	if (t->link >= 0 && *home) {
		if (is_home_by_link(t, *home))
			return 0;
		netns__thread_look(t);
	}
	if (t->link == LINK_UNKNOWN) {
		ret = open_link(t);
		if (ret < 0 && t->link == LINK_UNKNOWN)
			return netns__fail(err, ret, NETNS_STEP_OPEN_HOME,
					   OWN_LINK);
	}
	/* A fork's child may have closed it, as it may have its parent's link. */
	if (netns__fd_is_lost_now(*home))
		netns__set_home(home, NULL);
	if (*home && (t->link >= 0 ? is_home_by_link(t, *home)
				   : is_home_by_inode(*home)))
		return 1;
	ret = netns__open_home(home, err);
	return ret < 0 ? ret : 1;
}
