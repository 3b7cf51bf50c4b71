/* SPDX-License-Identifier: Apache-2.0 */
/* Each failure names its step and leaves nothing. Stranded threads. */
#include <sys/resource.h>
#include <sys/socket.h>

#include "support.h"

#define ROOTLESS "--rootless"

static uint64_t home;

static void test_texts(void)
{
	int i, j, texts = 0, same = 0;

	for (i = 0; i < NETNS_STEP_COUNT; i++) {
		texts += *netns_step_text(i) != '\0';
		for (j = 0; j < i; j++)
			same += !strcmp(netns_step_text(i), netns_step_text(j));
	}
	ok(texts == NETNS_STEP_COUNT, "step_text: each step has one");
	ok(same == 0, "step_text: of its own");
	ok(netns_step_text(-1) && netns_step_text(NETNS_STEP_COUNT) &&
		   netns_step_text(INT32_MAX) && netns_step_text(INT32_MIN),
	   "step_text: of no step");
	ok(!strcmp(netns_version(), NETNS_VERSION), "version: the header's");
}

static void test_no_error_wanted(void)
{
	struct netns *ns = NULL;
	char *names;
	size_t size;

	ok(netns_leave(1, NULL) == -EINVAL, "no error wanted: leave");
	ok(netns_host(&ns, NULL) == -ENOENT, "no error wanted: host");
	ok(netns_open(NULL, "/", &ns, NULL) == -EINVAL &&
		   netns_open(NULL, "..", &ns, NULL) == -EINVAL,
	   "no error wanted: open");
	ok(netns_from_pid(0, &ns, NULL) == -EINVAL &&
		   netns_from_thread(0, 0, &ns, NULL) == -EINVAL &&
		   netns_from_fd(-1, &ns, NULL) == -EBADF,
	   "no error wanted: from_pid, from_thread, from_fd");
	ok(netns_create(scratch, "", &ns, NULL) == -EINVAL,
	   "no error wanted: create");
	ok(netns_delete(scratch, "", NULL) == -EINVAL,
	   "no error wanted: delete");
	ok(netns_names("/dev/null", &names, &size, NULL) == -ENOTDIR,
	   "no error wanted: names");
	ok(netns_new(&ns, NULL) == 0, "no error wanted: new");
	netns_close(ns);
	ok(netns_enter(ns, NULL) == -EBADF && netns_set(ns, NULL) == -EBADF &&
		   netns_pin(ns, scratch, "x", NULL) == -EBADF,
	   "no error wanted: enter, set, pin");
	netns_unref(ns);
}

static void test_long_paths(void)
{
	static char path[2 * NETNS_PATH_SIZE];
	struct netns_discovery *found = NULL;
	struct netns *ns = NULL;
	char *names = NULL;
	size_t size = 0;

	memset(path, '/', sizeof(path) - 1);
	ok(netns_open(NULL, path, &ns, fresh()) == -ENAMETOOLONG &&
		   err.err == ENAMETOOLONG &&
		   strlen(err.path) == NETNS_PATH_SIZE - 1,
	   "a long path: is cut in the error");
	ok(bad(netns_open(path, "name", &ns, fresh()), ENAMETOOLONG,
	       NETNS_STEP_CHECK_ARGUMENT, "name"),
	   "a long run directory: open");
	ok(bad(netns_create(path, "name", &ns, fresh()), ENAMETOOLONG,
	       NETNS_STEP_CHECK_ARGUMENT, "name") &&
		   bad(netns_delete(path, "name", fresh()), ENAMETOOLONG,
		       NETNS_STEP_CHECK_ARGUMENT, "name"),
	   "a long run directory: create and delete");
	memset(path, 'n', sizeof(path) - 1);
	path[0] = '/';
	ok(netns_delete(NULL, path, fresh()) == -ENAMETOOLONG,
	   "a long path: delete");
	ok(netns_names(path, &names, &size, fresh()) == -ENAMETOOLONG &&
		   err.step == NETNS_STEP_OPEN_RUNDIR &&
		   netns_discover(path, NETNS_PINS, &found, fresh()) ==
			   -ENAMETOOLONG &&
		   err.step == NETNS_STEP_OPEN_RUNDIR,
	   "a long run directory: names and discover");
}

#define CANNOT 77

static int find_rundir_as_nobody(void *argument)
{
	char buf[64] = "";
	uid_t mine = geteuid();

	(void)argument;
	if (seteuid(65534) < 0)
		return CANNOT;
	netns_rundir(buf, sizeof(buf));
	must(seteuid(mine) == 0);
	must(!strcmp(buf, "/run/user/7/netns"));
	return 0;
}

static void test_rundir(void)
{
	int status;
	const char *expected;
	struct stat st;
	char buf[64];

	unsetenv("NETNS_RUN_DIR");
	unsetenv("XDG_RUNTIME_DIR");
	ok(netns_rundir(buf, sizeof(buf)) == 10 && !strcmp(buf, "/run/netns"),
	   "rundir: iproute2's");
	setenv("NETNS_RUN_DIR", "", 1);
	ok(netns_rundir(buf, sizeof(buf)) == 10 && !strcmp(buf, "/run/netns"),
	   "rundir: also where the variable is empty");
	ok(netns_rundir(buf, 10) == -ENAMETOOLONG &&
		   netns_rundir(buf, 11) == 10,
	   "rundir: the size is kept to");
	setenv("NETNS_RUN_DIR", "/some/where", 1);
	ok(netns_rundir(buf, sizeof(buf)) == 11 && !strcmp(buf, "/some/where"),
	   "rundir: the variable's");
	unsetenv("NETNS_RUN_DIR");
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	expected = !stat("/var/run", &st) && st.st_uid == geteuid()
			 ? "/run/netns"
			 : "/run/user/7/netns";
	ok(netns_rundir(buf, sizeof(buf)) == (int)strlen(expected) &&
		   !strcmp(buf, expected),
	   "rundir: the user's, but not for whom /var/run belongs to");
	status = in_child(find_rundir_as_nobody, NULL);
	if (status == CANNOT)
		skip("needs a second user");
	else
		ok(status == 0, "rundir: the user's");
	unsetenv("XDG_RUNTIME_DIR");
}

/*
 * Makes every call with 0, 1, 2... descriptors to spare until it succeeds, so
 * that each descriptor that it opens is refused once.
 */

/* Enter comes first: it opens most on a thread that is new to the library. */
enum call { ENTER, NEW, CREATE, PIN, DELETE, NAMES, OPEN, CURRENT, CALLS };

static const char *const call_names[CALLS] = {
	[NEW] = "new",	       [CREATE] = "create", [PIN] = "pin",
	[DELETE] = "delete",   [NAMES] = "names",   [OPEN] = "open",
	[CURRENT] = "current", [ENTER] = "enter",
};

/* Leaves so many numbers free; returns the limit as it was. */
static struct rlimit spare(int count)
{
	struct rlimit limit, old;
	int fd;

	getrlimit(RLIMIT_NOFILE, &old);
	limit = old;
	for (fd = 0; fcntl(fd, F_GETFD) >= 0 || count--; fd++)
		continue;
	limit.rlim_cur = (rlim_t)fd;
	setrlimit(RLIMIT_NOFILE, &limit);
	return old;
}

static int64_t make_call(enum call call, struct netns *ns)
{
	struct netns *made = NULL;
	char *names = NULL;
	size_t size;
	int64_t ret = 0;

	switch (call) {
	case NEW:
		ret = netns_new(&made, fresh());
		break;
	case CREATE:
		ret = netns_create(scratch, "create", &made, fresh());
		break;
	case PIN:
		ret = netns_pin(ns, scratch, "pin", fresh());
		break;
	case DELETE:
		ret = netns_delete(scratch, "delete", fresh());
		break;
	case NAMES:
		ret = netns_names(scratch, &names, &size, fresh());
		break;
	case OPEN:
		ret = netns_open(scratch, "open", &made, fresh());
		break;
	case CURRENT:
		ret = netns_current(&made, fresh());
		break;
	case ENTER:
		ret = netns_enter(ns, fresh());
		if (ret > 0)
			netns_leave(ret, NULL);
		break;
	case CALLS:
		break;
	}
	netns_unref(made);
	netns_free(names);
	return ret;
}

static void *sweep(void *argument)
{
	struct netns **namespaces = argument;
	struct netns *ns = namespaces[0], *pinned = namespaces[1];
	int call, mounts;

	netns_pin(pinned, scratch, "delete", fresh());
	mounts = count_mounts();
	for (call = 0; call < CALLS; call++) {
		int count, refused = 0, wrong = 0, fds = count_fds();
		int64_t ret = -1;

		for (count = 0; ret < 0 && count < 16; count++) {
			struct rlimit old = spare(count);

			ret = make_call((enum call)call, ns);
			setrlimit(RLIMIT_NOFILE, &old);
			if (ret >= 0)
				break;
			refused++;
			if (ret != -EMFILE || err.err != EMFILE ||
			    err.step <= NETNS_STEP_NONE ||
			    err.step >= NETNS_STEP_COUNT) {
				tell(ret);
				wrong++;
			}
			/* enter may keep the link that it was about to use. */
			if (call == ENTER)
				fds = fds == count_fds() ? fds : fds + 1;
			wrong += count_fds() != fds ||
				 count_mounts() != mounts || where() != home;
			wrong += !access(in_scratch("create"), F_OK) ||
				 !access(in_scratch("pin"), F_OK);
		}
		ok(refused > 0 && !wrong,
		   "no descriptor to spare: %s gives EMFILE, %d times, and leaves nothing",
		   call_names[call], refused);
		ok(good(ret) && where() == home,
		   "no descriptor to spare: %s works once there are enough",
		   call_names[call]);
		if (call == CREATE || call == PIN)
			netns_delete(scratch, call_names[call], fresh());
		mounts = count_mounts();
	}
	return NULL;
}

static void test_no_descriptors(void)
{
	struct netns *namespaces[2] = { make_namespace() };
	int fds;

	netns_create(scratch, "open", &namespaces[1], fresh());
	fds = count_fds();
	pthread_join(start(sweep, namespaces), NULL);
	ok(count_fds() == fds, "no descriptor to spare: none is left");
	netns_delete(scratch, "open", fresh());
	netns_unref(namespaces[1]);
	netns_unref(namespaces[0]);
}

static void test_no_privilege(void)
{
	struct netns *ns = make_namespace(), *none = NULL;
	const char *path = in_scratch("unprivileged");
	int fds, mounts;

	netns_pin(ns, scratch, "pinned", fresh());
	netns_leave(netns_enter(ns, fresh()), fresh());
	fds = count_fds();
	mounts = count_mounts();
	have_admin(false);
	ok(bad(netns_new(&none, fresh()), EPERM, NETNS_STEP_UNSHARE, ""),
	   "no privilege: new");
	ok(bad(netns_create(scratch, "x", &none, fresh()), EPERM,
	       NETNS_STEP_UNSHARE, "") &&
		   access(in_scratch("x"), F_OK) < 0,
	   "no privilege: create");
	ok(bad(netns_pin(ns, NULL, path, fresh()), EPERM, NETNS_STEP_BIND,
	       path) &&
		   access(path, F_OK) < 0,
	   "no privilege: pin, which leaves no file");
	ok(bad(netns_pin(ns, scratch, "x", fresh()), EPERM,
	       NETNS_STEP_SHARE_RUNDIR, scratch),
	   "no privilege: pin a name");
	ok(bad(netns_delete(scratch, "pinned", fresh()), EPERM,
	       NETNS_STEP_UNMOUNT, in_scratch("pinned")),
	   "no privilege: delete");
	ok(bad((int)netns_enter(ns, fresh()), EPERM, NETNS_STEP_ENTER, "") &&
		   where() == home,
	   "no privilege: enter");
	ok(bad(netns_set(ns, fresh()), EPERM, NETNS_STEP_ENTER, "") &&
		   where() == home,
	   "no privilege: set");
	have_admin(true);
	ok(count_fds() == fds && count_mounts() == mounts,
	   "no privilege: nothing is left");
	ok(good(netns_delete(scratch, "pinned", fresh())),
	   "no privilege: and all is well with it");
	netns_unref(ns);
}

/* A body gives up the capability that the way home needs. */

static int strand(void *argument)
{
	struct netns **ns = argument, *none = NULL;
	int64_t guard = netns_enter(ns[0], fresh());
	struct netns_discovery *found;
	struct netns_nsid *ids;
	int32_t id;
	uint64_t cookie;
	int fds[2];
	char *names;
	size_t size;

	must(good(guard));
	have_admin(false);
	must(bad(netns_leave(guard, fresh()), EPERM, NETNS_STEP_RETURN, ""));
	must(where() == netns_ino(ns[0]));
	have_admin(true);
	must(bad((int)netns_enter(ns[1], fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_set(ns[1], fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_current(&none, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_new(&none, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_create(scratch, "x", &none, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_open(NULL, "/proc/self/ns/net", &none, fresh()),
		 ENOTRECOVERABLE, NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_from_pid(getpid(), &none, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_from_thread(0, getpid(), &none, fresh()),
		 ENOTRECOVERABLE, NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_from_fd(netns_fd(ns[1]), &none, fresh()),
		 ENOTRECOVERABLE, NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_pin(ns[1], scratch, "x", fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_delete(scratch, "x", fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_names(scratch, &names, &size, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_discover(scratch, NETNS_PINS, &found, fresh()),
		 ENOTRECOVERABLE, NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_from_socket(0, &none, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad((int)netns_owner_uid(ns[1], fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_cookie(ns[1], &cookie, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_get_nsid(ns[1], &id, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_nsids(-1, -1, &ids, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_setup_exec(NULL, NULL, 0, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_sockets(ns, 2, AF_INET, SOCK_DGRAM, 0, fds, fresh()),
		 ENOTRECOVERABLE, NETNS_STEP_CHECK_STRANDED, ""));
	must(bad(netns_visit(guard, ns[1], fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(where() == netns_ino(ns[0]));
	return 0;
}

static int strand_within(void *argument)
{
	struct netns **ns = argument;
	int64_t outer = netns_enter(ns[0], fresh());
	int64_t inner = netns_enter(ns[1], fresh());

	must(good(outer) && good(inner));
	have_admin(false);
	must(bad(netns_leave(inner, fresh()), EPERM, NETNS_STEP_RETURN, ""));
	have_admin(true);
	must(bad((int)netns_enter(ns[1], fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	must(good(netns_leave(outer, fresh())) && where() == home);
	outer = netns_enter(ns[1], fresh());
	must(good(outer) && where() == netns_ino(ns[1]));
	must(good(netns_leave(outer, fresh())) && where() == home);
	return 0;
}

/* The outer guard did not move the thread, the inner one stranded it. */
static int strand_in_still(void *argument)
{
	struct netns **ns = argument, *here = NULL;
	int64_t outer, inner;

	must(good(netns_current(&here, fresh())));
	outer = netns_enter(here, fresh());
	inner = netns_enter(ns[0], fresh());
	must(good(outer) && good(inner));
	have_admin(false);
	must(bad(netns_leave(inner, fresh()), EPERM, NETNS_STEP_RETURN, ""));
	have_admin(true);
	must(good(netns_leave(outer, fresh())) && where() == home);
	return 0;
}

static int strand_out_of_order(void *argument)
{
	struct netns **ns = argument, *none = NULL;
	int64_t outer = netns_enter(ns[0], fresh());
	int64_t inner = netns_enter(ns[1], fresh());

	must(good(outer) && good(inner));
	have_admin(false);
	must(bad(netns_leave(outer, fresh()), EPERM, NETNS_STEP_RETURN, ""));
	must(bad(netns_current(&none, fresh()), ENOTRECOVERABLE,
		 NETNS_STEP_CHECK_STRANDED, ""));
	return 0;
}

static void aborted(int number)
{
	(void)number;
	keep_counts();
}

static int abort_stranded(void *argument)
{
	struct netns **ns = argument;
	struct rlimit none = { 0 };
	int64_t guard = netns_enter(ns[0], fresh());

	setrlimit(RLIMIT_CORE, &none);
	signal(SIGABRT, aborted); /* returns, and abort(3) goes on */
	must(good(guard));
	must(netns_abort_when_stranded(1) == 0);
	must(netns_abort_when_stranded(1) == 1);
	have_admin(false);
	netns_leave(guard, fresh());
	return 0;
}

static void test_stranded(void)
{
	struct netns *ns[2] = { make_namespace(), make_namespace() };

	ok(in_child(strand, ns) == 0,
	   "stranded: leave says so, and every later call is refused");
	ok(in_child(strand_within, ns) == 0,
	   "stranded: an outer guard brings it home, as good as before");
	ok(in_child(strand_in_still, ns) == 0,
	   "stranded: also one that had not moved");
	ok(in_child(strand_out_of_order, ns) == 0,
	   "stranded: by guards out of order");
	ok(in_child(abort_stranded, ns) == 128 + SIGABRT,
	   "stranded: abort, where that is asked for");
	netns_unref(ns[0]);
	netns_unref(ns[1]);
}

/*
 * Root of a user namespace that does not own its network namespace may make
 * namespaces and enter them, but not come home.
 */

static int rootless(void)
{
	struct netns *ns = NULL, *here = NULL, *none = NULL, *both[2];
	int sockets[2], fds;
	int64_t guard;

	alarm(SECONDS);
	home = where();
	must(good(netns_new(&ns, fresh())));
	must(good(netns_current(&here, fresh())) && netns_ino(here) == home);
	must(bad((int)netns_enter(ns, fresh()), EPERM, NETNS_STEP_CHECK_RETURN,
		 ""));
	must(where() == home);
	fds = count_fds();
	must(bad((int)netns_enter(ns, fresh()), EPERM, NETNS_STEP_CHECK_RETURN,
		 ""));
	must(where() == home && count_fds() == fds);
	/* A refused enter has left no guard. */
	must(bad(netns_host(&none, fresh()), ENOENT, NETNS_STEP_CHECK_ORDER,
		 ""));
	guard = netns_enter(here, fresh());
	must(good(guard) && where() == home);
	must(bad((int)netns_enter(ns, fresh()), EPERM, NETNS_STEP_CHECK_RETURN,
		 ""));
	must(good(netns_leave(guard, fresh())) && where() == home);

	must(write_text("/proc/sys/user/max_net_namespaces", "0") == 0);
	must(bad(netns_new(&none, fresh()), ENOSPC, NETNS_STEP_UNSHARE, ""));
	must(write_text("/proc/sys/user/max_net_namespaces", "100") == 0);

	/* These are made by threads that need not come home. */
	sockets[0] = netns_socket(ns, AF_INET, SOCK_DGRAM, 0, fresh());
	must(good(sockets[0]) && where() == home);
	must(good(netns_from_socket(sockets[0], &none, fresh())) &&
	     netns_ino(none) == netns_ino(ns));
	netns_unref(none);
	close(sockets[0]);
	must(good(netns_new(&none, fresh())));
	both[0] = ns;
	both[1] = none;
	must(good(netns_sockets(both, 2, AF_INET, SOCK_DGRAM, 0, sockets,
				fresh())) &&
	     where() == home);
	close(sockets[0]);
	close(sockets[1]);
	netns_unref(none);
	must(netns_socket(ns, AF_INET, -1, 0, fresh()) == -EINVAL &&
	     err.step == NETNS_STEP_MAKE_SOCKET);
	must(where() == home && count_fds() == fds);

	/* For good is another matter; from there every way is known. */
	must(good(netns_set(ns, fresh())) && where() == netns_ino(ns));
	must(good(netns_new(&none, fresh())));
	guard = netns_enter(none, fresh());
	must(good(guard) && where() == netns_ino(none));
	must(good(netns_leave(guard, fresh())) && where() == netns_ino(ns));
	netns_unref(none);
	netns_unref(here);
	netns_unref(ns);
	return 0;
}

static void test_rootless(void)
{
	int status = run_rootless("test_errors", ROOTLESS);

	if (status < 0)
		skip("needs CLONE_NEWUSER: %s", strerror(errno));
	else
		ok(status == 0,
		   "no way back: enter is refused before the thread leaves");
}

/* Without /proc the library uses pidfds, from Linux 6.11 on. */

static uint64_t where_without_proc(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int ns = ioctl(fd, SIOCGSKNS);
	struct stat st = { 0 };

	fstat(ns, &st);
	close(ns);
	close(fd);
	return st.st_ino;
}

static int do_without_proc(void *argument)
{
	struct netns **ns = argument, *seen = NULL;
	int64_t outer, inner;
	struct rlimit limit;
	int i;

	must(unshare(CLONE_NEWNS) == 0);
	must(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
	must(access("/proc/self", F_OK) < 0);
	must(where_without_proc() == home);
	must(good(netns_current(&seen, fresh())) && netns_ino(seen) == home);
	netns_unref(seen);
	for (i = 0; i < 2; i++) {
		outer = netns_enter(ns[0], fresh());
		must(good(outer) && where_without_proc() == netns_ino(ns[0]));
		inner = netns_enter(ns[1], fresh());
		must(good(inner) && where_without_proc() == netns_ino(ns[1]));
		must(good(netns_leave(inner, fresh())));
		must(where_without_proc() == netns_ino(ns[0]));
		must(good(netns_leave(outer, fresh())));
		must(where_without_proc() == home);
	}
	must(setns_to(ns[1]));
	outer = netns_enter(ns[0], fresh());
	must(good(outer) && good(netns_leave(outer, fresh())));
	must(where_without_proc() == netns_ino(ns[1]));
	must(good(netns_from_pid(getpid(), &seen, fresh())));
	must(netns_ino(seen) == netns_ino(ns[1]));
	netns_unref(seen);
	must(good(netns_from_thread(0, thread_id(), &seen, fresh())));
	must(netns_ino(seen) == netns_ino(ns[1]));
	netns_unref(seen);
	must(netns_from_pid(INT32_MAX, &seen, fresh()) < 0);
	/* A thread of another process. */
	must(netns_from_thread(0, getppid(), &seen, fresh()) == -ESRCH &&
	     err.step == NETNS_STEP_OPEN_TARGET);
	limit = spare(0);
	must(bad((int)netns_enter(ns[0], fresh()), EMFILE, NETNS_STEP_OPEN_HOME,
		 "/proc/thread-self/ns/net"));
	setrlimit(RLIMIT_NOFILE, &limit);
	must(where_without_proc() == netns_ino(ns[1]));
	must(good(netns_create(scratch, "no-proc", &seen, fresh())));
	netns_unref(seen);
	must(good(netns_open(scratch, "no-proc", &seen, fresh())));
	netns_unref(seen);
	must(good(netns_delete(scratch, "no-proc", fresh())));
	must(access(in_scratch("no-proc"), F_OK) < 0);
	return 0;
}

static bool has_pidfd_ioctl(void)
{
	int pidfd = (int)syscall(434 /* pidfd_open */, getpid(), 0);
	bool has = has_request(pidfd, PIDFD_GET_NET_NAMESPACE);

	close(pidfd);
	return has;
}

static void test_without_proc(void)
{
	struct netns *ns[2] = { make_namespace(), make_namespace() };

	if (!has_pidfd_ioctl())
		skip("needs PIDFD_GET_NET_NAMESPACE (Linux 6.11)");
	else
		ok(in_child(do_without_proc, ns) == 0,
		   "without /proc: current, enter, leave, open, create, delete");
	netns_unref(ns[0]);
	netns_unref(ns[1]);
}

int main(int argc, char **argv)
{
	int before;

	if (argc > 1 && !strcmp(argv[1], ROOTLESS))
		return rootless();
	alarm(SECONDS);
	home = where();
	own_mounts();
	make_scratch();
	make_thread_known();
	before = count_fds();
	test_texts();
	test_no_error_wanted();
	test_long_paths();
	test_rundir();
	test_no_descriptors();
	test_no_privilege();
	test_stranded();
	test_rootless();
	test_without_proc();
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
