/* SPDX-License-Identifier: Apache-2.0 */
/* netns_do: it runs a function inside, on this thread or one made for it. */
#include "support.h"

#define ROOTLESS "--rootless"
#define DEEP	 16

static uint64_t home;

/* What a function saw, and what it is to return. */
struct seen {
	struct netns *ns, *next;
	int ret, calls;
	uint64_t inside, host;
	pid_t tid;
	bool closed;
};

static int look(struct netns *host, void *arg)
{
	struct seen *seen = arg;

	netns_close(host);
	seen->calls++;
	seen->inside = where();
	seen->host = netns_ino(host);
	seen->closed = netns_is_closed(host);
	seen->tid = thread_id();
	return seen->ret;
}

static bool saw(const struct seen *seen, const struct netns *ns, uint64_t host)
{
	return seen->calls == 1 && seen->inside == netns_ino(ns) &&
	       seen->host == host && !seen->closed;
}

static void test_do(void)
{
	struct netns *ns = make_namespace();
	struct seen seen = { .ret = 42 };

	ok(netns_do(ns, look, &seen, fresh()) == 42 && untouched(),
	   "do: returns what the function returns");
	ok(saw(&seen, ns, home) && seen.tid == thread_id() && where() == home,
	   "do: inside, with home as the host, on this thread");
	seen = (struct seen) { .ret = -EPERM };
	ok(netns_do(ns, look, &seen, fresh()) == -EPERM && untouched() &&
		   saw(&seen, ns, home) && where() == home,
	   "do: a function that fails leaves the error untouched");
	seen = (struct seen) { 0 };
	ok(netns_do(ns, look, &seen, NULL) == 0 && saw(&seen, ns, home),
	   "do: no error wanted");
	netns_close(ns);
	seen = (struct seen) { 0 };
	ok(bad(netns_do(ns, look, &seen, fresh()), EBADF, NETNS_STEP_USE_HANDLE,
	       "") &&
		   !seen.calls,
	   "do: a closed handle, and no call");
	ok(bad(netns_do(NULL, look, &seen, fresh()), EBADF,
	       NETNS_STEP_USE_HANDLE, "") &&
		   !seen.calls,
	   "do: no handle, and no call");
	netns_unref(ns);
}

static int nest(struct netns *host, void *arg)
{
	struct seen *seen = arg, inner = { .ret = 7 };

	seen->host = netns_ino(host);
	seen->ret = netns_do(seen->next, look, &inner, NULL);
	seen->calls = saw(&inner, seen->next, netns_ino(seen->ns));
	seen->inside = where();
	return seen->ret;
}

/* The failure of a nested call is the function's own, of whatever kind. */
static int fail_nested(struct netns *host, void *arg)
{
	struct seen *seen = arg;

	(void)host;
	seen->calls++;
	netns_close(seen->next);
	seen->ret = netns_do(seen->next, look, seen, NULL);
	return seen->ret;
}

static int dive(struct netns *host, void *arg)
{
	struct seen *seen = arg;
	struct netns *ns = seen[1].ns;

	seen->host = netns_ino(host);
	seen->inside = where();
	return ns ? netns_do(ns, dive, seen + 1, NULL) : 0;
}

static void test_nested(void)
{
	struct netns *a = make_namespace(), *b = make_namespace();
	struct seen seen = { .ns = a, .next = b }, deep[DEEP + 1] = { 0 };
	int i, right = 0;

	ok(netns_do(a, nest, &seen, fresh()) == 7 && untouched() &&
		   seen.calls == 1 && seen.host == home &&
		   seen.inside == netns_ino(a) && where() == home,
	   "do in do: the host is the body around it");
	seen = (struct seen) { .next = b };
	ok(netns_do(a, fail_nested, &seen, fresh()) == -EBADF && untouched() &&
		   seen.calls == 1 && where() == home,
	   "do in do: a nested failure is the function's");
	netns_unref(b);
	b = make_namespace();
	for (i = 0; i < DEEP; i++)
		deep[i].ns = i % 2 ? a : b;
	ok(good(netns_do(b, dive, deep, fresh())) && where() == home,
	   "do in do: deep");
	for (i = 1; i < DEEP; i++)
		right += deep[i].inside == netns_ino(deep[i].ns) &&
			 deep[i].host == netns_ino(deep[i - 1].ns);
	ok(right == DEEP - 1, "do in do: each in its own, each with its host");
	netns_unref(a);
	netns_unref(b);
}

/* The function leaves a guard of its caller, or keeps one of its own. */

struct order {
	struct netns *ns;
	int64_t guard;
	uint64_t host;
};

static int leave_outer(struct netns *host, void *arg)
{
	struct order *order = arg;

	netns_leave(order->guard, NULL);
	order->host = netns_ino(host);
	return where() == home ? 0 : 1;
}

static int enter_and_stay(struct netns *host, void *arg)
{
	struct order *order = arg;

	(void)host;
	order->guard = netns_enter(order->ns, NULL);
	return 0;
}

static void test_order(void)
{
	struct netns *a = make_namespace(), *b = make_namespace();
	struct order order = { .ns = b };

	order.guard = netns_enter(a, fresh());
	ok(bad(netns_do(b, leave_outer, &order, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ORDER, "") &&
		   order.host == netns_ino(a) && where() == home,
	   "do: an outer guard left inside; the host lives on, the thread is home");
	ok(bad(netns_do(a, enter_and_stay, &order, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ORDER, "") &&
		   where() == home,
	   "do: a guard that is left over inside is void");
	ok(bad(netns_leave(order.guard, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ORDER, ""),
	   "do: and can't be left any more");
	netns_unref(a);
	netns_unref(b);
}

static int drop_admin(struct netns *host, void *arg)
{
	(void)host;
	have_admin(false);
	return *(int *)arg;
}

static int strand(void *arg)
{
	struct netns *ns = arg;
	struct seen seen = { 0 };
	int ret = -7;

	must(bad(netns_do(ns, drop_admin, &ret, fresh()), EPERM,
		 NETNS_STEP_RETURN, ""));
	have_admin(true);
	must(bad(netns_do(ns, look, &seen, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(!seen.calls);
	return 0;
}

static void test_stranded(void)
{
	struct netns *ns = make_namespace();

	ok(in_child(strand, ns) == 0,
	   "do: a failed return counts for more than the function's");
	netns_unref(ns);
}

static int fork_inside(struct netns *host, void *arg)
{
	pid_t *pid = arg;

	(void)host;
	fflush(stdout);
	*pid = fork();
	return 0;
}

static void test_fork(void)
{
	struct netns *ns = make_namespace();
	pid_t pid = -1;
	int ret = netns_do(ns, fork_inside, &pid, fresh());

	if (pid == 0) {
		limit_child();
		ret = good(ret) && where() == home ? 0 : 1;
		keep_counts();
		_exit(ret);
	}
	ok(good(ret) && where() == home && wait_for(pid) == 0,
	   "do: a fork inside brings parent and child home");
	netns_unref(ns);
}

/*
 * Root of a user namespace that does not own its network namespace could not
 * return, so a thread is made for each function.
 */

static int refuse_nested(struct netns *host, void *arg)
{
	struct seen *seen = arg;
	int64_t guard;

	(void)host;
	seen->calls++;
	guard = netns_enter(seen->next, fresh());
	must(bad((int)guard, EPERM, NETNS_STEP_CHECK_RETURN, ""));
	return (int)guard;
}

static int rootless(void)
{
	struct netns *ns = NULL, *other = NULL, *here = NULL;
	struct seen seen = { .ret = 42 };
	uint64_t cookie = 0, again = 0;
	int fds;

	alarm(SECONDS);
	home = where();
	must(good(netns_new(&ns, fresh())));
	must(good(netns_new(&other, fresh())));
	must(good(netns_current(&here, fresh())));
	must(netns_enter(ns, fresh()) == -EPERM);
	fds = count_fds();
	must(netns_do(ns, look, &seen, fresh()) == 42 && untouched());
	must(saw(&seen, ns, home) && seen.tid != thread_id());
	must(where() == home && count_fds() == fds);
	seen = (struct seen) { .ret = -EPERM };
	must(netns_do(ns, look, &seen, fresh()) == -EPERM && untouched());
	must(saw(&seen, ns, home) && count_fds() == fds);
	/* A thread that was made need not return, so nothing is refused. */
	seen = (struct seen) { .ns = ns, .next = other };
	must(netns_do(ns, nest, &seen, fresh()) == 7 && untouched());
	must(seen.calls == 1 && seen.host == home && where() == home);

	/* Inside already, on this thread: the nested refusal is fn's own. */
	seen = (struct seen) { .next = ns };
	must(netns_do(here, refuse_nested, &seen, fresh()) == -EPERM);
	must(seen.calls == 1 && where() == home);

	netns_close(other);
	must(bad(netns_do(other, look, &seen, fresh()), EBADF,
		 NETNS_STEP_USE_HANDLE, ""));
	must(netns_cookie(ns, &cookie, fresh()) == -ENOPROTOOPT ||
	     (untouched() && cookie));
	must(netns_cookie(here, &again, fresh()) == -ENOPROTOOPT ||
	     (untouched() && again && again != cookie));
	must(where() == home && count_fds() == fds - 1);
	netns_unref(here);
	netns_unref(other);
	netns_unref(ns);
	return 0;
}

static void test_rootless(void)
{
	int status = run_rootless("test_do", ROOTLESS);

	if (status < 0)
		skip("needs CLONE_NEWUSER: %s", strerror(errno));
	else
		ok(status == 0,
		   "do: where the return would be refused, a thread made for it");
}

int main(int argc, char **argv)
{
	int before;

	if (argc > 1 && !strcmp(argv[1], ROOTLESS))
		return rootless();
	alarm(SECONDS);
	home = where();
	make_thread_known();
	before = count_fds();
	test_do();
	test_nested();
	test_order();
	test_stranded();
	test_fork();
	test_rootless();
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
