/* SPDX-License-Identifier: Apache-2.0 */
/* Names in the run directory; every namespace of the host. */
#include <stdio.h>
#include <string.h>

#include "holders.h"
#include "sys.h"

struct list {
	char *names;
	size_t size, room;
	int count;
};

static int append(struct list *list, const char *name)
{
	size_t length = strlen(name) + 1;
	size_t room = list->room ? list->room : 1024;
	char *names;

	while (room - list->size < length)
		room *= 2;
	if (room != list->room) {
		names = sys_realloc(list->names, room);
		if (!names)
			return -ENOMEM;
		list->names = names;
		list->room = room;
	}
	memcpy(list->names + list->size, name, length);
	list->size += length;
	list->count++;
	return 0;
}

/*
 * stat first: it opens nothing, so that leftovers, FIFOs and devices are
 * passed over. Only what lies on nsfs is opened, to ask for its type. What
 * vanishes meanwhile is none; what can't be looked at is an error, not a gap.
 */
static int is_network_namespace(int dir, const char *name, dev_t nsfs)
{
	struct stat st;
	int fd, ret;

	ret = sys_fstatat(dir, name, &st);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	if (st.st_dev != nsfs)
		return 0;
	fd = sys_openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	/* Unpinned meanwhile: the file below is nobody's to read. */
	if (fd == -EACCES && !sys_fstatat(dir, name, &st) && st.st_dev != nsfs)
		return 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	ret = netns__check_type(fd);
	sys_close(fd);
	return ret == -EINVAL ? 0 : ret < 0 ? ret : 1;
}

static int nsfs_device(dev_t *dev, struct netns_error *err)
{
	struct stat st = { 0 };
	int fd, ret;

	ret = netns__open_here(&fd, err);
	if (ret < 0)
		return ret;
	ret = sys_fstat(fd, &st);
	sys_close(fd);
	*dev = st.st_dev;
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_IDENTIFY, NULL) : 0;
}

static int list_names(DIR *dir, dev_t nsfs, struct list *list)
{
	struct dirent *entry;
	int ret;

	while (errno = 0, entry = readdir(dir)) {
		ret = is_network_namespace(dirfd(dir), entry->d_name, nsfs);
		if (ret > 0)
			ret = append(list, entry->d_name);
		if (ret < 0)
			return ret;
	}
	return -errno;
}

static int rundir_path(const char *rundir, char *path, size_t size,
		       struct netns_error *err)
{
	int ret = rundir ? snprintf(path, size, "%s", rundir)
			 : netns_rundir(path, size);

	if (ret < 0 || (size_t)ret >= size)
		return netns__fail(err, -ENAMETOOLONG, NETNS_STEP_OPEN_RUNDIR,
				   rundir);
	netns__strip(path);
	return 0;
}

int netns_names(const char *rundir, char **names, size_t *size,
		struct netns_error *err)
{
	struct list list = { 0 };
	char path[NETNS_PATH_SIZE];
	dev_t nsfs = 0;
	DIR *dir;
	int fd, ret;

	ret = netns__ready(err);
	if (ret < 0)
		return ret;
	ret = rundir_path(rundir, path, sizeof(path), err);
	if (!ret)
		ret = nsfs_device(&nsfs, err);
	if (ret < 0)
		return ret;
	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd == -ENOENT) {
		*names = NULL;
		*size = 0;
		return 0;
	}
	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_OPEN_RUNDIR, path);
	dir = fdopendir(fd);
	if (!dir) {
		ret = netns__fail(err, -errno, NETNS_STEP_LIST, path);
		sys_close(fd);
		return ret;
	}
	ret = list_names(dir, nsfs, &list);
	closedir(dir);
	if (ret < 0) {
		free(list.names);
		return netns__fail(err, ret, NETNS_STEP_LIST, path);
	}
	*names = list.names;
	*size = list.size;
	return list.count;
}

void netns_free(void *block)
{
	free(block);
}

int netns__hold_by(struct holders *holders, uint64_t ino, enum holder_kind kind,
		   int32_t id, const char *text)
{
	size_t room = holders->room ? 2 * holders->room : 256;
	struct holder *held;

	if (holders->count == holders->room) {
		held = sys_realloc(holders->held, room * sizeof(*held));
		if (!held)
			return -ENOMEM;
		holders->held = held;
		holders->room = room;
	}
	held = &holders->held[holders->count++];
	held->ino = ino;
	held->kind = kind;
	held->id = id;
	held->text = text;
	return 0;
}

/* The number in "net:[4026531840]"; 0 in anything else. */
uint64_t netns__inode(const char *text, size_t size)
{
	const char *end = text + size - 1;
	uint64_t ino = 0;

	if (size < 7 || memcmp(text, "net:[", 5) != 0)
		return 0;
	for (text += 5; text < end && *text >= '0' && *text <= '9'; text++)
		ino = ino * 10 + (uint64_t)(*text - '0');
	return text == end && *text == ']' ? ino : 0;
}

static int compare(const void *one, const void *other)
{
	const struct holder *a = one, *b = other;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return a->text && b->text ? strcmp(a->text, b->text) : 0;
}

/* In order, each once; what a mount table has twice is one path. */
static void sort(struct holders *holders)
{
	size_t from, to = 0;

	if (!holders->count)
		return;
	qsort(holders->held, holders->count, sizeof(*holders->held), compare);
	for (from = 1; from < holders->count; from++) {
		if (compare(&holders->held[to], &holders->held[from]) != 0)
			holders->held[++to] = holders->held[from];
	}
	holders->count = to + 1;
}

static void measure(const struct holders *holders, struct netns_discovery *sum)
{
	const struct holder *held = holders->held;
	uint64_t ino = 0;
	size_t i;

	for (i = 0; i < holders->count; i++) {
		sum->count += held[i].ino != ino;
		ino = held[i].ino;
		if (held[i].kind == HOLDER_NAME || held[i].kind == HOLDER_PATH)
			sum->texts_size += (uint32_t)strlen(held[i].text) + 1;
		else if (held[i].kind != HOLDER_UNSEEN)
			sum->ids_count++;
	}
}

static void fill(const struct holders *holders, struct netns_discovery *made)
{
	const struct holder *held = holders->held;
	struct netns_found *found = NULL;
	char *text = made->texts;
	int32_t *id = made->ids;
	size_t i;

	for (i = 0; i < holders->count; i++) {
		if (!found || found->ino != held[i].ino) {
			found = found ? found + 1 : made->found;
			found->ino = held[i].ino;
			found->first_text = (uint32_t)(text - made->texts);
			found->first_id = (uint32_t)(id - made->ids);
		}
		switch (held[i].kind) {
		case HOLDER_NAME:
		case HOLDER_PATH:
			text = stpcpy(text, held[i].text) + 1;
			found->names += held[i].kind == HOLDER_NAME;
			found->paths += held[i].kind == HOLDER_PATH;
			break;
		case HOLDER_PROCESS:
		case HOLDER_THREAD:
			*id++ = held[i].id;
			found->pids += held[i].kind == HOLDER_PROCESS;
			found->threads += held[i].kind == HOLDER_THREAD;
			break;
		case HOLDER_UNSEEN:
			break;
		}
	}
}

/* One block, so that one free(3) is all there is to it. */
static int make_block(struct holders *holders, dev_t nsfs, uint32_t hidden,
		      struct netns_discovery **discovery)
{
	struct netns_discovery sum = { .dev = nsfs, .hidden = hidden }, *made;

	sort(holders);
	measure(holders, &sum);
	made = sys_alloc(sizeof(*made) + sum.count * sizeof(*made->found) +
			 sum.ids_count * sizeof(*made->ids) + sum.texts_size);
	if (!made)
		return -ENOMEM;
	*made = sum;
	made->found = (struct netns_found *)(made + 1);
	made->ids = (int32_t *)(made->found + sum.count);
	made->texts = (char *)(made->ids + sum.ids_count);
	fill(holders, made);
	*discovery = made;
	return 0;
}

struct mounts {
	dev_t nsfs;
	struct sys_statx rundir;
	struct holders found;
	char *text;
};

static int scan_mounts(void *argument)
{
	struct mounts *mounts = argument;

	return netns__scan_mounts(mounts->nsfs, &mounts->rundir, &mounts->found,
				  &mounts->text);
}

static int locate_rundir(const char *rundir, struct sys_statx *sx,
			 struct netns_error *err)
{
	char path[NETNS_PATH_SIZE];
	struct stat st;
	int fd, ret;

	ret = rundir_path(rundir, path, sizeof(path), err);
	if (ret < 0)
		return ret;
	fd = sys_openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_OPEN_RUNDIR, path);
	ret = sys_locate(fd, "", AT_EMPTY_PATH, sx);
	if (ret == -ENOSYS) {
		ret = sys_fstat(fd, &st);
		if (!ret)
			netns__place_of(&st, sx);
	}
	sys_close(fd);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_OPEN_RUNDIR, path)
		       : 0;
}

static int add(struct holders *all, const struct holders *more)
{
	size_t i;
	int ret = 0;

	for (i = 0; i < more->count && !ret; i++)
		ret = netns__hold_by(all, more->held[i].ino, more->held[i].kind,
				     more->held[i].id, more->held[i].text);
	return ret;
}

int netns_discover(const char *rundir, int what,
		   struct netns_discovery **discovery, struct netns_error *err)
{
	struct mounts mounts = { 0 };
	struct scan scan = { .what = what, .step = NETNS_STEP_READ_MOUNTS };
	int ret = netns__ready(err);

	if (ret < 0)
		return ret;
	ret = nsfs_device(&mounts.nsfs, err);
	if (!ret && (what & NETNS_PINS))
		ret = locate_rundir(rundir, &mounts.rundir, err);
	if (ret < 0)
		return ret;
	if (what & NETNS_PINS) {
		scan.aside = scan_mounts;
		scan.argument = &mounts;
	}
	if (what & (NETNS_PROCESSES | NETNS_THREADS))
		ret = netns__scan(&scan);
	else if (scan.aside)
		ret = scan.aside(scan.argument);
	if (!ret) {
		scan.step = NETNS_STEP_ALLOCATE;
		ret = add(&scan.found, &mounts.found);
	}
	if (!ret)
		ret = make_block(&scan.found, mounts.nsfs, scan.hidden,
				 discovery);
	free(scan.found.held);
	free(mounts.found.held);
	free(mounts.text);
	return ret < 0 ? netns__fail(err, ret, scan.step, NULL) : 0;
}
