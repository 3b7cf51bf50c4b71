/* SPDX-License-Identifier: Apache-2.0 */
/* What the library remembers is checked again after forks and closed descriptors. */
#include <sys/file.h>
#include <sys/auxv.h>
#include <sys/socket.h>

#include "support.h"

#define FORKS 100

static uint64_t home;

static int enter_and_leave(struct netns *ns)
{
	uint64_t before = where();
	int64_t guard = netns_enter(ns, fresh());

	must(good(guard) && where() == netns_ino(ns));
	must(good(netns_leave(guard, fresh())) && where() == before);
	return 0;
}

/* A number above all descriptors in use, with room for some more. */
static int highest_fd(void)
{
	int fd = dup(0);

	close(fd);
	while (fd < 1000 && fcntl(fd, F_GETFD) >= 0)
		fd++;
	return fd + 64;
}

static void close_all(int highest)
{
	int fd;

	for (fd = 3; fd < highest; fd++)
		close(fd);
}

/* Opens files of the program's own in all free numbers up to the highest. */
static int open_own(int highest)
{
	int fd, first = open("/dev/null", O_RDONLY);

	for (fd = first; fd >= 0 && fd < highest;)
		fd = open("/dev/null", O_RDONLY);
	return first;
}

static int count_own(int highest)
{
	char path[64], text[64];
	int fd, count = 0;

	for (fd = 3; fd < highest; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t size = readlink(path, text, sizeof(text) - 1);

		text[size > 0 ? size : 0] = '\0';
		count += !strcmp(text, "/dev/null");
	}
	return count;
}

/* Forks that run no atfork handlers. */

/* The thread sanitizer must know of a fork beside other threads. */
static pid_t raw_fork(int flags)
{
#ifdef __SANITIZE_THREAD__
	if (!flags)
		return fork();
#endif
	return (pid_t)syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
}

static int in_clone(int flags, int (*body)(void *), void *argument)
{
	pid_t pid;
	int ret;

	fflush(stdout);
	pid = raw_fork(flags);
	if (pid < 0)
		bail("clone");
	if (pid)
		return wait_for(pid);
	limit_child();
	ret = body(argument);
	keep_counts();
	_exit(ret);
}

static int child_enters(void *ns)
{
	return enter_and_leave(ns);
}

static int grandchild_enters(void *ns)
{
	must(enter_and_leave(ns) == 0);
	must(in_clone(CLONE_NEWNET, child_enters, ns) == 0);
	must(in_clone(0, child_enters, ns) == 0);
	return enter_and_leave(ns);
}

static void test_clone(void)
{
	struct netns *ns = make_namespace();

	ok(enter_and_leave(ns) == 0 &&
		   in_clone(CLONE_NEWNET, child_enters, ns) == 0,
	   "clone: a child born elsewhere comes back to there");
	ok(in_clone(0, child_enters, ns) == 0, "clone: a raw fork");
	ok(in_clone(CLONE_NEWNET, grandchild_enters, ns) == 0,
	   "clone: and its children's children");
	ok(in_child(grandchild_enters, ns) == 0, "clone: in a fork's child");
	ok(enter_and_leave(ns) == 0, "clone: the parent is right");
	netns_unref(ns);
}

static int leave_in_child(void *argument)
{
	int64_t guard = *(int64_t *)argument;

	must(good(netns_leave(guard, fresh())) && where() == home);
	return 0;
}

static void test_clone_inside(void)
{
	struct netns *ns = make_namespace();
	int64_t guard = netns_enter(ns, fresh());

	ok(in_clone(0, leave_in_child, &guard) == 0,
	   "clone inside a body: the child leaves it");
	ok(in_child(leave_in_child, &guard) == 0,
	   "fork inside a body: the child leaves it");
	ok(good(netns_leave(guard, fresh())) && where() == home,
	   "and so does the parent");
	netns_unref(ns);
}

/* A child that shares the memory of its parent. */
static void test_vfork(void)
{
	struct netns *ns = make_namespace(), *other = make_namespace();
	int before, status;
	pid_t pid;

	enter_and_leave(ns);
	before = count_fds();
	pid = vfork();
	if (pid == 0)
		_exit(netns_set(ns, &err) || where() != netns_ino(ns));
	status = wait_for(pid);
	ok(status == 0, "vfork: the child moves");
	ok(enter_and_leave(other) == 0 && count_fds() == before,
	   "vfork: the parent's record is its own");
	netns_unref(ns);
	netns_unref(other);
}

/* Threads that use a handle; a forked child does not inherit them. */

struct busy {
	struct netns *ns;
	atomic_bool stop;
};

static void *be_busy(void *argument)
{
	struct busy *busy = argument;

	while (!busy->stop)
		enter_and_leave(busy->ns);
	return NULL;
}

static int child_closes(void *argument)
{
	struct busy *busy = argument;
	int fd = netns_fd(busy->ns);

	netns_close(busy->ns);
	must(fcntl(fd, F_GETFD) < 0);
	return 0;
}

static void test_close_in_child(void)
{
	struct busy busy = { .ns = make_namespace() };
	int i, forked = 0, cloned = 0;
	pthread_t threads[3];

	for (i = 0; i < 3; i++)
		threads[i] = start(be_busy, &busy);
	for (i = 0; i < FORKS; i++) {
		forked += in_child(child_closes, &busy) == 0;
		cloned += in_clone(0, child_closes, &busy) == 0;
	}
	busy.stop = true;
	for (i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	ok(forked == FORKS, "a child closes a handle that others used: %d",
	   forked);
	ok(cloned == FORKS, "so does a clone: %d", cloned);
	netns_unref(busy.ns);
}

/* The program closes the library's descriptors and uses their numbers. */

static int after_closing(void *argument)
{
	struct netns *ns = argument, *again = NULL;
	int highest = highest_fd(), own;

	close_all(highest);
	open_own(highest);
	own = count_own(highest);
	must(bad(netns_enter(ns, fresh()), ESTALE, NETNS_STEP_USE_HANDLE, ""));
	must(bad(netns_set(ns, fresh()), ESTALE, NETNS_STEP_USE_HANDLE, ""));
	must(netns_fd(ns) < 0 && where() == home);
	netns_close(ns);
	must(good(netns_new(&again, fresh())));
	must(enter_and_leave(again) == 0);
	netns_close(again);
	must(count_own(highest) == own);
	return 0;
}

static int after_closing_unused(void *argument)
{
	int highest = highest_fd();

	close_all(highest);
	must(bad(netns_set(argument, fresh()), ESTALE, NETNS_STEP_USE_HANDLE,
		 ""));
	return 0;
}

static int use_and_close(void *ns)
{
	must(enter_and_leave(ns) == 0);
	return after_closing(ns);
}

/* The numbers of the handle and of home become those of another namespace. */
static int after_replacing(void *argument)
{
	struct netns *ns = argument, *other = make_namespace();
	int highest = highest_fd(), fd, keep;

	must(enter_and_leave(ns) == 0);
	keep = fcntl(netns_fd(other), F_DUPFD, highest);
	for (fd = 3; fd < highest; fd++)
		dup2(keep, fd);
	must(bad(netns_enter(ns, fresh()), ESTALE, NETNS_STEP_USE_HANDLE, ""));
	must(where() == home);
	return 0;
}

static int close_inside(void *argument)
{
	struct netns *current = NULL;
	int highest = highest_fd();
	int64_t guard = netns_enter(argument, fresh());
	uint64_t inside = where();

	close_all(highest);
	/* This descriptor may get the number that home had. */
	must(good(netns_current(&current, fresh())));
	must(bad(netns_leave(guard, fresh()), ESTALE, NETNS_STEP_RETURN, ""));
	must(where() == inside);
	must(netns_enter(current, fresh()) == -ENOTRECOVERABLE);
	return 0;
}

static int daemonize(void *argument)
{
	int ret, highest = highest_fd();
	pid_t pid;

	must(enter_and_leave(argument) == 0);
	pid = fork();
	if (pid)
		return wait_for(pid);
	close_all(highest);
	open_own(highest);
	ret = after_closing(argument);
	keep_counts();
	_exit(ret);
}

/* A child leaves the body, where home's number is another namespace's. */
static int daemonize_inside(void *argument)
{
	struct netns *other = make_namespace();
	int64_t guard = netns_enter(argument, fresh());
	int fd, ret, keep, highest = highest_fd();
	pid_t pid = fork();

	if (pid) {
		must(good(netns_leave(guard, fresh())) && where() == home);
		return wait_for(pid);
	}
	keep = fcntl(netns_fd(other), F_DUPFD, highest);
	for (fd = 3; fd < highest; fd++)
		dup2(keep, fd);
	ret = !bad(netns_leave(guard, fresh()), ESTALE, NETNS_STEP_RETURN, "");
	keep_counts();
	_exit(ret || where() != netns_ino(argument));
}

static void test_closed_descriptors(void)
{
	struct netns *ns = make_namespace();

	ok(in_child(use_and_close, ns) == 0, "closefrom: nothing is taken");
	ok(in_clone(0, after_closing, ns) == 0, "closefrom after a clone");
	ok(in_child(after_closing_unused, ns) == 0, "closefrom before the use");
	ok(in_child(after_replacing, ns) == 0, "dup2 over all: not entered");
	ok(in_child(close_inside, ns) == 0, "closefrom inside: loud");
	ok(in_child(daemonize, ns) == 0, "a daemon");
	ok(in_child(daemonize_inside, ns) == 0, "a daemon's body: loud");
	netns_unref(ns);
}

static int without_standard_streams(void *argument)
{
	struct netns *ns = NULL;
	int fd, low = 0;

	(void)argument;
	for (fd = 0; fd < 3; fd++)
		close(fd);
	if (netns_new(&ns, &err) < 0)
		return 1;
	if (netns_leave(netns_enter(ns, &err), &err) < 0)
		return 2;
	fd = netns_socket(ns, AF_INET, SOCK_DGRAM, 0, &err);
	if (fd < 3)
		return 3;
	for (fd = 0; fd < 3; fd++)
		low += fcntl(fd, F_GETFD) >= 0;
	return low ? 4 : 0;
}

/* A child, or somebody without rights, holds the lock. */

static int lock_for_good(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		bail("flock");
	return fd;
}

static void test_lock(void)
{
	const char *rundir = in_scratch("locked");
	struct netns *ns = NULL;
	int fd;

	ok(good(netns_create(rundir, "one", &ns, fresh())), "lock: free");
	netns_unref(ns);
	fd = lock_for_good(rundir);
	ok(bad(netns_create(rundir, "two", &ns, fresh()), ETIMEDOUT,
	       NETNS_STEP_LOCK_RUNDIR, rundir),
	   "lock: making a name does not wait for ever");
	ok(good(netns_delete(rundir, "one", fresh())),
	   "lock: deleting one goes on without it");
	close(fd);
	ok(good(netns_create(rundir, "two", &ns, fresh())) &&
		   good(netns_delete(rundir, "two", fresh())),
	   "lock: free again");
	netns_unref(ns);
}

struct churn {
	const char *rundir;
	atomic_bool stop;
	sem_t made; /* posted for each name */
};

/* Whether one more name is made, within 20 s. */
static bool is_made(struct churn *churn)
{
	struct timespec until;
	int ret;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	do {
		ret = sem_timedwait(&churn->made, &until);
	} while (ret < 0 && errno == EINTR);
	return ret == 0;
}

static void *make_names(void *argument)
{
	struct churn *churn = argument;
	struct netns *ns;

	while (!churn->stop) {
		if (netns_create(churn->rundir, "churn", &ns, &err) < 0)
			continue;
		netns_unref(ns);
		netns_delete(churn->rundir, "churn", &err);
		sem_post(&churn->made);
	}
	return NULL;
}

static void test_lock_and_forks(void)
{
	struct churn churn = { .rundir = in_scratch("churn") };
	pid_t children[FORKS];
	pthread_t thread;
	int i, made = 0;

	sem_init(&churn.made, 0, 0);
	thread = start(make_names, &churn);
	for (i = 0; i < FORKS && is_made(&churn); i++) {
		children[i] = i % 2 ? fork() : raw_fork(0);
		if (!children[i]) {
			pause();
			_exit(0);
		}
	}
	ok(i == FORKS, "lock: %d children, each forked while names are made",
	   i);
	/* The names that were made before the last fork do not count. */
	while (sem_trywait(&churn.made) == 0)
		continue;
	while (made < 3 && is_made(&churn))
		made++;
	ok(made == 3, "lock: children do not keep it");
	churn.stop = true;
	pthread_join(thread, NULL);
	while (i--) {
		kill(children[i], SIGKILL);
		wait_for(children[i]);
	}
	sem_destroy(&churn.made);
}

/* A delete that fails must not leave half of a name. */
static int delete_what_stays(void *argument)
{
	const char *path = argument, *slash = strrchr(path, '/');
	char rundir[256];

	snprintf(rundir, sizeof(rundir), "%.*s", (int)(slash - path), path);
	if (mount(rundir, rundir, NULL, MS_BIND | MS_REC, NULL) < 0 ||
	    mount(NULL, rundir, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) <
		    0)
		bail("mount");
	must(bad(netns_delete(rundir, slash + 1, fresh()), EROFS,
		 NETNS_STEP_UNLINK, path));
	must(bad(netns_delete(NULL, path, fresh()), EROFS, NETNS_STEP_UNLINK,
		 path));
	return 0;
}

static void test_delete_asks(void)
{
	const char *rundir = in_scratch("stays"), *path = in_scratch("stays/a");
	struct netns *ns = NULL, *opened = NULL;

	if (netns_create(rundir, "a", &ns, &err) < 0)
		bail("netns_create");
	ok(in_child(delete_what_stays, (void *)path) == 0,
	   "delete: refused where the file can't be removed");
	ok(good(netns_open(rundir, "a", &opened, fresh())) &&
		   netns_ino(opened) == netns_ino(ns),
	   "delete: and the name is whole");
	netns_unref(opened);
	umount2(rundir, MNT_DETACH);
	netns_unref(ns);
	netns_delete(rundir, "a", &err);
}

/* A thread with mounts of its own would make a name that only it sees. */
static void *pin_in_own_mounts(void *argument)
{
	struct netns *ns = NULL;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return NULL;
	return (void *)(intptr_t)bad(
		netns_create(argument, "mine", &ns, fresh()), EXDEV,
		NETNS_STEP_CHECK_MOUNTS, "");
}

/* A thread with descriptors of its own. */
struct table {
	const char *rundir;
	uint64_t ino;
	sem_t ready, go;
};

static void *open_with_own_table(void *argument)
{
	struct table *table = argument;
	struct netns *ns = NULL;
	bool right;

	unshare(CLONE_FILES);
	sem_post(&table->ready);
	await(&table->go);
	right = good(netns_open(table->rundir, "a", &ns, fresh())) &&
		netns_ino(ns) == table->ino;
	netns_unref(ns);
	return (void *)(intptr_t)right;
}

static void test_own_tables(void)
{
	struct table table = { .rundir = in_scratch("tables") };
	struct netns *a = NULL, *b = NULL;
	const char *path = in_scratch("tables/b");
	void *right = NULL;
	int i, fds[6];
	pthread_t thread;

	netns_create(table.rundir, "a", &a, &err);
	netns_create(table.rundir, "b", &b, &err);
	pthread_join(start(pin_in_own_mounts, (void *)table.rundir), &right);
	ok(right != NULL, "a thread with mounts of its own makes no name");
	table.ino = netns_ino(a);
	sem_init(&table.ready, 0, 0);
	sem_init(&table.go, 0, 0);
	thread = start(open_with_own_table, &table);
	await(&table.ready);
	for (i = 0; i < 6; i++)
		fds[i] = open(path, O_RDONLY | O_CLOEXEC);
	sem_post(&table.go);
	pthread_join(thread, &right);
	for (i = 0; i < 6; i++)
		close(fds[i]);
	ok(right != NULL, "a thread with descriptors of its own opens its own");
	netns_unref(a);
	netns_unref(b);
	netns_delete(table.rundir, "a", &err);
	netns_delete(table.rundir, "b", &err);
}

/* Another thread leaves two guards, of which the second is over already. */
struct recalled {
	struct netns *ns;
	int64_t stale, live;
	sem_t inside, left;
	bool came_home;
};

static void *be_recalled(void *argument)
{
	struct recalled *recalled = argument;
	struct netns *current = NULL;

	recalled->stale = netns_enter(recalled->ns, fresh());
	netns_leave(recalled->stale, fresh());
	recalled->live = netns_enter(recalled->ns, fresh());
	sem_post(&recalled->inside);
	await(&recalled->left);
	recalled->came_home = good(netns_current(&current, fresh())) &&
			      netns_ino(current) == home && where() == home;
	netns_unref(current);
	return NULL;
}

static void test_recalls(void)
{
	struct recalled recalled = { .ns = make_namespace() };
	pthread_t thread;

	sem_init(&recalled.inside, 0, 0);
	sem_init(&recalled.left, 0, 0);
	thread = start(be_recalled, &recalled);
	await(&recalled.inside);
	netns_leave(recalled.live, &err);
	netns_leave(recalled.stale, &err);
	netns_leave(recalled.stale, &err);
	sem_post(&recalled.left);
	pthread_join(thread, NULL);
	ok(recalled.came_home, "a second recall does not hide the first");
	netns_unref(recalled.ns);
}

/* A process whose main thread has ended. */
static void *go_on(void *unused)
{
	const char *rundir = in_scratch("leaderless");
	struct netns *ns = NULL, *own = NULL, *found = NULL;
	struct netns_discovery *discovery = NULL;
	char link[64];

	snprintf(link, sizeof(link), "/proc/%d/ns/net", getpid());
	while (where_is(link))
		sched_yield();
	if (!good(netns_create(rundir, "a", &ns, fresh())))
		_exit(1);
	if (!good(netns_current(&own, fresh())) || netns_ino(own) != home)
		_exit(2);
	if (!good(netns_from_pid(getpid(), &found, fresh())) ||
	    netns_ino(found) != home)
		_exit(3);
	if (!good(netns_discover(rundir, NETNS_PINS | NETNS_THREADS, &discovery,
				 fresh())))
		_exit(4);
	if (enter_and_leave(ns) || !good(netns_delete(rundir, "a", fresh())))
		_exit(5);
	_exit(unused != NULL);
}

static void test_leaderless(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		limit_child();
		start(go_on, NULL);
		pthread_exit(NULL);
	}
	ok(wait_for(pid) == 0, "a process whose main thread has ended");
}

/* A thread is cancelled at a random moment: hence the sleep. */
static void *make_names_for_ever(void *argument)
{
	struct netns *ns;

	for (;;) {
		if (!netns_create(argument, "cancelled", &ns, &err))
			netns_unref(ns);
		netns_delete(argument, "cancelled", &err);
	}
	return NULL;
}

static void test_cancelled(void)
{
	const char *rundir = in_scratch("cancelled");
	struct netns *ns = NULL;
	int i, before = count_fds();
	pthread_t thread;

	for (i = 0; i < 30; i++) {
		thread = start(make_names_for_ever, (void *)rundir);
		usleep(500 + (unsigned int)random() % 5000);
		pthread_cancel(thread);
		pthread_join(thread, NULL);
	}
	ok(count_fds() == before, "cancelled: no descriptor is left");
	netns_delete(rundir, "cancelled", &err);
	ok(good(netns_create(rundir, "cancelled", &ns, fresh())) &&
		   good(netns_delete(rundir, "cancelled", fresh())),
	   "cancelled: no lock, no name is left");
	netns_unref(ns);
}

static void test_netlink(void)
{
	struct netns *ns = make_namespace();
	atomic_bool stop = false;
	pthread_t thread = start(spoof, &stop);
	int i, right = 0;
	int32_t nsid;

	for (i = 0; i < 2000; i++)
		right += netns_get_nsid(ns, &nsid, &err) == 0 && nsid == -1;
	stop = true;
	pthread_join(thread, NULL);
	ok(right == 2000, "netlink: the kernel's answers alone: %d", right);
	netns_unref(ns);
}

/* The environment of a set-user-ID program names a run directory. */

static int be_secure(void)
{
	char path[NETNS_PATH_SIZE];
	struct netns *ns = NULL;

	if (!getauxval(AT_SECURE))
		return 77;
	must(netns_rundir(path, sizeof(path)) == -EPERM);
	must(bad(netns_open(NULL, "a", &ns, fresh()), EPERM,
		 NETNS_STEP_OPEN_RUNDIR, "NETNS_RUN_DIR"));
	must(bad(netns_create(NULL, "a", &ns, fresh()), EPERM,
		 NETNS_STEP_OPEN_RUNDIR, "NETNS_RUN_DIR"));
	/* A run directory that the caller names is used. */
	must(netns_open("/nowhere", "a", &ns, fresh()) == -ENOENT);
	return 0;
}

static void copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC);
	int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	char buf[65536];
	ssize_t size;

	while ((size = read(in, buf, sizeof(buf))) > 0) {
		if (write(out, buf, (size_t)size) != size)
			bail("write");
	}
	close(in);
	close(out);
}

static void test_secure(void)
{
	char *arguments[] = { (char *)in_scratch("secure"), "secure", NULL };
	char *environment[] = { "NETNS_RUN_DIR=/tmp", NULL };
	int status;
	pid_t pid;

#ifdef __SANITIZE_ADDRESS__
	skip("LeakSanitizer refuses set-user-ID programs");
	return;
#endif
	copy_file("/proc/self/exe", arguments[0]);
	if (chown(arguments[0], 65534, (gid_t)-1) < 0 ||
	    chmod(arguments[0], 04755) < 0) {
		skip("no other user for a set-user-ID program");
		return;
	}
	fflush(stdout);
	pid = vfork();
	if (pid == 0) {
		execve(arguments[0], arguments, environment);
		_exit(100);
	}
	status = wait_for(pid);
	if (status == 77)
		skip("set-user-ID has no effect here");
	else
		ok(status == 0, "set-user-ID: NETNS_RUN_DIR is refused");
}

int main(int argc, char **argv)
{
	int before;

	alarm(SECONDS);
	if (argc > 1 && !strcmp(argv[1], "secure"))
		_exit(be_secure()); /* LeakSanitizer can't trace it */
	own_mounts();
	make_scratch();
	home = where();
	ok(netns_ref(NULL) == NULL, "no handle has no owners");
	make_thread_known();
	before = count_fds();
	test_clone();
	test_clone_inside();
	test_vfork();
	test_close_in_child();
	test_closed_descriptors();
	ok(in_child(without_standard_streams, NULL) == 0,
	   "no descriptor is below 3");
	test_lock();
	test_lock_and_forks();
	test_delete_asks();
	test_own_tables();
	test_recalls();
	test_leaderless();
	test_cancelled();
	test_netlink();
	test_secure();
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
