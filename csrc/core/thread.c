/* SPDX-License-Identifier: Apache-2.0 */
/* What the core remembers of each thread: made at first use, gone with it. */
#include <signal.h>

#include "internal.h"
#include "sys.h"

/* Enough for the core's own few calls. */
#define STACK_SIZE ((size_t)128 * 1024)

/*
 * The records are on the heap and in a list, not in thread-local storage,
 * because a fork's child must close the descriptors of the threads that it did
 * not inherit, whose thread-local storage is no longer theirs.
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

static void discard(struct thread *t)
{
	close_link(t);
	while (t->depth)
		netns_unref(t->frames[--t->depth].here);
	netns_unref(t->home);
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
	discard(t);
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
 * The link names the parent's thread, whose namespace it would go on to
 * report. Homes are descriptors of namespaces and stay right, so a
 * guard that the fork happened in can be left by the child as well.
 */
static void after_fork_in_child(void)
{
	struct thread *t, *next;

	for (t = threads; t; t = next) {
		next = t->next;
		if (t != self)
			discard(t);
	}
	threads = self;
	if (self) {
		self->next = self->previous = NULL;
		close_link(self);
	}
	pthread_mutex_unlock(&lock);
}

static void set_up(void)
{
	once_result = -pthread_key_create(&key, thread_ended);
	if (!once_result)
		once_result = -pthread_atfork(before_fork, after_fork_in_parent,
					      after_fork_in_child);
}

static int set_up_thread(struct netns_error *err)
{
	struct thread *t;
	int ret;

	pthread_once(&once, set_up);
	if (once_result)
		return netns__fail(err, once_result, NETNS_STEP_SET_UP_THREAD,
				   NULL);
	t = sys_alloc(sizeof(*t));
	if (!t)
		return netns__fail(err, -ENOMEM, NETNS_STEP_ALLOCATE, NULL);
	t->link = LINK_UNKNOWN;
	ret = -pthread_setspecific(key, t);
	if (ret) {
		free(t);
		return netns__fail(err, ret, NETNS_STEP_SET_UP_THREAD, NULL);
	}
	pthread_mutex_lock(&lock);
	t->serial = ++serials & INT32_MAX;
	t->next = threads;
	if (threads)
		threads->previous = t;
	threads = t;
	pthread_mutex_unlock(&lock);
	self = t;
	return 0;
}

/* A guard of this thread was left by another one, which could not move it. */
static int answer_recall(struct thread *t, struct netns_error *err)
{
	int64_t guard;

	if (!atomic_load_explicit(&t->recalled, memory_order_relaxed))
		return 0;
	guard = atomic_exchange(&t->recalled, 0);
	return netns__has_guard(t, guard) ? netns__go_home(t, err) : 0;
}

/* NULL: none has been made. */
struct thread *netns__recorded(void)
{
	return self;
}

int netns__thread(struct thread **thread, struct netns_error *err)
{
	int ret;

	*thread = self;
	if (*thread)
		return answer_recall(*thread, err);
	ret = set_up_thread(err);
	*thread = self;
	return ret;
}

static int make_ready(struct thread *t, struct netns_error *err)
{
	if (t->stranded)
		return netns__fail(err, -ENOTRECOVERABLE,
				   NETNS_STEP_CHECK_STRANDED, NULL);
	return answer_recall(t, err);
}

/* As netns__thread(), for what a stranded thread is refused. */
int netns__use_thread(struct thread **thread, struct netns_error *err)
{
	*thread = self;
	return *thread ? make_ready(*thread, err) : netns__thread(thread, err);
}

/* As netns__use_thread(), for what needs no record of the thread. */
int netns__ready(struct netns_error *err)
{
	struct thread *t = self;

	return t ? make_ready(t, err) : 0;
}

void netns__recall(int64_t guard)
{
	struct thread *t;

	pthread_mutex_lock(&lock);
	for (t = threads; t; t = t->next) {
		if (t != self && t->serial == (uint64_t)guard >> 32)
			atomic_store(&t->recalled, guard);
	}
	pthread_mutex_unlock(&lock);
}

/* A thread for the core's own calls, in the caller's namespace. */
int netns__start(pthread_t *thread, void *(*run)(void *), void *argument)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int ret;

	ret = -pthread_attr_init(&attr);
	if (ret)
		return ret;
	ret = -pthread_attr_setstacksize(&attr, STACK_SIZE);
	if (!ret) {
		/* The process's signals are for its own threads. */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		ret = sys_thread(thread, &attr, run, argument);
		/* Static thread-local storage may need more than that. */
		if (ret == -EINVAL)
			ret = sys_thread(thread, NULL, run, argument);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attr);
	return ret;
}

/* Runs on a thread made for it, which need not come home, and ends. */
int netns__in_thread(void *(*run)(void *), void *arg, struct netns_error *err)
{
	pthread_t thread;
	int ret = netns__start(&thread, run, arg);

	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_START_THREAD, NULL);
	pthread_join(thread, NULL);
	return 0;
}
