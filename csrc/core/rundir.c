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

static bool is_own_file(const char *path)
{
	struct stat st;

	return !sys_stat(path, &st) && st.st_uid == geteuid();
}

int netns_rundir(char *buf, size_t size)
{
	const char *set = getenv("NETNS_RUN_DIR");
	const char *user = environment("XDG_RUNTIME_DIR");
	int length;

	/* Another directory than the one that is set would be a surprise. */
	if (set && *set && !environment("NETNS_RUN_DIR"))
		return -EPERM;
	if (set && *set)
		length = snprintf(buf, size, "%s", set);
	else if (user && !is_own_file("/var/run"))
		length = snprintf(buf, size, "%s/netns", user);
	else
		length = snprintf(buf, size, "/run/netns");
	return (size_t)length < size ? length : -ENAMETOOLONG;
}

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
	fd = sys_openat(AT_FDCWD, path, flags | O_DIRECTORY, 0);
	return fd < 0 && fd != -ENOENT
		     ? netns__fail(err, fd, NETNS_STEP_OPEN_RUNDIR, path)
		     : fd;
}

/* At a path only a file of ours: any other empty file may be somebody's. */
bool netns__is_leftover(const struct stat *st, bool is_name)
{
	return S_ISREG(st->st_mode) && st->st_size == 0 &&
	       (is_name || netns__is_our_mode(st));
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

static int open_directory(const struct place *place, int flags)
{
	return sys_openat(AT_FDCWD, place->dir_path, flags | O_DIRECTORY, 0);
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
 * LOCK_UN, which frees it for the children's copies as well. A wait that a
 * signal ended goes on where the caller says that it makes the same call again,
 * or a timer that fires at intervals would make it one for ever.
 */
#ifdef NETNS_FAULTS
#define LOCK_PATIENCE 20000
#else
#define LOCK_PATIENCE 2000000 /* microseconds */
#endif

#define TRIED_AGAIN 100000 /* microseconds; after longer it is another wait */

static _Thread_local struct {
	int64_t at, end;
	bool again;
} interrupted;

void netns__wait_on(void)
{
	interrupted.again = true;
}

static int64_t end_of_wait(void)
{
	int64_t now = sys_now();
	bool again = interrupted.again && now < interrupted.at + TRIED_AGAIN;

	interrupted.again = false;
	return again ? interrupted.end : now + LOCK_PATIENCE;
}

static int wait_for_lock(int fd)
{
	int64_t end = end_of_wait();
	long sleep = LOCK_SLEEP / 100; /* doubled each time */
	int ret;

	while ((ret = sys_lock(fd)) == -EWOULDBLOCK) {
		if (sys_now() >= end)
			return -ETIMEDOUT;
		ret = sys_sleep(sleep);
		if (ret < 0) {
			interrupted.at = sys_now();
			interrupted.end = end;
			return ret;
		}
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
 * Problem: names are to come and go in the mount namespaces made from this one
 * as well, so the directory's mount must be shared; and others, container
 * runtimes for one, may have pinned namespaces there before, which they must be
 * able to unmount and remove as before.
 * Rejected: what iproute2 does, a mount of the directory on itself in any case.
 * Where the directory belongs to a shared mount, as /run does under systemd, it
 * doubles each name, or, with a peer group of its own, hides the names that
 * come from those who use the mount below: other mount namespaces have pins
 * there too.
 * Solution: a directory whose mount is shared stays as it is. Any other is
 * mounted on itself, with all pins, still a slave if it was one, and the pins
 * below are unmounted, or nobody could remove their files any more. No other
 * mount namespace sees those, because the mount below is not shared.
 * What remains: a process killed between the two leaves the pins below.
 *
 * It is done under the lock, or processes would mount the directory on itself
 * over and over (https://bugs.debian.org/949235).
 */
int netns__read_mount_id(int fd)
{
	char path[64], text[128], *field;
	struct sys_statx sx;
	int file, ret = sys_locate(fd, "", AT_EMPTY_PATH, &sx);

	/* qemu-user says that it tells the id, and does not. */
	if (!ret && sx.mask & SYS_STATX_MNT_ID && sx.mnt_id)
		return (int)sx.mnt_id;
	snprintf(path, sizeof(path), "%s/fdinfo/%d", netns__own_proc(), fd);
	file = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (file < 0)
		return file;
	do {
		ret = sys_read(file, text, sizeof(text) - 1);
	} while (ret == -EINTR);
	sys_close(file);
	if (ret < 0)
		return ret;
	text[ret] = '\0';
	field = strstr(text, "mnt_id:");
	return field ? atoi(field + 7) : -ENOENT;
}

/* 36 35 0:24 / /run rw,nosuid shared:5 - tmpfs tmpfs rw */
struct line {
	int id, field, matched;
	bool is_shared;
};

static void parse_byte(struct line *line, char byte)
{
	static const char shared[] = "shared:";

	if (byte == ' ') {
		line->field++;
		line->matched = 0;
	} else if (!line->field) {
		line->id = line->id * 10 + byte - '0';
	} else if (line->field > 5 && line->matched >= 0) {
		if (byte == '-' && !line->matched) /* the last of them */
			line->field = -256;
		else if (byte != shared[line->matched++])
			line->matched = -1;
		else if (!shared[line->matched])
			line->is_shared = true;
	}
}

/* Reads little at a time: the kernel writes no more lines than are asked for. */
static int find_mount(int file, int id)
{
	struct line line = { 0 };
	char text[1024];
	int i, ret;

	while ((ret = sys_read(file, text, sizeof(text))) > 0) {
		for (i = 0; i < ret; i++) {
			if (text[i] != '\n')
				parse_byte(&line, text[i]);
			else if (line.id == id)
				return line.is_shared;
			else
				line = (struct line) { 0 };
		}
	}
	return ret < 0 ? ret : -ENOENT;
}

/* Whether dir's mount is shared: 1, 0, or -errno; -ENOENT: nothing tells. */
static int is_mount_shared(int dir)
{
	char path[64];
	int file, ret, id = netns__read_mount_id(dir);

	if (id < 0)
		return id;
	snprintf(path, sizeof(path), "%s/mountinfo", netns__own_proc());
	file = sys_openat(AT_FDCWD, path, O_RDONLY, 0);
	if (file < 0)
		return file;
	ret = find_mount(file, id);
	sys_close(file);
	return ret;
}

/* From Linux 5.12 on the mount is attached when it is shared already. */
static int mount_on_itself(int dir)
{
	char path[FD_PATH_SIZE];
	int tree, ret;

	tree = ret = sys_open_tree(dir, SYS_AT_RECURSIVE);
	if (tree >= 0) {
		ret = sys_mount_setattr(tree, MS_SHARED, SYS_AT_RECURSIVE);
		if (!ret)
			ret = sys_move_mount(tree, dir);
		sys_close(tree);
	}
	if (ret != -ENOSYS && ret != -EPERM)
		return ret;
	netns__fd_path(path, dir);
	return sys_mount(path, path, MS_BIND | MS_REC);
}

static int share_mount(int dir)
{
	char path[FD_PATH_SIZE];
	int ret = sys_mount_setattr(dir, MS_SHARED, 0);

	if (ret == -ENOSYS || ret == -EPERM)
		ret = sys_mount("", netns__fd_path(path, dir), MS_SHARED);
	return ret;
}

static void unmount_pins(int dir)
{
	char path[FD_PATH_SIZE + NAME_MAX + 2];
	struct sys_walk walk;
	const char *name;
	int ret;

	sys_begin_walk(&walk, dir);
	while ((name = sys_next_name(&walk, &ret))) {
		snprintf(path, sizeof(path), "%s/fd/%d/%s", netns__own_proc(),
			 dir, name);
		while (!sys_umount(path))
			;
	}
}

/* 1 where the directory lies below a mount of its own now, 0, or -errno. */
static int share_directory(int dir)
{
	int ret = share_mount(dir);

	if (ret != -EINVAL)
		return ret;
	/* It is not a mount of its own. */
	ret = is_mount_shared(dir);
	if (ret)
		return ret < 0 && ret != -ENOENT ? ret : 0;
	ret = mount_on_itself(dir);
	if (ret < 0)
		return ret;
	unmount_pins(dir);
	return 1;
}

static int share_rundir(struct place *place, struct netns_error *err)
{
	int ret = share_directory(place->dir);

	if (ret > 0) {
		ret = reopen_rundir(place, err);
		if (ret < 0)
			return ret;
		ret = share_mount(place->dir);
	}
	return netns__check(err, ret, NETNS_STEP_SHARE_RUNDIR, place->dir_path);
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

int netns__place_find(struct place *place, const char *rundir,
		      const char *target, struct netns_error *err)
{
	int ret = find_place(place, rundir, target);

	/* The environment's directory can't be used: no name would do. */
	if ((ret == -ENAMETOOLONG || ret == -EPERM) && !rundir &&
	    !strchr(target, '/'))
		return netns__fail(err, ret, NETNS_STEP_OPEN_RUNDIR,
				   ret == -EPERM ? "NETNS_RUN_DIR" : NULL);
	return netns__check(err, ret, NETNS_STEP_CHECK_ARGUMENT, target);
}

int netns__place_open(struct place *place, const char *rundir,
		      const char *target, enum place_use use,
		      struct netns_error *err)
{
	int ret = netns__place_find(place, rundir, target, err);

	if (ret < 0)
		return ret;
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
