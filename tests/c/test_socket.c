/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets made inside, and tours. */
#include "support.h"

#define MANY 16

static uint64_t home;

/* The inode of a socket's namespace, by an ioctl(2). */
static uint64_t lives_in(int sock)
{
	int fd = ioctl(sock, SIOCGSKNS);
	struct stat st = { 0 };

	if (fd < 0 || fstat(fd, &st) < 0)
		bail("SIOCGSKNS");
	close(fd);
	return st.st_ino;
}

static void test_socket(void)
{
	struct netns *ns = make_namespace();
	int fd = netns_socket(ns, AF_INET, SOCK_DGRAM, 0, fresh());

	ok(good(fd) && lives_in(fd) == netns_ino(ns) && where() == home,
	   "socket: made inside, the thread is home");
	ok(fcntl(fd, F_GETFD) == FD_CLOEXEC, "socket: close-on-exec");
	close(fd);
	fd = netns_socket(ns, AF_INET, 77, 0, fresh());
	ok(bad(fd, EINVAL, NETNS_STEP_MAKE_SOCKET, "") && where() == home,
	   "socket: of no type");
	netns_close(ns);
	fd = netns_socket(ns, AF_INET, SOCK_DGRAM, 0, fresh());
	ok(bad(fd, EBADF, NETNS_STEP_USE_HANDLE, ""), "socket: closed");
	ok(bad(netns_socket(NULL, AF_INET, SOCK_DGRAM, 0, fresh()), EBADF,
	       NETNS_STEP_USE_HANDLE, ""),
	   "socket: no handle");
	netns_unref(ns);
}

static void test_sockets(void)
{
	struct netns *ns[MANY];
	int i, right = 0, fds[MANY], before;
	char text[64];

	for (i = 0; i < MANY; i++)
		ns[i] = make_namespace();
	before = count_fds();
	ok(good(netns_sockets(ns, MANY, AF_INET6, SOCK_STREAM, 0, fds,
			      fresh())) &&
		   where() == home,
	   "sockets: made, the thread is home");
	for (i = 0; i < MANY; i++) {
		right += lives_in(fds[i]) == netns_ino(ns[i]);
		close(fds[i]);
	}
	ok(right == MANY, "sockets: one in each");
	ok(good(netns_sockets(ns, 0, AF_INET, SOCK_STREAM, 0, fds, fresh())),
	   "sockets: none");
	netns_close(ns[MANY - 1]);
	snprintf(text, sizeof(text), "net:[%" PRIu64 "]",
		 netns_ino(ns[MANY - 1]));
	ok(bad(netns_sockets(ns, MANY, AF_INET, SOCK_STREAM, 0, fds, fresh()),
	       EBADF, NETNS_STEP_USE_HANDLE, text) &&
		   where() == home,
	   "sockets: the error names the one that is closed");
	ok(count_fds() == before - 1, "sockets: all or none");
	for (i = 0; i < MANY; i++)
		netns_unref(ns[i]);
}

static void test_tour(void)
{
	struct netns *ns[MANY], *host = NULL;
	int64_t guard, inner;
	int i, right = 0;

	for (i = 0; i < MANY; i++)
		ns[i] = make_namespace();
	guard = netns_tour(fresh());
	ok(good(guard) && where() == home, "tour: begins at home");
	for (i = 0; i < MANY; i++)
		right += good(netns_visit(guard, ns[i], fresh())) &&
			 where() == netns_ino(ns[i]);
	ok(right == MANY, "tour: visits each");
	ok(good(netns_host(&host, fresh())) && netns_ino(host) == home,
	   "tour: its host is home");
	netns_unref(host);
	inner = netns_enter(ns[0], fresh());
	ok(good(inner) && good(netns_host(&host, fresh())) &&
		   netns_ino(host) == netns_ino(ns[MANY - 1]),
	   "tour: home of an inner body is the last stop");
	netns_unref(host);
	ok(bad(netns_visit(guard, ns[1], fresh()), EINVAL,
	       NETNS_STEP_CHECK_ORDER, "") &&
		   where() == netns_ino(ns[0]),
	   "tour: no visit while another guard is inside");
	ok(good(netns_leave(inner, fresh())) &&
		   where() == netns_ino(ns[MANY - 1]),
	   "tour: goes on at the last stop");
	ok(bad(netns_visit(guard, NULL, fresh()), EBADF, NETNS_STEP_USE_HANDLE,
	       "") &&
		   where() == netns_ino(ns[MANY - 1]),
	   "tour: no handle, no visit");
	ok(good(netns_leave(guard, fresh())) && where() == home,
	   "tour: ends at home");
	ok(bad(netns_visit(guard, ns[1], fresh()), EINVAL,
	       NETNS_STEP_CHECK_ORDER, "") &&
		   where() == home,
	   "tour: no visit afterwards");
	for (i = 0; i < MANY; i++)
		netns_unref(ns[i]);
}

/* The target has another owner, or the right to return is lost on the tour. */
static void test_no_way_home(void)
{
	struct netns *ns = make_namespace();
	int64_t guard = netns_tour(fresh());

	ok(good(guard) && good(netns_visit(guard, ns, fresh())),
	   "tour: visits, then loses its capability");
	have_admin(false);
	ok(bad(netns_visit(guard, ns, fresh()), EPERM, NETNS_STEP_ENTER, "") &&
		   where() == netns_ino(ns),
	   "tour: a refused visit leaves the thread where it was");
	ok(bad(netns_leave(guard, fresh()), EPERM, NETNS_STEP_RETURN, ""),
	   "tour: no way home is an error");
	have_admin(true);
	ok(bad((int)netns_tour(fresh()), ENOTRECOVERABLE,
	       NETNS_STEP_CHECK_STRANDED, ""),
	   "tour: none on a stranded thread");
	ok(bad(netns_socket(ns, AF_INET, SOCK_STREAM, 0, fresh()),
	       ENOTRECOVERABLE, NETNS_STEP_CHECK_STRANDED, ""),
	   "socket: none either");
	netns_unref(ns);
}

static void *strand(void *argument)
{
	test_no_way_home();
	return argument;
}

static bool tells_of_sockets(void)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool tells = has_request(fd, SIOCGSKNS);

	close(fd);
	return tells;
}

int main(void)
{
	int before;

	alarm(SECONDS);
	if (!tells_of_sockets()) {
		skip("needs SIOCGSKNS (Linux 4.10)");
		return done();
	}
	home = where();
	make_thread_known();
	before = count_fds();
	test_socket();
	test_sockets();
	test_tour();
	pthread_join(start(strand, NULL), NULL);
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
