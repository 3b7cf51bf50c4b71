/* SPDX-License-Identifier: Apache-2.0 */
/* Handles: their memory, their descriptor, their identity. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

#define HANDLE_CLOSED (UINT64_C(1) << 63)
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

static bool is_octal(const char *digits)
{
	return digits[0] >= '0' && digits[0] <= '3' && digits[1] >= '0' &&
	       digits[1] <= '7' && digits[2] >= '0' && digits[2] <= '7';
}

void netns__decode_path(char *path)
{
	char *to = path;

	while (*path) {
		if (path[0] == '\\' && is_octal(path + 1)) {
			*to++ = (char)((path[1] - '0') << 6 |
				       (path[2] - '0') << 3 | (path[3] - '0'));
			path += 4;
		} else {
			*to++ = *path++;
		}
	}
	*to = '\0';
}

void netns_free(void *block)
{
	free(block);
}

/*
 * /proc/self is the main thread's, which may have ended or have descriptors of
 * its own. A sandbox may lack /proc/thread-self (Linux 3.17).
 */
const char *netns__own_proc(void)
{
	static atomic_bool has_thread_self;
	char text[32];

	if (!atomic_load(&has_thread_self) &&
	    sys_readlinkat(AT_FDCWD, "/proc/thread-self", text, sizeof(text)) >
		    0)
		atomic_store(&has_thread_self, true);
	return atomic_load(&has_thread_self) ? "/proc/thread-self"
					     : "/proc/self";
}

const char *netns__fd_path(char *buf, int fd)
{
	snprintf(buf, FD_PATH_SIZE, "%s/fd/%d", netns__own_proc(), fd);
	return buf;
}

int netns__identify(int fd, struct identity *identity)
{
	struct stat st;
	int ret = sys_fstat(fd, &st);

	if (ret < 0)
		return ret;
	identity->dev = st.st_dev;
	identity->ino = st.st_ino;
	return 0;
}

bool netns__is_file(int fd, const struct identity *identity)
{
	struct stat st;

	return !sys_look_at(fd, &st) && st.st_dev == identity->dev &&
	       st.st_ino == identity->ino;
}

void netns__close_own(int fd, const struct identity *identity)
{
	if (netns__is_file(fd, identity))
		sys_close(fd);
}

static bool is_own_fd(const struct netns *ns)
{
	const struct identity identity = { ns->dev, ns->ino };

	return netns__is_file(ns->fd, &identity);
}

static void close_fd(const struct netns *ns)
{
	const struct identity identity = { ns->dev, ns->ino };

	netns__close_own(ns->fd, &identity);
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
 *
 * The word holds the generation as well. Where that has changed, the kernel is
 * asked once whether the descriptor still is the namespace. The users are those
 * of a process: a forked child has not inherited their threads.
 */
static uint32_t generation_of(uint64_t uses)
{
	return (uint32_t)((uses & ~HANDLE_CLOSED) >> 32);
}

static uint64_t in_generation(uint32_t generation, uint64_t flag_and_users)
{
	return (uint64_t)generation << 32 | flag_and_users;
}

static uint32_t users(uint64_t uses)
{
	return (uint32_t)uses;
}

static void lose_fd(struct netns *ns)
{
	atomic_store(&ns->is_lost, true);
	atomic_fetch_or(&ns->uses, HANDLE_CLOSED);
}

/* Returns the word, of the present generation. */
static uint64_t renew(struct netns *ns)
{
	uint64_t uses = atomic_load(&ns->uses), renewed;
	uint32_t now = netns__generation();
	bool forked, own = is_own_fd(ns);

	do {
		if (generation_of(uses) == now)
			return uses;
		forked = !netns__is_same_process(generation_of(uses), now);
		renewed = uses & HANDLE_CLOSED;
		if (!own && !renewed) {
			atomic_store(&ns->is_lost, true);
			renewed = HANDLE_CLOSED;
		}
		renewed |= in_generation(now, forked ? 0 : users(uses));
	} while (!atomic_compare_exchange_weak(&ns->uses, &uses, renewed));
	/* Closed while a thread that is not here was using it. */
	if ((uses & HANDLE_CLOSED) && forked && users(uses))
		close_fd(ns);
	return renewed;
}

static uint64_t load_uses(struct netns *ns)
{
	uint64_t uses = atomic_load(&ns->uses);

	return generation_of(uses) == netns__generation() ? uses : renew(ns);
}

static int refuse_closed(const struct netns *ns, struct netns_error *err)
{
	return netns__fail(err,
			   ns && atomic_load(&ns->is_lost) ? -ESTALE : -EBADF,
			   NETNS_STEP_USE_HANDLE, NULL);
}

int netns__fd_get(struct netns *ns, struct netns_error *err)
{
	uint64_t uses = ns ? load_uses(ns) : HANDLE_CLOSED;

	do {
		if (uses & HANDLE_CLOSED)
			return refuse_closed(ns, err);
	} while (!atomic_compare_exchange_weak(&ns->uses, &uses, uses + 1));
	return ns->fd;
}

int netns__fd_get_proven(struct netns *ns, struct netns_error *err)
{
	int fd = netns__fd_get(ns, err);

	if (fd < 0 || is_own_fd(ns))
		return fd;
	lose_fd(ns);
	netns__note_loss();
	netns__fd_put(ns);
	return refuse_closed(ns, err);
}

void netns__fd_put(struct netns *ns)
{
	uint64_t uses = atomic_load(&ns->uses);

	do {
		/* A signal's handler has forked while this thread used it. */
		if (!users(uses))
			return;
	} while (!atomic_compare_exchange_weak(&ns->uses, &uses, uses - 1));
	if ((uses & HANDLE_CLOSED) && users(uses) == 1)
		close_fd(ns);
}

bool netns__fd_is_lost(struct netns *ns)
{
	return ns && (load_uses(ns), atomic_load(&ns->is_lost));
}

bool netns__fd_is_lost_now(struct netns *ns)
{
	int fd = ns ? netns__fd_get_proven(ns, NULL) : 0;

	if (ns && fd >= 0)
		netns__fd_put(ns);
	return fd < 0;
}

static void close_handle(struct netns *ns)
{
	uint64_t uses = load_uses(ns);

	do {
		if (uses & HANDLE_CLOSED)
			return;
	} while (!atomic_compare_exchange_weak(&ns->uses, &uses,
					       uses | HANDLE_CLOSED));
	if (!users(uses))
		close_fd(ns);
}

void netns__fd_abandon(struct netns *ns)
{
	if (ns && atomic_load(&ns->refs) == 1)
		close_handle(ns);
}

void netns_close(struct netns *ns)
{
	if (ns && !ns->is_borrowed)
		close_handle(ns);
}

struct netns *netns_ref(struct netns *ns)
{
	if (ns)
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
	if (netns_is_closed(ns))
		return refuse_closed(ns, NULL);
	return is_own_fd(ns) ? ns->fd : -ESTALE;
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

int netns__wrap(int fd, const struct stat *st, struct netns **ns,
		struct netns_error *err)
{
	struct netns *made;
	struct stat asked;
	int ret = 0;

	if (!st) {
		ret = sys_fstat(fd, &asked);
		st = &asked;
	}
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
	atomic_init(&made->uses, in_generation(netns__generation(), 0));
	made->fd = fd;
	made->dev = st->st_dev;
	made->ino = st->st_ino;
	made->text_size =
		(size_t)snprintf(made->text, sizeof(made->text), "net:[%llu]",
				 (unsigned long long)st->st_ino);
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
	fd = sys_ioctl_fd(ns->fd, SYS_NS_GET_USERNS);
	if (fd < 0)
		return 0;
	if (!sys_fstat(fd, &st)) {
		owner = st.st_ino;
		atomic_store_explicit(&ns->owner, owner, memory_order_relaxed);
	}
	sys_close(fd);
	return owner;
}
