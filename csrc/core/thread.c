/* SPDX-License-Identifier: Apache-2.0 */
/* What the core remembers of a thread, and how it learns where the thread is. */
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
static uint32_t serials;
static _Thread_local struct thread *self;

static void close_link(struct thread *t)
{
	if (t->link >= 0)
		sys_close(t->link);
	t->link = LINK_UNKNOWN;
}

static void discard_thread(struct thread *t)
{
	size_t i;

	close_link(t);
	for (i = 0; i <= t->depth; i++)
		netns_unref(t->frames[i].home);
	free(t->frames);
	free(t);
}

static void unlink_thread(struct thread *t)
{
	if (t->previous)
		t->previous->next = t->next;
	else
		threads = t->next;
	if (t->next)
		t->next->previous = t->previous;
}

static void thread_ended(void *arg)
{
	struct thread *t = arg;

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

/*
 * The link goes on to report the namespace of the parent's thread, so the child
 * opens its own. Homes are descriptors of namespaces and stay right: the child
 * can leave the guards that the fork happened in.
 */
static void after_fork_in_child(void)
{
	struct thread *t, *next;

	for (t = threads; t; t = next) {
		next = t->next;
		if (t != self)
			discard_thread(t);
	}
	threads = self;
	if (self) {
		self->next = self->previous = NULL;
		close_link(self);
	}
	pthread_mutex_unlock(&lock);
}

static void set_up_process(void)
{
	once_result = -pthread_key_create(&key, thread_ended);
	if (!once_result)
		once_result = -pthread_atfork(before_fork, after_fork_in_parent,
					      after_fork_in_child);
}

static struct thread *make_thread(void)
{
	struct thread *t = sys_alloc(sizeof(*t));

	if (!t)
		return NULL;
	t->link = LINK_UNKNOWN;
	t->frames = netns__grow(NULL, &t->room, 1, sizeof(*t->frames));
	if (!t->frames) {
		free(t);
		return NULL;
	}
	t->frames[0].home = NULL;
	return t;
}

static void link_thread(struct thread *t)
{
	pthread_mutex_lock(&lock);
	t->serial = ++serials & INT32_MAX;
	t->next = threads;
	if (threads)
		threads->previous = t;
	threads = t;
	pthread_mutex_unlock(&lock);
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
	link_thread(t);
	self = t;
	return 0;
}

struct thread *netns__thread_peek(void)
{
	return self;
}

int netns__thread_get(struct thread **thread, struct netns_error *err)
{
	int ret = self ? 0 : set_up_thread(err);

	*thread = self;
	return ret;
}

void netns__thread_recall(int64_t guard)
{
	struct thread *t;

	pthread_mutex_lock(&lock);
	for (t = threads; t; t = t->next) {
		if (t != self && t->serial == (uint64_t)guard >> 32)
			atomic_store(&t->recalled, guard);
	}
	pthread_mutex_unlock(&lock);
}

int netns__open_by_pidfd(int id, unsigned int flags)
{
	int pidfd = sys_pidfd_open(id, flags);
	int ret;

	if (pidfd < 0)
		return pidfd;
	ret = sys_ioctl(pidfd, SYS_PIDFD_GET_NET_NAMESPACE);
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
	ret = netns__wrap(fd, &opened, err);
	if (ret < 0)
		return ret;
	opened->is_borrowed = true;
	netns_unref(*home);
	*home = opened;
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

	if (ret >= 0)
		t->link = ret;
	else if (ret == -ENOENT || ret == -EACCES)
		t->link = LINK_ABSENT;
	return ret;
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
	int fd;

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
	if (t->link == LINK_UNKNOWN) {
		int ret = open_link(t);

		if (ret < 0 && t->link == LINK_UNKNOWN)
			return netns__fail(err, ret, NETNS_STEP_OPEN_HOME,
					   OWN_LINK);
	}
	if (*home && (t->link >= 0 ? is_home_by_link(t, *home)
				   : is_home_by_inode(*home)))
		return 0;
	return netns__open_home(home, err);
}
