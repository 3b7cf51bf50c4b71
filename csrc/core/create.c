/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces made, pinned and unpinned. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "sys.h"

/*
 * new
 *
 * Problem: unshare(2) moves the thread that calls it, which is to be where it
 * was afterwards.
 * Rejected: a thread made for it each time (half as much again), a process
 * (twice); one thread kept for it: it acts with the credentials it was born
 * with, not its caller's, and a process that has it can't unshare(2) its user
 * namespace any more.
 * Solution: a visit of the calling thread, as to any other namespace: home is
 * proven and the way back known before. A thread made for it where there is
 * none.
 */
static int open_new(int *fd, struct netns_error *err)
{
	int ret = netns__open_here(fd, err);

	if (ret < 0 && err)
		err->step = NETNS_STEP_OPEN_NEW;
	return ret;
}

static int make_by_visit(int *fd, struct netns_error *err)
{
	int64_t guard = netns_tour(err);
	int left, ret;

	if (guard < 0)
		return (int)guard;
	ret = netns__visit_new(err);
	if (!ret)
		ret = open_new(fd, err);
	left = netns_leave(guard, err);
	if (left < 0 && !ret)
		sys_close(*fd);
	return left < 0 ? left : ret;
}

struct birth {
	int fd;
	int ret;
	struct netns_error *err;
};

static void *give_birth(void *arg)
{
	struct birth *birth = arg;

	birth->ret = sys_unshare_net();
	if (birth->ret < 0)
		netns__fail(birth->err, birth->ret, NETNS_STEP_UNSHARE, NULL);
	else
		birth->ret = open_new(&birth->fd, birth->err);
	return NULL;
}

int netns_new(struct netns **ns, struct netns_error *err)
{
	struct netns_error kept;
	struct birth birth = { .err = &kept };
	int ret = make_by_visit(&birth.fd, &kept);

	if (netns__may_not_return(ret, &kept)) {
		ret = netns__in_thread(give_birth, &birth, &kept);
		if (!ret)
			ret = birth.ret;
	}
	return ret < 0 ? netns__pass(err, &kept)
		       : netns__wrap(birth.fd, ns, err);
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
	int ret;

	if (fd == -EINVAL && S_ISREG(st->st_mode) && !st->st_size)
		return 0;
	if (fd < 0)
		return netns__pass(err, &kept);
	ret = sys_fstat(fd, st);
	sys_close(fd);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_IDENTIFY, place->path)
		       : 1;
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

static int delete_at(const struct place *place, struct netns_error *err)
{
	struct stat st = { 0 };
	dev_t nsfs;
	int ret;

	ret = look(place, &st, err);
	if (ret == 0 && !(place->is_name && netns__is_leftover(&st)))
		ret = netns__fail(err, -EINVAL, NETNS_STEP_CHECK_TYPE,
				  place->path);
	nsfs = ret > 0 ? st.st_dev : 0;
	/* More than once where something else was mounted over it. */
	while (ret > 0) {
		ret = unmount(place);
		if (ret < 0)
			return netns__fail(err, ret, NETNS_STEP_UNMOUNT,
					   place->path);
		ret = sys_fstatat(place->dir, place->name, &st);
		if (ret < 0)
			netns__fail(err, ret, NETNS_STEP_UNLINK, place->path);
		else if (st.st_dev == nsfs)
			ret = look(place, &st, err);
	}
	/* A file that has content was there before: not ours to remove. */
	if (ret < 0 || st.st_dev == nsfs || !S_ISREG(st.st_mode) || st.st_size)
		return ret;
	ret = sys_unlinkat(place->dir, place->name);
	return ret < 0 ? netns__fail(err, ret, NETNS_STEP_UNLINK, place->path)
		       : 0;
}

int netns_delete(const char *rundir, const char *target,
		 struct netns_error *err)
{
	struct place place;
	int ret;

	ret = netns__ready(err);
	if (ret < 0)
		return ret;
	ret = netns__place(&place, rundir, target, PLACE_CHANGE, err);
	if (ret < 0)
		return ret;
	ret = delete_at(&place, err);
	netns__place_done(&place);
	return ret;
}

/*
 * An unmount waits for a grace period of the kernel's RCU, and threads that
 * wait at the same time wait for the same one. More of them than these have
 * not been seen to gain.
 */
#define HELPERS 15

struct deletions {
	const char *rundir;
	const char *const *targets;
	size_t count;
	struct netns_error *errors;
	struct place place; /* the run directory's, locked */
	atomic_size_t next;
	atomic_int failed;
};

static bool is_name(const char *target)
{
	return !strchr(target, '/');
}

static void delete_name(struct deletions *b, size_t i)
{
	struct place place;
	struct netns_error *err = &b->errors[i];
	int ret = netns__place_beside(&place, &b->place, b->rundir,
				      b->targets[i], err);

	if (!ret)
		ret = delete_at(&place, err);
	if (ret < 0)
		atomic_fetch_add(&b->failed, 1);
}

static void *delete_names(void *arg)
{
	struct deletions *b = arg;
	size_t i;

	while ((i = atomic_fetch_add(&b->next, 1)) < b->count) {
		if (is_name(b->targets[i]))
			delete_name(b, i);
	}
	return NULL;
}

static void delete_together(struct deletions *b, size_t names)
{
	pthread_t helpers[HELPERS];
	size_t n = 0;

	while (n < HELPERS && n + 1 < names &&
	       !netns__start(&helpers[n], delete_names, b))
		n++;
	delete_names(b);
	while (n)
		pthread_join(helpers[--n], NULL);
}

int netns_delete_many(const char *rundir, const char *const *targets,
		      size_t count, struct netns_error *errors)
{
	struct deletions b = { .rundir = rundir,
			       .targets = targets,
			       .count = count,
			       .errors = errors };
	size_t i, names = 0;
	int ret = 0;

	for (i = 0; i < count; i++) {
		errors[i].err = 0;
		names += is_name(targets[i]);
	}
	if (names > 1) {
		struct netns_error err;

		ret = netns__ready(&err);
		if (!ret)
			ret = netns__place(&b.place, rundir, "any",
					   PLACE_CHANGE, &err);
		if (!ret) {
			delete_together(&b, names);
			netns__place_done(&b.place);
		}
	}
	/* What is left, one by one: each has an error of its own to tell. */
	for (i = 0; i < count; i++) {
		if (names > 1 && !ret && is_name(targets[i]))
			continue;
		if (netns_delete(rundir, targets[i], &errors[i]) < 0)
			b.failed++;
	}
	return b.failed;
}
