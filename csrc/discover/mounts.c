/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces that mounts hold. */
#include <string.h>
#include <sys/sysmacros.h>

#include "holders.h"
#include "sys.h"

struct mount {
	uint32_t id, parent;
	uint64_t ino;
	char *path;
};

struct table {
	char *text;	   /* all of it; mounts' paths are in it */
	struct mount *net; /* those of network namespaces */
	uint32_t *parents; /* of all mounts, ascending */
	size_t size, mounts, nets;
};

/* A page at a time is what the kernel gives. */
static int read_whole(int fd, struct table *table)
{
	size_t room = 0;
	char *text;
	int ret;

	do {
		if (room - table->size < 8192) {
			room = room ? 2 * room : 65536;
			text = sys_realloc(table->text, room);
			if (!text)
				return -ENOMEM;
			table->text = text;
		}
		do {
			ret = sys_read(fd, table->text + table->size,
				       room - table->size - 1);
		} while (ret == -EINTR);
		if (ret > 0)
			table->size += (size_t)ret;
	} while (ret > 0);
	table->text[table->size] = '\0';
	return ret;
}

/* "\040" as " ", in place: blanks, newlines and backslashes are so written. */
static void decode(char *path)
{
	char *to = path;

	while (*path) {
		if (path[0] == '\\' && path[1] >= '0' && path[1] <= '3' &&
		    path[2] >= '0' && path[2] <= '7' && path[3] >= '0' &&
		    path[3] <= '7') {
			*to++ = (char)((path[1] - '0') << 6 |
				       (path[2] - '0') << 3 | (path[3] - '0'));
			path += 4;
		} else {
			*to++ = *path++;
		}
	}
	*to = '\0';
}

/* 36 35 0:4 net:[4026532000] /run/netns/blue rw - nsfs nsfs rw */
static void parse_line(char *line, struct table *table, dev_t nsfs)
{
	struct mount *mount = &table->net[table->nets];
	unsigned int major, minor;
	char *field, *end;

	mount->id = (uint32_t)strtoul(line, &field, 10);
	mount->parent = (uint32_t)strtoul(field, &field, 10);
	table->parents[table->mounts++] = mount->parent;
	major = (unsigned int)strtoul(field, &field, 10);
	if (*field++ != ':')
		return;
	minor = (unsigned int)strtoul(field, &field, 10);
	if (makedev(major, minor) != nsfs || *field++ != ' ')
		return;
	end = strchr(field, ' ');
	if (!end)
		return;
	mount->ino = netns__inode(field, (size_t)(end - field));
	mount->path = end + 1;
	end = strchr(mount->path, ' ');
	if (!end || !mount->ino)
		return;
	*end = '\0';
	decode(mount->path);
	table->nets++;
}

static int compare_ids(const void *one, const void *other)
{
	uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

	return (a > b) - (a < b);
}

static int parse(struct table *table, dev_t nsfs)
{
	char *line, *end;
	size_t lines = 0;

	for (line = table->text; (end = strchr(line, '\n')); line = end + 1)
		lines++;
	/* One more: each line is first read into the place of the next. */
	table->net = sys_alloc((lines + 1) * sizeof(*table->net));
	table->parents = sys_alloc((lines + 1) * sizeof(*table->parents));
	if (!table->net || !table->parents)
		return -ENOMEM;
	for (line = table->text; (end = strchr(line, '\n')); line = end + 1) {
		*end = '\0';
		parse_line(line, table, nsfs);
	}
	qsort(table->parents, table->mounts, sizeof(*table->parents),
	      compare_ids);
	return 0;
}

static bool is_parent(const struct table *table, uint32_t id)
{
	return bsearch(&id, table->parents, table->mounts, sizeof(id),
		       compare_ids);
}

/*
 * covered mounts
 *
 * Problem: the table lists also what another mount covers, at a path that
 * leads elsewhere.
 * Rejected: stat(2) of each path, which doubles the cost.
 * Solution: a mount on a file is covered where something is mounted on itself,
 * which makes it somebody's parent. Else its path leads to it where that of
 * its directory leads to the mount that the table calls its parent, which is
 * asked of the kernel once for all of one directory. Where it does not, or the
 * kernel does not tell (before Linux 5.8), the path itself is looked at: what
 * lies on a covered mount on the same file has that for a parent.
 */
struct directory {
	uint32_t parent; /* 0: of none */
	size_t size;
	const char *path;
	bool leads_here, is_rundir;
};

/* What older kernels know of it. */
void netns__place_of(const struct stat *st, struct sys_statx *sx)
{
	sx->ino = st->st_ino;
	sx->dev_major = major(st->st_dev);
	sx->dev_minor = minor(st->st_dev);
}

static bool same_file(const struct sys_statx *one,
		      const struct sys_statx *other)
{
	return one->ino == other->ino && one->dev_major == other->dev_major &&
	       one->dev_minor == other->dev_minor;
}

static int look_at_directory(struct directory *dir, const char *path,
			     size_t size, const struct sys_statx *rundir)
{
	char copy[NETNS_PATH_SIZE];
	struct sys_statx sx = { 0 };
	bool has_mount;
	int ret = -ENAMETOOLONG;

	dir->path = path;
	dir->size = size;
	dir->leads_here = dir->is_rundir = false;
	if (size < sizeof(copy)) {
		memcpy(copy, path, size);
		copy[size] = '\0';
		ret = sys_locate(AT_FDCWD, size ? copy : "/", 0, &sx);
	}
	if (ret == -ENOSYS) {
		struct stat st;

		ret = sys_stat(size ? copy : "/", &st);
		if (!ret)
			netns__place_of(&st, &sx);
	}
	/* A way that is not the caller's is none; a shortage is another thing. */
	if (ret < 0)
		return ret == -ENOMEM ? ret : 0;
	has_mount = (sx.mask & SYS_STATX_MNT_ID) != 0;
	dir->leads_here = has_mount && sx.mnt_id == dir->parent;
	dir->is_rundir = rundir->ino && same_file(&sx, rundir) &&
			 (!has_mount || sx.mnt_id == rundir->mnt_id);
	return 0;
}

static int leads_to(const struct mount *mount, dev_t nsfs)
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
	return dir->leads_here ? 1 : leads_to(mount, nsfs);
}

static int list_mount(const struct mount *mount, const struct directory *dir,
		      int visible, struct holders *holders)
{
	int ret = 0;

	if (!visible)
		return netns__hold_by(holders, mount->ino, HOLDER_UNSEEN, 0,
				      "");
	if (dir->is_rundir)
		ret = netns__hold_by(holders, mount->ino, HOLDER_NAME, 0,
				     mount->path + dir->size + 1);
	if (!ret)
		ret = netns__hold_by(holders, mount->ino, HOLDER_PATH, 0,
				     mount->path);
	return ret;
}

static int list_mounts(const struct table *table, dev_t nsfs,
		       const struct sys_statx *rundir, struct holders *holders)
{
	struct directory dir = { .path = "" };
	int ret = 0;
	size_t i;

	for (i = 0; i < table->nets && ret >= 0; i++) {
		const struct mount *mount = &table->net[i];
		const char *name = strrchr(mount->path, '/');
		size_t size = name ? (size_t)(name - mount->path) : 0;

		if (dir.parent != mount->parent || dir.size != size ||
		    memcmp(dir.path, mount->path, size) != 0) {
			dir.parent = mount->parent;
			ret = look_at_directory(&dir, mount->path, size,
						rundir);
			if (ret < 0)
				break;
		}
		ret = is_visible(table, mount, &dir, nsfs);
		if (ret >= 0)
			ret = list_mount(mount, &dir, ret, holders);
	}
	return ret;
}

/* *text is what the paths lie in, for the caller to free, also on failure. */
int netns__scan_mounts(dev_t nsfs, const struct sys_statx *rundir,
		       struct holders *holders, char **text)
{
	struct table table = { 0 };
	int fd, ret;

	fd = sys_openat(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY, 0);
	if (fd < 0)
		return fd;
	ret = read_whole(fd, &table);
	sys_close(fd);
	if (!ret)
		ret = parse(&table, nsfs);
	if (!ret)
		ret = list_mounts(&table, nsfs, rundir, holders);
	free(table.net);
	free(table.parents);
	*text = table.text;
	return ret;
}
