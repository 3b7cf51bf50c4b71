/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces made, pinned and unpinned. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "core.h"
#include "sys.h"

struct birth {
	int fd;
	int ret;
	struct netns_error *err;
};

static void *give_birth(void *arg)
{
	struct birth *birth = arg;

	birth->ret = sys_unshare_net();
	if (birth->ret < 0) {
		netns__fail(birth->err, birth->ret, NETNS_STEP_UNSHARE, NULL);
		return NULL;
	}
	birth->ret = netns__open_here(&birth->fd, birth->err);
	if (birth->ret < 0 && birth->err)
		birth->err->step = NETNS_STEP_OPEN_NEW;
	return NULL;
}

int netns_new(struct netns **ns, struct netns_error *err)
{
	struct birth birth = { .err = err };
	pthread_t thread;
	int ret = netns__ready(err);

	if (ret < 0)
		return ret;
	ret = netns__start(&thread, give_birth, &birth);
	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_START_THREAD, NULL);
	pthread_join(thread, NULL);
	return birth.ret < 0 ? birth.ret : netns__wrap(birth.fd, ns, err);
}

/*
 * Our mount points have mode 0400, iproute2's have 0, which tells whose an
 * empty file is. Ours are made and bound under the lock that the caller holds,
 * so one that is there now has lost its creator. iproute2 drops the lock
 * before it makes its own, which may be about to be bound: only time tells.
 * It is bound over, not removed: removing it would unmount it in the mount
 * namespaces where it is a namespace.
 */
#define OUR_MODE      0400
#define THEIR_SECONDS 5

static bool is_abandoned(const struct stat *st)
{
	return netns__is_leftover(st) &&
	       ((st->st_mode & 0777) == OUR_MODE ||
		llabs((long long)(time(NULL) - st->st_ctime)) > THEIR_SECONDS);
}

static int make_point(const struct place *place, bool *made)
{
	struct stat st;
	int fd, ret;

	*made = true;
	fd = sys_openat(place->dir, place->name,
			O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW, OUR_MODE);
	if (fd != -EEXIST || !place->is_name)
		return fd;
	*made = false;
	fd = sys_openat(place->dir, place->name, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	ret = sys_fstat(fd, &st);
	if (!ret && is_abandoned(&st))
		return fd;
	sys_close(fd);
	return ret < 0 ? ret : -EEXIST;
}

/* By descriptors alone; by their names in /proc where the kernel is older. */
static int bind_over(int ns, int point)
{
	char source[FD_PATH_SIZE], target[FD_PATH_SIZE];
	int tree, ret;

	tree = ret = sys_open_tree(ns, 0);
	if (tree >= 0) {
		ret = sys_move_mount(tree, point);
		sys_close(tree);
	}
	if (ret != -ENOSYS && ret != -EPERM)
		return ret;
	return sys_mount(netns__fd_path(source, ns),
			 netns__fd_path(target, point), MS_BIND);
}

static int pin_at(const struct place *place, int ns, struct netns_error *err)
{
	bool made;
	int point, ret;

	point = make_point(place, &made);
	if (point < 0)
		return netns__fail(err, point, NETNS_STEP_MAKE_MOUNT_POINT,
				   place->path);
	ret = bind_over(ns, point);
	sys_close(point);
	if (ret < 0) {
		netns__fail(err, ret, NETNS_STEP_BIND, place->path);
		if (made)
			sys_unlinkat(place->dir, place->name);
	}
	return ret;
}

int netns_pin(struct netns *ns, const char *rundir, const char *target,
	      struct netns_error *err)
{
	struct netns_error kept;
	struct place place;
	int fd, ret, tries = 8;

	ret = netns__ready(err);
	if (ret < 0)
		return ret;
	fd = netns__hold(ns, err);
	if (fd < 0)
		return fd;
	ret = netns__place(&place, rundir, target, PLACE_MAKE, err);
	if (ret < 0)
		goto out;
	/* `ip netns delete` takes no lock and may remove what is not bound. */
	do {
		ret = pin_at(&place, fd, &kept);
	} while (ret == -ENOENT && --tries);
	if (ret < 0)
		netns__pass(err, &kept);
	netns__place_done(&place);
out:
	netns__release(ns);
	return ret;
}

/* Sooner than netns_pin() finds out, which has made a namespace by then. */
static int check_free(const char *rundir, const char *name,
		      struct netns_error *err)
{
	struct netns_error kept;
	struct place place;
	struct stat st;
	int ret;

	ret = netns__place(&place, rundir, name, PLACE_READ, &kept);
	if (ret < 0)
		return ret == -ENOENT ? 0 : netns__pass(err, &kept);
	ret = sys_fstatat(place.dir, place.name, &st);
	if (!ret && !is_abandoned(&st))
		ret = netns__fail(err, -EEXIST, NETNS_STEP_MAKE_MOUNT_POINT,
				  place.path);
	else if (ret == -ENOENT)
		ret = 0;
	else if (ret < 0)
		netns__fail(err, ret, NETNS_STEP_MAKE_MOUNT_POINT, place.path);
	netns__place_done(&place);
	return ret;
}

int netns_create(const char *rundir, const char *name, struct netns **ns,
		 struct netns_error *err)
{
	struct netns *made;
	int ret;

	ret = netns__ready(err);
	if (ret < 0)
		return ret;
	if (strchr(name, '/'))
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ARGUMENT,
				   name);
	ret = check_free(rundir, name, err);
	if (ret < 0)
		return ret;
	ret = netns_new(&made, err);
	if (ret < 0)
		return ret;
	ret = netns_pin(made, rundir, name, err);
	if (ret < 0)
		netns_unref(made);
	else
		*ns = made;
	return ret;
}

/* 1 where a network namespace is mounted, 0 at an empty file, else -errno. */
static int look(const struct place *place, struct stat *st,
		struct netns_error *err)
{
	struct netns_error kept;
	int fd = netns__open_file(place->dir, place->name, O_NOFOLLOW, st,
				  &kept, place->path);

	if (fd == -EINVAL && S_ISREG(st->st_mode) && !st->st_size)
		return 0;
	if (fd < 0)
		return netns__pass(err, &kept);
	sys_close(fd);
	return 1;
}

static int unmount(const struct place *place)
{
	char path[sizeof(place->name) + 32];
	int ret;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", place->dir,
		 place->name);
	ret = sys_umount(path);
	/* Without /proc there is no way from the descriptor. */
	return ret == -ENOENT ? sys_umount(place->path) : ret;
}

int netns_delete(const char *rundir, const char *target,
		 struct netns_error *err)
{
	struct stat st = { 0 };
	struct place place;
	dev_t nsfs;
	int ret;

	ret = netns__ready(err);
	if (ret < 0)
		return ret;
	ret = netns__place(&place, rundir, target, PLACE_CHANGE, err);
	if (ret < 0)
		return ret;
	ret = look(&place, &st, err);
	if (ret == 0 && !(place.is_name && netns__is_leftover(&st)))
		ret = netns__fail(err, -EINVAL, NETNS_STEP_CHECK_TYPE,
				  place.path);
	nsfs = ret > 0 ? st.st_dev : 0;
	/* More than once where something else was mounted over it. */
	while (ret > 0) {
		ret = unmount(&place);
		if (ret < 0) {
			netns__fail(err, ret, NETNS_STEP_UNMOUNT, place.path);
			goto out;
		}
		ret = sys_fstatat(place.dir, place.name, &st);
		if (ret < 0)
			netns__fail(err, ret, NETNS_STEP_UNLINK, place.path);
		else if (st.st_dev == nsfs)
			ret = look(&place, &st, err);
	}
	/* A file that has content was there before: not ours to remove. */
	if (ret < 0 || st.st_dev == nsfs || !S_ISREG(st.st_mode) || st.st_size)
		goto out;
	ret = sys_unlinkat(place.dir, place.name);
	if (ret < 0)
		netns__fail(err, ret, NETNS_STEP_UNLINK, place.path);
out:
	netns__place_done(&place);
	return ret;
}
