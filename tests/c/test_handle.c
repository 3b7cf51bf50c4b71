/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: opened by path, name, process, thread or descriptor; closed. */
#include <limits.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "support.h"

static uint64_t home;

/* open() of a target in scratch as the run directory must give the ino. */
static void opens(const char *target, uint64_t ino, const char *what)
{
	struct netns *ns = NULL;

	ok(good(netns_open(scratch, target, &ns, fresh())) &&
		   netns_ino(ns) == ino,
	   "open: %s", what);
	netns_unref(ns);
}

static void refuses(const char *target, int errnum, int step, const char *path,
		    const char *what)
{
	struct netns *ns = NULL;
	int before = count_fds();

	ok(bad(netns_open(scratch, target, &ns, fresh()), errnum, step, path) &&
		   !ns,
	   "open: %s is refused", what);
	ok(count_fds() == before, "open: %s leaves no descriptor", what);
}

static void test_path(void)
{
	const char *file = in_scratch("file"), *fifo = in_scratch("fifo");
	const char *link = in_scratch("link"), *sock = in_scratch("socket");
	const char *below = in_scratch("file/below");
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, sock);
	if (fd < 0 || bind(fd, (void *)&address, sizeof(address)) < 0)
		bail("a socket");
	close(fd);
	write_file(file, 0644, "text");
	write_file(in_scratch("empty"), 0, "");
	if (mkfifo(fifo, 0600) < 0 || symlink("/proc/self/ns/net", link) < 0)
		bail("a FIFO and a link");

	opens("/proc/self/ns/net", home, "a path");
	opens(link, home, "a path that is a symbolic link");
	refuses(file, EINVAL, NETNS_STEP_CHECK_TYPE, file, "a regular file");
	refuses(in_scratch("empty"), EINVAL, NETNS_STEP_CHECK_TYPE,
		in_scratch("empty"), "an empty file by its path");
	refuses(fifo, EINVAL, NETNS_STEP_CHECK_TYPE, fifo, "a FIFO");
	refuses(sock, EINVAL, NETNS_STEP_CHECK_TYPE, sock, "a socket");
	refuses(scratch, EINVAL, NETNS_STEP_CHECK_TYPE, scratch, "a directory");
	refuses("/", EINVAL, NETNS_STEP_CHECK_TYPE, "/", "the root");
	refuses("/proc/uptime", EINVAL, NETNS_STEP_CHECK_TYPE, "/proc/uptime",
		"a file of /proc");
	refuses("/proc/self/ns/mnt", EINVAL, NETNS_STEP_CHECK_TYPE,
		"/proc/self/ns/mnt", "a mount namespace");
	refuses("/proc/self/ns/user", EINVAL, NETNS_STEP_CHECK_TYPE,
		"/proc/self/ns/user", "a user namespace");
	refuses("/dev/null", EINVAL, NETNS_STEP_CHECK_TYPE, "/dev/null",
		"a device");
	refuses(in_scratch("none"), ENOENT, NETNS_STEP_OPEN_TARGET,
		in_scratch("none"), "what is not there");
	refuses(below, ENOTDIR, NETNS_STEP_OPEN_TARGET, below,
		"what is below a file");
}

static void test_name(void)
{
	struct netns *ns = NULL;
	char longest[256], longer[257];
	const char *in_link = in_scratch("dirlink");
	const char *in_none = in_scratch("none/name");

	memset(longest, 'n', 255);
	longest[255] = '\0';
	memset(longer, 'n', 256);
	longer[256] = '\0';

	refuses("", EINVAL, NETNS_STEP_CHECK_ARGUMENT, "", "the empty name");
	refuses(".", EINVAL, NETNS_STEP_CHECK_ARGUMENT, ".", "the name .");
	refuses("..", EINVAL, NETNS_STEP_CHECK_ARGUMENT, "..", "the name ..");
	refuses(longer, EINVAL, NETNS_STEP_CHECK_ARGUMENT, longer,
		"a name of 256 bytes");
	refuses(longest, ENOENT, NETNS_STEP_OPEN_TARGET, in_scratch(longest),
		"a name of 255 bytes that is not there");
	opens("link", home, "a name that is a symbolic link");
	if (symlink("nowhere", in_scratch("dangling")) < 0 ||
	    symlink("dangling-too", in_scratch("dangling-too")) < 0 ||
	    symlink("fifo", in_scratch("to-fifo")) < 0)
		bail("symlink");
	refuses("dangling", ENOENT, NETNS_STEP_OPEN_TARGET,
		in_scratch("dangling"), "a name whose link leads nowhere");
	refuses("dangling-too", ELOOP, NETNS_STEP_OPEN_TARGET,
		in_scratch("dangling-too"),
		"a name whose link leads to itself");
	refuses("to-fifo", EINVAL, NETNS_STEP_CHECK_TYPE, in_scratch("to-fifo"),
		"a name whose link leads to a FIFO");
	refuses("file", EINVAL, NETNS_STEP_CHECK_TYPE, in_scratch("file"),
		"a name that is a file");
	refuses("fifo", EINVAL, NETNS_STEP_CHECK_TYPE, in_scratch("fifo"),
		"a name that is a FIFO");
	refuses("empty", ENOENT, NETNS_STEP_OPEN_TARGET, in_scratch("empty"),
		"a name that a creator left");

	ok(bad(netns_open(in_scratch("none"), "name", &ns, fresh()), ENOENT,
	       NETNS_STEP_OPEN_TARGET, in_none),
	   "open: a name where there is no run directory");
	ok(bad(netns_open(in_scratch("file"), "name", &ns, fresh()), ENOTDIR,
	       NETNS_STEP_OPEN_TARGET, in_scratch("file/name")),
	   "open: a name where the run directory is a file");
	if (symlink(scratch, in_link) < 0)
		bail("symlink");
	ok(good(netns_open(in_link, "link", &ns, fresh())) &&
		   netns_ino(ns) == home,
	   "open: a name where the run directory is a symbolic link");
	netns_unref(ns);
	ok(good(netns_open(in_scratch("dirlink/"), "link", &ns, fresh())) &&
		   netns_ino(ns) == home,
	   "open: also where it is given with a slash");
	netns_unref(ns);
}

struct resident {
	struct netns *ns;
	sem_t inside, go;
	pid_t tid;
};

static void *reside(void *argument)
{
	struct resident *resident = argument;

	resident->tid = setns_to(resident->ns) ? thread_id() : 0;
	sem_post(&resident->inside);
	await(&resident->go);
	return NULL;
}

static void test_thread(void)
{
	struct resident resident = { .ns = make_namespace() };
	uint64_t ino = netns_ino(resident.ns);
	struct netns *ns = NULL;
	pthread_t thread;
	char path[64];

	sem_init(&resident.inside, 0, 0);
	sem_init(&resident.go, 0, 0);
	thread = start(reside, &resident);
	await(&resident.inside);

	ok(good(netns_from_thread(0, resident.tid, &ns, fresh())) &&
		   netns_ino(ns) == ino,
	   "from_thread: one of this process");
	netns_unref(ns);
	ok(good(netns_from_thread(getpid(), resident.tid, &ns, fresh())) &&
		   netns_ino(ns) == ino,
	   "from_thread: one of a process");
	netns_unref(ns);
	ok(good(netns_from_pid(getpid(), &ns, fresh())) &&
		   netns_ino(ns) == home,
	   "from_pid: the main thread's, whatever the others are in");
	netns_unref(ns);

	snprintf(path, sizeof(path), "/proc/1/task/%d/ns/net", resident.tid);
	ok(bad(netns_from_thread(1, resident.tid, &ns, fresh()), ENOENT,
	       NETNS_STEP_OPEN_TARGET, path),
	   "from_thread: not one of that process");
	ok(bad(netns_from_thread(0, 0, &ns, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ARGUMENT, "") &&
		   bad(netns_from_thread(0, -1, &ns, fresh()), EINVAL,
		       NETNS_STEP_CHECK_ARGUMENT, "") &&
		   bad(netns_from_thread(-1, resident.tid, &ns, fresh()),
		       EINVAL, NETNS_STEP_CHECK_ARGUMENT, ""),
	   "from_thread: no thread's id");

	sem_post(&resident.go);
	pthread_join(thread, NULL);
	sem_destroy(&resident.inside);
	sem_destroy(&resident.go);
	netns_unref(resident.ns);
}

static void test_pid(void)
{
	struct netns *ns = NULL, *in = make_namespace();
	siginfo_t info;
	int pipes[2];
	char path[64];
	pid_t pid;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		bail("pipe2");
	pid = fork();
	if (pid == 0) {
		bool moved = setns_to(in);

		moved = moved && write(pipes[1], "", 1) == 1;
		limit_child();
		pause();
		_exit(!moved);
	}
	if (pid < 0 || read(pipes[0], path, 1) != 1)
		bail("a child");
	ok(good(netns_from_pid(pid, &ns, fresh())) &&
		   netns_ino(ns) == netns_ino(in),
	   "from_pid: another process's");
	netns_unref(ns);
	kill(pid, SIGKILL);
	ns = NULL;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	ok(netns_from_pid(pid, &ns, fresh()) < 0 && !ns,
	   "from_pid: a zombie has none");
	wait_for(pid);
	ok(bad(netns_from_pid(pid, &ns, fresh()), ENOENT,
	       NETNS_STEP_OPEN_TARGET, path),
	   "from_pid: no such process");
	ok(bad(netns_from_pid(INT_MAX, &ns, fresh()), ENOENT,
	       NETNS_STEP_OPEN_TARGET, "/proc/2147483647/ns/net"),
	   "from_pid: no such process ever");
	ok(bad(netns_from_pid(0, &ns, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ARGUMENT, "") &&
		   bad(netns_from_pid(-1, &ns, fresh()), EINVAL,
		       NETNS_STEP_CHECK_ARGUMENT, ""),
	   "from_pid: no process's id");
	close(pipes[0]);
	close(pipes[1]);
	netns_unref(in);
}

static void refuses_fd(int fd, int errnum, int step, const char *what)
{
	struct netns *ns = NULL;
	int before = count_fds();

	ok(bad(netns_from_fd(fd, &ns, fresh()), errnum, step, "") && !ns,
	   "from_fd: %s is refused", what);
	ok(count_fds() == before, "from_fd: %s leaves no descriptor", what);
	if (fd >= 0)
		close(fd);
}

static void test_fd(void)
{
	struct netns *ns = NULL;
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int pipes[2];

	ok(good(netns_from_fd(fd, &ns, fresh())) && netns_ino(ns) == home,
	   "from_fd: a handle");
	ok(netns_fd(ns) != fd, "from_fd: on a duplicate");
	ok(fcntl(netns_fd(ns), F_GETFD) == FD_CLOEXEC,
	   "from_fd: that is close-on-exec");
	netns_close(ns);
	ok(fcntl(fd, F_GETFD) >= 0, "from_fd: the caller's stays the caller's");
	close(fd);
	netns_unref(ns);

	if (pipe2(pipes, O_CLOEXEC) < 0)
		bail("pipe2");
	close(pipes[1]);
	refuses_fd(-1, EBADF, NETNS_STEP_OPEN_TARGET, "-1");
	refuses_fd(pipes[0], EINVAL, NETNS_STEP_CHECK_TYPE, "a pipe");
	refuses_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), EINVAL,
		   NETNS_STEP_CHECK_TYPE, "a socket");
	refuses_fd(open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC), EINVAL,
		   NETNS_STEP_CHECK_TYPE, "a mount namespace");
	refuses_fd(open("/proc/self/ns/net", O_PATH | O_CLOEXEC), EBADF,
		   NETNS_STEP_CHECK_TYPE, "an O_PATH descriptor");
	refuses_fd(open(scratch, O_RDONLY | O_CLOEXEC), EINVAL,
		   NETNS_STEP_CHECK_TYPE, "a directory");
}

static void test_close(void)
{
	struct netns *ns = make_namespace(), *other = make_namespace();
	uint64_t ino = netns_ino(ns), dev = netns_dev(ns);
	int fd = netns_fd(ns), copy;

	ok(fd >= 0 && fcntl(fd, F_GETFD) == FD_CLOEXEC && !netns_is_closed(ns),
	   "close: open, and close-on-exec, before");
	netns_close(ns);
	ok(netns_is_closed(ns) && netns_fd(ns) == -EBADF, "close: closed");
	ok(fcntl(fd, F_GETFD) < 0, "close: so is the descriptor");
	ok(netns_ino(ns) == ino && netns_dev(ns) == dev,
	   "close: it is still known what it was");
	copy = fcntl(netns_fd(other), F_DUPFD_CLOEXEC, fd);
	if (copy != fd)
		bail("the number is not reused");
	netns_close(ns);
	ok(fcntl(copy, F_GETFD) >= 0, "close: a second time closes nothing");
	ok(bad((int)netns_enter(ns, fresh()), EBADF, NETNS_STEP_USE_HANDLE, ""),
	   "close: enter is refused");
	ok(bad(netns_set(ns, fresh()), EBADF, NETNS_STEP_USE_HANDLE, ""),
	   "close: set is refused");
	ok(bad(netns_pin(ns, scratch, "closed", fresh()), EBADF,
	       NETNS_STEP_USE_HANDLE, "") &&
		   access(in_scratch("closed"), F_OK) < 0,
	   "close: pin is refused");
	ok(where() == home, "close: the thread has not moved");
	netns_unref(ns);
	ok(fcntl(copy, F_GETFD) >= 0, "close: nor does the last unref");
	close(copy);
	netns_unref(other);
}

static void test_close_inside(void)
{
	struct netns *ns = make_namespace();
	uint64_t ino = netns_ino(ns);
	int64_t guard = netns_enter(ns, fresh());

	netns_unref(ns);
	ok(where() == ino, "close inside: the thread stays");
	ok(good(netns_leave(guard, fresh())) && where() == home,
	   "close inside: and comes home");
}

static void test_ref(void)
{
	struct netns *ns = make_namespace();
	int fd = netns_fd(ns);

	ok(netns_ref(ns) == ns, "ref: gives the handle");
	netns_unref(ns);
	ok(!netns_is_closed(ns) && fcntl(fd, F_GETFD) >= 0,
	   "unref: open while it has an owner");
	netns_unref(ns);
	ok(fcntl(fd, F_GETFD) < 0, "unref: the last one closes");
	netns_unref(NULL);
}

static void test_null(void)
{
	netns_close(NULL);
	ok(netns_is_closed(NULL) && netns_fd(NULL) == -EBADF &&
		   netns_ino(NULL) == 0 && netns_dev(NULL) == 0,
	   "NULL: is a closed handle");
	ok(bad((int)netns_enter(NULL, fresh()), EBADF, NETNS_STEP_USE_HANDLE,
	       "") &&
		   bad(netns_set(NULL, fresh()), EBADF, NETNS_STEP_USE_HANDLE,
		       "") &&
		   bad(netns_pin(NULL, scratch, "null", fresh()), EBADF,
		       NETNS_STEP_USE_HANDLE, ""),
	   "NULL: is refused");
}

/* The descriptors above those that the program was started with. */
static void test_close_on_exec(const bool *inherited, int size)
{
	struct netns *ns = make_namespace();
	int64_t guard = netns_enter(ns, fresh());
	int fd, open_ones = 0, kept = 0;

	for (fd = 0; fd < size; fd++) {
		int flags = fcntl(fd, F_GETFD);

		if (inherited[fd] || flags < 0)
			continue;
		open_ones++;
		kept += !(flags & FD_CLOEXEC);
	}
	ok(open_ones >= 3 && kept == 0,
	   "close-on-exec: all of the library's %d descriptors", open_ones);
	netns_leave(guard, fresh());
	netns_unref(ns);
}

int main(void)
{
	bool inherited[256];
	int fd, before;

	alarm(SECONDS);
	home = where();
	for (fd = 0; fd < 256; fd++)
		inherited[fd] = fcntl(fd, F_GETFD) >= 0;
	make_scratch();
	test_close_on_exec(inherited, 256);
	before = count_fds();
	test_path();
	test_name();
	test_thread();
	test_pid();
	test_fd();
	test_close();
	test_close_inside();
	test_ref();
	test_null();
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
