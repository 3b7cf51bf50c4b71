/* SPDX-License-Identifier: Apache-2.0 */
/* Names, the run directory that they live in, and the place of a target. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

bool netns__is_name(const char *text)
{
	size_t size = strlen(text);

	return size > 0 && size <= NAME_MAX && !strchr(text, '/') &&
	       strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

static const char *environment(const char *name)
{
	const char *value = secure_getenv(name);

	return value && *value ? value : NULL;
}

/* Another directory than the one that is set would be a surprise. */
static bool is_ignored(const char *name)
{
	const char *value = getenv(name);

	return value && *value && !secure_getenv(name);
}

static bool is_own_file(const char *path)
{
	struct stat st;

	return !sys_stat(path, &st) && st.st_uid == geteuid();
}

int netns_rundir(char *buf, size_t size)
{
	const char *set = environment("NETNS_RUN_DIR");
	const char *user = environment("XDG_RUNTIME_DIR");
	int length;

	if (is_ignored("NETNS_RUN_DIR"))
		return -EPERM;
	if (set)
		length = snprintf(buf, size, "%s", set);
	else if (user && !is_own_file("/var/run"))
		length = snprintf(buf, size, "%s/netns", user);
	else
		length = snprintf(buf, size, "/run/netns");
	return (size_t)length < size ? length : -ENAMETOOLONG;
}

/* O_NOFOLLOW accepts a link before a slash, so "/run/netns/" loses it. */
int netns__rundir_text(char buf[NETNS_PATH_SIZE], const char *rundir)
{
	int size = rundir ? snprintf(buf, NETNS_PATH_SIZE, "%s", rundir)
			  : netns_rundir(buf, NETNS_PATH_SIZE);

	if (size < 0)
		return size;
	if (size >= NETNS_PATH_SIZE)
		return -ENAMETOOLONG;
	while (size > 1 && buf[size - 1] == '/')
		buf[--size] = '\0';
	return 0;
}

int netns__rundir_open(char path[NETNS_PATH_SIZE], const char *rundir,
		       int flags, struct netns_error *err)
{
	int fd, ret = netns__rundir_text(path, rundir);

	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_OPEN_RUNDIR,
				   ret == -EPERM ? "NETNS_RUN_DIR" : rundir);
	fd = sys_openat(AT_FDCWD, path, flags | O_DIRECTORY | O_NOFOLLOW, 0);
	return fd < 0 && fd != -ENOENT
		     ? netns__fail(err, fd, NETNS_STEP_OPEN_RUNDIR, path)
		     : fd;
}

bool netns__is_leftover(const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_size == 0 &&
	       (st->st_mode & 0377) == 0;
}

/* Copies a path's directory, with its last slash. */
static int copy_directory(char buf[NETNS_PATH_SIZE], const char *path,
			  size_t size)
{
	if (size >= NETNS_PATH_SIZE)
		return -ENAMETOOLONG;
	memcpy(buf, path, size);
	buf[size] = '\0';
	return 0;
}

static int find_place(struct place *place, const char *rundir,
		      const char *target)
{
	const char *slash = strrchr(target, '/');
	const char *name = slash ? slash + 1 : target;
	int ret;

	place->dir = place->lock = -1;
	place->is_name = !slash;
	if (!netns__is_name(name))
		return slash && strlen(name) > NAME_MAX ? -ENAMETOOLONG
							: -EINVAL;
	ret = slash ? copy_directory(place->dir_path, target,
				     (size_t)(name - target))
		    : netns__rundir_text(place->dir_path, rundir);
	if (ret < 0)
		return ret;
	strcpy(place->name, name);
	ret = snprintf(place->path, sizeof(place->path), "%s%s%s",
		       place->dir_path,
		       slash || !strcmp(place->dir_path, "/") ? "" : "/", name);
	return (size_t)ret < sizeof(place->path) ? 0 : -ENAMETOOLONG;
}

/* A run directory must not be a link; a path may lead through some. */
static int open_directory(const struct place *place, int flags)
{
	return sys_openat(
		AT_FDCWD, place->dir_path,
		flags | O_DIRECTORY | (place->is_name ? O_NOFOLLOW : 0), 0);
}

/* A directory that is missing is a target that is missing. */
static int fail_open(const struct place *place, int ret,
		     struct netns_error *err)
{
	return netns__fail(err, ret, NETNS_STEP_OPEN_RUNDIR,
			   ret == -ENOENT ? place->path : place->dir_path);
}

static int open_rundir(struct place *place, enum place_use use,
		       struct netns_error *err)
{
	int flags = use == PLACE_READ ? O_PATH : O_RDONLY;
	int ret = open_directory(place, flags);

	if (ret == -ENOENT && place->is_name && use == PLACE_MAKE) {
		ret = sys_mkdir(place->dir_path, 0755);
		if (ret < 0 && ret != -EEXIST)
			return netns__fail(err, ret, NETNS_STEP_MAKE_RUNDIR,
					   place->dir_path);
		ret = open_directory(place, flags);
	}
	if (ret < 0)
		return fail_open(place, ret, err);
	place->dir = ret;
	return 0;
}

/*
 * the lock
 *
 * Problem: iproute2 takes the same lock while it shares the directory. Who may
 * read the directory can take it as well and keep it, and so can a child that
 * is forked while it is taken.
 * Rejected: flock(2) that waits: for ever, whoever has the lock.
 * Solution: whoever waits gives up after a while. A name can be deleted without
 * the lock, as iproute2 does it; making one fails. The lock is given back by
 * LOCK_UN, which frees it for the children's copies as well.
 */
#ifdef NETNS_FAULTS
#define LOCK_PATIENCE 20000
#else
#define LOCK_PATIENCE 2000000 /* microseconds */
#endif
#define LOCK_SLEEP 5000 /* at most; the first is a hundredth */

static int wait_for_lock(int fd)
{
	int64_t end = sys_now() + LOCK_PATIENCE;
	long sleep = LOCK_SLEEP / 100;
	int ret;

	while ((ret = sys_lock(fd)) == -EWOULDBLOCK) {
		if (sys_now() >= end)
			return -ETIMEDOUT;
		ret = sys_sleep(sleep);
		if (ret < 0)
			return ret;
		sleep = sleep * 2 < LOCK_SLEEP ? sleep * 2 : LOCK_SLEEP;
	}
	return ret;
}

static int lock_rundir(struct place *place, enum place_use use,
		       struct netns_error *err)
{
	int ret;

	place->lock = place->dir;
	ret = netns__thread_set_lock(place->lock, err);
	if (ret < 0)
		return ret;
	ret = wait_for_lock(place->lock);
	if (ret == -ETIMEDOUT && use == PLACE_CHANGE)
		return 0;
	return netns__check(err, ret, NETNS_STEP_LOCK_RUNDIR, place->dir_path);
}

/* The directory that was opened may lie below one that was mounted since. */
static int reopen_rundir(struct place *place, struct netns_error *err)
{
	int ret;

	if (place->dir != place->lock)
		sys_close(place->dir);
	place->dir = -1;
	ret = open_directory(place, O_RDONLY);
	if (ret < 0)
		return fail_open(place, ret, err);
	place->dir = ret;
	return 0;
}

/*
 * sharing the run directory
 *
 * The run directory is a mount on itself that propagates to the mount
 * namespaces made from this one: unmounting a name here then frees it there as
 * well. It has a peer group of its own, because a bind mount starts in the peer
 * group of the mount it was made from, and what is mounted on the one would
 * appear below it on the other. It is made under the lock, or processes would
 * mount the directory on itself over and over
 * (https://bugs.debian.org/949235).
 *
 * From Linux 5.12 on the mount is attached when it is right, so that a process
 * killed on the way leaves nothing. Before, it is made step by step.
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

/* Returns SHARED, or what was mounted on dir, which is to be opened again. */
static int share_directory(int dir, enum sharing so_far)
{
	int ret = 0;

	if (so_far == BOUND)
		ret = set_propagation(dir, MS_PRIVATE);
	if (!ret)
		ret = set_propagation(dir, MS_SHARED);
	if (ret != -EINVAL || so_far != SHARED)
		return ret;
	/* EINVAL means no mount, but a mount that gives it is not covered. */
	return sys_is_mount(dir) == 1 ? ret : mount_on_itself(dir);
}

static int share_rundir(struct place *place, struct netns_error *err)
{
	enum sharing so_far = SHARED;
	int ret;

	do {
		ret = share_directory(place->dir, so_far);
		if (ret < 0)
			return netns__fail(err, ret, NETNS_STEP_SHARE_RUNDIR,
					   place->dir_path);
		so_far = (enum sharing)ret;
		ret = so_far == SHARED ? 0 : reopen_rundir(place, err);
	} while (!ret && so_far != SHARED);
	return ret;
}

static int prepare_place(struct place *place, enum place_use use,
			 struct netns_error *err)
{
	int ret = open_rundir(place, use, err);

	if (!ret && use != PLACE_READ)
		ret = lock_rundir(place, use, err);
	if (!ret && use != PLACE_READ && place->is_name)
		ret = reopen_rundir(place, err);
	if (!ret && use == PLACE_MAKE && place->is_name)
		ret = share_rundir(place, err);
	return ret;
}

int netns__place_open(struct place *place, const char *rundir,
		      const char *target, enum place_use use,
		      struct netns_error *err)
{
	int ret = find_place(place, rundir, target);

	/* The environment's directory can't be used: no name would do. */
	if ((ret == -ENAMETOOLONG || ret == -EPERM) && !rundir &&
	    !strchr(target, '/'))
		return netns__fail(err, ret, NETNS_STEP_OPEN_RUNDIR,
				   ret == -EPERM ? "NETNS_RUN_DIR" : NULL);
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_CHECK_ARGUMENT, target);
	ret = prepare_place(place, use, err);
	if (ret < 0)
		netns__place_close(place);
	return ret;
}

int netns__place_beside(struct place *place, const struct place *other,
			const char *name, struct netns_error *err)
{
	int ret = find_place(place, other->dir_path, name);

	place->dir = other->dir;
	place->lock = other->lock;
	return netns__check(err, ret, NETNS_STEP_CHECK_ARGUMENT, name);
}

void netns__place_close(struct place *place)
{
	if (place->lock >= 0) {
		sys_unlock(place->lock);
		netns__thread_set_lock(-1, NULL);
	}
	if (place->dir >= 0)
		sys_close(place->dir);
	if (place->lock >= 0 && place->lock != place->dir)
		sys_close(place->lock);
}
