/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces made, pinned and unpinned. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "internal.h"
#include "sys.h"

/*
 * new
 *
 * Problem: unshare(2) moves the thread that calls it, and that thread must be
 * back where it was afterwards.
 * Rejected: a thread made for each new namespace (half as much again); a
 * process (twice); one thread kept for all: it acts with the credentials of its
 * own beginning, not its caller's, and a process that has such a thread can't
 * unshare(2) its user namespace any more.
 * Solution: the calling thread visits the new namespace as it visits any other:
 * home is proven and the return is checked before.
 */
static int make_new(const struct inside *inside, void *arg,
		    struct netns_error *err)
{
	int ret = netns__visit_new(inside, err);

	if (ret < 0)
		return ret;
	ret = netns__open_own(arg, err);
	if (ret < 0 && err)
		err->step = NETNS_STEP_OPEN_NEW;
	return ret;
}

int netns_new(struct netns **ns, struct netns_error *err)
{
	int fd = -1, ret = netns__run_tour(make_new, &fd, err);

	if (ret < 0 && fd >= 0)
		sys_close(fd);
	return ret < 0 ? ret : netns__wrap(fd, NULL, ns, err);
}

/*
 * leftovers
 *
 * Problem: an empty file at a name may be left by a creator that died, or be
 * about to be bound by a creator that lives.
 * Solution: our mount points have a mode of their own (0400). Ours are made and
 * bound under the lock that the caller holds, so the creator of one that is
 * seen now is dead. Others (iproute2: mode 0, containerd: 0444, CRI-O: 0644,
 * podman: 0600) hold no lock: only time tells there. A leftover is bound over,
 * not removed: removing it would unmount the namespace in the mount namespaces
 * where there is one. A link has none, and is replaced, if what it led to is
 * gone.
 */
#define THEIR_SECONDS 5

static bool is_old(const struct stat *st)
{
	return llabs((long long)(time(NULL) - st->st_ctime)) > THEIR_SECONDS;
}

/* 1 where a name's link leads to a namespace, 0 to what is gone, else -errno. */
static int follow_link(const struct place *place, struct netns_error *err)
{
	struct stat st = { 0 };
	int fd = netns__open_file(place->dir, place->name, 0, &st, err,
				  place->path);

	if (fd == -ENOENT || (fd == -EINVAL && netns__is_leftover(&st, true)))
		return 0;
	if (fd < 0)
		return fd;
	sys_close(fd);
	return 1;
}

static bool is_abandoned(const struct place *place, int fd,
			 const struct stat *st)
{
	if (S_ISLNK(st->st_mode))
		return place->is_name && is_old(st) &&
		       !follow_link(place, NULL);
	return netns__is_leftover(st, place->is_name) &&
	       (netns__is_our_mode(st) || is_old(st)) && !netns__is_nsfs(fd) &&
	       sys_is_mount(fd) != 1;
}

/* Opens what a dead creator left, for its path; -EEXIST: it is in use. */
static int open_abandoned(const struct place *place, struct stat *st)
{
	int ret, fd = sys_openat(place->dir, place->name, O_PATH | O_NOFOLLOW,
				 0);

	if (fd < 0)
		return fd;
	ret = sys_fstat(fd, st);
	if (!ret && is_abandoned(place, fd, st))
		return fd;
	sys_close(fd);
	return ret < 0 ? ret : -EEXIST;
}

static int make_file(const struct place *place)
{
	return sys_openat(place->dir, place->name,
			  O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW, OUR_MODE);
}

static int make_mount_point(const struct place *place, bool *made)
{
	struct stat st;
	int ret, fd = make_file(place);

	*made = fd >= 0;
	if (fd != -EEXIST)
		return fd;
	fd = open_abandoned(place, &st);
	if (fd < 0 || !S_ISLNK(st.st_mode))
		return fd;
	sys_close(fd);
	ret = sys_unlinkat(place->dir, place->name);
	fd = ret < 0 ? ret : make_file(place);
	*made = fd >= 0;
	return fd;
}

/* Older kernels bind by path only: the paths of the descriptors in /proc. */
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

	point = make_mount_point(place, &made);
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

/*
 * A thread that has mounts of its own (netns_setup_exec(), unshare(2)) would
 * make a name that nobody else sees, over a file that everybody does.
 */
static int check_mounts(struct netns_error *err)
{
	char own[64], process[64];
	int size = sys_readlinkat(AT_FDCWD, "/proc/thread-self/ns/mnt", own,
				  sizeof(own));
	int other = sys_readlinkat(AT_FDCWD, "/proc/self/ns/mnt", process,
				   sizeof(process));

	/* A main thread that has ended has none, and /proc may be missing. */
	if (size <= 0 || other <= 0 ||
	    (size == other && !memcmp(own, process, (size_t)size)))
		return 0;
	return netns__fail(err, -EXDEV, NETNS_STEP_CHECK_MOUNTS, NULL);
}

int netns_pin(struct netns *ns, const char *rundir, const char *target,
	      struct netns_error *err)
{
	struct netns_error kept;
	struct place place;
	int ret, tries = 8, fd = netns__fd_get_usable(ns, err);

	if (fd < 0)
		return fd;
	ret = check_mounts(err);
	if (!ret)
		ret = netns__place_open(&place, rundir, target, PLACE_MAKE,
					err);
	if (ret < 0)
		goto out;
	/* `ip netns delete` takes no lock and may remove an unbound file. */
	do {
		ret = pin_at(&place, fd, &kept);
	} while (ret == -ENOENT && --tries);
	if (ret < 0)
		netns__pass(err, &kept);
	netns__place_close(&place);
out:
	netns__fd_put(ns);
	return ret;
}

/* Saves making a namespace for which netns_pin() would find no free name. */
static int check_free(const char *rundir, const char *name,
		      struct netns_error *err)
{
	struct netns_error kept;
	struct place place;
	struct stat st;
	int ret;

	ret = netns__place_open(&place, rundir, name, PLACE_READ, &kept);
	if (ret < 0)
		return ret == -ENOENT ? 0 : netns__pass(err, &kept);
	ret = open_abandoned(&place, &st);
	if (ret >= 0)
		sys_close(ret);
	netns__place_close(&place);
	return ret >= 0 || ret == -ENOENT
		     ? 0
		     : netns__fail(err, ret, NETNS_STEP_MAKE_MOUNT_POINT,
				   place.path);
}

int netns_create(const char *rundir, const char *name, struct netns **ns,
		 struct netns_error *err)
{
	char rule[NETNS_PATH_SIZE];
	struct netns *made;
	int ret;

	pthread_testcancel();
	ret = netns__thread_check(err);
	if (ret < 0)
		return ret;
	if (!netns__is_name(name))
		return netns__fail(err, -EINVAL, NETNS_STEP_CHECK_ARGUMENT,
				   name);
	/* Both steps use one directory, whatever becomes of the environment. */
	if (!rundir) {
		ret = netns__rundir_text(rule, NULL);
		if (ret < 0)
			return netns__fail(err, ret, NETNS_STEP_OPEN_RUNDIR,
					   ret == -EPERM ? "NETNS_RUN_DIR"
							 : NULL);
		rundir = rule;
	}
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

/*
 * The network namespace that is mounted there, open, 0 at what a creator left or
 * at the link that is a name, else -errno.
 */
static int look_at_mount_point(const struct place *place, struct stat *st,
			       struct netns_error *err)
{
	struct netns_error kept;
	int fd = netns__open_file(place->dir, place->name, O_NOFOLLOW, st,
				  &kept, place->path);

	if (fd == -EINVAL && netns__is_leftover(st, place->is_name))
		return 0;
	if (fd == -EINVAL && place->is_name && S_ISLNK(st->st_mode) &&
	    follow_link(place, &kept) >= 0)
		return 0;
	return fd < 0 ? netns__pass(err, &kept) : fd;
}

/*
 * Asked before the unmount, so that nothing is half removed. rmdir(2) of a file
 * is ENOTDIR once every other objection is out of the way. (So is unlink(2) of a
 * mount point EBUSY, but for that the kernel goes through all mounts.)
 */
static int check_removable(const struct place *place, struct netns_error *err)
{
	int ret = sys_rmdirat(place->dir, place->name);

	return netns__check(err, ret == -ENOTDIR ? 0 : ret, NETNS_STEP_UNLINK,
			    place->path);
}

/* By the directory's descriptor, or, where there is no /proc, by the path. */
static int unmount(const struct place *place)
{
	char path[FD_PATH_SIZE + sizeof(place->name)];
	int ret;

	snprintf(path, sizeof(path), "%s/fd/%d/%s", netns__own_proc(),
		 place->dir, place->name);
	ret = sys_umount(path);
	return ret == -ENOENT ? sys_umount(place->path) : ret;
}

/*
 * Unmounts every network namespace that is stacked on the mount point. *st is
 * then the file that is left; returns 1 if it is not in nsfs.
 */
static int unmount_all(const struct place *place, struct stat *st,
		       struct netns_error *err)
{
	dev_t nsfs = st->st_dev;
	int ret;

	do {
		ret = unmount(place);
		if (ret < 0)
			return netns__fail(err, ret, NETNS_STEP_UNMOUNT,
					   place->path);
		ret = sys_fstatat(place->dir, place->name, st);
		if (ret < 0)
			return netns__fail(err, ret, NETNS_STEP_UNLINK,
					   place->path);
		if (st->st_dev != nsfs)
			return 1;
		ret = netns__open_seen(place->dir, place->name, st);
		if (ret >= 0)
			sys_close(ret);
	} while (ret >= 0);
	/* A namespace of another type was there before. */
	return ret == -EINVAL ? 0
			      : netns__fail(err, ret, NETNS_STEP_CHECK_TYPE,
					    place->path);
}

/* A file that has content was there before: it is not ours to remove. */
static int remove_mount_point(const struct place *place, const struct stat *st,
			      struct netns_error *err)
{
	if (!(place->is_name && S_ISLNK(st->st_mode)) &&
	    (!S_ISREG(st->st_mode) || st->st_size))
		return 0;
	return netns__check(err, sys_unlinkat(place->dir, place->name),
			    NETNS_STEP_UNLINK, place->path);
}

/* *ns is then what was mounted there, open for the caller; 0 or less: nothing. */
static int delete_at(const struct place *place, int *ns,
		     struct netns_error *err)
{
	struct stat st = { 0 };
	int ret = *ns = look_at_mount_point(place, &st, err);

	if (ret > 0) {
		ret = check_removable(place, err);
		if (ret < 0)
			return ret;
		ret = unmount_all(place, &st, err);
	} else if (!ret) {
		ret = 1;
	}
	return ret > 0 ? remove_mount_point(place, &st, err) : ret;
}

int netns_delete(const char *rundir, const char *target,
		 struct netns_error *err)
{
	struct place place;
	int ret, ns;

	pthread_testcancel();
	ret = netns__thread_check(err);
	if (ret < 0)
		return ret;
	ret = netns__place_open(&place, rundir, target, PLACE_CHANGE, err);
	if (ret < 0)
		return ret;
	ret = delete_at(&place, &ns, err);
	if (ns > 0)
		sys_close(ns);
	netns__place_close(&place);
	return ret;
}

/*
 * many names
 *
 * Problem: an unmount waits for a grace period of the kernel's RCU. So does what
 * the kernel does for each namespace that has ended, half a millisecond of work:
 * once it has begun on some, the unmounts of the others take three times as long.
 * Solution: threads that wait at the same time wait for the same grace period
 * (more than sixteen have not been seen to gain), and each keeps the namespaces
 * open until it is through. Their descriptors are in a table of the thread's own
 * (Linux 5.9), where they take none of the process's, and are in no child. Where
 * there is no such table, or it is full, they are closed.
 *
 * The lock is given back now and then, because others would give up before
 * thousands of names are gone; in each pause they try at least once.
 */
#define DELETERS 16
#define SPAN	 100000 /* microseconds */
#define PAUSE	 (2L * LOCK_SLEEP)

struct deletions {
	const char *const *targets;
	size_t count;
	struct netns_error *errors;
	struct place rundir; /* locked */
	atomic_size_t next;
	int64_t pause; /* when the lock is to be given back */
	atomic_int failed;
};

/*
 * A table of descriptors of the thread's own, with none of the process's but 0, 1
 * and 2: closing copies of others would flush their files. 1, 0 where there can
 * be none, or -errno, as where the path leads to another directory by now; *dir is
 * then the run directory in it.
 */
static int begin_own_files(int *dir, const struct place *rundir)
{
	struct identity locked;

	if (netns__identify(*dir, &locked) < 0 ||
	    sys_close_range(SYS_LEAST_FD, SYS_CLOSE_RANGE_UNSHARE) < 0)
		return 0;
	*dir = sys_openat(AT_FDCWD, rundir->dir_path, O_PATH | O_DIRECTORY, 0);
	if (*dir < 0)
		return *dir;
	return netns__is_file(*dir, &locked) ? 1 : -ESTALE;
}

static void delete_name(struct deletions *all, size_t i, int dir, bool keep)
{
	struct netns_error *err = &all->errors[i];
	struct place place;
	int ns = 0, ret;

	ret = netns__place_beside(&place, &all->rundir, all->targets[i], err);
	place.dir = dir;
	if (!ret)
		ret = delete_at(&place, &ns, err);
	if (keep && (ret == -EMFILE || ret == -ENFILE)) {
		sys_close_range(dir + 1, 0);
		err->err = 0;
		ret = delete_at(&place, &ns, err);
	}
	if (ns > 0 && !keep)
		sys_close(ns);
	if (ret < 0)
		atomic_fetch_add(&all->failed, 1);
}

/* Each thread takes the next name, one in any case. */
static void delete_names(struct deletions *all, int dir, bool keep)
{
	size_t i;

	do {
		i = atomic_fetch_add(&all->next, 1);
		if (i < all->count && netns__is_name(all->targets[i]))
			delete_name(all, i, dir, keep);
	} while (i < all->count && sys_now() < all->pause);
}

static void *run_deleter(void *arg)
{
	struct deletions *all = arg;
	int dir = all->rundir.dir, own = begin_own_files(&dir, &all->rundir);

	if (own >= 0)
		delete_names(all, dir, own);
	/* A thread is joined before the kernel closes what it has open. */
	if (own)
		sys_close_range(0, 0);
	return NULL;
}

static void delete_in_threads(struct deletions *all, size_t names)
{
	size_t begin = atomic_load(&all->next), n = 0;
	pthread_t threads[DELETERS];

	while (n < DELETERS && n < names &&
	       !netns__helper_start(&threads[n], HELPER_STACK, run_deleter,
				    all))
		n++;
	while (n)
		sys_join(threads[--n]);
	if (atomic_load(&all->next) == begin)
		delete_names(all, all->rundir.dir, false);
}

/* Deletes names together. Returns the first target that it did not come to. */
static size_t delete_together(struct deletions *all, const char *rundir,
			      size_t names)
{
	struct netns_error err;
	size_t begin = 0;

	if (names < 2 || netns__thread_check(&err) < 0)
		return 0;
	while (begin < all->count &&
	       !netns__place_open(&all->rundir, rundir, "any", PLACE_CHANGE,
				  &err)) {
		all->pause = sys_now() + SPAN;
		delete_in_threads(all, names);
		netns__place_close(&all->rundir);
		begin = atomic_load(&all->next);
		if (begin < all->count)
			sys_sleep(PAUSE);
	}
	return begin;
}

int netns_delete_many(const char *rundir, const char *const *targets,
		      size_t count, struct netns_error *errors)
{
	struct deletions all = { .targets = targets,
				 .count = count,
				 .errors = errors };
	size_t i, together, names = 0;

	for (i = 0; i < count; i++) {
		errors[i].err = 0;
		names += netns__is_name(targets[i]);
	}
	together = delete_together(&all, rundir, names);
	/* The rest is deleted one by one: each has an error of its own. */
	for (i = 0; i < count; i++) {
		if (i < together && netns__is_name(targets[i]))
			continue;
		if (netns_delete(rundir, targets[i], &errors[i]) < 0)
			all.failed++;
	}
	return all.failed;
}
