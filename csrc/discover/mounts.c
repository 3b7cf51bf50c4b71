/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces that mounts hold. */
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "holders.h"
#include "sys.h"

#define READ_SIZE  ((size_t)8192) /* the kernel gives a page at a time */
#define FIRST_SIZE ((size_t)65536)
#define READINGS   8

struct mount {
	uint32_t id, parent;
	uint64_t ino;
	char *path;
	size_t dir_size; /* of the path, without the last '/' and the name */
};

/*
 * A mount table, /proc/thread-self/mountinfo: a thread may have mounts of its
 * own.
 */
struct text {
	char *bytes;
	size_t size, room;
	bool is_mixed; /* of several readings: lines twice, and out of date */
};

struct table {
	struct mount *mounts; /* those of network namespaces */
	size_t mount_count;
	uint32_t *parents; /* of all mounts, ascending */
	size_t parent_count;
};

static int make_text_room(struct text *text)
{
	char *bytes;

	if (text->room - text->size >= READ_SIZE)
		return 0;
	bytes = netns__grow(text->bytes, &text->room, text->size + FIRST_SIZE,
			    sizeof(*bytes));
	if (!bytes)
		return -ENOMEM;
	text->bytes = bytes;
	return 0;
}

static int read_once(int fd, struct text *text)
{
	int ret;

	do {
		ret = make_text_room(text);
		if (ret < 0)
			return ret;
		do {
			ret = sys_read(fd, text->bytes + text->size,
				       text->room - text->size - 1);
		} while (ret == -EINTR);
		if (ret > 0)
			text->size += (size_t)ret;
	} while (ret > 0);
	text->bytes[text->size] = '\0';
	return ret;
}

/* Whether a mount came or went since the table was opened, or asked about. */
static int is_changed(int fd)
{
	int ret;

	do {
		ret = sys_poll(fd, POLLPRI);
	} while (ret == -EINTR);
	return ret < 0 ? ret : (ret & POLLPRI) != 0;
}

/* Linux 5.8 has both the ids of mounts and the reading of tables whole. */
static bool is_read_whole(void)
{
	struct sys_statx sx = { 0 };

	return !sys_locate(AT_FDCWD, "/", 0, &sx) &&
	       (sx.mask & SYS_STATX_MNT_ID);
}

/*
 * whole tables
 *
 * Problem: the kernel gives a page at a time and, before Linux 5.8, finds its
 * way back by counting: when a mount goes in between, one that stays is left
 * out (9f6c61f96f2d, proc/mounts: add cursor).
 * Rejected: reading all at once, which the kernel does not do; a copy of the
 * mount namespace, which needs privilege and is slow.
 * Solution: poll(2) tells whether the table changed, and then it is read again.
 * Where it changes all the time, the lines of all readings are taken together:
 * a mount that stays would have to be left out of each. Whether a mount of
 * these is still there is asked of its path.
 */
static int read_text(int fd, struct text *text)
{
	size_t start;
	int ret, readings = 0;

	do {
		start = text->size;
		ret = readings ? sys_rewind(fd) : 0;
		if (!ret)
			ret = read_once(fd, text);
		if (!ret)
			ret = is_changed(fd);
		if (ret > 0)
			ret = !is_read_whole();
	} while (ret > 0 && ++readings < READINGS);
	text->is_mixed = ret > 0;
	if (!ret) {
		text->size -= start;
		memmove(text->bytes, text->bytes + start, text->size + 1);
	}
	return ret < 0 ? ret : 0;
}

/* 36 35 0:4 net:[4026532000] /run/netns/blue rw - nsfs nsfs rw */
static void parse_line(char *line, struct table *table, dev_t nsfs)
{
	struct mount *mount = &table->mounts[table->mount_count];
	unsigned int major, minor;
	char *field, *end, *name;

	mount->id = (uint32_t)strtoul(line, &field, 10);
	mount->parent = (uint32_t)strtoul(field, &field, 10);
	table->parents[table->parent_count++] = mount->parent;
	major = (unsigned int)strtoul(field, &field, 10);
	if (*field++ != ':')
		return;
	minor = (unsigned int)strtoul(field, &field, 10);
	if (makedev(major, minor) != nsfs || *field++ != ' ')
		return;
	end = strchr(field, ' ');
	if (!end)
		return;
	mount->ino = netns__parse_ino(field, (size_t)(end - field));
	mount->path = end + 1;
	end = strchr(mount->path, ' ');
	if (!end || !mount->ino)
		return;
	*end = '\0';
	netns__decode_path(mount->path);
	name = strrchr(mount->path, '/');
	mount->dir_size = name ? (size_t)(name - mount->path) : 0;
	table->mount_count++;
}

static int compare_ids(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

/* Works on the text in place: the paths of the mounts point into it. */
static int parse_table(struct table *table, char *text, dev_t nsfs)
{
	char *line, *end;
	size_t lines = 0;

	for (line = text; (end = strchr(line, '\n')); line = end + 1)
		lines++;
	/* One more: each line is parsed into the place of the next mount. */
	table->mounts = sys_alloc((lines + 1) * sizeof(*table->mounts));
	table->parents = sys_alloc((lines + 1) * sizeof(*table->parents));
	if (!table->mounts || !table->parents)
		return -ENOMEM;
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		parse_line(line, table, nsfs);
	}
	qsort(table->parents, table->parent_count, sizeof(*table->parents),
	      compare_ids);
	return 0;
}

static bool is_parent(const struct table *table, uint32_t id)
{
	return bsearch(&id, table->parents, table->parent_count, sizeof(id),
		       compare_ids);
}

/*
 * covered mounts
 *
 * Problem: the table also lists a mount that another one covers, at a path that
 * leads elsewhere.
 * Rejected: stat(2) of each path, which doubles the cost.
 * Solution: a mount on a file is covered directly only by a mount on itself,
 * and is then the parent of that. Otherwise its path leads to it if the path of
 * its directory leads to its parent mount: the kernel is asked for that once
 * for all mounts of one directory. If it does not lead there, or the kernel
 * does not tell (before Linux 5.8), the path itself is looked at, because a
 * mount on the same file may have a covered mount for its parent.
 */
struct directory {
	uint32_t parent; /* mount; 0: none */
	size_t size;
	const char *path;
	bool leads_to_parent, is_rundir;
};

/* The directory at a path or, without one, behind a descriptor. */
static int locate(struct location *location, int fd, const char *path)
{
	struct sys_statx sx = { 0 };
	struct stat st;
	int ret = path ? sys_locate(AT_FDCWD, path, 0, &sx)
		       : sys_locate(fd, "", AT_EMPTY_PATH, &sx);

	*location = (struct location) { 0 };
	if (!ret) {
		location->ino = sx.ino;
		location->dev = makedev(sx.dev_major, sx.dev_minor);
		location->has_mount = (sx.mask & SYS_STATX_MNT_ID) != 0;
		location->mount = sx.mnt_id;
	}
	if (ret != -ENOSYS)
		return ret;
	ret = path ? sys_stat(path, &st) : sys_fstat(fd, &st);
	if (!ret) {
		location->ino = st.st_ino;
		location->dev = st.st_dev;
	}
	return ret;
}

int netns__locate_rundir(struct location *location, const char *rundir,
			 struct netns_error *err)
{
	char path[NETNS_PATH_SIZE];
	int ret, fd = netns__rundir_open(path, rundir, O_PATH, err);

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	ret = locate(location, fd, NULL);
	sys_close(fd);
	return netns__check(err, ret, NETNS_STEP_OPEN_RUNDIR, path);
}

static bool is_same_directory(const struct location *one,
			      const struct location *other)
{
	return one->ino && one->ino == other->ino && one->dev == other->dev &&
	       (!one->has_mount || one->mount == other->mount);
}

/* The directory of a mount's path; nothing is asked if it is the last one. */
static int look_at_directory(struct directory *dir, const struct mount *mount,
			     const struct location *rundir)
{
	char copy[NETNS_PATH_SIZE];
	struct location at = { 0 };
	size_t size = mount->dir_size;
	int ret = 0;

	if (dir->parent == mount->parent && dir->size == size &&
	    !memcmp(dir->path, mount->path, size))
		return 0;
	dir->parent = mount->parent;
	dir->path = mount->path;
	dir->size = size;
	if (size < sizeof(copy)) {
		memcpy(copy, mount->path, size);
		copy[size] = '\0';
		ret = locate(&at, -1, size ? copy : "/");
	}
	dir->leads_to_parent = at.has_mount && at.mount == dir->parent;
	dir->is_rundir = is_same_directory(&at, rundir);
	/* A path that the caller can't follow leads nowhere. */
	return ret == -ENOMEM ? ret : 0;
}

static int leads_to_mount(const struct mount *mount, dev_t nsfs)
{
	struct stat st;
	int ret = sys_fstatat(AT_FDCWD, mount->path, &st);

	if (ret < 0)
		return ret == -ENOMEM ? ret : 0;
	return st.st_dev == nsfs && st.st_ino == mount->ino;
}

static int is_visible(const struct table *table, const struct mount *mount,
		      const struct directory *dir, dev_t nsfs)
{
	if (is_parent(table, mount->id))
		return 0;
	return dir->leads_to_parent ? 1 : leads_to_mount(mount, nsfs);
}

static int add_mount(const struct mount *mount, const struct directory *dir,
		     bool visible, struct holders *holders)
{
	int ret = 0;

	if (!visible)
		return netns__holders_add(holders, mount->ino, HOLDER_UNSEEN, 0,
					  "");
	if (dir->is_rundir)
		ret = netns__holders_add(holders, mount->ino, HOLDER_NAME, 0,
					 mount->path + dir->size + 1);
	if (!ret)
		ret = netns__holders_add(holders, mount->ino, HOLDER_PATH, 0,
					 mount->path);
	return ret;
}

static int list_mounts(const struct table *table, struct mounts *mounts)
{
	struct directory dir = { .path = "" };
	int ret = 0;
	size_t i;

	for (i = 0; i < table->mount_count && ret >= 0; i++) {
		const struct mount *mount = &table->mounts[i];

		ret = look_at_directory(&dir, mount, &mounts->rundir);
		if (ret >= 0)
			ret = is_visible(table, mount, &dir, mounts->nsfs);
		if (ret >= 0)
			ret = add_mount(mount, &dir, ret, &mounts->found);
	}
	return ret;
}

int netns__scan_mounts(struct mounts *mounts)
{
	struct table table = { 0 };
	struct text text = { 0 };
	int fd, ret;

	fd = sys_openat(AT_FDCWD, "/proc/thread-self/mountinfo", O_RDONLY, 0);
	if (fd == -ENOENT)
		fd = sys_openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY, 0);
	if (fd < 0)
		return fd;
	ret = read_text(fd, &text);
	sys_close(fd);
	if (!ret)
		ret = parse_table(&table, text.bytes, mounts->nsfs);
	/* Which mount covers another is then asked of the paths alone. */
	if (text.is_mixed)
		table.parent_count = 0;
	if (!ret)
		ret = list_mounts(&table, mounts);
	free(table.mounts);
	free(table.parents);
	mounts->text = text.bytes;
	return ret;
}

int netns__scan_other_mounts(int proc, const char *task, int32_t pid,
			     dev_t nsfs, struct holders *found, char **bytes)
{
	char name[64];
	struct table table = { 0 };
	struct text text = { 0 };
	size_t i;
	int fd, ret;

	snprintf(name, sizeof(name), "%s/mountinfo", task);
	fd = sys_openat(proc, name, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	ret = read_text(fd, &text);
	sys_close(fd);
	if (!ret)
		ret = parse_table(&table, text.bytes, nsfs);
	for (i = 0; i < table.mount_count && !ret; i++)
		ret = netns__holders_add(found, table.mounts[i].ino,
					 HOLDER_MOUNT, pid,
					 table.mounts[i].path);
	free(table.mounts);
	free(table.parents);
	*bytes = text.bytes;
	return ret;
}
