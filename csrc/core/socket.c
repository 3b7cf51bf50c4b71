/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets made inside. */
#include <string.h>

#include "internal.h"
#include "sys.h"

struct socket_job {
	struct netns *const *namespaces;
	size_t count, made;
	int family, type, protocol;
	int *fds;
};

static void close_sockets(struct socket_job *job)
{
	while (job->made)
		sys_close(job->fds[--job->made]);
}

static int make_socket(struct socket_job *job, struct netns_error *err)
{
	int fd = sys_socket(job->family, job->type, job->protocol);

	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_MAKE_SOCKET, NULL);
	job->fds[job->made++] = fd;
	return 0;
}

static int make_one_socket(const struct inside *inside, void *arg,
			   struct netns_error *err)
{
	(void)inside;
	return make_socket(arg, err);
}

static int make_all_sockets(const struct inside *inside, void *arg,
			    struct netns_error *err)
{
	struct socket_job *job = arg;
	struct netns *ns;
	int ret;

	while (job->made < job->count) {
		ns = job->namespaces[job->made];
		ret = netns__visit_next(inside, ns, err);
		if (!ret)
			ret = make_socket(job, err);
		if (ret < 0) {
			if (ns)
				strcpy(err->path, ns->text);
			close_sockets(job);
			return ret;
		}
	}
	return 0;
}

int netns_sockets(struct netns *const *namespaces, size_t count, int family,
		  int type, int protocol, int *fds, struct netns_error *err)
{
	struct socket_job job = { .namespaces = namespaces,
				  .count = count,
				  .family = family,
				  .type = type,
				  .protocol = protocol,
				  .fds = fds };
	int ret = netns__run_tour(make_all_sockets, &job, err);

	if (ret < 0)
		close_sockets(&job);
	return ret;
}

int netns_socket(struct netns *ns, int family, int type, int protocol,
		 struct netns_error *err)
{
	int fd, ret;
	struct socket_job job = {
		.family = family, .type = type, .protocol = protocol, .fds = &fd
	};

	ret = netns__run_inside(ns, make_one_socket, &job, err);
	if (ret < 0)
		close_sockets(&job);
	return ret < 0 ? ret : fd;
}

static int ask_cookie(const struct inside *inside, void *arg,
		      struct netns_error *err)
{
	uint64_t *cookie = arg;
	int fd, ret;

	(void)inside;
	fd = ret = sys_socket(AF_UNIX, SOCK_DGRAM, 0);
	if (fd >= 0) {
		ret = sys_getsockopt(fd, SYS_SO_NETNS_COOKIE, cookie,
				     sizeof(*cookie));
		sys_close(fd);
	}
	return netns__check(err, ret, NETNS_STEP_ASK_COOKIE, NULL);
}

int netns_cookie(struct netns *ns, uint64_t *cookie, struct netns_error *err)
{
	uint64_t asked = 0;
	int ret, fd = netns__fd_get_usable(ns, err);

	if (fd < 0)
		return fd;
	/* Any refusal: a sandbox's, or a kernel's before Linux 6.18. */
	ret = sys_ns_id(fd, &asked);
	netns__fd_put(ns);
	if (ret < 0)
		ret = netns__run_inside(ns, ask_cookie, &asked, err);

	if (!ret)
		*cookie = asked;
	return ret;
}
