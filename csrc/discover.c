/* SPDX-License-Identifier: Apache-2.0 */
/* Names in the run directory. */
#include <stdio.h>
#include <string.h>

#include "core.h"
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
	ret = rundir ? snprintf(path, sizeof(path), "%s", rundir)
		     : netns_rundir(path, sizeof(path));
	if (ret < 0 || (size_t)ret >= sizeof(path))
		return netns__fail(err, -ENAMETOOLONG, NETNS_STEP_OPEN_RUNDIR,
				   rundir);
	netns__strip(path);
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

void netns_free(char *names)
{
	free(names);
}
