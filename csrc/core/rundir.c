/* SPDX-License-Identifier: Apache-2.0 */
/* The run directory: chosen, made, shared, locked; and a target's place. */
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

static const char standard[] = "/run/netns";

static const char *environment(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

static bool is_mine(const char *path)
{
	struct stat st;

	return !sys_stat(path, &st) && st.st_uid == geteuid();
}

int netns_rundir(char *buf, size_t size)
{
	const char *set = environment("NETNS_RUN_DIR");
	const char *user = environment("XDG_RUNTIME_DIR");
	int length;

	if (set)
		length = snprintf(buf, size, "%s", set);
	else if (user && !is_mine("/var/run"))
		length = snprintf(buf, size, "%s/netns", user);
	else
		length = snprintf(buf, size, "%s", standard);
	return (size_t)length < size ? length : -ENAMETOOLONG;
}

const char *netns__fd_path(char *buf, int fd)
{
	snprintf(buf, FD_PATH_SIZE, "/proc/self/fd/%d", fd);
	return buf;
}

void netns__strip(char *path)
{
	size_t size = strlen(path);

	while (size > 1 && path[size - 1] == '/')
		path[--size] = '\0';
}

/* An empty file that a creator left, or has not bound a namespace over yet. */
bool netns__is_leftover(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_size == 0 &&
	       (st->st_mode & 0377) == 0;
}

/*
 * A mount on itself that propagates to the mount namespaces made from this
 * one, so that unmounting a name here frees it there too. In a peer group of
 * its own: a bind mount starts in the group of the mount it was made from, and
 * what is mounted on it would appear below it as well. Only under the lock, or
 * the directory is mounted on itself over and over
 * (https://bugs.debian.org/949235).
 *
 * Made aside and attached when it is right (Linux 5.12), so that a process
 * killed on the way leaves nothing; step by step before.
 */
enum sharing { SHARED, ATTACHED, BOUND };

static int mount_on_itself(int dir)
{
	char path[FD_PATH_SIZE];
	int tree, ret;

	tree = ret = sys_open_tree(dir, SYS_AT_RECURSIVE);
	if (tree >= 0) {
		ret = sys_mount_setattr(tree, MS_PRIVATE, SYS_AT_RECURSIVE);
		if (!ret)
			ret = sys_mount_setattr(tree, MS_SHARED,
						SYS_AT_RECURSIVE);
		if (!ret)
			ret = sys_move_mount(tree, dir);
		sys_close(tree);
	}
	if (ret != -ENOSYS && ret != -EPERM)
		return ret < 0 ? ret : ATTACHED;
	netns__fd_path(path, dir);
	ret = sys_mount(path, path, MS_BIND | MS_REC);
	return ret < 0 ? ret : BOUND;
}

static int set_propagation(int dir, unsigned int propagation)
{
	char path[FD_PATH_SIZE];
	int ret = sys_mount_setattr(dir, propagation, 0);

	if (ret == -ENOSYS || ret == -EPERM)
		ret = sys_mount("", netns__fd_path(path, dir), propagation);
	return ret;
}

/* What is left to do behind it: nothing, or to open what lies on dir now. */
static int share(int dir, enum sharing so_far)
{
	int ret = 0;

	if (so_far == BOUND)
		ret = set_propagation(dir, MS_PRIVATE);
	if (!ret)
		ret = set_propagation(dir, MS_SHARED);
	if (ret != -EINVAL || so_far != SHARED)
		return ret;
	/* As it should be, for what is no mount; mounts are not to pile up. */
	return sys_is_mount(dir) == 1 ? ret : mount_on_itself(dir);
}

static int split(struct place *place, const char *rundir, const char *target,
		 char *dir, size_t size)
{
	const char *slash = strrchr(target, '/');
	const char *name = slash ? slash + 1 : target;
	int length;

	if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	if (strlen(name) >= sizeof(place->name))
		return slash ? -ENAMETOOLONG : -EINVAL;
	if (slash)
		length = snprintf(dir, size, "%.*s", (int)(name - target),
				  target);
	else if (rundir)
		length = snprintf(dir, size, "%s", rundir);
	else
		length = netns_rundir(dir, size);
	if (length < 0 || (size_t)length >= size)
		return -ENAMETOOLONG;
	if (!slash)
		netns__strip(dir);
	place->is_name = !slash;
	strcpy(place->name, name);
	length = snprintf(place->path, sizeof(place->path), "%s%s%s", dir,
			  slash || !strcmp(dir, "/") ? "" : "/", name);
	return (size_t)length < sizeof(place->path) ? 0 : -ENAMETOOLONG;
}

int netns__path(char path[NETNS_PATH_SIZE], const char *rundir,
		const char *name)
{
	char dir[NETNS_PATH_SIZE];
	struct place place;
	int ret = split(&place, rundir, name, dir, sizeof(dir));

	if (!ret)
		strcpy(path, place.path);
	return ret;
}

int netns__place(struct place *place, const char *rundir, const char *target,
		 enum place_use use, struct netns_error *err)
{
	char dir[NETNS_PATH_SIZE];
	enum sharing so_far = SHARED;
	enum netns_step step;
	int flags, ret;

	place->dir = place->lock = -1;
	step = NETNS_STEP_CHECK_ARGUMENT;
	ret = split(place, rundir, target, dir, sizeof(dir));
	if (ret == -ENAMETOOLONG && !rundir && !strchr(target, '/'))
		/* The environment: a name would be no name. */
		return netns__fail(err, ret, NETNS_STEP_OPEN_RUNDIR, NULL);
	if (ret < 0)
		return netns__fail(err, ret, step, target);

	/* The run directory itself is no link; a path may lead through some. */
	flags = O_DIRECTORY | (place->is_name ? O_NOFOLLOW : 0);
	flags |= use == PLACE_READ ? O_PATH : O_RDONLY;
	step = NETNS_STEP_OPEN_RUNDIR;
	ret = sys_openat(AT_FDCWD, dir, flags, 0);
	if (ret == -ENOENT && place->is_name && use == PLACE_MAKE) {
		step = NETNS_STEP_MAKE_RUNDIR;
		ret = sys_mkdir(dir, 0755);
		if (ret < 0 && ret != -EEXIST)
			goto out;
		step = NETNS_STEP_OPEN_RUNDIR;
		ret = sys_openat(AT_FDCWD, dir, flags, 0);
	}
	if (ret < 0)
		goto out;
	place->dir = ret;
	if (use == PLACE_READ)
		return 0;
	place->lock = place->dir;
	step = NETNS_STEP_LOCK_RUNDIR;
	ret = sys_lock(place->lock);
	if (ret < 0)
		goto out;
	if (!place->is_name)
		return 0;
	do {
		/* What was opened may lie below what was mounted since. */
		if (place->dir != place->lock)
			sys_close(place->dir);
		place->dir = -1;
		step = NETNS_STEP_OPEN_RUNDIR;
		ret = sys_openat(AT_FDCWD, dir, flags, 0);
		if (ret < 0)
			goto out;
		place->dir = ret;
		step = NETNS_STEP_SHARE_RUNDIR;
		ret = use == PLACE_MAKE ? share(place->dir, so_far) : SHARED;
		if (ret < 0)
			goto out;
		so_far = (enum sharing)ret;
	} while (so_far != SHARED);
	return 0;
out:
	netns__place_done(place);
	return netns__fail(err, ret, step,
			   step == NETNS_STEP_OPEN_RUNDIR && ret == -ENOENT
				   ? place->path
				   : dir);
}

/* That of another name, by the descriptors of one that is open and outlives it. */
int netns__place_beside(struct place *place, const struct place *other,
			const char *rundir, const char *name,
			struct netns_error *err)
{
	char dir[NETNS_PATH_SIZE];
	int ret = split(place, rundir, name, dir, sizeof(dir));

	place->dir = other->dir;
	place->lock = other->lock;
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_CHECK_ARGUMENT, name)
		       : 0;
}

void netns__place_done(struct place *place)
{
	if (place->dir >= 0)
		sys_close(place->dir);
	if (place->lock >= 0 && place->lock != place->dir)
		sys_close(place->lock);
}
