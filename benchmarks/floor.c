/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor: each operation as the least system calls known to do it, in a
 * plain loop, without a library. Every way home is proven as the library
 * proves it, or the comparison would be with something less safe.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker.h"

#ifndef NS_GET_NSTYPE
#define NS_GET_NSTYPE _IO(0xb7, 0x3)
#endif

#define LINK "/proc/thread-self/ns/net"

int floor_discover(int *pins);

/* What a thread needs to know of its home. */
struct home {
	int link, fd;
	char text[32];
};

static void find_home(struct home *home)
{
	ssize_t length;

	home->link = open(LINK, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	home->fd = open(LINK, O_RDONLY | O_CLOEXEC);
	CHECK(home->link >= 0 && home->fd >= 0);
	memset(home->text, 0, sizeof(home->text));
	length = readlinkat(home->link, "", home->text, sizeof(home->text));
	CHECK(length > 0);
}

static void forget_home(struct home *home)
{
	close(home->link);
	close(home->fd);
}

static inline int at_home(const struct home *home)
{
	char text[32] = { 0 };

	return readlinkat(home->link, "", text, sizeof(text)) > 0 &&
	       memcmp(text, home->text, sizeof(text)) == 0;
}

static int open_name(const char *name)
{
	char path[128];
	int fd;

	path_of(path, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

/* Handles on all that are present, opened when they are first asked for. */
static int *present_fds(long present)
{
	static int *fds;
	static long opened;
	char name[64];

	if (present > opened) {
		fds = realloc(fds, (size_t)present * sizeof(*fds));
		CHECK(fds);
	}
	for (; opened < present; opened++)
		fds[opened] = open_name(numbered(name, "bench", opened));
	return fds;
}

/* That fd leads elsewhere, and that home leads back. */
static void check_way(const struct home *home, int fd)
{
	CHECK(at_home(home) && setns(fd, CLONE_NEWNET) == 0);
	CHECK(!at_home(home));
	CHECK(setns(home->fd, CLONE_NEWNET) == 0 && at_home(home));
}

static int64_t do_times(long count)
{
	struct home home;
	int fd = open_name(target);
	int64_t start, spent;
	long i;

	find_home(&home);
	check_way(&home, fd);
	start = now();
	for (i = 0; i < count; i++) {
		if (!at_home(&home) || setns(fd, CLONE_NEWNET) ||
		    setns(home.fd, CLONE_NEWNET))
			break;
	}
	spent = now() - start;
	CHECK(i == count && at_home(&home));
	forget_home(&home);
	close(fd);
	return spent;
}

static int64_t run_inside(long count, long present)
{
	struct home home, inside;
	int fd = open_name(target);
	int64_t start, spent;
	long i;

	(void)present;
	find_home(&home);
	CHECK(setns(fd, CLONE_NEWNET) == 0 && !at_home(&home));
	find_home(&inside);
	start = now();
	for (i = 0; i < count; i++)
		if (!at_home(&inside))
			break;
	spent = now() - start;
	CHECK(i == count && setns(home.fd, CLONE_NEWNET) == 0 &&
	      at_home(&home));
	forget_home(&home);
	forget_home(&inside);
	close(fd);
	return spent;
}

static int64_t run_visit(long count, long present)
{
	int *fds = present_fds(present);
	int64_t start, spent;
	struct home home;
	long i;

	find_home(&home);
	check_way(&home, fds[0]);
	start = now();
	for (i = 0; i < count; i++)
		if (setns(fds[i % present], CLONE_NEWNET))
			break;
	CHECK(setns(home.fd, CLONE_NEWNET) == 0);
	spent = now() - start;
	CHECK(i == count && at_home(&home));
	forget_home(&home);
	return spent;
}

static int64_t run_socket(long count, long present)
{
	int fd = open_name(target), sock;
	int64_t start, spent;
	struct home home;
	long i;

	(void)present;
	find_home(&home);
	check_way(&home, fd);
	start = now();
	for (i = 0; i < count; i++) {
		if (!at_home(&home) || setns(fd, CLONE_NEWNET))
			break;
		sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (setns(home.fd, CLONE_NEWNET) || sock < 0)
			break;
		close(sock);
	}
	spent = now() - start;
	CHECK(i == count && at_home(&home));
	forget_home(&home);
	close(fd);
	return spent;
}

static int64_t run_sockets(long count, long present)
{
	int *fds = present_fds(present);
	int *socks = calloc((size_t)present, sizeof(*socks));
	int64_t start, spent = 0;
	struct home home;
	long i;

	CHECK(socks);
	find_home(&home);
	check_way(&home, fds[0]);
	while (count-- > 0) {
		start = now();
		CHECK(at_home(&home));
		for (i = 0; i < present; i++) {
			if (setns(fds[i], CLONE_NEWNET))
				break;
			socks[i] =
				socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
			if (socks[i] < 0)
				break;
		}
		CHECK(setns(home.fd, CLONE_NEWNET) == 0);
		spent += now() - start;
		CHECK(i == present && at_home(&home));
		while (i-- > 0)
			close(socks[i]);
	}
	forget_home(&home);
	free(socks);
	return spent;
}

static int64_t open_link(const char *path, long count)
{
	int64_t start, spent;
	struct stat st;
	int fd = -1;
	long i;

	start = now();
	for (i = 0; i < count; i++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st))
			break;
		close(fd);
	}
	spent = now() - start;
	CHECK(i == count && st.st_ino);
	return spent;
}

static int64_t run_current(long count, long present)
{
	(void)present;
	return open_link(LINK, count);
}

static int64_t run_open(long count, long present)
{
	int rundir = open("/run/netns", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int64_t start, spent;
	struct stat st;
	long i;
	int fd;

	(void)present;
	CHECK(rundir >= 0);
	start = now();
	for (i = 0; i < count; i++) {
		fd = openat(rundir, target,
			    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || ioctl(fd, NS_GET_NSTYPE) != CLONE_NEWNET ||
		    fstat(fd, &st))
			break;
		close(fd);
	}
	spent = now() - start;
	CHECK(i == count && st.st_ino);
	close(rundir);
	return spent;
}

static int64_t run_from_pid(long count, long present)
{
	char path[128];

	(void)present;
	CHECK(snprintf(path, sizeof(path), "/proc/%d/ns/net", getppid()) > 0);
	return open_link(path, count);
}

static int64_t run_new(long count, long present)
{
	int64_t start, spent;
	struct home home;
	int fd, strange = 0;
	long i;

	(void)present;
	find_home(&home);
	start = now();
	for (i = 0; i < count; i++) {
		if (!at_home(&home) || unshare(CLONE_NEWNET))
			break;
		fd = open(LINK, O_RDONLY | O_CLOEXEC);
		strange += !at_home(&home);
		if (setns(home.fd, CLONE_NEWNET) || fd < 0)
			break;
		close(fd);
	}
	spent = now() - start;
	CHECK(i == count && strange == count && at_home(&home));
	forget_home(&home);
	return spent;
}

/* Of making a namespace with a name: making one, which is kept meanwhile. */
static int64_t run_create(long count, long present)
{
	int *fds = calloc((size_t)count, sizeof(*fds));
	int64_t start, spent;
	struct home home;
	long i;

	(void)present;
	CHECK(fds);
	find_home(&home);
	start = now();
	for (i = 0; i < count; i++) {
		if (!at_home(&home) || unshare(CLONE_NEWNET))
			break;
		fds[i] = open(LINK, O_RDONLY | O_CLOEXEC);
		if (setns(home.fd, CLONE_NEWNET) || fds[i] < 0)
			break;
	}
	spent = now() - start;
	CHECK(i == count && at_home(&home));
	while (i-- > 0)
		close(fds[i]);
	forget_home(&home);
	free(fds);
	return spent;
}

static int64_t run_create_delete(long count, long present)
{
	const char *path = "/run/netns/floor";
	int64_t start, spent;
	struct home home;
	int fd, file;
	long i;

	(void)present;
	find_home(&home);
	start = now();
	for (i = 0; i < count; i++) {
		file = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
		if (file < 0 || !at_home(&home) || unshare(CLONE_NEWNET))
			break;
		close(file);
		fd = open(LINK, O_RDONLY | O_CLOEXEC);
		if (mount(LINK, path, NULL, MS_BIND, NULL) ||
		    setns(home.fd, CLONE_NEWNET) || fd < 0)
			break;
		close(fd);
		if (umount2(path, MNT_DETACH) || unlink(path))
			break;
	}
	spent = now() - start;
	CHECK(i == count && at_home(&home));
	forget_home(&home);
	return spent;
}

/* Unmounts that wait at the same time share the kernel's grace periods. */
#define DELETERS 16

static atomic_long doomed;

static void *delete_some(void *present)
{
	char path[128], name[64];
	long i;

	while ((i = atomic_fetch_add(&doomed, 1)) < *(long *)present) {
		path_of(path, numbered(name, "doomed", i));
		CHECK(umount2(path, MNT_DETACH) == 0 && unlink(path) == 0);
	}
	return NULL;
}

static int64_t run_delete(long count, long present)
{
	pthread_t ids[DELETERS];
	int64_t start = now();
	int i;

	(void)count;
	atomic_store(&doomed, 0);
	for (i = 0; i < DELETERS; i++)
		CHECK(pthread_create(&ids[i], NULL, delete_some, &present) ==
		      0);
	for (i = 0; i < DELETERS; i++)
		pthread_join(ids[i], NULL);
	return now() - start;
}

/* What is mounted on /sys. */
static char carried[32][128];
static int carried_count;

static void find_carried(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	int id, parent, sys = -1;
	char line[4096], path[128];

	CHECK(file);
	carried_count = 0;
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%d %d %*s %*s %127s", &id, &parent, path) !=
		    3)
			continue;
		if (!strcmp(path, "/sys"))
			sys = id;
		else if (parent == sys && carried_count < 32)
			strcpy(carried[carried_count++], path);
	}
	fclose(file);
}

/* A mount namespace, and over /sys another one with all that was on it. */
static void set_up_or_exit(int fd)
{
	char source[192];
	int i, old;

	if (setns(fd, CLONE_NEWNET) || unshare(CLONE_NEWNS) ||
	    mount("", "/", NULL, MS_SLAVE | MS_REC, NULL))
		_exit(126);
	old = open("/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || mount("floor", "/sys", "sysfs", 0, NULL))
		_exit(126);
	for (i = 0; i < carried_count; i++) {
		snprintf(source, sizeof(source), "/proc/self/fd/%d%s", old,
			 carried[i] + strlen("/sys"));
		if (mount(source, carried[i], NULL, MS_BIND | MS_REC, NULL))
			_exit(126);
	}
}

static int64_t run_run(long count, long present)
{
	char *const argv[] = { "true", NULL };
	int fd = open_name(target), status = 0;
	int64_t start, spent;
	struct home home;
	pid_t pid;
	long i;

	(void)present;
	find_carried();
	find_home(&home);
	check_way(&home, fd);
	start = now();
	for (i = 0; i < count; i++) {
		pid = vfork();
		if (pid == 0) {
			set_up_or_exit(fd);
			execvp(argv[0], argv);
			_exit(127);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			break;
	}
	spent = now() - start;
	CHECK(i == count && status == 0 && at_home(&home));
	forget_home(&home);
	close(fd);
	return spent;
}

/* A child's end takes the mounts away, which is part of what they cost. */
static int64_t spend_on_child(int fd, int with_mounts)
{
	int64_t start = now();
	int status = 0;
	pid_t pid = vfork();

	if (pid == 0) {
		if (with_mounts)
			set_up_or_exit(fd);
		_exit(0);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0);
	return now() - start;
}

/* What a command's child does before it, alone: one with it less one without. */
static int64_t run_run_mounts(long count, long present)
{
	int64_t with = 0, without = 0;
	int fd = open_name(target);
	long i;

	(void)present;
	find_carried();
	for (i = 0; i < count; i++) {
		with += spend_on_child(fd, 1);
		without += spend_on_child(fd, 0);
	}
	close(fd);
	return with > without ? with - without : 0;
}

static int64_t run_discover(long count, long present)
{
	int64_t start = now(), spent;
	int pins = 0, processes = 0;
	long i;

	for (i = 0; i < count; i++)
		processes = floor_discover(&pins);
	spent = now() - start;
	CHECK(pins >= present && processes >= present);
	return spent;
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
		{ "run", run_run },
		{ "run_mounts", run_run_mounts },
		{ "discover", run_discover },
		{ "threads1", run_threads1 },
		{ "threads2", run_threads2 },
		{ "threads4", run_threads4 },
		{ NULL, NULL },
	};

	return argc == 2 ? serve(argv, operations) : 2;
}
