/* SPDX-License-Identifier: Apache-2.0 */
/* Home, enter, leave, set. */
#include <string.h>

#include "internal.h"
#include "sys.h"

static atomic_int abort_when_stranded;

int netns_abort_when_stranded(int on)
{
	return atomic_exchange(&abort_when_stranded, on);
}

/* Where the thread is, the body of its innermost guard taken as home. */
static struct netns **home_slot(struct thread *t)
{
	return t->depth ? &t->frames[t->depth - 1].here : &t->home;
}

/* Where it was when it entered that body. */
static struct netns *home_of_innermost(struct thread *t)
{
	return t->depth > 1 ? t->frames[t->depth - 2].here : t->home;
}

/*
 * where am I
 *
 * Problem: a thread may be moved behind the library's back, so its home must
 * be proven at each enter, cheaply.
 * Rejected: opening the link each time (three times the cost, and EMFILE on
 * the way in); a socket's cookie (four times); trusting what was left behind.
 * Solution: the text of the thread's ns/net link against that of the home
 * descriptor it keeps. The descriptor pins its namespace, so that no other one
 * can have its inode number.
 */
static int open_link(struct thread *t)
{
	int ret = sys_openat(AT_FDCWD, "/proc/thread-self/ns/net",
			     O_PATH | O_NOFOLLOW, 0);

	if (ret >= 0)
		t->link = ret;
	else if (ret == -ENOENT || ret == -EACCES)
		t->link = LINK_ABSENT;
	return ret;
}

static bool at_home_by_link(struct thread *t, const struct netns *home)
{
	char text[sizeof(home->text)];
	int size = sys_readlinkat(t->link, "", text, sizeof(text));

	return size > 0 && (size_t)size == home->text_size &&
	       !memcmp(text, home->text, home->text_size);
}

static bool at_home_by_inode(const struct netns *home)
{
	struct stat st;
	bool same;
	int fd;

	if (netns__open_here(&fd, NULL) < 0)
		return false;
	same = !sys_fstat(fd, &st) && st.st_ino == home->ino &&
	       st.st_dev == home->dev;
	sys_close(fd);
	return same;
}

static int open_home(struct netns **home, struct netns_error *err)
{
	struct netns *opened;
	int fd, ret;

	ret = netns__open_here(&fd, err);
	if (ret < 0)
		return ret;
	ret = netns__wrap(fd, &opened, err);
	if (ret < 0)
		return ret;
	opened->is_home = true;
	netns_unref(*home);
	*home = opened;
	return 0;
}

static int prove_home(struct thread *t, struct netns **home,
		      struct netns_error *err)
{
	if (t->link == LINK_UNKNOWN) {
		int ret = open_link(t);

		if (ret < 0 && t->link == LINK_UNKNOWN)
			return netns__fail(err, ret, NETNS_STEP_OPEN_HOME,
					   "/proc/thread-self/ns/net");
	}
	if (*home && (t->link >= 0 ? at_home_by_link(t, *home)
				   : at_home_by_inode(*home)))
		return 0;
	return open_home(home, err);
}

/*
 * the way back
 *
 * setns(2) asks for CAP_SYS_ADMIN in the thread's own user namespace and in
 * the one that owns the network namespace; unshare(2) and a target with a more
 * generous owner don't ask what the return will ask, and would strand the
 * thread. Where both have one owner, entering the target has asked it already;
 * elsewhere a setns(2) to where the thread is asks it now, at each enter, for
 * capabilities come and go. Returns 1 then, for the thread is at home now.
 */
static int check_return(struct netns *home, struct netns *target,
			struct netns_error *err)
{
	uint64_t owner = netns__owner(home);
	int ret;

	if (owner && owner == netns__owner(target))
		return 0;
	ret = sys_setns(home->fd);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_CHECK_RETURN, NULL)
		       : 1;
}

int netns_is_prepared(int64_t guard)
{
	struct thread *t = netns__recorded();

	if (!t)
		return 0;
	if (guard)
		return t->depth && t->frames[t->depth - 1].guard == guard;
	return t->link >= 0 && *home_slot(t);
}

/* Whether a thread made for it can do what the calling one must not. */
bool netns__may_not_return(int ret, const struct netns_error *err)
{
	return ret == -EPERM && err->step == NETNS_STEP_CHECK_RETURN;
}

static int make_room(struct thread *t, struct netns_error *err)
{
	uint32_t room = t->room ? 2 * t->room : 8;
	struct frame *frames;

	if (t->depth < t->room)
		return 0;
	frames = sys_realloc(t->frames, room * sizeof(*frames));
	if (!frames)
		return netns__fail(err, -ENOMEM, NETNS_STEP_ALLOCATE, NULL);
	t->frames = frames;
	t->room = room;
	return 0;
}

static int64_t push(struct thread *t, bool moved)
{
	struct frame *frame = &t->frames[t->depth++];

	frame->guard = (int64_t)t->serial << 32 | ++t->guards;
	frame->moved = moved;
	frame->here = NULL;
	return frame->guard;
}

static void pop(struct thread *t)
{
	netns_unref(t->frames[--t->depth].here);
}

int64_t netns_enter(struct netns *ns, struct netns_error *err)
{
	struct netns **home;
	struct thread *t;
	int64_t guard;
	bool away;
	int fd, ret;

	ret = netns__use_thread(&t, err);
	if (ret < 0)
		return ret;
	fd = netns__hold(ns, err);
	if (fd < 0)
		return fd;
	guard = make_room(t, err); /* may move the frames that home lies in */
	if (guard < 0)
		goto out;
	home = home_slot(t);
	guard = prove_home(t, home, err);
	if (guard < 0)
		goto out;
	away = (*home)->ino != ns->ino || (*home)->dev != ns->dev;
	if (away) {
		guard = check_return(*home, ns, err);
		if (guard < 0)
			goto out;
		guard = sys_setns(fd);
		if (guard < 0) {
			netns__fail(err, (int)guard, NETNS_STEP_ENTER, NULL);
			goto out;
		}
	}
	guard = push(t, away);
out:
	netns__release(ns);
	return guard;
}

static int strand(struct thread *t, int ret, struct netns_error *err)
{
	if (atomic_load(&abort_when_stranded))
		abort();
	t->stranded = true;
	return netns__fail(err, ret, NETNS_STEP_RETURN, NULL);
}

/* Voids all guards of the thread and brings it to where the first one left. */
int netns__go_home(struct thread *t, struct netns_error *err)
{
	bool moved = t->stranded; /* by a guard that is no more */
	int ret = 0;

	while (t->depth) {
		moved |= t->frames[t->depth - 1].moved;
		pop(t);
	}
	if (moved)
		ret = sys_setns(t->home->fd);
	if (ret < 0)
		return strand(t, ret, err);
	t->stranded = false;
	return 0;
}

bool netns__has_guard(const struct thread *t, int64_t guard)
{
	uint32_t i;

	for (i = 0; i < t->depth; i++) {
		if (t->frames[i].guard == guard)
			return true;
	}
	return false;
}

static int out_of_order(struct thread *t, int64_t guard,
			struct netns_error *err)
{
	int ret;

	if (netns__has_guard(t, guard)) {
		ret = netns__go_home(t, err);
		if (ret < 0)
			return ret;
	} else if ((uint64_t)guard >> 32 != t->serial) {
		netns__recall(guard);
	}
	return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ORDER, NULL);
}

int netns_leave(int64_t guard, struct netns_error *err)
{
	struct frame *frame;
	struct thread *t;
	int ret;

	ret = netns__thread(&t, err);
	if (ret < 0)
		return ret;
	frame = t->depth ? &t->frames[t->depth - 1] : NULL;
	if (!frame || frame->guard != guard)
		return out_of_order(t, guard, err);
	/* An inner return may have failed where this one's is possible. */
	if (frame->moved || t->stranded) {
		ret = sys_setns(home_of_innermost(t)->fd);
		if (ret < 0)
			strand(t, ret, err);
		else
			t->stranded = false;
	}
	pop(t);
	return ret;
}

int netns_host(struct netns **host, struct netns_error *err)
{
	struct thread *t;
	int ret = netns__thread(&t, err);

	if (ret < 0)
		return ret;
	if (!t->depth)
		return netns__fail(err, -ENOENT, NETNS_STEP_CHECK_ORDER, NULL);
	*host = netns_ref(home_of_innermost(t));
	return t->depth == 1;
}

/*
 * Moves on from wherever the thread is. What was left must not be kept alive
 * by the memory of it.
 */
static int move_on(struct thread *t, struct netns *ns, bool check,
		   struct netns_error *err)
{
	struct frame *frame = t->depth ? &t->frames[t->depth - 1] : NULL;
	struct netns **here = home_slot(t);
	int fd, ret = 0;

	fd = netns__hold(ns, err);
	if (fd < 0)
		return fd;
	if (check)
		ret = check_return(home_of_innermost(t), ns, err);
	if (ret > 0)
		frame->moved = false;
	if (ret >= 0) {
		ret = sys_setns(fd);
		if (ret < 0)
			netns__fail(err, ret, NETNS_STEP_ENTER, NULL);
	}
	netns__release(ns);
	if (ret < 0)
		return ret;
	if (frame)
		frame->moved = true;
	netns_unref(*here);
	*here = NULL;
	return 0;
}

int netns_set(struct netns *ns, struct netns_error *err)
{
	struct thread *t;
	int ret;

	ret = netns__use_thread(&t, err);
	if (ret < 0)
		return ret;
	/* A guard that moved its thread has asked for the way back already. */
	return move_on(t, ns, t->depth && !t->frames[t->depth - 1].moved, err);
}

int64_t netns_tour(struct netns_error *err)
{
	struct thread *t;
	int ret;

	ret = netns__use_thread(&t, err);
	if (ret < 0)
		return ret;
	ret = make_room(t, err);
	if (ret < 0)
		return ret;
	ret = prove_home(t, home_slot(t), err);
	return ret < 0 ? ret : push(t, false);
}

/* As netns_visit(), within the tour that the calling thread has just begun. */
int netns__visit_new(struct netns_error *err)
{
	/* By netns__thread() a recall could end that tour here. */
	struct thread *t = netns__recorded();
	int ret = sys_setns(home_of_innermost(t)->fd);

	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_CHECK_RETURN, NULL);
	ret = sys_unshare_net();
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_UNSHARE, NULL);
	t->frames[t->depth - 1].moved = true;
	return 0;
}

/* The way back is asked for at each visit: the next owner may be another. */
int netns_visit(int64_t guard, struct netns *ns, struct netns_error *err)
{
	struct thread *t;
	int ret;

	ret = netns__use_thread(&t, err);
	if (ret < 0)
		return ret;
	if (!t->depth || t->frames[t->depth - 1].guard != guard)
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ORDER, NULL);
	return move_on(t, ns, true, err);
}
