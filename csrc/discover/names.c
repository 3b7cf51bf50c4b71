/* SPDX-License-Identifier: Apache-2.0 */
/* The names in the run directory. */
#include <stdio.h>
#include <string.h>

#include "holders.h"
#include "sys.h"

struct list {
	char *names;
	size_t size, room;
	int count;
};

static int add_name(struct list *list, const char *name)
{
	size_t size = strlen(name) + 1;
	char *names = netns__grow(list->names, &list->room, list->size + size,
				  sizeof(*names));

	if (!names)
		return -ENOMEM;
	list->names = names;
	memcpy(names + list->size, name, size);
	list->size += size;
	list->count++;
	return 0;
}

/* Whether it tells of the file, and not of the caller or the machine. */
static bool is_answer(int ret)
{
	return !netns__is_shortage(ret) && ret != -EINTR;
}

/*
 * Every file is looked at first, by fstatat(2), which opens nothing: leftovers,
 * FIFOs and devices are passed over. A file of nsfs or a link is opened, to
 * read the type. What vanishes or changes meanwhile is passed over, and so is a
 * link that the caller can't follow. Any other that can't be looked at is an
 * error, so that no name is missing.
 */
static int is_network_namespace(int dir, const char *name, dev_t nsfs)
{
	struct stat st;
	int ret;

	ret = sys_fstatat(dir, name, &st);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	if (st.st_dev != nsfs && !S_ISLNK(st.st_mode))
		return 0;
	ret = st.st_dev == nsfs ? netns__open_seen(dir, name, &st) : -EAGAIN;
	if (ret < 0)
		ret = netns__open_file(dir, name, 0, &st, NULL, NULL);
	if (ret < 0 && (st.st_dev == nsfs || !is_answer(ret)))
		return ret == -ENOENT || ret == -EINVAL ? 0 : ret;
	if (ret < 0)
		return 0;
	sys_close(ret);
	return 1;
}

static int list_names(int dir, dev_t nsfs, struct list *list)
{
	struct sys_walk walk;
	const char *name;
	int walked, ret = 0;

	sys_begin_walk(&walk, dir);
	while (ret >= 0 && (name = sys_next_name(&walk, &walked))) {
		ret = is_network_namespace(dir, name, nsfs);
		if (ret > 0)
			ret = add_name(list, name);
	}
	return ret < 0 ? ret : walked;
}

int netns_names(const char *rundir, char **names, size_t *size,
		struct netns_error *err)
{
	struct list list = { 0 };
	char path[NETNS_PATH_SIZE];
	dev_t nsfs = 0;
	int dir, ret;

	ret = netns__thread_check(err);
	if (!ret)
		ret = netns__nsfs_device(&nsfs, err);
	if (ret < 0)
		return ret;
	dir = netns__rundir_open(path, rundir, O_RDONLY, err);
	if (dir < 0 && dir != -ENOENT)
		return dir;
	if (dir >= 0) {
		ret = list_names(dir, nsfs, &list);
		sys_close(dir);
	}
	if (ret < 0) {
		free(list.names);
		return netns__fail(err, ret, NETNS_STEP_LIST, path);
	}
	*names = list.names;
	*size = list.size;
	return list.count;
}

/*
 * Names that are links: no mount tells of them. The type of each entry comes
 * with its name, where the file system has it.
 */
static int add_link(struct names *names, const char *dir_path, const char *name,
		    uint64_t ino)
{
	size_t size = strlen(dir_path), whole = size + strlen(name) + 2;
	struct text_block *block = sys_alloc(sizeof(*block) + whole);
	int ret;

	if (!block)
		return -ENOMEM;
	block->next = names->texts;
	names->texts = block;
	snprintf(block->text, whole, "%s/%s", size > 1 ? dir_path : "", name);
	ret = netns__holders_add(&names->found, ino, HOLDER_PATH, 0,
				 block->text);
	return ret < 0 ? ret
		       : netns__holders_add(&names->found, ino, HOLDER_NAME, 0,
					    strrchr(block->text, '/') + 1);
}

static int scan_link(struct names *names, int dir, const char *dir_path,
		     const char *name)
{
	struct stat st;
	int fd = netns__open_file(dir, name, 0, &st, NULL, NULL);

	if (fd < 0)
		return is_answer(fd) ? 0 : fd;
	sys_close(fd);
	return add_link(names, dir_path, name, st.st_ino);
}

int netns__scan_links(struct names *names, const char *rundir,
		      struct netns_error *err)
{
	char path[NETNS_PATH_SIZE];
	struct sys_walk walk;
	const char *name;
	int ret = 0, walked = 0, dir;

	dir = netns__rundir_open(path, rundir, O_RDONLY, NULL);
	if (dir < 0)
		return is_answer(dir)
			     ? 0
			     : netns__fail(err, dir, NETNS_STEP_LIST, path);
	sys_begin_walk(&walk, dir);
	while (!ret && (name = sys_next_name(&walk, &walked))) {
		if (walk.type == DT_LNK || walk.type == DT_UNKNOWN)
			ret = scan_link(names, dir, path, name);
	}
	sys_close(dir);
	return netns__check(err, ret ? ret : walked, NETNS_STEP_LIST, path);
}

void netns__free_names(struct names *names)
{
	struct text_block *block;

	while ((block = names->texts)) {
		names->texts = block->next;
		free(block);
	}
	free(names->found.held);
}
