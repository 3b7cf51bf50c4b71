/* SPDX-License-Identifier: Apache-2.0 */
/* current, enter, leave, host, set: the calling thread and its way home. */
#include "support.h"

#define LEVELS 64

static uint64_t home;

static void test_current(void)
{
	struct netns *ns = NULL;

	ok(good(netns_current(&ns, fresh())), "current: a handle");
	ok(netns_ino(ns) == home, "current: on the namespace it is in");
	netns_unref(ns);
}

static void test_new(void)
{
	struct netns *a = NULL, *b = NULL;

	ok(good(netns_new(&a, fresh())) && good(netns_new(&b, fresh())),
	   "new: two");
	ok(netns_ino(a) != home && netns_ino(b) != home &&
		   netns_ino(a) != netns_ino(b),
	   "new: of their own");
	ok(where() == home, "new: the caller has not moved");
	netns_unref(a);
	netns_unref(b);
}

static void test_enter(void)
{
	struct netns *ns = make_namespace(), *seen = NULL, *host = NULL;
	int64_t guard;

	guard = netns_enter(ns, fresh());
	ok(good(guard) && guard > 0, "enter: a guard");
	ok(where() == netns_ino(ns), "enter: inside");
	ok(good(netns_current(&seen, fresh())) &&
		   netns_ino(seen) == netns_ino(ns),
	   "enter: current says so too");
	ok(good(netns_host(&host, fresh())) && netns_ino(host) == home,
	   "host: where the thread came from");
	netns_close(host);
	ok(!netns_is_closed(host), "host: is not closed");
	netns_unref(host);
	ok(good(netns_leave(guard, fresh())), "leave");
	ok(where() == home, "leave: home");
	ok(bad(netns_host(&host, fresh()), ENOENT, NETNS_STEP_CHECK_ORDER, ""),
	   "host: none outside a guard");
	netns_unref(seen);
	netns_unref(ns);
}

static void test_enter_host(void)
{
	struct netns *ns = make_namespace(), *host = NULL;
	int64_t outer, inner;

	outer = netns_enter(ns, fresh());
	netns_host(&host, fresh());
	inner = netns_enter(host, fresh());
	ok(good(inner) && where() == home, "enter host: at home in the body");
	ok(good(netns_leave(inner, fresh())) && where() == netns_ino(ns),
	   "enter host: back in the body");
	ok(good(netns_leave(outer, fresh())) && where() == home,
	   "enter host: home");
	netns_unref(host);
	netns_unref(ns);
}

/* The reference outlives guard and thread record. */
static void test_host_kept(void)
{
	struct netns *a = make_namespace(), *b = make_namespace();
	struct netns *host = NULL;
	int64_t guard;

	guard = netns_enter(a, fresh());
	netns_host(&host, fresh());
	netns_leave(guard, fresh());
	if (!setns_to(b))
		bail("setns");
	guard = netns_enter(a, fresh());
	netns_leave(guard, fresh());
	ok(good(netns_set(host, fresh())) && where() == home,
	   "host: the reference is good after the guard");
	netns_unref(host);
	netns_unref(a);
	netns_unref(b);
}

static void test_nested(void)
{
	struct netns *ns[3] = { make_namespace(), make_namespace(),
				make_namespace() };
	int64_t guards[LEVELS];
	int i, inside = 0, hosts = 0, back = 0, before;

	make_thread_known();
	before = count_fds();
	for (i = 0; i < LEVELS; i++) {
		struct netns *host = NULL;
		uint64_t from = i ? netns_ino(ns[(i - 1) % 3]) : home;

		guards[i] = netns_enter(ns[i % 3], fresh());
		inside += good(guards[i]) && where() == netns_ino(ns[i % 3]);
		hosts += good(netns_host(&host, fresh())) &&
			 netns_ino(host) == from;
		netns_unref(host);
	}
	ok(inside == LEVELS, "nested: inside at %d levels", LEVELS);
	ok(hosts == LEVELS, "nested: each level knows where it came from");
	for (i = LEVELS - 1; i >= 0; i--) {
		uint64_t to = i ? netns_ino(ns[(i - 1) % 3]) : home;

		back += good(netns_leave(guards[i], fresh())) && where() == to;
	}
	ok(back == LEVELS, "nested: each level is back where it came from");
	ok(where() == home, "nested: home");
	ok(count_fds() == before, "nested: no descriptor is left");
	for (i = 0; i < 3; i++)
		netns_unref(ns[i]);
}

static void test_foreign_move(void)
{
	struct netns *start_in = NULL;
	struct netns *a = make_namespace(), *b = make_namespace();
	int64_t outer, inner;

	netns_current(&start_in, fresh());
	outer = netns_enter(a, fresh());
	netns_leave(outer, fresh());

	if (!setns_to(b))
		bail("setns");
	outer = netns_enter(a, fresh());
	ok(good(outer) && where() == netns_ino(a), "foreign setns: entered");
	ok(good(netns_leave(outer, fresh())) && where() == netns_ino(b),
	   "foreign setns: home is where the thread was, not where it had been");

	if (!setns_to(start_in))
		bail("setns");
	outer = netns_enter(a, fresh());
	if (!setns_to(b))
		bail("setns");
	inner = netns_enter(a, fresh());
	ok(good(inner) && where() == netns_ino(a),
	   "foreign setns in a body: entered, though it had been there");
	ok(good(netns_leave(inner, fresh())) && where() == netns_ino(b),
	   "foreign setns in a body: back in the body");
	ok(good(netns_leave(outer, fresh())) && where() == home,
	   "foreign setns in a body: home");

	outer = netns_enter(a, fresh());
	if (!setns_to(b))
		bail("setns");
	ok(good(netns_leave(outer, fresh())) && where() == home,
	   "foreign setns in a body: leave goes home all the same");
	netns_unref(start_in);
	netns_unref(a);
	netns_unref(b);
}

/* setns(2) would be refused to a thread without CAP_SYS_ADMIN. */
static void test_already_inside(void)
{
	struct netns *here = NULL, *ns = make_namespace();
	int64_t guard, inner;

	netns_current(&here, fresh());
	have_admin(false);
	guard = netns_enter(here, fresh());
	ok(good(guard), "already inside: entered without setns");
	ok(where() == home, "already inside: where it was");
	ok(good(netns_leave(guard, fresh())),
	   "already inside: left without setns");
	have_admin(true);

	guard = netns_enter(ns, fresh());
	have_admin(false);
	inner = netns_enter(ns, fresh());
	ok(good(inner) && where() == netns_ino(ns),
	   "already inside a body: entered without setns");
	ok(good(netns_leave(inner, fresh())) && where() == netns_ino(ns),
	   "already inside a body: left without setns");
	have_admin(true);
	ok(good(netns_leave(guard, fresh())) && where() == home,
	   "already inside a body: home");
	netns_unref(here);
	netns_unref(ns);
}

static void test_set(void)
{
	struct netns *back = NULL, *host = NULL;
	struct netns *a = make_namespace(), *b = make_namespace();
	int64_t guard;
	int before;

	netns_current(&back, fresh());
	guard = netns_enter(a, fresh());
	netns_leave(guard, fresh());
	before = count_fds();

	ok(good(netns_set(a, fresh())) && where() == netns_ino(a),
	   "set: moved for good");
	ok(count_fds() == before - 1, "set: what was home is not held on to");
	guard = netns_enter(b, fresh());
	ok(good(netns_host(&host, fresh())) && netns_ino(host) == netns_ino(a),
	   "set: is home to the next guard");
	netns_unref(host);
	ok(good(netns_leave(guard, fresh())) && where() == netns_ino(a),
	   "set: and the guard goes there");
	ok(good(netns_set(back, fresh())) && where() == home, "set: and back");
	netns_unref(back);
	netns_unref(a);
	netns_unref(b);
}

static void test_set_in_guard(void)
{
	struct netns *here = NULL;
	struct netns *a = make_namespace(), *b = make_namespace();
	int64_t outer, inner;

	netns_current(&here, fresh());
	outer = netns_enter(a, fresh());
	ok(good(netns_set(b, fresh())) && where() == netns_ino(b),
	   "set in a guard: moved");
	ok(good(netns_leave(outer, fresh())) && where() == home,
	   "set in a guard: home");

	outer = netns_enter(here, fresh());
	netns_set(b, fresh());
	ok(good(netns_leave(outer, fresh())) && where() == home,
	   "set in a guard that did not move: home");

	outer = netns_enter(a, fresh());
	inner = netns_enter(b, fresh());
	netns_set(here, fresh());
	ok(good(netns_leave(inner, fresh())) && where() == netns_ino(a),
	   "set in an inner guard: back in the outer body");
	netns_set(b, fresh());
	inner = netns_enter(a, fresh());
	ok(good(netns_leave(inner, fresh())) && where() == netns_ino(b),
	   "set in a guard: an inner guard comes back to where it was set");
	ok(good(netns_leave(outer, fresh())) && where() == home,
	   "set in an outer guard: home");
	netns_unref(here);
	netns_unref(a);
	netns_unref(b);
}

static void test_out_of_order(void)
{
	struct netns *a = make_namespace(), *b = make_namespace();
	int64_t first, second, third;

	first = netns_enter(a, fresh());
	second = netns_enter(b, fresh());
	third = netns_enter(a, fresh());
	ok(bad(netns_leave(second, fresh()), EINVAL, NETNS_STEP_CHECK_ORDER,
	       ""),
	   "order: an outer guard left first");
	ok(where() == home, "order: at the outermost home");
	ok(bad(netns_leave(third, fresh()), EINVAL, NETNS_STEP_CHECK_ORDER,
	       "") &&
		   bad(netns_leave(first, fresh()), EINVAL,
		       NETNS_STEP_CHECK_ORDER, ""),
	   "order: the others are void");
	ok(where() == home, "order: and move nothing");
	first = netns_enter(a, fresh());
	ok(good(first) && where() == netns_ino(a) &&
		   good(netns_leave(first, fresh())) && where() == home,
	   "order: the thread is as good as before");

	first = netns_enter(a, fresh());
	second = netns_enter(b, fresh());
	netns_leave(second, fresh());
	ok(bad(netns_leave(second, fresh()), EINVAL, NETNS_STEP_CHECK_ORDER,
	       ""),
	   "order: a guard left twice");
	ok(where() == netns_ino(a), "order: the outer body is not disturbed");
	ok(bad(netns_leave(0, fresh()), EINVAL, NETNS_STEP_CHECK_ORDER, "") &&
		   bad(netns_leave(-1, fresh()), EINVAL, NETNS_STEP_CHECK_ORDER,
		       "") &&
		   bad(netns_leave(INT64_MAX, fresh()), EINVAL,
		       NETNS_STEP_CHECK_ORDER, "") &&
		   where() == netns_ino(a),
	   "order: no guard at all");
	ok(good(netns_leave(first, fresh())) && where() == home,
	   "order: the outer guard is good");
	netns_unref(a);
	netns_unref(b);
}

enum next_call { NEXT_ENTER, NEXT_LEAVE, NEXT_HOST, NEXT_SET, NEXT_CURRENT };

struct visitor {
	struct netns *outer, *inner;
	int64_t guard;
	sem_t inside, go;
	enum next_call next;
	bool entered, as_promised;
};

static bool recalled_enter(struct visitor *visitor)
{
	struct netns *host = NULL;
	int64_t guard = netns_enter(visitor->outer, fresh());
	bool as_promised =
		good(guard) && where() == netns_ino(visitor->outer) &&
		good(netns_host(&host, fresh())) && netns_ino(host) == home &&
		good(netns_leave(guard, fresh()));

	netns_unref(host);
	return as_promised && where() == home;
}

static bool recalled_set(struct visitor *visitor)
{
	return good(netns_set(visitor->outer, fresh())) &&
	       where() == netns_ino(visitor->outer) &&
	       bad(netns_leave(visitor->guard, fresh()), EINVAL,
		   NETNS_STEP_CHECK_ORDER, "") &&
	       where() == netns_ino(visitor->outer);
}

static bool recalled_current(void)
{
	struct netns *ns = NULL;
	bool as_promised =
		good(netns_current(&ns, fresh())) && netns_ino(ns) == home;

	netns_unref(ns);
	return as_promised && where() == home;
}

static void *visit(void *argument)
{
	struct visitor *visitor = argument;
	struct netns *host;

	netns_enter(visitor->outer, fresh());
	visitor->guard = netns_enter(visitor->inner, fresh());
	visitor->entered =
		good(visitor->guard) && where() == netns_ino(visitor->inner);
	sem_post(&visitor->inside);
	await(&visitor->go);
	switch (visitor->next) {
	case NEXT_ENTER:
		visitor->as_promised = recalled_enter(visitor);
		break;
	case NEXT_LEAVE:
		visitor->as_promised =
			bad(netns_leave(visitor->guard, fresh()), EINVAL,
			    NETNS_STEP_CHECK_ORDER, "") &&
			where() == home;
		break;
	case NEXT_HOST:
		visitor->as_promised = bad(netns_host(&host, fresh()), ENOENT,
					   NETNS_STEP_CHECK_ORDER, "") &&
				       where() == home;
		break;
	case NEXT_SET:
		visitor->as_promised = recalled_set(visitor);
		break;
	case NEXT_CURRENT:
		visitor->as_promised = recalled_current();
		break;
	}
	return NULL;
}

static void test_left_by_another_thread(void)
{
	static const char *const names[] = {
		[NEXT_ENTER] = "enter",	    [NEXT_LEAVE] = "leave",
		[NEXT_HOST] = "host",	    [NEXT_SET] = "set",
		[NEXT_CURRENT] = "current",
	};
	struct netns *mine = make_namespace();
	struct visitor visitor = { .outer = make_namespace(),
				   .inner = make_namespace() };
	pthread_t thread;
	int64_t guard;
	int next;

	sem_init(&visitor.inside, 0, 0);
	sem_init(&visitor.go, 0, 0);
	for (next = NEXT_ENTER; next <= NEXT_CURRENT; next++) {
		visitor.next = (enum next_call)next;
		visitor.as_promised = false;
		thread = start(visit, &visitor);
		await(&visitor.inside);
		guard = netns_enter(mine, fresh());
		ok(visitor.entered && bad(netns_leave(visitor.guard, fresh()),
					  EINVAL, NETNS_STEP_CHECK_ORDER, ""),
		   "left by another thread: refused to it");
		ok(where() == netns_ino(mine) &&
			   good(netns_leave(guard, fresh())) && where() == home,
		   "left by another thread: which goes on as it was");
		sem_post(&visitor.go);
		pthread_join(thread, NULL);
		ok(visitor.as_promised,
		   "left by another thread: its own is home at its next %s",
		   names[next]);
	}
	sem_destroy(&visitor.inside);
	sem_destroy(&visitor.go);
	netns_unref(visitor.outer);
	netns_unref(visitor.inner);
	netns_unref(mine);
}

/* As visit(), but without the capability that the way home needs. */
static void *visit_and_stay(void *argument)
{
	struct visitor *visitor = argument;
	struct netns *host;
	int ret;

	visitor->guard = netns_enter(visitor->inner, fresh());
	visitor->entered = good(visitor->guard);
	sem_post(&visitor->inside);
	await(&visitor->go);
	have_admin(false);
	ret = visitor->next == NEXT_HOST ? netns_host(&host, fresh())
					 : netns_leave(visitor->guard, fresh());
	visitor->as_promised = bad(ret, EPERM, NETNS_STEP_RETURN, "") &&
			       where() == netns_ino(visitor->inner);
	return NULL;
}

static void test_left_by_another_thread_for_good(void)
{
	static const enum next_call calls[] = { NEXT_LEAVE, NEXT_HOST };
	struct visitor visitor = { .inner = make_namespace() };
	pthread_t thread;
	int i;

	sem_init(&visitor.inside, 0, 0);
	sem_init(&visitor.go, 0, 0);
	for (i = 0; i < 2; i++) {
		visitor.next = calls[i];
		visitor.as_promised = false;
		thread = start(visit_and_stay, &visitor);
		await(&visitor.inside);
		netns_leave(visitor.guard, fresh());
		sem_post(&visitor.go);
		pthread_join(thread, NULL);
		ok(visitor.entered && visitor.as_promised,
		   "left by another thread: its own says that it is stranded");
	}
	sem_destroy(&visitor.inside);
	sem_destroy(&visitor.go);
	netns_unref(visitor.inner);
}

struct nest {
	struct netns *a, *b;
	int64_t outer, inner;
};

static int go_on_in_child(void *argument)
{
	struct nest *nest = argument;
	struct netns *seen = NULL;
	int64_t guard;

	must(where() == netns_ino(nest->b));
	must(good(netns_current(&seen, fresh())));
	must(netns_ino(seen) == netns_ino(nest->b));
	must(setns_to(nest->a));
	netns_unref(seen);
	must(good(netns_current(&seen, fresh())));
	must(netns_ino(seen) == netns_ino(nest->a));
	guard = netns_enter(nest->b, fresh());
	must(good(guard) && where() == netns_ino(nest->b));
	must(good(netns_leave(guard, fresh())));
	must(where() == netns_ino(nest->a));
	must(good(netns_leave(nest->inner, fresh())));
	must(where() == netns_ino(nest->a));
	must(good(netns_leave(nest->outer, fresh())));
	must(where() == home);
	guard = netns_enter(nest->b, fresh());
	must(good(guard) && where() == netns_ino(nest->b));
	must(good(netns_leave(guard, fresh())) && where() == home);
	return 0;
}

/* In a child the inherited link still reports the parent's namespace. */
static int enter_where_parent_was(void *argument)
{
	struct nest *nest = argument;
	int64_t guard;

	must(setns_to(nest->a));
	guard = netns_enter(nest->b, fresh());
	must(good(guard) && where() == netns_ino(nest->b));
	must(good(netns_leave(guard, fresh())));
	must(where() == netns_ino(nest->a));
	return 0;
}

static int fork_again(void *argument)
{
	struct nest *nest = argument;

	must(in_child(go_on_in_child, nest) == 0);
	must(where() == netns_ino(nest->b));
	must(good(netns_leave(nest->inner, fresh())));
	must(where() == netns_ino(nest->a));
	must(good(netns_leave(nest->outer, fresh())));
	must(where() == home);
	return 0;
}

static void test_fork(void)
{
	struct nest nest = { .a = make_namespace(), .b = make_namespace() };

	ok(in_child(enter_where_parent_was, &nest) == 0,
	   "fork: the child's home is its own, not the parent's");
	nest.outer = netns_enter(nest.a, fresh());
	nest.inner = netns_enter(nest.b, fresh());
	ok(in_child(go_on_in_child, &nest) == 0,
	   "fork in a guard: the child goes on, leaves and is home");
	ok(in_child(fork_again, &nest) == 0,
	   "fork in a guard: so does the child's child");
	ok(where() == netns_ino(nest.b) &&
		   good(netns_leave(nest.inner, fresh())) &&
		   where() == netns_ino(nest.a) &&
		   good(netns_leave(nest.outer, fresh())) && where() == home,
	   "fork in a guard: and the parent");
	netns_unref(nest.a);
	netns_unref(nest.b);
}

int main(void)
{
	int before;

	alarm(SECONDS);
	home = where();
	test_current();
	test_new();
	test_enter();
	before = count_fds();
	test_enter_host();
	test_host_kept();
	test_nested();
	test_foreign_move();
	test_already_inside();
	test_set();
	test_set_in_guard();
	test_out_of_order();
	test_left_by_another_thread();
	test_left_by_another_thread_for_good();
	test_fork();
	ok(count_fds() <= before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
