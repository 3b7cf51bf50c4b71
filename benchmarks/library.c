/* SPDX-License-Identifier: Apache-2.0 */
/* This library as a C program uses it, linked with libnetns.a. */
#include <malloc.h>
#include <unistd.h>

#include "netns.h"
#include "worker.h"

static struct netns_error error;

static struct netns *opened(const char *name)
{
	struct netns *ns = NULL;

	CHECK(netns_open(NULL, name, &ns, &error) == 0);
	return ns;
}

static uint64_t here(void)
{
	struct netns *ns = NULL;
	uint64_t ino;

	CHECK(netns_current(&ns, &error) == 0);
	ino = netns_ino(ns);
	netns_unref(ns);
	return ino;
}

static struct netns **present_handles(long present)
{
	static struct netns **handles;
	static long count;
	char name[64];

	if (present > count) {
		handles = realloc(handles, (size_t)present * sizeof(*handles));
		CHECK(handles);
	}
	for (; count < present; count++)
		handles[count] = opened(numbered(name, "bench", count));
	return handles;
}

static void check_way(struct netns *ns)
{
	uint64_t home = here();
	int64_t guard = netns_enter(ns, &error);

	CHECK(guard > 0 && here() == netns_ino(ns) && home != netns_ino(ns));
	CHECK(netns_leave(guard, &error) == 0 && here() == home);
}

static int64_t do_times(long count)
{
	struct netns *ns = opened(target);
	struct netns_error err;
	int64_t start, spent, guard;
	uint64_t home = here();
	long i;

	check_way(ns);
	start = now();
	for (i = 0; i < count; i++) {
		guard = netns_enter(ns, &err);
		if (guard < 0 || netns_leave(guard, &err))
			break;
	}
	spent = now() - start;
	CHECK(i == count && here() == home);
	netns_unref(ns);
	return spent;
}

static int64_t run_inside(long count, long present)
{
	struct netns *ns = opened(target);
	int64_t outer, spent;
	uint64_t home = here();

	(void)present;
	check_way(ns);
	outer = netns_enter(ns, &error);
	CHECK(outer > 0 && here() == netns_ino(ns));
	int64_t start = now();
	for (long i = 0; i < count; i++) {
		int64_t guard = netns_enter(ns, &error);

		CHECK(guard > 0 && netns_leave(guard, &error) == 0);
	}
	spent = now() - start;
	CHECK(netns_leave(outer, &error) == 0 && here() == home);
	netns_unref(ns);
	return spent;
}

static int64_t run_visit(long count, long present)
{
	struct netns **handles = present_handles(present);
	uint64_t home = here();
	int64_t start, spent, tour;
	long i;

	check_way(handles[0]);
	start = now();
	tour = netns_tour(&error);
	CHECK(tour > 0);
	for (i = 0; i < count; i++)
		if (netns_visit(tour, handles[i % present], &error))
			break;
	CHECK(netns_leave(tour, &error) == 0);
	spent = now() - start;
	CHECK(i == count && here() == home);
	return spent;
}

static int64_t run_socket(long count, long present)
{
	struct netns *ns = opened(target);
	int64_t start, spent;
	int fd;

	(void)present;
	check_way(ns);
	start = now();
	for (long i = 0; i < count; i++) {
		fd = netns_socket(ns, 2, 1, 0, &error);
		CHECK(fd >= 0);
		close(fd);
	}
	spent = now() - start;
	netns_unref(ns);
	return spent;
}

static int64_t run_sockets(long count, long present)
{
	struct netns **handles = present_handles(present);
	int *fds = calloc((size_t)present, sizeof(*fds));
	int64_t start, spent = 0;

	CHECK(fds);
	while (count-- > 0) {
		start = now();
		CHECK(netns_sockets(handles, (size_t)present, 2, 1, 0, fds,
				    &error) == 0);
		spent += now() - start;
		for (long i = 0; i < present; i++)
			CHECK(close(fds[i]) == 0);
	}
	free(fds);
	return spent;
}

static int64_t run_current(long count, long present)
{
	struct netns *ns;
	int64_t start = now();

	(void)present;
	for (long i = 0; i < count; i++) {
		CHECK(netns_current(&ns, &error) == 0);
		netns_unref(ns);
	}
	return now() - start;
}

static int64_t run_open(long count, long present)
{
	struct netns *ns;
	int64_t start = now();

	(void)present;
	for (long i = 0; i < count; i++) {
		CHECK(netns_open(NULL, target, &ns, &error) == 0);
		netns_unref(ns);
	}
	return now() - start;
}

static int64_t run_from_pid(long count, long present)
{
	pid_t pid = getppid();
	struct netns *ns;
	int64_t start = now();

	(void)present;
	for (long i = 0; i < count; i++) {
		CHECK(netns_from_pid(pid, &ns, &error) == 0);
		netns_unref(ns);
	}
	return now() - start;
}

static int64_t run_new(long count, long present)
{
	struct netns *ns;
	uint64_t home = here();
	int64_t start = now();

	(void)present;
	for (long i = 0; i < count; i++) {
		CHECK(netns_new(&ns, &error) == 0 && netns_ino(ns) != home);
		netns_unref(ns);
	}
	return now() - start;
}

static int64_t run_create(long count, long present)
{
	int64_t start = now(), spent;
	struct netns *ns;
	char name[64];
	long i;

	(void)present;
	for (i = 0; i < count; i++) {
		CHECK(netns_create(NULL, numbered(name, "library", i), &ns,
				   &error) == 0);
		netns_unref(ns);
	}
	spent = now() - start;
	while (i-- > 0)
		CHECK(netns_delete(NULL, numbered(name, "library", i),
				   &error) == 0);
	return spent;
}

static int64_t run_create_delete(long count, long present)
{
	struct netns *ns;
	int64_t start = now();

	(void)present;
	for (long i = 0; i < count; i++) {
		CHECK(netns_create(NULL, "library", &ns, &error) == 0);
		netns_unref(ns);
		CHECK(netns_delete(NULL, "library", &error) == 0);
	}
	return now() - start;
}

static int64_t run_delete(long count, long present)
{
	size_t number = (size_t)present;
	struct netns_error *errors = calloc(number, sizeof(*errors));
	const char **targets = calloc(number, sizeof(*targets));
	char (*names)[64] = calloc(number, sizeof(*names));
	int64_t start;
	int failed;

	(void)count;
	CHECK(errors && targets && names);
	for (long i = 0; i < present; i++)
		targets[i] = numbered(names[i], "doomed", i);
	start = now();
	failed = netns_delete_many(NULL, targets, number, errors);
	start = now() - start;
	CHECK(failed == 0);
	free(errors);
	free(targets);
	free(names);
	return start;
}

static int64_t run_discover(long count, long present)
{
	struct netns_discovery *found;
	int64_t start = now();

	for (long i = 0; i < count; i++) {
		CHECK(netns_discover(NULL, NETNS_PINS | NETNS_PROCESSES, &found,
				     &error) == 0);
		CHECK(found->count > present && found->ids_count >= present);
		netns_free(found);
	}
	return now() - start;
}

/* Bytes, not nanoseconds. */
static int64_t run_memory(long count, long present)
{
	struct netns **handles = calloc((size_t)count, sizeof(*handles));
	size_t before, after;

	(void)present;
	CHECK(handles);
	before = mallinfo2().uordblks;
	for (long i = 0; i < count; i++)
		handles[i] = opened(target);
	after = mallinfo2().uordblks;
	for (long i = 0; i < count; i++)
		netns_unref(handles[i]);
	free(handles);
	return (int64_t)(after - before);
}

int main(int argc, const char *argv[])
{
	static const struct operation operations[] = {
		{ "do", run_do },
		{ "enter", run_do },
		{ "inside", run_inside },
		{ "visit", run_visit },
		{ "socket", run_socket },
		{ "sockets", run_sockets },
		{ "current", run_current },
		{ "open", run_open },
		{ "from_pid", run_from_pid },
		{ "new", run_new },
		{ "create", run_create },
		{ "create_delete", run_create_delete },
		{ "delete", run_delete },
		{ "discover", run_discover },
		{ "threads1", run_threads1 },
		{ "threads2", run_threads2 },
		{ "threads4", run_threads4 },
		{ "memory", run_memory },
		{ NULL, NULL },
	};

	return argc == 2 ? serve(argv, operations) : 2;
}
