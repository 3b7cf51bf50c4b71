/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: their memory, their descriptor, their identity. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

#define HANDLE_CLOSED (1U << 31)
#define LEAST_ROOM    8

void *netns__grow(void *array, size_t *room, size_t count, size_t item)
{
	size_t wanted = 2 * *room;

	if (count <= *room)
		return array;
	if (wanted < count)
		wanted = count;
	if (wanted < LEAST_ROOM)
		wanted = LEAST_ROOM;
	array = sys_realloc(array, wanted * item);
	if (array)
		*room = wanted;
	return array;
}

void netns_free(void *block)
{
	free(block);
}

const char *netns__fd_path(char *buf, int fd)
{
	snprintf(buf, FD_PATH_SIZE, "/proc/self/fd/%d", fd);
	return buf;
}

/*
 * closing
 *
 * Problem: a descriptor that one thread closes while another is about to use
 * it may be reused in between, and the other thread would enter the wrong
 * namespace.
 * Solution: one word holds both a "closed" flag and the number of users. A user
 * adds itself only while the flag is not set. The one that finds the flag set
 * and no user left closes the descriptor, once.
 */
int netns__fd_get(struct netns *ns, struct netns_error *err)
{
	unsigned int uses = ns ? atomic_load(&ns->uses) : HANDLE_CLOSED;

	do {
		if (uses & HANDLE_CLOSED)
			return netns__fail(err, -EBADF, NETNS_STEP_USE_HANDLE,
					   NULL);
	} while (!atomic_compare_exchange_weak(&ns->uses, &uses, uses + 1));
	return ns->fd;
}

void netns__fd_put(struct netns *ns)
{
	if (atomic_fetch_sub(&ns->uses, 1) == (HANDLE_CLOSED | 1))
		sys_close(ns->fd);
}

static void close_handle(struct netns *ns)
{
	if (atomic_fetch_or(&ns->uses, HANDLE_CLOSED) == 0)
		sys_close(ns->fd);
}

void netns_close(struct netns *ns)
{
	if (ns && !ns->is_borrowed)
		close_handle(ns);
}

struct netns *netns_ref(struct netns *ns)
{
	atomic_fetch_add(&ns->refs, 1);
	return ns;
}

void netns_unref(struct netns *ns)
{
	if (!ns || atomic_fetch_sub(&ns->refs, 1) != 1)
		return;
	close_handle(ns);
	free(ns);
}

int netns_fd(const struct netns *ns)
{
	return netns_is_closed(ns) ? -EBADF : ns->fd;
}

int netns_is_closed(const struct netns *ns)
{
	return !ns || (atomic_load(&ns->uses) & HANDLE_CLOSED) != 0;
}

uint64_t netns_ino(const struct netns *ns)
{
	return ns ? ns->ino : 0;
}

uint64_t netns_dev(const struct netns *ns)
{
	return ns ? ns->dev : 0;
}

int netns__wrap(int fd, struct netns **ns, struct netns_error *err)
{
	struct netns *made;
	struct stat st;
	int ret;

	ret = sys_fstat(fd, &st);
	if (ret < 0) {
		netns__fail(err, ret, NETNS_STEP_IDENTIFY, NULL);
		goto out;
	}
	made = sys_alloc(sizeof(*made));
	if (!made) {
		ret = netns__fail(err, -ENOMEM, NETNS_STEP_ALLOCATE, NULL);
		goto out;
	}
	atomic_init(&made->refs, 1);
	made->fd = fd;
	made->dev = st.st_dev;
	made->ino = st.st_ino;
	made->text_size =
		(size_t)snprintf(made->text, sizeof(made->text), "net:[%llu]",
				 (unsigned long long)st.st_ino);
	*ns = made;
	return 0;
out:
	sys_close(fd);
	return ret;
}

/* The answer never changes, so a handle asks for it once. */
uint64_t netns__owner_ino(struct netns *ns)
{
	uint64_t owner = atomic_load_explicit(&ns->owner, memory_order_relaxed);
	struct stat st;
	int fd;

	if (owner)
		return owner;
	fd = sys_ioctl(ns->fd, SYS_NS_GET_USERNS);
	if (fd < 0)
		return 0;
	if (!sys_fstat(fd, &st)) {
		owner = st.st_ino;
		atomic_store_explicit(&ns->owner, owner, memory_order_relaxed);
	}
	sys_close(fd);
	return owner;
}
