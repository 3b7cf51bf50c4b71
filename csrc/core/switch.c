/* SPDX-License-Identifier: Apache-2.0 */
/* The stack of homes: enter, leave, visit, set; and jobs that run inside. */
#include <string.h>

#include "internal.h"
#include "sys.h"

static atomic_int abort_when_stranded;

int netns_abort_when_stranded(int on)
{
	return atomic_exchange(&abort_when_stranded, on);
}

/* For a thread that has a guard. */
static struct frame *innermost_frame(const struct thread *t)
{
	return &t->frames[t->depth - 1];
}

/* Where the thread is, as it was last known; NULL where it is not known. */
static struct netns **next_home(const struct thread *t)
{
	return &t->frames[t->depth].home;
}

static bool is_innermost(const struct thread *t, int64_t guard)
{
	return t->depth && innermost_frame(t)->guard == guard;
}

static int make_room(struct thread *t, struct netns_error *err)
{
	struct frame *frames, *old = t->frames;
	size_t room = 0;

	if (t->depth + 2 <= t->room)
		return 0;
	/* Not realloc(3), which frees what a forked child still reads. */
	frames = netns__grow(NULL, &room, 2 * (t->depth + 2), sizeof(*frames));
	if (!frames)
		return netns__fail(err, -ENOMEM, NETNS_STEP_ALLOCATE, NULL);
	memcpy(frames, old, (t->depth + 1) * sizeof(*frames));
	netns__order_for_fork();
	t->frames = frames;
	t->room = room;
	netns__order_for_fork();
	free(old);
	return 0;
}

static int64_t push_frame(struct thread *t, bool moved)
{
	struct frame *frame = &t->frames[t->depth];

	frame->guard = (int64_t)t->serial << 32 | ++t->guards;
	frame->moved = moved;
	frame[1].home = NULL;
	netns__order_for_fork();
	t->depth++;
	return frame->guard;
}

/* The frame's home stays known: it is where the thread enters from next. */
static void pop_frame(struct thread *t)
{
	struct netns *next = *next_home(t);

	t->depth--;
	netns__order_for_fork();
	netns_unref(next);
}

static int strand(struct thread *t, int ret, struct netns_error *err)
{
	if (atomic_load(&abort_when_stranded))
		abort();
	t->stranded = true;
	return netns__fail(err, ret, NETNS_STEP_RETURN, NULL);
}

/*
 * A home whose descriptor other code has closed is no way back. Without a link,
 * as in a fork's child, nothing has shown whether it has.
 */
static int return_to(const struct thread *t, struct netns *home)
{
	bool is_lost = t->link < 0 ? netns__fd_is_lost_now(home)
				   : netns__fd_is_lost(home);

	return is_lost ? -ESTALE : sys_setns(home->fd);
}

/* Voids all guards of the thread and returns it to its outermost home. */
static int return_to_outermost(struct thread *t, struct netns_error *err)
{
	/* A stranded thread was moved by a guard that it has no more. */
	bool moved = t->stranded;
	int ret = 0;

	while (t->depth) {
		moved |= innermost_frame(t)->moved;
		pop_frame(t);
	}
	if (moved)
		ret = return_to(t, t->frames[0].home);
	if (ret < 0)
		return strand(t, ret, err);
	t->stranded = false;
	return 0;
}

static bool has_guard(const struct thread *t, int64_t guard)
{
	size_t i;

	for (i = 0; i < t->depth; i++) {
		if (t->frames[i].guard == guard)
			return true;
	}
	return false;
}

/* Another thread left a guard of this one, but could not move this thread. */
static int answer_recall(struct thread *t, struct netns_error *err)
{
	if (!atomic_load_explicit(&t->is_recalled, memory_order_relaxed))
		return 0;
	return netns__thread_was_recalled(t) ? return_to_outermost(t, err) : 0;
}

static int make_usable(struct thread *t, struct netns_error *err)
{
	if (t->stranded)
		return netns__fail(err, -ENOTRECOVERABLE,
				   NETNS_STEP_CHECK_STRANDED, NULL);
	return answer_recall(t, err);
}

int netns__thread_get_usable(struct thread **thread, struct netns_error *err)
{
	*thread = netns__thread_peek();
	return *thread ? make_usable(*thread, err)
		       : netns__thread_get(thread, err);
}

int netns__thread_check(struct netns_error *err)
{
	struct thread *t = netns__thread_peek();

	if (!t)
		return 0;
	/* A body may have closed all descriptors, and be about to open its own. */
	if (t->depth)
		netns__thread_look(t);
	return make_usable(t, err);
}

int netns__fd_get_usable(struct netns *ns, struct netns_error *err)
{
	int ret = netns__thread_check(err);

	return ret < 0 ? ret : netns__fd_get_proven(ns, err);
}

/* Also for a stranded thread, which an outer guard may still return home. */
static int get_recalled_thread(struct thread **thread, struct netns_error *err)
{
	int ret = netns__thread_get(thread, err);

	return ret < 0 ? ret : answer_recall(*thread, err);
}

int netns_is_prepared(int64_t guard)
{
	struct thread *t = netns__thread_peek();

	if (!t)
		return 0;
	return guard ? is_innermost(t, guard) : t->link >= 0 && *next_home(t);
}

/*
 * the way back
 *
 * setns(2) asks for CAP_SYS_ADMIN in the thread's own user namespace and in
 * the one that owns the network namespace. unshare(2), or a target that another
 * user namespace owns, may let a thread go that setns(2) would not let return.
 * Where home and target have one owner, entering the target asks what the
 * return will ask. Elsewhere the library asks at each enter, by a setns(2) to
 * where the thread is: capabilities come and go. That returns 1, as the thread
 * is certainly at home then.
 */
static int check_return(struct netns *home, struct netns *target,
			struct netns_error *err)
{
	uint64_t owner = netns__owner_ino(home);
	int ret;

	if (owner && owner == netns__owner_ino(target))
		return 0;
	ret = netns__check(err, sys_setns(home->fd), NETNS_STEP_CHECK_RETURN,
			   NULL);
	return ret < 0 ? ret : 1;
}

/* To a handle that the caller uses, by its descriptor. */
static int move_to(struct netns *ns, int fd, struct netns_error *err)
{
	int ret = sys_setns(fd);

	if (ret >= 0)
		return ret;
	/* These may come of a descriptor that is another file by now. */
	if (ret == -EBADF || ret == -EINVAL) {
		fd = netns__fd_get_proven(ns, err);
		if (fd == -ESTALE)
			return fd;
		if (fd >= 0)
			netns__fd_put(ns);
	}
	return netns__fail(err, ret, NETNS_STEP_ENTER, NULL);
}

int64_t netns_enter(struct netns *ns, struct netns_error *err)
{
	struct netns *home;
	struct thread *t;
	int64_t guard;
	bool away;
	int fd, ret;

	ret = netns__thread_get_usable(&t, err);
	if (!ret)
		ret = make_room(t, err);
	/* Before the handle: it shows whether the descriptors are ours. */
	if (!ret)
		ret = netns__prove_home(t, next_home(t), err);
	if (ret < 0)
		return ret;
	fd = ret ? netns__fd_get_proven(ns, err) : netns__fd_get(ns, err);
	if (fd < 0)
		return fd;
	home = *next_home(t);
	away = home->ino != ns->ino || home->dev != ns->dev;
	if (away) {
		guard = check_return(home, ns, err);
		if (guard < 0)
			goto out;
		guard = move_to(ns, fd, err);
		if (guard < 0)
			goto out;
	}
	guard = push_frame(t, away);
out:
	netns__fd_put(ns);
	return guard;
}

static int refuse_order(struct thread *t, int64_t guard,
			struct netns_error *err)
{
	int ret;

	if (has_guard(t, guard)) {
		ret = return_to_outermost(t, err);
		if (ret < 0)
			return ret;
	} else if ((uint64_t)guard >> 32 != t->serial) {
		ret = netns__thread_recall(guard);
		if (ret < 0)
			return netns__fail(err, ret, NETNS_STEP_ALLOCATE, NULL);
	}
	return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ORDER, NULL);
}

int netns_leave(int64_t guard, struct netns_error *err)
{
	struct frame *frame;
	struct thread *t;
	int ret;

	ret = get_recalled_thread(&t, err);
	if (ret < 0)
		return ret;
	if (!is_innermost(t, guard))
		return refuse_order(t, guard, err);
	frame = innermost_frame(t);
	/* An inner return may have failed where this one succeeds. */
	if (frame->moved || t->stranded) {
		ret = return_to(t, frame->home);
		if (ret < 0)
			strand(t, ret, err);
		else
			t->stranded = false;
	}
	pop_frame(t);
	return ret;
}

int netns_host(struct netns **host, struct netns_error *err)
{
	struct thread *t;
	int ret = get_recalled_thread(&t, err);

	if (ret < 0)
		return ret;
	if (!t->depth)
		return netns__fail(err, -ENOENT, NETNS_STEP_CHECK_ORDER, NULL);
	*host = netns_ref(innermost_frame(t)->home);
	return t->depth == 1;
}

/*
 * Moves the thread on from wherever it is. Its record forgets where that was,
 * so as not to keep that namespace alive.
 */
static int move_on(struct thread *t, struct netns *ns, bool check, bool proven,
		   struct netns_error *err)
{
	struct frame *frame = t->depth ? innermost_frame(t) : NULL;
	struct netns **home = next_home(t);
	int fd, ret = 0;

	fd = proven ? netns__fd_get(ns, err) : netns__fd_get_proven(ns, err);
	if (fd < 0)
		return fd;
	if (check)
		ret = check_return(frame->home, ns, err);
	if (ret > 0)
		frame->moved = false;
	if (ret >= 0)
		ret = move_to(ns, fd, err);
	netns__fd_put(ns);
	if (ret < 0)
		return ret;
	if (frame)
		frame->moved = true;
	netns__set_home(home, NULL);
	return 0;
}

/* For a thread that has no record to keep right. */
static int set_without_record(struct netns *ns, struct netns_error *err)
{
	int ret, fd = netns__fd_get_proven(ns, err);

	if (fd < 0)
		return fd;
	ret = move_to(ns, fd, err);
	netns__fd_put(ns);
	return ret;
}

int netns_set(struct netns *ns, struct netns_error *err)
{
	struct thread *t = netns__thread_peek();
	int ret;

	/* The child of a vfork(2) finds its parent's record. */
	if (!t || t->tid != sys_gettid())
		return set_without_record(ns, err);
	ret = make_usable(t, err);
	if (ret < 0)
		return ret;
	/* A guard that moved its thread has checked the return already. */
	return move_on(t, ns, t->depth && !innermost_frame(t)->moved, false,
		       err);
}

int64_t netns_tour(struct netns_error *err)
{
	struct thread *t;
	int ret;

	ret = netns__thread_get_usable(&t, err);
	if (ret < 0)
		return ret;
	ret = make_room(t, err);
	if (ret < 0)
		return ret;
	ret = netns__prove_home(t, next_home(t), err);
	return ret < 0 ? ret : push_frame(t, false);
}

/* Each visit checks the return: the next namespace may have another owner. */
int netns_visit(int64_t guard, struct netns *ns, struct netns_error *err)
{
	struct thread *t;
	int ret;

	ret = netns__thread_get_usable(&t, err);
	if (ret < 0)
		return ret;
	if (!is_innermost(t, guard))
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ORDER, NULL);
	return move_on(t, ns, true, true, err);
}

/*
 * jobs that run inside
 *
 * A job runs on the calling thread, between an enter and a leave. Where the
 * thread would not be allowed to return, the job runs on a thread that is made
 * for it and ends inside.
 */
struct run {
	struct netns *ns; /* NULL: the job visits */
	netns__job *job;
	void *arg;
	size_t stack;
	int ret;
	struct netns_error *err;
};

static bool is_return_refused(int64_t ret, const struct netns_error *err)
{
	return ret == -EPERM && err->step == NETNS_STEP_CHECK_RETURN;
}

/*
 * As netns_enter(), but 0 where the return would be refused. It is not inlined:
 * the error would take 4 KiB of the stack below every body.
 */
static __attribute__((noinline)) int64_t
enter_if_returnable(struct netns *ns, struct netns_error *err)
{
	struct netns_error kept;
	int64_t guard = netns_enter(ns, &kept);

	if (is_return_refused(guard, &kept))
		return 0;
	return guard < 0 ? netns__pass(err, &kept) : guard;
}

/* The failed return counts for more than what the job returned. */
static int run_with_guard(const struct run *run, int64_t guard,
			  struct netns_error *err)
{
	const struct inside inside = {
		.host = innermost_frame(netns__thread_peek())->home,
		.guard = guard
	};
	int ret = run->job(&inside, run->arg, err);
	int left = netns_leave(guard, err);

	return left < 0 ? left : ret;
}

static void *run_on_helper(void *arg)
{
	struct inside inside = { 0 };
	struct run *run = arg;

	run->ret = netns__open_home(&inside.host, run->err);
	if (!run->ret && run->ns)
		run->ret = netns_set(run->ns, run->err);
	if (!run->ret)
		run->ret = run->job(&inside, run->arg, run->err);
	netns_unref(inside.host);
	return NULL;
}

static int run_in_thread(struct run *run, struct netns_error *err)
{
	int ret;

	run->err = err;
	ret = netns__helper_run(run->stack, run_on_helper, run, err);
	return ret < 0 ? ret : run->ret;
}

static int run_inside(struct run *run, struct netns_error *err)
{
	int64_t guard = enter_if_returnable(run->ns, err);

	if (guard < 0)
		return (int)guard;
	return guard ? run_with_guard(run, guard, err)
		     : run_in_thread(run, err);
}

int netns__run_inside(struct netns *ns, netns__job *job, void *arg,
		      struct netns_error *err)
{
	struct run run = {
		.ns = ns, .job = job, .arg = arg, .stack = HELPER_STACK
	};

	return run_inside(&run, err);
}

int netns__run_tour(netns__job *job, void *arg, struct netns_error *err)
{
	struct run run = { .job = job, .arg = arg, .stack = HELPER_STACK };
	struct netns_error kept;
	int64_t guard = netns_tour(&kept);
	int ret = guard < 0 ? (int)guard : run_with_guard(&run, guard, &kept);

	if (is_return_refused(ret, &kept))
		ret = run_in_thread(&run, &kept);
	return ret < 0 ? netns__pass(err, &kept) : ret;
}

int netns__visit_next(const struct inside *inside, struct netns *ns,
		      struct netns_error *err)
{
	return inside->guard ? netns_visit(inside->guard, ns, err)
			     : netns_set(ns, err);
}

int netns__visit_new(const struct inside *inside, struct netns_error *err)
{
	/* netns__thread_get_usable() could answer a recall and end the tour. */
	struct frame *frame =
		inside->guard ? innermost_frame(netns__thread_peek()) : NULL;
	int ret = 0;

	if (frame)
		ret = netns__check(err, sys_setns(inside->host->fd),
				   NETNS_STEP_CHECK_RETURN, NULL);
	if (!ret)
		ret = netns__check(err, sys_unshare_net(), NETNS_STEP_UNSHARE,
				   NULL);
	if (!ret && frame)
		frame->moved = true;
	return ret;
}

struct call {
	int (*fn)(struct netns *host, void *arg);
	void *arg;
	int ret;
};

/* fn may leave guards, which would free a host that nobody else owns. */
static int call_function(const struct inside *inside, void *arg,
			 struct netns_error *err)
{
	struct netns *host = netns_ref(inside->host);
	struct call *call = arg;

	(void)err;
	call->ret = call->fn(host, call->arg);
	netns_unref(host);
	return 0;
}

int netns_do(struct netns *ns, int (*fn)(struct netns *host, void *arg),
	     void *arg, struct netns_error *err)
{
	struct call call = { .fn = fn, .arg = arg };
	struct run run = { .ns = ns,
			   .job = call_function,
			   .arg = &call,
			   .stack = HELPER_STACK_WHOLE };
	int ret = run_inside(&run, err);

	return ret < 0 ? ret : call.ret;
}
