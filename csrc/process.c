/* SPDX-License-Identifier: Apache-2.0 */
/* What a command that runs in a namespace is given beside it. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h> /* ST_RDONLY */

#include "core.h"
#include "sys.h"

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

static int bind_file(const char *dir, const char *name, struct netns_error *err)
{
	char source[NETNS_PATH_SIZE], target[sizeof("/etc/") + 255];
	int ret;

	snprintf(source, sizeof(source), "%s/%s", dir, name);
	snprintf(target, sizeof(target), "/etc/%s", name);
	ret = sys_mount(source, target, MS_BIND);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_BIND_CONFIGURATION,
				     target)
		       : 0;
}

static int bind_files(const char *name, struct netns_error *err)
{
	char path[sizeof(configuration) + 256];
	struct dirent *entry;
	DIR *dir;
	int fd, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", configuration, name);
	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd == -ENOENT)
		return 0;
	if (fd < 0)
		return netns__fail(err, fd, NETNS_STEP_BIND_CONFIGURATION,
				   path);
	dir = fdopendir(fd);
	if (!dir) {
		ret = netns__fail(err, -errno, NETNS_STEP_BIND_CONFIGURATION,
				  path);
		sys_close(fd);
		return ret;
	}
	while (!ret && (errno = 0, entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			ret = bind_file(path, entry->d_name, err);
	}
	closedir(dir);
	return ret;
}

int netns_dress(const char *name, struct netns_error *err)
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
