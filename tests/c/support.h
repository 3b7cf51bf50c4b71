/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the core's tests. What they find out, they ask the kernel. */
#ifndef SUPPORT_H
#define SUPPORT_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netns.h>

#include "tap.h"

/* After so long a program that hangs is ended by its alarm. */
#ifndef SECONDS
#define SECONDS 60
#endif

static inline void limit_child(void)
{
	signal(SIGALRM, SIG_DFL);
	alarm(SECONDS);
}

/*
 * Calls take fresh(), which fills the error with a pattern, and are judged by
 * good() or bad(): on success the pattern must be there still.
 */
#define PATTERN 0x5a

static _Thread_local struct netns_error err;

static inline struct netns_error *fresh(void)
{
	memset(&err, PATTERN, sizeof(err));
	return &err;
}

static inline bool untouched(void)
{
	const unsigned char *byte = (const unsigned char *)&err;
	size_t i;

	for (i = 0; i < sizeof(err); i++) {
		if (byte[i] != PATTERN)
			return false;
	}
	return true;
}

static inline void tell(int64_t ret)
{
	if (untouched())
		printf("# returned %" PRId64 ", error untouched\n", ret);
	else
		printf("# returned %" PRId64 ", error %d (%s), %s, \"%.80s\"\n",
		       ret, err.err, strerror(err.err),
		       netns_step_text(err.step), err.path);
}

static inline bool good(int64_t ret)
{
	bool as_promised = ret >= 0 && untouched();

	if (!as_promised)
		tell(ret);
	return as_promised;
}

static inline bool bad(int64_t ret, int errnum, int step, const char *path)
{
	bool as_promised = ret == -errnum && err.err == errnum &&
			   err.step == step && !strcmp(err.path, path);

	if (!as_promised) {
		tell(ret);
		printf("# wanted %d (%s), %s, \"%.80s\"\n", -errnum,
		       strerror(errnum), netns_step_text(step), path);
	}
	return as_promised;
}

/* The inode of the namespace that a link of /proc names, or 0. */
static inline uint64_t where_is(const char *link)
{
	char text[64];
	uint64_t ino;
	ssize_t size = readlink(link, text, sizeof(text) - 1);

	if (size < 0)
		return 0;
	text[size] = '\0';
	return sscanf(text, "net:[%" SCNu64 "]", &ino) == 1 ? ino : 0;
}

/* The inode of the calling thread's namespace. */
static inline uint64_t where(void)
{
	return where_is("/proc/thread-self/ns/net");
}

/* The inode of the namespace of another thread of this process. */
static inline uint64_t where_is_thread(pid_t tid)
{
	char link[64];

	snprintf(link, sizeof(link), "/proc/self/task/%d/ns/net", tid);
	return where_is(link);
}

/*
 * A test asks the kernel for what it needs: a request that the kernel has gives
 * 0 or more, maybe a descriptor.
 */
#define NS_GET_NSTYPE		_IO(0xb7, 3)
#define PIDFD_GET_NET_NAMESPACE _IO(0xff, 4)
#define SIOCGSKNS		0x894c
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

static inline bool has_request(int fd, unsigned long request)
{
	/* ioctl(3) has different types in musl and glibc. */
	int ret = (int)syscall(SYS_ioctl, fd, request, 0);

	if (ret > 2 && request != NS_GET_NSTYPE)
		close(ret);
	return ret >= 0;
}

/* Until *stop, sends false answers, as another process could, to the socket. */
static inline void *spoof(void *argument)
{
	struct {
		struct nlmsghdr head;
		char body[64];
	} message = { .head = { .nlmsg_len = NLMSG_LENGTH(20),
				.nlmsg_type = NLMSG_ERROR } };
	struct sockaddr_nl to = { .nl_family = AF_NETLINK,
				  .nl_pid = (uint32_t)getpid() };
	struct sockaddr_nl from = { .nl_family = AF_NETLINK,
				    .nl_pid = to.nl_pid | 1U << 30 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	atomic_bool *stop = argument;

	/* The library's socket is to get the address that this one sends to. */
	if (bind(fd, (void *)&from, sizeof(from)) < 0)
		bail("bind");
	((int *)NLMSG_DATA(&message.head))[0] = -EXFULL;
	while (!*stop)
		sendto(fd, &message, message.head.nlmsg_len, MSG_DONTWAIT,
		       (void *)&to, sizeof(to));
	close(fd);
	return NULL;
}

static inline pid_t thread_id(void)
{
	return (pid_t)syscall(SYS_gettid);
}

static inline int count_entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int count = 0;

	if (!dir)
		return -1;
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* The descriptors of this process, without the one that counts. */
static inline int count_fds(void)
{
	return count_entries("/proc/self/fd") - 1;
}

static inline struct netns *make_namespace(void)
{
	struct netns *ns = NULL;

	if (netns_new(&ns, &err) < 0) {
		errno = err.err;
		bail(netns_step_text(err.step));
	}
	return ns;
}

static inline bool setns_to(const struct netns *ns)
{
	return setns(netns_fd(ns), CLONE_NEWNET) == 0;
}

/* Enters once: from then on the thread keeps two descriptors, link and home. */
static inline void make_thread_known(void)
{
	struct netns *ns = make_namespace();
	int64_t guard = netns_enter(ns, &err);

	if (guard < 0 || netns_leave(guard, &err) < 0)
		bail(netns_step_text(err.step));
	netns_unref(ns);
}

/* Drops the calling thread's CAP_SYS_ADMIN, or raises it again. */
static inline void have_admin(bool on)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2];
	uint32_t bit = 1U << CAP_SYS_ADMIN;

	if (syscall(SYS_capget, &header, data) < 0)
		bail("capget");
	if (on)
		data[0].effective |= bit;
	else
		data[0].effective &= ~bit;
	if (syscall(SYS_capset, &header, data) < 0)
		bail("capset");
}

/* In a child: where the condition fails, prints it and returns 1. */
#define must(condition)                                               \
	do {                                                          \
		if (!(condition)) {                                   \
			printf("# %s:%d: in a child: %s\n", __FILE__, \
			       __LINE__, #condition);                 \
			fflush(stdout);                               \
			return 1;                                     \
		}                                                     \
	} while (0)

/* The exit status of a process, 128 and more for a signal. */
static inline int wait_for(pid_t pid)
{
	int status = 0;

	if (waitpid(pid, &status, 0) != pid)
		bail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/*
 * A build with --coverage writes its counts in exit(3). A child that ends by
 * _exit(2), or is aborted, must write them itself.
 */
extern void __gcov_dump(void) __attribute__((weak));

static inline void keep_counts(void)
{
	if (__gcov_dump)
		__gcov_dump();
}

/* Runs body() in a forked child, and returns what it returned: 0 is good. */
static inline int in_child(int (*body)(void *), void *argument)
{
	pid_t pid;
	int ret;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		bail("fork");
	if (pid == 0) {
		limit_child();
		ret = body(argument);
		keep_counts();
		_exit(ret);
	}
	return wait_for(pid);
}

static inline int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t ret = fd < 0 ? -1 : write(fd, text, strlen(text));

	close(fd);
	return ret < 0 ? -1 : 0;
}

/*
 * Runs this program again, with an argument, as root of a user namespace that
 * does not own its network namespace. It uses clone(2), because the kernel
 * refuses unshare(CLONE_NEWUSER) to a process of several threads, and a
 * sanitizer may have one; and exec, so that everything starts afresh there.
 * Returns -1 where there are no user namespaces.
 */
static inline int run_rootless(char *program, char *argument)
{
	char map[32], *arguments[] = { program, argument, NULL };
	uid_t uid = getuid();
	gid_t gid = getgid();
	pid_t pid;

	fflush(stdout);
	pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return -1;
	if (pid == 0) {
		snprintf(map, sizeof(map), "0 %u 1", uid);
		if (write_text("/proc/self/uid_map", map) < 0)
			_exit(100);
		write_text("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "0 %u 1", gid);
		if (write_text("/proc/self/gid_map", map) < 0)
			_exit(101);
		execv("/proc/self/exe", arguments);
		_exit(102);
	}
	return wait_for(pid);
}

static inline pthread_t start(void *(*run)(void *), void *argument)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, run, argument);
	if (errno)
		bail("pthread_create");
	return thread;
}

/* As sem_wait(3), which a signal would end. */
static inline void await(sem_t *sem)
{
	while (sem_wait(sem) < 0)
		continue;
}

/*
 * Gives the test mounts of its own, which end with it even if it is killed. To
 * be called before any thread is made.
 */
static inline void own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		bail("unshare(CLONE_NEWNS)");
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		bail("mount(MS_PRIVATE)");
}

/* A directory of the test's own, gone at exit with all that is in it. */
static char scratch[64];

/*
 * Counts the mounts in scratch. Others may go at any time: a file that is
 * removed in one mount namespace is unmounted in all.
 */
static inline int count_mounts(void)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t size = 0;
	int count = 0;

	if (!file)
		bail("/proc/self/mountinfo");
	while (getline(&line, &size, file) > 0)
		count += strstr(line, scratch) != NULL;
	free(line);
	fclose(file);
	return count;
}

static inline void remove_tree(const char *path)
{
	char entry_path[512];
	struct dirent *entry;
	DIR *dir;

	while (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		continue;
	if (unlink(path) == 0)
		return;
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (snprintf(entry_path, sizeof(entry_path), "%s/%s", path,
			     entry->d_name) < (int)sizeof(entry_path))
			remove_tree(entry_path);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static inline void remove_scratch(void)
{
	remove_tree(scratch);
}

/* The clean-up is not safe in a signal handler: another alarm ends it. */
static inline void out_of_time(int number)
{
	static const char text[] = "Bail out! out of time\n";

	limit_child();
	alarm(5);
	remove_scratch();
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(128 + number);
}

static inline void make_scratch(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch, sizeof(scratch), "%.40s/netns-test-XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(scratch))
		bail("mkdtemp");
	atexit(remove_scratch);
	signal(SIGALRM, out_of_time);
}

/* The path scratch/name; it is overwritten after 63 more calls. */
static inline const char *in_scratch(const char *name)
{
	static char paths[64][512];
	static unsigned int next;
	char *path = paths[next++ % 64];

	snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
	return path;
}

/* The path of a run directory, not made yet, whose mounts nobody else sees. */
static inline const char *make_rundir(void)
{
	static char path[sizeof(scratch) + sizeof("/run")];

	own_mounts();
	make_scratch();
	snprintf(path, sizeof(path), "%s/run", scratch);
	return path;
}

static inline void write_file(const char *path, mode_t mode, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		bail(path);
	close(fd);
}

#endif
