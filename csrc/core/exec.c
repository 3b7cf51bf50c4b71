/* SPDX-License-Identifier: Apache-2.0 */
/* The mounts that `ip netns exec` sets up for a command. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

static const char configuration[] = "/etc/netns";

int netns_join_owner(struct netns *ns, struct netns_error *err)
{
	int userns, ret, fd = netns__fd_get_usable(ns, err);

	if (fd < 0)
		return fd;
	userns = ret = sys_ioctl_fd(fd, SYS_NS_GET_USERNS);
	netns__fd_put(ns);
	if (userns >= 0) {
		ret = sys_join_user(userns);
		sys_close(userns);
	}
	return netns__check(err, ret, NETNS_STEP_JOIN_OWNER, NULL);
}

/* What could not be set up. */
struct left_out {
	struct netns_error *errors;
	size_t room;
	int count;
};

static void leave_out(struct left_out *left, int ret, enum netns_step step,
		      const char *path)
{
	if ((size_t)left->count < left->room)
		netns__fail(&left->errors[left->count], ret, step, path);
	left->count++;
}

/*
 * mounts below /sys
 *
 * Problem: sysfs shows the network devices of the namespace that it was mounted
 * in, so a command gets a /sys of its own; cgroup, bpf, debug and the like are
 * mounted on the old one.
 * Rejected: unmounting the old one, as `ip netns exec` does: what is mounted on
 * it goes with it, and in a user namespace the kernel wants a whole /sys to be
 * visible before it allows another one.
 * Solution: the new one lies over it, and each mount on the old one, which a
 * descriptor still leads to, is bound over its place in the new one. A place
 * that the new one lacks, as that of a device, is left out.
 */
static int carry_mount(int old, const char *path)
{
	char source[NETNS_PATH_SIZE + FD_PATH_SIZE];
	int size;

	netns__fd_path(source, old);
	size = (int)strlen(source);
	snprintf(source + size, sizeof(source) - (size_t)size, "%s",
		 path + strlen("/sys"));
	return sys_mount(source, path, MS_BIND | MS_REC);
}

static void carry_path(int old, const char *path, struct left_out *left)
{
	int ret;

	if (strncmp(path, "/sys/", 5) != 0)
		return;
	ret = carry_mount(old, path);
	if (ret < 0 && ret != -ENOENT)
		leave_out(left, ret, NETNS_STEP_CARRY_MOUNT, path);
}

/* One that is gone meanwhile is none. */
static void carry_listed(int old, uint64_t on, uint64_t id,
			 struct left_out *left)
{
	struct sys_statmount mount;
	int ret = sys_statmount(id, &mount);

	if (ret < 0 && ret != -ENOENT)
		leave_out(left, ret, NETNS_STEP_CARRY_MOUNT, "/sys");
	else if (!ret && mount.parent == on && mount.mask & SYS_STATMOUNT_POINT)
		carry_path(old, mount.text + mount.point, left);
}

/*
 * From Linux 6.8 on the kernel lists what is below one mount, at any depth.
 * Before, or where that is too much: -ENOSYS, with nothing carried.
 */
static int carry_below(int old, struct left_out *left)
{
	uint64_t ids[512];
	struct sys_statx sx;
	int i, count = sys_locate_unique(old, "", &sx);

	if (!count)
		count = sx.mask & SYS_STATX_MNT_ID_UNIQUE
			      ? sys_listmount(sx.mnt_id, ids, 512)
			      : -ENOSYS;
	if (count < 0)
		return count;
	if (count == 512)
		return -ENOSYS;
	for (i = 0; i < count; i++)
		carry_listed(old, sx.mnt_id, ids[i], left);
	return 0;
}

/* 31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw */
static void carry_line(char *line, int old, int mount, struct left_out *left)
{
	char *path, *end;
	int i;

	strtol(line, &path, 10);
	if (strtol(path, &path, 10) != mount)
		return;
	for (i = 0; i < 2 && path; i++)
		path = strchr(path + 1, ' ');
	end = path ? strchr(++path, ' ') : NULL;
	if (!end)
		return;
	*end = '\0';
	netns__decode_path(path);
	carry_path(old, path, left);
}

/* Calls for each line of a file; longer ones than fit are passed over. */
struct lines {
	int fd;
	size_t start, size; /* of what is not read yet */
	char bytes[NETNS_PATH_SIZE * 2];
};

/* 1, 0 at the end, or -errno. */
static int next_line(struct lines *lines, char **line)
{
	char *end;
	int ret;

	for (;;) {
		*line = lines->bytes + lines->start;
		end = memchr(*line, '\n', lines->size);
		if (end) {
			*end++ = '\0';
			lines->size -= (size_t)(end - *line);
			lines->start += (size_t)(end - *line);
			return 1;
		}
		if (lines->size == sizeof(lines->bytes))
			lines->size = 0;
		memmove(lines->bytes, *line, lines->size);
		lines->start = 0;
		do {
			ret = sys_read(lines->fd, lines->bytes + lines->size,
				       sizeof(lines->bytes) - lines->size);
		} while (ret == -EINTR);
		if (ret <= 0)
			return ret;
		lines->size += (size_t)ret;
	}
}

static int carry_mounts(int old, struct left_out *left)
{
	struct lines lines = { 0 };
	char path[64], *line;
	int mount, ret = carry_below(old, left);

	if (ret != -ENOSYS)
		return ret;
	mount = netns__read_mount_id(old);
	if (mount < 0)
		return mount;
	snprintf(path, sizeof(path), "%s/mountinfo", netns__own_proc());
	lines.fd = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (lines.fd < 0)
		return lines.fd;
	while ((ret = next_line(&lines, &line)) > 0)
		carry_line(line, old, mount, left);
	sys_close(lines.fd);
	return ret;
}

/*
 * In a user namespace whose /sys is read-only the kernel allows no writable
 * one, and where parts of it are covered, none.
 */
static void mount_sysfs(struct left_out *left)
{
	int ret, old;

	old = sys_openat(AT_FDCWD, "/sys", O_PATH | O_DIRECTORY, 0);
	ret = sys_mount_sysfs("/sys", 0);
	if (ret == -EPERM)
		ret = sys_mount_sysfs("/sys", MS_RDONLY);
	if (ret < 0) {
		leave_out(left, ret, NETNS_STEP_MOUNT_SYSFS, "/sys");
	} else {
		ret = old < 0 ? old : carry_mounts(old, left);
		if (ret < 0)
			leave_out(left, ret, NETNS_STEP_CARRY_MOUNT, "/sys");
	}
	if (old >= 0)
		sys_close(old);
}

/* A file that was removed meanwhile is none. */
static void bind_file(int dir, const char *path, const char *name,
		      struct left_out *left)
{
	char source[NETNS_PATH_SIZE], target[sizeof("/etc/") + 255];
	struct stat st;
	int ret;

	snprintf(source, sizeof(source), "%s/%s", path, name);
	snprintf(target, sizeof(target), "/etc/%s", name);
	ret = sys_mount(source, target, MS_BIND);
	if (!ret || (ret == -ENOENT && sys_fstatat(dir, name, &st) == -ENOENT))
		return;
	leave_out(left, ret, NETNS_STEP_BIND_CONFIGURATION,
		  sys_stat(source, &st) < 0 ? source : target);
}

static void bind_files(const char *name, struct left_out *left)
{
	char path[sizeof(configuration) + 256];
	struct sys_walk walk;
	struct stat st;
	const char *file;
	int dir, walked;

	snprintf(path, sizeof(path), "%s/%s", configuration, name);
	dir = sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0);
	if (dir == -ENOENT && sys_fstatat(AT_FDCWD, path, &st) == -ENOENT)
		return;
	if (dir < 0) {
		leave_out(left, dir, NETNS_STEP_BIND_CONFIGURATION, path);
		return;
	}
	sys_begin_walk(&walk, dir);
	while ((file = sys_next_name(&walk, &walked)))
		bind_file(dir, path, file, left);
	if (walked < 0)
		leave_out(left, walked, NETNS_STEP_BIND_CONFIGURATION, path);
	sys_close(dir);
}

int netns_setup_exec(const char *name, struct netns_error *left_out,
		     size_t room, struct netns_error *err)
{
	struct left_out left = { .errors = left_out, .room = room };
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
	mount_sysfs(&left);
	if (name)
		bind_files(name, &left);
	return left.count;
}
