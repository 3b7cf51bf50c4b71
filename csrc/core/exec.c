/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts that `ip netns exec` sets up for a command. */
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h> /* ST_RDONLY */

#include "internal.h"
#include "sys.h"

static const char configuration[] = "/etc/netns";

/*
 * sysfs shows the network devices of the namespace that it was mounted in.
 * Where it is read-only and can't be unmounted, as in containers, the kernel
 * refuses to mount a writable one over it.
 */
static int mount_sysfs(struct netns_error *err)
{
	struct statfs sf;
	unsigned long flags = 0;

	if (sys_umount("/sys") < 0 && !sys_statfs("/sys", &sf) &&
	    sf.f_flags & ST_RDONLY)
		flags = MS_RDONLY;
	return netns__check(err, sys_mount_sysfs("/sys", flags),
			    NETNS_STEP_MOUNT_SYSFS, "/sys");
}

/* A file that /etc lacks, or that was removed meanwhile, is left out. */
static int bind_file(const char *dir, const char *name, struct netns_error *err)
{
	char source[NETNS_PATH_SIZE], target[sizeof("/etc/") + 255];
	int ret;

	snprintf(source, sizeof(source), "%s/%s", dir, name);
	snprintf(target, sizeof(target), "/etc/%s", name);
	ret = sys_mount(source, target, MS_BIND);
	return netns__check(err, ret == -ENOENT ? 0 : ret,
			    NETNS_STEP_BIND_CONFIGURATION, target);
}

static int bind_files(const char *name, struct netns_error *err)
{
	char path[sizeof(configuration) + 256];
	struct sys_walk walk;
	const char *file;
	int dir, walked, ret = 0;

	snprintf(path, sizeof(path), "%s/%s", configuration, name);
	dir = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir == -ENOENT)
		return 0;
	if (dir < 0)
		return netns__fail(err, dir, NETNS_STEP_BIND_CONFIGURATION,
				   path);
	sys_begin_walk(&walk, dir);
	while (!ret && (file = sys_next_name(&walk, &walked)))
		ret = bind_file(path, file, err);
	if (!ret)
		ret = netns__check(err, walked, NETNS_STEP_BIND_CONFIGURATION,
				   path);
	sys_close(dir);
	return ret;
}

int netns_setup_exec(const char *name, struct netns_error *err)
{
	int ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	if (name && !netns__is_name(name))
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ARGUMENT,
				   name);
	ret = sys_unshare_mounts();
	/* Other mount namespaces must not see what is mounted here. */
	if (!ret)
		ret = sys_mount("", "/", MS_SLAVE | MS_REC);
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_UNSHARE_MOUNTS, NULL);
	ret = mount_sysfs(err);
	if (!ret && name)
		ret = bind_files(name, err);
	return ret;
}
