/* SPDX-License-Identifier: Apache-2.0 */
/* The names in the run directory. */
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

/*
 * Every file is looked at first, by fstatat(2), which opens nothing: leftovers,
 * FIFOs and devices are passed over. A file of nsfs is opened, to read its
 * type. A file that vanishes meanwhile is passed over; one that can't be looked
 * at is an error, so that no name is missing.
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
	/* It was unpinned meanwhile: nobody may read the file below. */
	if (fd == -EACCES && !sys_fstatat(dir, name, &st) && st.st_dev != nsfs)
		return 0;
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	ret = netns__check_type(fd);
	sys_close(fd);
	return ret == -EINVAL ? 0 : ret < 0 ? ret : 1;
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
