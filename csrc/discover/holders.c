/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of what holds namespaces. */
#include <string.h>

#include "holders.h"
#include "sys.h"

int netns__holders_add(struct holders *holders, uint64_t ino,
		       enum holder_kind kind, int32_t id, const char *text)
{
	struct holder *held = netns__grow(holders->held, &holders->room,
					  holders->count + 1, sizeof(*held));

	if (!held)
		return -ENOMEM;
	holders->held = held;
	held[holders->count++] = (struct holder) {
		.ino = ino, .kind = kind, .id = id, .text = text
	};
	return 0;
}

int netns__holders_add_fd(struct holders *holders, uint64_t ino,
			  enum holder_kind kind, int32_t pid, int32_t fd)
{
	int ret = netns__holders_add(holders, ino, kind, pid, NULL);

	if (!ret)
		holders->held[holders->count - 1].fd = fd;
	return ret;
}

int netns__holders_add_cookie(struct holders *holders, uint64_t ino,
			      uint64_t cookie)
{
	int ret = netns__holders_add(holders, ino, HOLDER_UNSEEN, 0, NULL);

	if (!ret)
		holders->held[holders->count - 1].cookie = cookie;
	return ret;
}

int netns__holders_append(struct holders *holders, const struct holders *more)
{
	struct holder *held =
		netns__grow(holders->held, &holders->room,
			    holders->count + more->count, sizeof(*held));

	if (!more->count)
		return 0;
	if (!held)
		return -ENOMEM;
	holders->held = held;
	memcpy(held + holders->count, more->held, more->count * sizeof(*held));
	holders->count += more->count;
	return 0;
}

static int compare_holders(const void *one, const void *other)
{
	const struct holder *a = one, *b = other;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	if (a->fd != b->fd)
		return a->fd < b->fd ? -1 : 1;
	return a->text && b->text ? strcmp(a->text, b->text) : 0;
}

/* A mount table may have one path twice. */
void netns__holders_sort(struct holders *holders)
{
	struct holder *held = holders->held;
	size_t from, to = 0;

	if (!holders->count)
		return;
	qsort(held, holders->count, sizeof(*held), compare_holders);
	for (from = 1; from < holders->count; from++) {
		if (compare_holders(&held[to], &held[from]) != 0)
			held[++to] = held[from];
	}
	holders->count = to + 1;
}

uint64_t netns__parse_link(const char *type, const char *text, size_t size)
{
	const char *end = text + size - 1;
	uint64_t ino = 0;

	if (size < 7 || memcmp(text, type, 3) != 0 ||
	    memcmp(text + 3, ":[", 2) != 0)
		return 0;
	for (text += 5; text < end && *text >= '0' && *text <= '9'; text++)
		ino = ino * 10 + (uint64_t)(*text - '0');
	return text == end && *text == ']' ? ino : 0;
}

uint64_t netns__parse_ino(const char *text, size_t size)
{
	return netns__parse_link("net", text, size);
}

bool netns__is_gone(int ret)
{
	return ret == -ENOENT || ret == -ESRCH;
}

bool netns__is_refused(int ret)
{
	return ret == -EACCES || ret == -EPERM;
}

bool netns__is_shortage(int ret)
{
	return ret == -EMFILE || ret == -ENFILE || ret == -ENOMEM;
}

int netns__nsfs_device(dev_t *dev, struct netns_error *err)
{
	struct stat st = { 0 };
	int fd, ret;

	ret = netns__open_own(&fd, err);
	if (ret < 0)
		return ret;
	ret = sys_fstat(fd, &st);
	sys_close(fd);
	*dev = st.st_dev;
	return netns__check(err, ret, NETNS_STEP_IDENTIFY, NULL);
}
