/* SPDX-License-Identifier: Apache-2.0 */
/* What a command that runs in a namespace is given beside it. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h> /* ST_RDONLY */

#include "internal.h"
#include "sys.h"

#define BATCH_SIZE 2048 /* bytes of a directory read at once, on the stack */

static const char configuration[] = "/etc/netns";

/*
 * sysfs shows the network devices of the namespace it was mounted in. A
 * read-only instance that can't be unmounted, as in containers, must not be
 * covered by a writable one: the kernel refuses that.
 */
static int mount_sys(struct netns_error *err)
{
	struct statfs sf;
	unsigned long flags = 0;
	int ret;

	if (sys_umount("/sys") < 0 && !sys_statfs("/sys", &sf) &&
	    sf.f_flags & ST_RDONLY)
		flags = MS_RDONLY;
	ret = sys_mount_sysfs("/sys", flags);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_MOUNT_SYSFS, "/sys")
		       : 0;
}

/* A file that /etc lacks, or that is gone by now, lies over nothing. */
static int bind_file(const char *dir, const char *name, struct netns_error *err)
{
	char source[NETNS_PATH_SIZE], target[sizeof("/etc/") + 255];
	int ret;

	snprintf(source, sizeof(source), "%s/%s", dir, name);
	snprintf(target, sizeof(target), "/etc/%s", name);
	ret = sys_mount(source, target, MS_BIND);
	return ret < 0 && ret != -ENOENT
		     ? netns__fail(err, ret, NETNS_STEP_BIND_CONFIGURATION,
				   target)
		     : 0;
}

static bool is_file(const char *name)
{
	return strcmp(name, ".") && strcmp(name, "..");
}

/* Not by opendir(3), which allocates: a fork's child of many threads may not. */
static int bind_files(const char *name, struct netns_error *err)
{
	char path[sizeof(configuration) + 256];
	char batch[BATCH_SIZE] __attribute__((aligned(8)));
	const struct dirent64 *entry;
	int dir, offset, size, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", configuration, name);
	dir = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir == -ENOENT)
		return 0;
	if (dir < 0)
		return netns__fail(err, dir, NETNS_STEP_BIND_CONFIGURATION,
				   path);
	do {
		size = sys_getdents(dir, batch, sizeof(batch));
		if (size < 0 && size != -ENOENT) /* it was removed */
			ret = netns__fail(err, size,
					  NETNS_STEP_BIND_CONFIGURATION, path);
		for (offset = 0; offset < size && !ret;
		     offset += entry->d_reclen) {
			entry = (const void *)(batch + offset);
			if (is_file(entry->d_name))
				ret = bind_file(path, entry->d_name, err);
		}
	} while (size > 0 && !ret);
	sys_close(dir);
	return ret;
}

int netns_setup_exec(const char *name, struct netns_error *err)
{
	int ret = netns__ready(err);

	if (ret < 0)
		return ret;
	if (name && (!*name || strchr(name, '/') || strlen(name) > 255 ||
		     !strcmp(name, ".") || !strcmp(name, "..")))
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ARGUMENT,
				   name);
	ret = sys_unshare_mounts();
	/* Nothing that is mounted here is to be seen elsewhere. */
	if (!ret)
		ret = sys_mount("", "/", MS_SLAVE | MS_REC);
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_UNSHARE_MOUNTS, NULL);
	ret = mount_sys(err);
	if (!ret && name)
		ret = bind_files(name, err);
	return ret;
}
