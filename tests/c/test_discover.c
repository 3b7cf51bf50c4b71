/* SPDX-License-Identifier: Apache-2.0 */
/* discover, and the facts of a namespace: socket, cookie, owner, ids. */
#include <sys/socket.h>

#include "support.h"

#define ALL (NETNS_PINS | NETNS_THREADS)

static uint64_t home;
static const char *rundir;

static struct netns_discovery *discover(int what)
{
	struct netns_discovery *all = NULL;

	if (!good(netns_discover(rundir, what, &all, fresh())))
		bail("netns_discover");
	return all;
}

static const struct netns_found *find(const struct netns_discovery *all,
				      uint64_t ino)
{
	uint32_t i;

	for (i = 0; i < all->count; i++) {
		if (all->found[i].ino == ino)
			return &all->found[i];
	}
	return NULL;
}

/* Whether an entry has these texts, "name\0path\0", and that id (0: none). */
static bool is_held(const struct netns_discovery *all,
		    const struct netns_found *found, const char *texts,
		    size_t size, uint32_t pids, uint32_t threads, int32_t id)
{
	return found && found->pids == pids && found->threads == threads &&
	       (!id || all->ids[found->first_id] == id) &&
	       found->first_text + size <= all->texts_size &&
	       !memcmp(all->texts + found->first_text, texts, size);
}

static void test_pins(void)
{
	struct netns *named = NULL, *bound = make_namespace();
	const char *odd = in_scratch("a blank, \\040 and\na newline");
	char texts[1024];
	struct netns_discovery *all;
	const struct netns_found *found;
	int size;

	if (netns_create(rundir, "name", &named, fresh()) < 0 ||
	    netns_pin(bound, NULL, odd, fresh()) < 0)
		bail("two pins");
	all = discover(ALL);
	found = find(all, netns_ino(named));
	size = snprintf(texts, sizeof(texts), "name%c%s/name", 0, rundir) + 1;
	ok(is_held(all, found, texts, (size_t)size, 0, 0, 0) &&
		   found->names == 1 && found->paths == 1,
	   "discover: a name and its path");
	found = find(all, netns_ino(bound));
	ok(is_held(all, found, odd, strlen(odd) + 1, 0, 0, 0) &&
		   found->names == 0 && found->paths == 1,
	   "discover: a pin with a blank, a backslash and a newline");
	ok(all->dev == netns_dev(named), "discover: their device");
	netns_free(all);

	all = discover(NETNS_PROCESSES);
	ok(!find(all, netns_ino(named)) && find(all, home) &&
		   all->texts_size == 0,
	   "discover: processes alone");
	netns_free(all);
	all = discover(NETNS_PINS);
	ok(find(all, netns_ino(named)) && all->ids_count == 0,
	   "discover: pins alone");
	netns_free(all);

	/* Another namespace covers the file, then a mount covers the directory. */
	if (mount(rundir, odd, NULL, MS_BIND, NULL) == 0)
		bail("a directory on a file");
	snprintf(texts, sizeof(texts), "/proc/self/fd/%d", netns_fd(named));
	if (mount(texts, odd, NULL, MS_BIND, NULL) < 0)
		bail("mount");
	all = discover(ALL);
	found = find(all, netns_ino(bound));
	ok(found && found->paths == 0,
	   "discover: a covered pin is found, without its path");
	found = find(all, netns_ino(named));
	ok(found && found->paths == 2, "discover: what covers it has the path");
	netns_free(all);
	umount2(odd, MNT_DETACH);
	if (mount("none", rundir, "tmpfs", 0, NULL) < 0)
		bail("mount tmpfs");
	all = discover(ALL);
	found = find(all, netns_ino(named));
	ok(found && found->names == 0 && found->paths == 0,
	   "discover: neither name nor path in a covered directory");
	netns_free(all);
	umount2(rundir, MNT_DETACH);
	netns_delete(NULL, odd, fresh());
	netns_delete(rundir, "name", fresh());
	all = discover(ALL);
	ok(!find(all, netns_ino(named)) && !find(all, netns_ino(bound)),
	   "discover: handles alone are not found");
	netns_free(all);
	netns_unref(named);
	netns_unref(bound);
}

struct resident {
	struct netns *ns;
	sem_t inside, go;
	pid_t tid;
};

static void *reside(void *argument)
{
	struct resident *resident = argument;

	if (!setns_to(resident->ns))
		bail("setns");
	resident->tid = thread_id();
	sem_post(&resident->inside);
	await(&resident->go);
	return NULL;
}

static void test_tasks(void)
{
	struct resident resident = { .ns = make_namespace() };
	struct netns_discovery *all;
	pthread_t thread;
	pid_t pid;
	int pipes[2];
	char byte;

	sem_init(&resident.inside, 0, 0);
	sem_init(&resident.go, 0, 0);
	thread = start(reside, &resident);
	await(&resident.inside);
	all = discover(ALL);
	ok(is_held(all, find(all, netns_ino(resident.ns)), "", 0, 0, 1,
		   resident.tid),
	   "discover: a thread");
	netns_free(all);
	all = discover(NETNS_PINS | NETNS_PROCESSES);
	ok(!find(all, netns_ino(resident.ns)), "discover: not where not asked");
	netns_free(all);
	sem_post(&resident.go);
	pthread_join(thread, NULL);

	if (pipe(pipes) < 0)
		bail("pipe");
	pid = fork();
	if (pid == 0) {
		limit_child();
		_exit(!setns_to(resident.ns) || write(pipes[1], "", 1) != 1 ||
		      pause());
	}
	if (read(pipes[0], &byte, 1) != 1)
		bail("read");
	all = discover(ALL);
	ok(is_held(all, find(all, netns_ino(resident.ns)), "", 0, 1, 0, pid),
	   "discover: a process");
	netns_free(all);
	kill(pid, SIGKILL);
	wait_for(pid);
	close(pipes[0]);
	close(pipes[1]);
	netns_unref(resident.ns);
}

static void test_refused(void)
{
	struct netns_discovery *all = NULL;
	const char *file = in_scratch("file");

	write_file(file, 0600, "text");
	ok(bad(netns_discover(file, ALL, &all, fresh()), ENOTDIR,
	       NETNS_STEP_OPEN_RUNDIR, file) &&
		   !all,
	   "discover: a run directory that is a file");
	ok(good(netns_discover(in_scratch("none"), ALL, &all, fresh())) &&
		   all->count > 0,
	   "discover: no run directory");
	netns_free(all);
}

static void test_socket(void)
{
	struct netns *ns = make_namespace(), *its = NULL;
	int64_t guard = netns_enter(ns, fresh());
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint64_t cookie = 0, wanted = 0;
	socklen_t size = sizeof(wanted);

	netns_leave(guard, fresh());
	if (has_request(fd, SIOCGSKNS)) {
		ok(good(netns_from_socket(fd, &its, fresh())) &&
			   netns_ino(its) == netns_ino(ns),
		   "from_socket: where the socket lives");
		netns_unref(its);
		its = NULL;
	} else {
		ok(bad(netns_from_socket(fd, &its, fresh()), ENOTTY,
		       NETNS_STEP_OPEN_SOCKET, ""),
		   "from_socket: the kernel does not tell");
		skip("needs SIOCGSKNS (Linux 4.10)");
	}
	ok(bad(netns_from_socket(-1, &its, fresh()), EBADF,
	       NETNS_STEP_OPEN_SOCKET, "") &&
		   bad(netns_from_socket(netns_fd(ns), &its, fresh()), ENOTSOCK,
		       NETNS_STEP_OPEN_SOCKET, "") &&
		   !its,
	   "from_socket: no descriptor, no socket");
	if (!getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &wanted, &size)) {
		ok(good(netns_cookie(ns, &cookie, fresh())) && cookie &&
			   cookie == wanted,
		   "cookie: as a socket inside has it");
	} else {
		ok(bad(netns_cookie(ns, &cookie, fresh()), ENOPROTOOPT,
		       NETNS_STEP_ASK_COOKIE, ""),
		   "cookie: the kernel has none");
		skip("needs SO_NETNS_COOKIE (Linux 5.14)");
	}
	ok(where() == home, "cookie: the thread stays");
	close(fd);
	netns_close(ns);
	ok(bad(netns_cookie(ns, &cookie, fresh()), EBADF, NETNS_STEP_USE_HANDLE,
	       "") &&
		   bad((int)netns_owner_uid(ns, fresh()), EBADF,
		       NETNS_STEP_USE_HANDLE, ""),
	   "cookie, owner_uid: of a closed handle");
	netns_unref(ns);
}

/* Sends the handle's descriptor to itself, and closes it. */
static void put_under_way(struct netns *ns, int pair[2])
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = { .room = "" };
	struct iovec byte = { .iov_base = "", .iov_len = 1 };
	struct msghdr message = { .msg_iov = &byte,
				  .msg_iovlen = 1,
				  .msg_control = control.room,
				  .msg_controllen = sizeof(control.room) };
	int fd = netns_fd(ns);

	control.head.cmsg_len = CMSG_LEN(sizeof(int));
	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair) < 0 ||
	    sendmsg(pair[0], &message, 0) != 1)
		bail("SCM_RIGHTS");
	netns_close(ns);
}

/* Asks with arguments that every kernel refuses. */
static bool has_listns(void)
{
	return syscall(470, NULL, NULL, 0, 0) < 0 && errno != ENOSYS;
}

static void test_under_way(void)
{
	struct netns *ns = make_namespace(), *again = NULL;
	uint64_t ino = netns_ino(ns);
	struct netns_discovery *all;
	const struct netns_found *found;
	int pair[2];

	put_under_way(ns, pair);
	all = discover(NETNS_PINS | NETNS_DESCRIPTORS);
	found = find(all, ino);
	if (has_listns()) {
		ok(found && is_held(all, found, "", 0, 0, 0, 0) &&
			   !found->holders && found->cookie,
		   "discover: by a descriptor under way");
		ok(found &&
			   good(netns_from_cookie(found->cookie, ino, &again,
						  fresh())) &&
			   netns_ino(again) == ino,
		   "discover: it is opened by its cookie");
		found = find(all, home);
		ok(found && found->pids && found->cookie,
		   "discover: and the others have theirs");
	} else {
		ok(!found, "discover: a descriptor under way is out of sight");
		skip("needs listns (Linux 6.19)");
	}
	netns_free(all);
	netns_unref(again);
	netns_unref(ns);
	close(pair[0]);
	close(pair[1]);
}

static void test_ids(void)
{
	struct netns *away = make_namespace(), *ns = make_namespace();
	int64_t guard = netns_enter(away, fresh());
	struct netns_nsid *ids = NULL;
	struct netns *both[] = { ns, away };
	int32_t id = 5, two[] = { 5, 5 };

	if (has_request(netns_fd(ns), NS_GET_NSTYPE)) { /* also of Linux 4.11 */
		ok(netns_owner_uid(ns, fresh()) == (int64_t)geteuid(),
		   "owner_uid: whose user namespace this is");
	} else {
		ok(bad((int)netns_owner_uid(ns, fresh()), ENOTTY,
		       NETNS_STEP_FIND_OWNER, ""),
		   "owner_uid: the kernel does not tell");
		skip("needs NS_GET_OWNER_UID (Linux 4.11)");
	}
	ok(good(netns_nsids(-1, -1, &ids, fresh())) && !ids, "nsids: none");
	ok(good(netns_get_nsid(ns, &id, fresh())) && id == -1,
	   "get_nsid: none is given");
	ok(good(netns_set_nsid(ns, 42, fresh())) &&
		   good(netns_get_nsid(ns, &id, fresh())) && id == 42,
	   "set_nsid: it has that one");
	ok(bad(netns_set_nsid(ns, 43, fresh()), EEXIST, NETNS_STEP_SET_NSID,
	       ""),
	   "set_nsid: for good");
	ok(good(netns_set_nsid(away, -1, fresh())) &&
		   good(netns_get_nsid(away, &id, fresh())) && id >= 0,
	   "set_nsid: of the kernel's choice");
	ok(good(netns_get_nsids(both, 2, two, fresh())) && two[0] == 42 &&
		   two[1] == id,
	   "get_nsids: of several, in their order");
	ok(netns_nsids(-1, -1, &ids, fresh()) == 2 &&
		   (ids[0].nsid == 42 || ids[1].nsid == 42),
	   "nsids: both");
	netns_free(ids);
	netns_close(ns);
	both[0] = away;
	both[1] = ns;
	ok(bad(netns_get_nsids(both, 2, two, fresh()), EBADF,
	       NETNS_STEP_USE_HANDLE, "") &&
		   bad(netns_set_nsid(ns, 1, fresh()), EBADF,
		       NETNS_STEP_USE_HANDLE, ""),
	   "nsid: of a closed handle");
	netns_leave(guard, fresh());
	netns_unref(ns);
	netns_unref(away);
}

int main(void)
{
	int before;

	alarm(SECONDS);
	home = where();
	rundir = make_rundir();
	make_thread_known();
	before = count_fds();
	test_pins();
	test_tasks();
	test_refused();
	test_socket();
	test_under_way();
	test_ids();
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
