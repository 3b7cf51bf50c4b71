/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets born inside. */
#include <string.h>

#include "internal.h"
#include "sys.h"

struct batch {
	struct netns *const *namespaces;
	size_t count, done;
	int family, type, protocol;
	int *fds;
	int64_t guard; /* the visits'; 0 on a thread that need not come home */
	int ret;
	struct netns_error *err;
};

static int make_one(int family, int type, int protocol, struct netns_error *err)
{
	int fd = sys_socket(family, type, protocol);

	return fd < 0 ? netns__fail(err, fd, NETNS_STEP_MAKE_SOCKET, NULL) : fd;
}

static int make_next(struct batch *b)
{
	struct netns *ns = b->namespaces[b->done];
	int ret = b->guard ? netns_visit(b->guard, ns, b->err)
			   : netns_set(ns, b->err);

	if (!ret)
		ret = make_one(b->family, b->type, b->protocol, b->err);
	if (ret >= 0)
		b->fds[b->done++] = ret;
	else if (ns)
		strcpy(b->err->path, ns->text);
	return ret;
}

static void close_all(struct batch *b)
{
	while (b->done)
		sys_close(b->fds[--b->done]);
}

static void *make_all(void *arg)
{
	struct batch *b = arg;

	while (b->done < b->count && b->ret >= 0)
		b->ret = make_next(b);
	if (b->ret < 0)
		close_all(b);
	return NULL;
}

static int make_by_visits(struct batch *b)
{
	int ret;

	b->guard = netns_tour(b->err);
	if (b->guard < 0)
		return (int)b->guard;
	make_all(b);
	ret = netns_leave(b->guard, b->err);
	if (ret < 0) {
		close_all(b);
		return ret;
	}
	return b->ret < 0 ? b->ret : 0;
}

static int make_in_thread(struct batch *b)
{
	int ret;

	b->guard = 0;
	b->ret = 0;
	ret = netns__in_thread(make_all, b, b->err);
	return ret < 0 ? ret : b->ret < 0 ? b->ret : 0;
}

int netns_sockets(struct netns *const *namespaces, size_t count, int family,
		  int type, int protocol, int *fds, struct netns_error *err)
{
	struct netns_error kept;
	struct batch b = { .namespaces = namespaces,
			   .count = count,
			   .family = family,
			   .type = type,
			   .protocol = protocol,
			   .fds = fds,
			   .err = &kept };
	int ret = make_by_visits(&b);

	if (netns__may_not_return(ret, &kept))
		ret = make_in_thread(&b);
	return ret < 0 ? netns__pass(err, &kept) : 0;
}

static int make_inside(struct netns *ns, int family, int type, int protocol,
		       struct netns_error *err)
{
	int64_t guard = netns_enter(ns, err);
	int fd, ret;

	if (guard < 0)
		return (int)guard;
	fd = make_one(family, type, protocol, err);
	ret = netns_leave(guard, err);
	if (ret < 0 && fd >= 0)
		sys_close(fd);
	return ret < 0 ? ret : fd;
}

int netns_socket(struct netns *ns, int family, int type, int protocol,
		 struct netns_error *err)
{
	struct netns_error kept;
	int fd, ret = make_inside(ns, family, type, protocol, &kept);
	struct batch b = { .namespaces = &ns,
			   .count = 1,
			   .family = family,
			   .type = type,
			   .protocol = protocol,
			   .fds = &fd,
			   .err = &kept };

	if (netns__may_not_return(ret, &kept)) {
		ret = make_in_thread(&b);
		if (!ret)
			return fd;
	}
	return ret < 0 ? netns__pass(err, &kept) : ret;
}
