/* SPDX-License-Identifier: Apache-2.0 */
/* Embedded: as a shared object that is opened, on old kernels and in sandboxes. */
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "support.h"

static uint64_t home;
static const char *rundir;
static char library[512];

/* The shared library that was made along with this program. */
static void find_library(void)
{
	ssize_t size = readlink("/proc/self/exe", library, 400);

	if (size < 0)
		bail("/proc/self/exe");
	library[size] = '\0';
	strcpy(strstr(library, "/tests/test_embed"), "/libnetns.so");
}

/* The functions of it that are used. */
struct opened {
	void *handle;
	__typeof__(netns_new) *new;
	__typeof__(netns_unref) *unref;
	__typeof__(netns_enter) *enter;
	__typeof__(netns_leave) *leave;
	__typeof__(netns_socket) *socket;
};

static void *symbol(struct opened *lib, const char *name)
{
	void *found = dlsym(lib->handle, name);

	if (!found)
		bail(name);
	return found;
}

static void open_library(struct opened *lib)
{
	lib->handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!lib->handle) {
		printf("# %s\n", dlerror());
		bail("dlopen");
	}
	*(void **)&lib->new = symbol(lib, "netns_new");
	*(void **)&lib->unref = symbol(lib, "netns_unref");
	*(void **)&lib->enter = symbol(lib, "netns_enter");
	*(void **)&lib->leave = symbol(lib, "netns_leave");
	*(void **)&lib->socket = symbol(lib, "netns_socket");
}

struct user {
	struct opened lib;
	struct netns *ns;
	sem_t visited, closed;
	int ret;
};

static int visit(void *argument)
{
	const struct user *user = argument;
	int64_t guard = user->lib.enter(user->ns, fresh());

	must(good(guard) && where() == netns_ino(user->ns));
	must(good(user->lib.leave(guard, fresh())) && where() == home);
	return 0;
}

static void *visit_and_stay(void *argument)
{
	struct user *user = argument;

	user->ret = visit(user);
	sem_post(&user->visited);
	await(&user->closed);
	return NULL;
}

/*
 * After the last dlclose(3) threads that end, and a fork, still call code of the
 * library: it must not have been unloaded.
 */
static int open_and_close(void *argument)
{
	struct user user = { .ret = -1 };
	int before = count_fds();
	pthread_t thread;

	(void)argument;
	sem_init(&user.visited, 0, 0);
	sem_init(&user.closed, 0, 0);
	open_library(&user.lib);
	must(good(user.lib.new(&user.ns, fresh())));
	thread = start(visit_and_stay, &user);
	await(&user.visited);
	must(user.ret == 0);
	must(dlclose(user.lib.handle) == 0);
	must(in_child(visit, &user) == 0);
	sem_post(&user.closed);
	pthread_join(thread, NULL);
	open_library(&user.lib);
	must(visit(&user) == 0);
	user.lib.unref(user.ns);
	must(count_fds() == before + 2); /* which this thread now keeps */
	must(dlclose(user.lib.handle) == 0);
	return 0;
}

struct newcomer {
	const struct opened *lib;
	struct netns *ns;
	int ours, theirs; /* descriptors that the thread keeps for each */
};

static void *use_both(void *argument)
{
	struct newcomer *newcomer = argument;
	struct netns *ns = newcomer->ns;
	int before = count_fds();

	close(newcomer->lib->socket(ns, AF_INET, SOCK_DGRAM, 0, &err));
	newcomer->theirs = count_fds() - before;
	close(netns_socket(ns, AF_INET, SOCK_DGRAM, 0, &err));
	newcomer->ours = count_fds() - before - newcomer->theirs;
	return NULL;
}

/*
 * This program exports netns_enter() and the rest, as a host with a copy of its
 * own may. The shared library must go on calling its own functions.
 */
static int use_two_copies(void *argument)
{
	struct newcomer newcomer = { .ns = make_namespace() };
	struct opened lib;

	(void)argument;
	open_library(&lib);
	newcomer.lib = &lib;
	pthread_join(start(use_both, &newcomer), NULL);
	must(newcomer.theirs == 2 && newcomer.ours == 2);
	netns_unref(newcomer.ns);
	return 0;
}

static void test_opened(void)
{
	ok(in_child(open_and_close, NULL) == 0,
	   "dlopen: used, closed under a thread and a fork, opened again");
	ok(in_child(use_two_copies, NULL) == 0,
	   "dlopen: beside the host's own copy");
}

/*
 * Filters. They look at the low half of an argument only, which is enough for
 * requests and options.
 */
#define LOW(argument)                                                          \
	((unsigned int)(offsetof(struct seccomp_data, args) + 8 * (argument) + \
			(__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0)))
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)
#define RETURN(what) BPF_STMT(BPF_RET | BPF_K, what)
/* Unless it is equal, skips that many of the next instructions. */
#define IF(value, count) \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(value), 0, count)
#define REFUSE(number, errnum) \
	IF(number, 1), RETURN(SECCOMP_RET_ERRNO | (errnum))

static bool filter(struct sock_filter *code, size_t count)
{
	struct sock_fprog program = { .len = (unsigned short)count,
				      .filter = code };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* stat(2) of a 32-bit glibc calls it, and goes on only after ENOSYS. */
#define STATX_ERROR(errnum) (sizeof(long) < 8 ? ENOSYS : (errnum))

/* Calls since Linux 5.1 have the same numbers on most architectures. */
#define NEWEST_CALLS(errnum)                             \
	REFUSE(428 /* open_tree */, errnum),             \
		REFUSE(429 /* move_mount */, errnum),    \
		REFUSE(434 /* pidfd_open */, errnum),    \
		REFUSE(435 /* clone3 */, ENOSYS),        \
		REFUSE(437 /* openat2 */, errnum),       \
		REFUSE(438 /* pidfd_getfd */, errnum),   \
		REFUSE(442 /* mount_setattr */, errnum), \
		REFUSE(470 /* listns */, errnum),        \
		REFUSE(SYS_statx, STATX_ERROR(errnum))

/* The calls and requests that Linux 4.9 lacks. */
static bool be_old(void)
{
	struct sock_filter code[] = {
		LOAD(offsetof(struct seccomp_data, nr)),
		NEWEST_CALLS(ENOSYS),
		IF(SYS_ioctl, 13),
		LOAD(LOW(1)),
		REFUSE(0xb701 /* NS_GET_USERNS */, ENOTTY),
		REFUSE(0xb703 /* NS_GET_NSTYPE */, ENOTTY),
		REFUSE(0xb704 /* NS_GET_OWNER_UID */, ENOTTY),
		REFUSE(0x8008b70d /* NS_GET_ID */, ENOTTY),
		REFUSE(0xff04 /* PIDFD_GET_NET_NAMESPACE */, ENOTTY),
		/* Linux 4.9 takes it for a request about a device without a name. */
		REFUSE(0x894c /* SIOCGSKNS */, EFAULT),
		IF(SYS_getsockopt, 3),
		LOAD(LOW(2)),
		REFUSE(71 /* SO_NETNS_COOKIE */, ENOPROTOOPT),
#ifdef SYS_socketcall /* libc may use it, and a filter can't see the option */
		IF(SYS_socketcall, 3),
		LOAD(LOW(0)),
		REFUSE(15 /* SYS_GETSOCKOPT */, ENOPROTOOPT),
#endif
		RETURN(SECCOMP_RET_ALLOW),
	};

	return filter(code, sizeof(code) / sizeof(code[0]));
}

/* A sandbox that refuses the calls that it does not know. */
static bool be_confined(unsigned int errnum)
{
	struct sock_filter code[] = {
		LOAD(offsetof(struct seccomp_data, nr)),
		NEWEST_CALLS(errnum),
		RETURN(SECCOMP_RET_ALLOW),
	};

	return filter(code, sizeof(code) / sizeof(code[0]));
}

/* The same, and without rtnetlink, which tells types where NS_GET_NSTYPE is missing. */
static bool lose_rtnetlink(void)
{
	struct sock_filter code[] = {
		LOAD(offsetof(struct seccomp_data, nr)),
		IF(SYS_socket, 3),
		LOAD(LOW(0)),
		REFUSE(AF_NETLINK, EPERM),
#ifdef SYS_socketcall
		LOAD(offsetof(struct seccomp_data, nr)),
		IF(SYS_socketcall, 3),
		LOAD(LOW(0)),
		REFUSE(1 /* SYS_SOCKET */, EPERM),
#endif
		RETURN(SECCOMP_RET_ALLOW),
	};

	return filter(code, sizeof(code) / sizeof(code[0]));
}

#define CANNOT 77

static int use_all(struct netns *before)
{
	struct netns_discovery *found = NULL;
	struct netns *ns = NULL, *again = NULL;
	char *names = NULL;
	size_t size;
	uint32_t i, seen = 0;
	int64_t guard;
	int fd, nsid;

	must(good(netns_create(rundir, "embed", &ns, fresh())));
	must(netns_names(rundir, &names, &size, fresh()) == 1 &&
	     !strcmp(names, "embed"));
	netns_free(names);
	must(good(netns_open(rundir, "embed", &again, fresh())) &&
	     netns_ino(again) == netns_ino(ns));
	netns_unref(again);
	must(good(netns_from_pid(getpid(), &again, fresh())) &&
	     netns_ino(again) == home);
	netns_unref(again);
	must(good(netns_from_thread(0, thread_id(), &again, fresh())) &&
	     netns_ino(again) == home);
	netns_unref(again);
	must(good(netns_from_fd(netns_fd(ns), &again, fresh())));
	netns_unref(again);
	must(good(netns_discover(rundir, NETNS_PINS | NETNS_THREADS, &found,
				 fresh())));
	for (i = 0; i < found->count; i++)
		seen += found->found[i].ino == netns_ino(ns) &&
			found->found[i].names == 1;
	must(seen == 1);
	netns_free(found);
	guard = netns_enter(ns, fresh());
	must(good(guard) && where() == netns_ino(ns));
	must(good(netns_leave(guard, fresh())) && where() == home);
	guard = netns_tour(fresh());
	must(good(guard) && good(netns_visit(guard, ns, fresh())) &&
	     where() == netns_ino(ns));
	must(good(netns_visit(guard, before, fresh())) &&
	     where() == netns_ino(before));
	must(good(netns_leave(guard, fresh())) && where() == home);
	fd = netns_socket(ns, AF_INET, SOCK_DGRAM, 0, fresh());
	must(good(fd));
	close(fd);
	must(good(netns_get_nsid(ns, &nsid, fresh())) && nsid == -1);
	must(good(netns_delete(rundir, "embed", fresh())));
	must(netns_names(rundir, &names, &size, fresh()) == 0);
	netns_free(names);
	netns_unref(ns);
	return 0;
}

/* Another process sends false answers in the kernel's place. */
static bool is_refused(int fd)
{
	struct netns *other = NULL;
	atomic_bool stop = false;
	pthread_t thread = start(spoof, &stop);
	int i, refused = 0;

	for (i = 0; i < 500; i++)
		refused += bad(netns_from_fd(fd, &other, fresh()), EINVAL,
			       NETNS_STEP_CHECK_TYPE, "");
	stop = true;
	pthread_join(thread, NULL);
	return refused == 500;
}

/* Pins of other types are not taken for network namespaces, and stay. */
static int use_other_types(struct netns *before)
{
	static const char *const types[] = { "uts", "ipc" };
	char source[64], path[NETNS_PATH_SIZE], *names = NULL;
	struct netns *other = NULL;
	struct stat st;
	size_t i, size;
	int fd;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		snprintf(source, sizeof(source), "/proc/self/ns/%s", types[i]);
		snprintf(path, sizeof(path), "%s/%s", rundir, types[i]);
		write_file(path, 0400, "");
		must(mount(source, path, NULL, MS_BIND, NULL) == 0);
		must(bad(netns_open(rundir, types[i], &other, fresh()), EINVAL,
			 NETNS_STEP_CHECK_TYPE, path));
		fd = open(path, O_RDONLY | O_CLOEXEC);
		must(is_refused(fd));
		close(fd);
		must(netns_names(rundir, &names, &size, fresh()) == 0);
		netns_free(names);
		must(bad(netns_delete(rundir, types[i], fresh()), EINVAL,
			 NETNS_STEP_CHECK_TYPE, path));
		must(stat(path, &st) == 0 && st.st_dev == netns_dev(before));
		must(umount2(path, MNT_DETACH) == 0 && unlink(path) == 0);
	}
	return 0;
}

/* A call that has no fallback reports the error. */
static int use_old(void *before)
{
	struct netns *ns = before, *other = NULL;
	char path[NETNS_PATH_SIZE];
	struct stat st;
	uint64_t cookie;
	int ret, fd;

	if (!be_old())
		return CANNOT;
	ret = use_all(ns);
	if (!ret)
		ret = use_other_types(ns);
	if (ret)
		return ret;
	must(netns_owner_uid(ns, fresh()) == -ENOTTY &&
	     err.step == NETNS_STEP_FIND_OWNER);
	must(bad(netns_cookie(ns, &cookie, fresh()), ENOPROTOOPT,
		 NETNS_STEP_ASK_COOKIE, ""));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	must(bad(netns_from_socket(fd, &other, fresh()), ENOTTY,
		 NETNS_STEP_OPEN_SOCKET, ""));
	close(fd);
	must(netns_open(NULL, "/dev/null", &other, fresh()) == -EINVAL);

	/* Without /proc the library can't know where a thread is. */
	must(good(netns_create(rundir, "old", &other, fresh())));
	netns_unref(other);
	must(unshare(CLONE_NEWNS) == 0 &&
	     mount("none", "/proc", "tmpfs", 0, NULL) == 0);
	must(bad(netns_current(&other, fresh()), ENOSYS, NETNS_STEP_OPEN_HOME,
		 "/proc/thread-self/ns/net"));
	must(netns_from_pid(getpid(), &other, fresh()) == -ENOSYS &&
	     err.step == NETNS_STEP_OPEN_TARGET);
	must(good(netns_open(rundir, "old", &other, fresh())));
	netns_unref(other);
	must(umount2("/proc", MNT_DETACH) == 0);

	/* Only what is surely a network namespace is deleted. */
	snprintf(path, sizeof(path), "%s/old", rundir);
	must(lose_rtnetlink());
	must(bad(netns_delete(rundir, "old", fresh()), EPERM,
		 NETNS_STEP_CHECK_TYPE, path));
	must(stat(path, &st) == 0 && st.st_dev == netns_dev(ns));
	must(umount2(path, MNT_DETACH) == 0 && unlink(path) == 0);
	return 0;
}

/*
 * A mount table is read page by page. Before Linux 5.8 an unmount between two
 * pages makes the kernel leave out one of the mounts that follow. This read(2),
 * which the library uses as well, does that to the table.
 */
static struct {
	bool on;
	int readings, complete; /* of all readings that one is whole; or none */
	const char *omitted;
} torn;

static bool is_table(int fd)
{
	char link[64], path[64];
	ssize_t size;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	size = readlink(link, path, sizeof(path));
	return size > 10 && !memcmp(path + size - 10, "/mountinfo", 10);
}

static size_t omit_line(char *text, size_t size)
{
	char *found = memmem(text, size, torn.omitted, strlen(torn.omitted));
	char *line = found, *end;

	if (!found)
		return size;
	end = memchr(found, '\n', size - (size_t)(found - text));
	while (line > text && line[-1] != '\n')
		line--;
	memmove(line, end + 1, size - (size_t)(end + 1 - text));
	return size - (size_t)(end + 1 - line);
}

ssize_t read(int fd, void *buf, size_t size)
{
	ssize_t ret, sum = 0;

	do {
		ret = syscall(SYS_read, fd, (char *)buf + sum,
			      size - (size_t)sum);
		sum += ret > 0 ? ret : 0;
	} while (ret > 0 && torn.on && is_table(fd));
	if (ret < 0 || !torn.on || !sum || !is_table(fd))
		return ret < 0 ? ret : sum;
	if (mount("none", "/mnt", "tmpfs", 0, NULL) < 0 ||
	    umount2("/mnt", MNT_DETACH) < 0)
		bail("/mnt");
	if (torn.readings++ == torn.complete)
		return sum;
	return (ssize_t)omit_line(buf, (size_t)sum);
}

static bool is_listed(uint64_t ino)
{
	struct netns_discovery *all = NULL;
	bool found = false;
	uint32_t i;

	torn.readings = 0;
	torn.on = true;
	if (netns_discover(rundir, NETNS_PINS, &all, fresh()) < 0)
		bail("netns_discover");
	torn.on = false;
	for (i = 0; i < all->count; i++)
		found = found ||
			(all->found[i].ino == ino && all->found[i].names == 1);
	netns_free(all);
	return found;
}

static int use_torn_table(void *before)
{
	struct netns *ns;

	(void)before;
	if (!be_old())
		return CANNOT;
	must(mkdir("/mnt", 0755) == 0 || errno == EEXIST);
	torn.omitted = "/torn ";
	must(good(netns_create(rundir, "torn", &ns, fresh())));
	for (torn.complete = 0; torn.complete < 3; torn.complete++)
		must(is_listed(netns_ino(ns)) && torn.readings < 100);
	must(good(netns_delete(rundir, "torn", fresh())));
	netns_unref(ns);
	return 0;
}

static int use_confined(void *before)
{
	return be_confined(EPERM) ? use_all(before) : CANNOT;
}

static int use_denied(void *before)
{
	return be_confined(EACCES) ? use_all(before) : CANNOT;
}

static void test_filtered(int (*body)(void *), const char *what)
{
	struct netns *before = make_namespace();
	int status = in_child(body, before);

	if (status == CANNOT)
		skip("needs SECCOMP_MODE_FILTER");
	else
		ok(status == 0, "%s", what);
	netns_unref(before);
}

int main(void)
{
	int before;

	alarm(SECONDS);
	home = where();
	rundir = make_rundir();
	make_thread_known();
	find_library();
	before = count_fds();
	test_opened();
	test_filtered(use_old, "without what is newer than Linux 4.9");
	test_filtered(use_torn_table, "while mounts come and go, before 5.8");
	test_filtered(use_confined, "with the newer calls refused by EPERM");
	test_filtered(use_denied, "with the newer calls refused by EACCES");
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
