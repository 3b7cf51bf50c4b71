/* SPDX-License-Identifier: Apache-2.0 */
/* The run directory: chosen, made, shared, locked; and a target's place. */
#include <stdio.h>
#include <string.h>

#include "core.h"
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

	return !stat(path, &st) && st.st_uid == geteuid();
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

/* An empty file that a creator left, or has not bound a namespace over yet. */
bool netns__is_leftover(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_size == 0 &&
	       (st->st_mode & 0377) == 0;
}

/*
 * A mount on itself that propagates to the mount namespaces made from this
 * one, so that unmounting a name here frees it there too. Private first: a
 * bind mount starts in the peer group of the mount it was made from, and what
 * is mounted on it would appear below it as well. Only under the lock, or the
 * directory is mounted on itself over and over (https://bugs.debian.org/949235).
 */
static int share(const char *dir)
{
	int ret = sys_mount("", dir, MS_SHARED);

	if (ret != -EINVAL)
		return ret;
	ret = sys_mount(dir, dir, MS_BIND | MS_REC);
	if (!ret)
		ret = sys_mount("", dir, MS_PRIVATE | MS_REC);
	if (!ret)
		ret = sys_mount("", dir, MS_SHARED | MS_REC);
	return ret;
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
	place->is_name = !slash;
	strcpy(place->name, name);
	length = snprintf(place->path, sizeof(place->path), "%s%s%s", dir,
			  slash ? "" : "/", name);
	return (size_t)length < sizeof(place->path) ? 0 : -ENAMETOOLONG;
}

int netns__place(struct place *place, const char *rundir, const char *target,
		 enum place_use use, struct netns_error *err)
{
	char dir[NETNS_PATH_SIZE];
	enum netns_step step;
	int flags, ret;

	place->dir = place->lock = -1;
	step = NETNS_STEP_CHECK_ARGUMENT;
	ret = split(place, rundir, target, dir, sizeof(dir));
	if (ret < 0)
		return netns__fail(err, ret, step, target);

	step = NETNS_STEP_MAKE_RUNDIR;
	if (place->is_name && use == PLACE_MAKE) {
		ret = sys_mkdir(dir, 0755);
		if (ret < 0 && ret != -EEXIST)
			goto out;
	}
	/* The run directory itself is no link; a path may lead through some. */
	flags = O_DIRECTORY | (place->is_name ? O_NOFOLLOW : 0);
	flags |= use == PLACE_READ ? O_PATH : O_RDONLY;
	step = NETNS_STEP_OPEN_RUNDIR;
	ret = sys_openat(AT_FDCWD, dir, flags, 0);
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
	if (use == PLACE_MAKE) {
		step = NETNS_STEP_SHARE_RUNDIR;
		ret = share(dir);
		if (ret < 0)
			goto out;
	}
	/* What was opened may lie below what was mounted since. */
	step = NETNS_STEP_OPEN_RUNDIR;
	ret = sys_openat(AT_FDCWD, dir, flags, 0);
	if (ret < 0)
		goto out;
	place->dir = ret;
	return 0;
out:
	netns__place_done(place);
	return netns__fail(err, ret, step,
			   step == NETNS_STEP_OPEN_RUNDIR && ret == -ENOENT
				   ? place->path
				   : dir);
}

void netns__place_done(struct place *place)
{
	if (place->dir >= 0)
		sys_close(place->dir);
	if (place->lock >= 0 && place->lock != place->dir)
		sys_close(place->lock);
}
