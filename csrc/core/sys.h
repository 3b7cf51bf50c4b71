/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call of the core, once: 0 or a value, or -errno.
 *
 * A build with NETNS_FAULTS asks fault.c before each call whether to fail it;
 * in every other build FAULT() is nothing. A faulted sys_close() closes all the
 * same, as the kernel does whatever close(2) returns.
 *
 * pthread_cancel(3) must not end a thread within the library, which would leave
 * a lock, a descriptor or a helper's arguments behind. So where libc's function
 * is a cancellation point, syscall(2) is used, which is none.
 *
 * Every descriptor goes through sys_keep_above_2(): a program may have started
 * with 0, 1 and 2 closed, and will put others there.
 */
#ifndef NETNS_SYS_H
#define NETNS_SYS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef NETNS_FAULTS
#include "fault.h"
#define FAULT_ERRNO(name) fault_next(name)
#else
#define FAULT_ERRNO(name) 0
#endif

#define FAULT(name)                             \
	do {                                    \
		int fault_ = FAULT_ERRNO(name); \
		if (fault_)                     \
			return -fault_;         \
	} while (0)

/*
 * A sandbox that is older than a call refuses it with EPERM or EACCES. Both
 * count as ENOSYS, for every newer call: the older way, which is tried then,
 * tells what is really refused.
 */
static inline int sys_newer(int ret)
{
	return ret == -EPERM || ret == -EACCES ? -ENOSYS : ret;
}

#define FAULT_NEWER(name)                          \
	do {                                       \
		int fault_ = FAULT_ERRNO(name);    \
		if (fault_)                        \
			return sys_newer(-fault_); \
	} while (0)

/*
 * Headers as old as glibc 2.17's lack these. The running kernel may be newer
 * than the headers, so it is asked at run time. Where the number of a call is
 * not known, -1 stands for a call that no kernel has.
 */
#if defined(__alpha__) || defined(__mips__) || \
	(defined(__x86_64__) && defined(__ILP32__))
#define SYS_NUMBER(number) (-1)
#else
#define SYS_NUMBER(number) (number)
#endif
#ifndef SYS_open_tree
#define SYS_open_tree SYS_NUMBER(428)
#endif
#ifndef SYS_move_mount
#define SYS_move_mount SYS_NUMBER(429)
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open SYS_NUMBER(434)
#endif
#ifndef SYS_close_range
#define SYS_close_range SYS_NUMBER(436)
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd SYS_NUMBER(438)
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr SYS_NUMBER(442)
#endif
#ifndef SYS_statx
#if defined(__x86_64__)
#define SYS_statx SYS_NUMBER(332)
#elif defined(__i386__) || defined(__powerpc__)
#define SYS_statx 383
#elif defined(__arm__)
#define SYS_statx 397
#elif defined(__s390__)
#define SYS_statx 379
#elif defined(__aarch64__) || defined(__riscv)
#define SYS_statx 291
#else
#define SYS_statx (-1)
#endif
#endif
#ifndef SYS_statmount
#define SYS_statmount SYS_NUMBER(457)
#endif
#ifndef SYS_listmount
#define SYS_listmount SYS_NUMBER(458)
#endif
#ifndef SYS_listns
#define SYS_listns SYS_NUMBER(470)
#endif
#define SYS_MADV_WIPEONFORK	    18
#define SYS_NSFS_MAGIC		    0x6e736673
#define SYS_AT_RECURSIVE	    0x8000
#define SYS_AT_STATX_DONT_SYNC	    0x4000
#define SYS_STATX_INO		    0x100
#define SYS_STATX_ATTR_MOUNT_ROOT   0x2000
#define SYS_NS_GET_USERNS	    _IO(0xb7, 0x1)
#define SYS_NS_GET_NSTYPE	    _IO(0xb7, 0x3)
#define SYS_NS_GET_OWNER_UID	    _IO(0xb7, 0x4)
#define SYS_NS_GET_ID		    _IOR(0xb7, 13, uint64_t)
#define SYS_SIOCGSKNS		    0x894c
#define SYS_SO_NETNS_COOKIE	    71
#define SYS_STATX_MNT_ID	    0x1000
#define SYS_STATX_MNT_ID_UNIQUE	    0x4000
#define SYS_CLOSE_RANGE_UNSHARE	    2
#define SYS_STATMOUNT_BASIC	    0x2
#define SYS_STATMOUNT_POINT	    0x10
#define SYS_KCMP_FILES		    2
#define SYS_FD_NSFS_ROOT	    (-10003)
#define SYS_FILEID_NSFS		    0xf1
#define SYS_PIDFD_THREAD	    O_EXCL
#define SYS_PIDFD_GET_NET_NAMESPACE _IO(0xff, 4)
#define SYS_OPEN_TREE_CLONE	    1
#define SYS_OPEN_TREE_CLOEXEC	    O_CLOEXEC
#define SYS_MOVE_MOUNT_F_EMPTY_PATH 0x4
#define SYS_MOVE_MOUNT_T_EMPTY_PATH 0x40

#define SYS_RESULT(call)                             \
	__extension__({                              \
		long result_ = (call);               \
		result_ < 0 ? -errno : (int)result_; \
	})

/* struct statx, which old headers lack. */
struct sys_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare;
	uint64_t ino, size, blocks, attributes_mask;
	uint64_t times[8];
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mnt_id;
	uint64_t spares[13];
};

/* struct statmount; the path is at text + point. */
struct sys_statmount {
	uint32_t size, options;
	uint64_t mask, super[3], id, parent, others[6];
	uint32_t root, point;
	uint64_t spares[50];
	char text[4096];
};

/* struct dirent64, which not every libc has. */
struct sys_dirent {
	uint64_t ino;
	int64_t offset;
	uint16_t size;
	uint8_t type;
	char name[];
};

static inline int sys_close(int fd)
{
	int fault = FAULT_ERRNO("close");
	int ret = SYS_RESULT((int)syscall(SYS_close, fd));

	return fault ? -fault : ret;
}

/* All from the first on (Linux 5.9). */
static inline int sys_close_range(int first, unsigned int flags)
{
	FAULT_NEWER("close_range");
	return sys_newer(SYS_RESULT(
		(int)syscall(SYS_close_range, first, INT_MAX, flags)));
}

#define SYS_LEAST_FD 3

static inline int sys_dup(int fd)
{
	FAULT("fcntl");
	return SYS_RESULT(fcntl(fd, F_DUPFD_CLOEXEC, SYS_LEAST_FD));
}

/* fd, a result, as a descriptor above those of the standard streams. */
static inline int sys_keep_above_2(int fd)
{
	int copy;

	if (fd < 0 || fd >= SYS_LEAST_FD)
		return fd;
	copy = sys_dup(fd);
	sys_close(fd);
	return copy;
}

static inline int sys_openat(int dir, const char *path, int flags, mode_t mode)
{
	FAULT("openat");
	return sys_keep_above_2(SYS_RESULT(
		(int)syscall(SYS_openat, dir, path, flags | O_CLOEXEC, mode)));
}

static inline int sys_readlinkat(int fd, const char *path, char *buf,
				 size_t size)
{
	FAULT("readlinkat");
	return SYS_RESULT(readlinkat(fd, path, buf, size));
}

/* Returns 0 at the end of the file. */
static inline int sys_read(int fd, void *buf, size_t size)
{
	FAULT("read");
	return SYS_RESULT(syscall(SYS_read, fd, buf, size));
}

static inline int sys_rewind(int fd)
{
	FAULT("lseek");
	return SYS_RESULT(lseek(fd, 0, SEEK_SET));
}

/* The events that there are now. */
static inline int sys_poll(int fd, short events)
{
	struct pollfd polled = { .fd = fd, .events = events };
	int ret;

	FAULT("poll");
	ret = SYS_RESULT(poll(&polled, 1, 0));
	return ret < 0 ? ret : polled.revents;
}

/*
 * A walk through a directory, by batches that are read into the walk itself:
 * opendir(3) allocates, and a fork's child of many threads may not.
 */
#define SYS_BATCH_SIZE 2048 /* bytes: some 80 names */

struct sys_walk {
	int dir;
	int size, offset; /* bytes of the batch: read, and passed */
	uint8_t type;	  /* of the last name: DT_LNK, ... */
	char batch[SYS_BATCH_SIZE] __attribute__((aligned(8)));
};

static inline void sys_begin_walk(struct sys_walk *walk, int dir)
{
	walk->dir = dir;
	walk->size = walk->offset = 0;
}

static inline int sys_getdents(int dir, void *buf, size_t size)
{
	FAULT("getdents64");
	return SYS_RESULT(syscall(SYS_getdents64, dir, buf, size));
}

/* 1, 0 at the end, or -errno. A directory that is removed is at its end. */
static inline int sys_read_batch(struct sys_walk *walk)
{
	int ret = sys_getdents(walk->dir, walk->batch, sizeof(walk->batch));

	walk->offset = 0;
	walk->size = ret < 0 ? 0 : ret;
	if (ret == -ENOENT)
		ret = 0;
	return ret > 0 ? 1 : ret;
}

/* The next name of the batch but "." and "..", or NULL at its end. */
static inline const char *sys_next_in_batch(struct sys_walk *walk)
{
	const struct sys_dirent *entry;

	while (walk->offset < walk->size) {
		entry = (const void *)(walk->batch + walk->offset);
		walk->offset += entry->size;
		walk->type = entry->type;
		if (strcmp(entry->name, ".") && strcmp(entry->name, ".."))
			return entry->name;
	}
	return NULL;
}

/* The next name of the directory, or NULL: *ret is 0 at its end, or -errno. */
static inline const char *sys_next_name(struct sys_walk *walk, int *ret)
{
	const char *name;

	*ret = 1;
	while (!(name = sys_next_in_batch(walk)) && *ret > 0)
		*ret = sys_read_batch(walk);
	return name;
}

static inline int sys_fstat(int fd, struct stat *st)
{
	FAULT("fstat");
	return SYS_RESULT(fstat(fd, st));
}

/*
 * The same where a failure has one meaning: no such descriptor. It is not
 * failed by tests, which can close the descriptor.
 */
static inline int sys_look_at(int fd, struct stat *st)
{
	return SYS_RESULT(fstat(fd, st));
}

static inline int sys_fstatat(int dir, const char *name, struct stat *st)
{
	FAULT("fstatat");
	return SYS_RESULT(fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW));
}

static inline int sys_stat(const char *path, struct stat *st)
{
	FAULT("fstatat");
	return SYS_RESULT(stat(path, st));
}

static inline int sys_fstatfs(int fd, struct statfs *sf)
{
	FAULT("fstatfs");
	return SYS_RESULT(fstatfs(fd, sf));
}

/* qemu-user says ENOSYS where a kernel says ENOTTY: it lacks the request. */
static inline int sys_ioctl(int fd, unsigned long request)
{
	int ret;

	FAULT("ioctl");
	ret = SYS_RESULT(syscall(SYS_ioctl, fd, request, 0));
	return ret == -ENOSYS ? -ENOTTY : ret;
}

/* For a request that returns a descriptor. */
static inline int sys_ioctl_fd(int fd, unsigned long request)
{
	return sys_keep_above_2(sys_ioctl(fd, request));
}

/* qemu-user: as sys_ioctl(). */
static inline int sys_ns_id(int fd, uint64_t *id)
{
	int ret;

	FAULT("ioctl");
	ret = SYS_RESULT(syscall(SYS_ioctl, fd, SYS_NS_GET_ID, id));
	return ret == -ENOSYS ? -ENOTTY : ret;
}

static inline int sys_setns(int fd)
{
	FAULT("setns");
	return SYS_RESULT(setns(fd, CLONE_NEWNET));
}

static inline int sys_join_user(int fd)
{
	FAULT("setns");
	return SYS_RESULT(setns(fd, CLONE_NEWUSER));
}

static inline int sys_unshare_net(void)
{
	FAULT("unshare");
	return SYS_RESULT(unshare(CLONE_NEWNET));
}

static inline int sys_unshare_mounts(void)
{
	FAULT("unshare");
	return SYS_RESULT(unshare(CLONE_NEWNS));
}

static inline pid_t sys_gettid(void)
{
	return (pid_t)syscall(SYS_gettid);
}

/* Checks that the process has the thread; sends no signal. */
static inline int sys_tgkill(pid_t pid, pid_t tid)
{
	FAULT("tgkill");
	return SYS_RESULT(syscall(SYS_tgkill, pid, tid, 0));
}

static inline int sys_pidfd_open(pid_t pid, unsigned int flags)
{
	FAULT_NEWER("pidfd_open");
	return sys_keep_above_2(
		sys_newer(SYS_RESULT(syscall(SYS_pidfd_open, pid, flags))));
}

/* A copy of a descriptor of another task. */
static inline int sys_pidfd_getfd(int pidfd, int fd)
{
	FAULT_NEWER("pidfd_getfd");
	return sys_keep_above_2(
		sys_newer(SYS_RESULT(syscall(SYS_pidfd_getfd, pidfd, fd, 0))));
}

/* 0 where two tasks have one descriptor table, above where they have two. */
static inline int sys_compare_files(pid_t one, pid_t other)
{
	FAULT("kcmp");
	return SYS_RESULT(syscall(SYS_kcmp, one, other, SYS_KCMP_FILES, 0, 0));
}

/*
 * Opens a network namespace by its cookie and inode number (Linux 6.18; from
 * 6.19 on the inode number may be 0).
 */
static inline int sys_open_cookie(uint64_t cookie, uint32_t ino)
{
	struct {
		uint32_t size;
		int32_t type;
		uint64_t cookie;
		uint32_t ns_type, ino;
	} handle = { .size = 16,
		     .type = SYS_FILEID_NSFS,
		     .cookie = cookie,
		     .ns_type = ino ? CLONE_NEWNET : 0,
		     .ino = ino };

	FAULT_NEWER("open_by_handle_at");
	return sys_keep_above_2(sys_newer(
		SYS_RESULT(syscall(SYS_open_by_handle_at, SYS_FD_NSFS_ROOT,
				   &handle, O_RDONLY | O_CLOEXEC))));
}

/*
 * The cookies of up to room network namespaces that the caller may see, from
 * the oldest on (Linux 6.19). Returns how many there are in cookies.
 */
static inline int sys_listns(uint64_t *cookies, size_t room)
{
	struct {
		uint32_t size, spare;
		uint64_t after;
		uint32_t ns_type, spare2;
		uint64_t user_ns;
	} request = { .size = sizeof(request), .ns_type = CLONE_NEWNET };

	FAULT_NEWER("listns");
	return sys_newer(
		SYS_RESULT(syscall(SYS_listns, &request, cookies, room, 0)));
}

static inline int sys_open_tree(int fd, unsigned int flags)
{
	FAULT_NEWER("open_tree");
	return sys_keep_above_2(sys_newer(
		SYS_RESULT(syscall(SYS_open_tree, fd, "",
				   SYS_OPEN_TREE_CLONE | SYS_OPEN_TREE_CLOEXEC |
					   AT_EMPTY_PATH | flags))));
}

static inline int sys_mount_setattr(int tree, uint64_t propagation,
				    unsigned int flags)
{
	struct {
		uint64_t attr_set, attr_clr, propagation, userns_fd;
	} attr = { .propagation = propagation };

	FAULT_NEWER("mount_setattr");
	return sys_newer(SYS_RESULT(syscall(SYS_mount_setattr, tree, "",
					    AT_EMPTY_PATH | flags, &attr,
					    sizeof(attr))));
}

static inline int sys_move_mount(int tree, int point)
{
	FAULT_NEWER("move_mount");
	return sys_newer(SYS_RESULT(syscall(
		SYS_move_mount, tree, "", point, "",
		SYS_MOVE_MOUNT_F_EMPTY_PATH | SYS_MOVE_MOUNT_T_EMPTY_PATH)));
}

static inline int sys_statx(int dir, const char *path, int flags,
			    unsigned int mask, struct sys_statx *sx)
{
	FAULT_NEWER("statx");
	return sys_newer(
		SYS_RESULT(syscall(SYS_statx, dir, path, flags, mask, sx)));
}

/* 1, 0, or -errno: -ENOSYS where the kernel can't tell (before Linux 5.8). */
static inline int sys_is_mount(int fd)
{
	struct sys_statx sx;
	int ret = sys_statx(fd, "", AT_EMPTY_PATH, 0, &sx);

	if (ret < 0)
		return ret;
	if (!(sx.attributes_mask & SYS_STATX_ATTR_MOUNT_ROOT))
		return -ENOSYS;
	return (sx.attributes & SYS_STATX_ATTR_MOUNT_ROOT) != 0;
}

/* Which file a path leads to and, if mask says so (Linux 5.8), which mount. */
static inline int sys_locate(int dir, const char *path, int flags,
			     struct sys_statx *sx)
{
	return sys_statx(dir, path, flags | SYS_AT_STATX_DONT_SYNC,
			 SYS_STATX_INO | SYS_STATX_MNT_ID, sx);
}

/* The same with an id that no mount had before (Linux 6.8), or as above. */
static inline int sys_locate_unique(int dir, const char *path,
				    struct sys_statx *sx)
{
	return sys_statx(dir, path, AT_EMPTY_PATH | SYS_AT_STATX_DONT_SYNC,
			 SYS_STATX_MNT_ID | SYS_STATX_MNT_ID_UNIQUE, sx);
}

/*
 * The unique ids of up to room mounts below a mount, at any depth (Linux 6.8).
 * Returns how many there are in ids.
 */
static inline int sys_listmount(uint64_t mount, uint64_t *ids, size_t room)
{
	struct {
		uint32_t size, spare;
		uint64_t mount, after;
	} request = { .size = sizeof(request), .mount = mount };

	FAULT_NEWER("listmount");
	return sys_newer(SYS_RESULT(
		(int)syscall(SYS_listmount, &request, ids, room, 0)));
}

/*
 * Where the mount with that unique id is, and on which. Where the caller's root
 * directory does not lead to it, the mask lacks SYS_STATMOUNT_POINT.
 */
static inline int sys_statmount(uint64_t mount, struct sys_statmount *sm)
{
	struct {
		uint32_t size, spare;
		uint64_t mount, mask;
	} request = { .size = sizeof(request),
		      .mount = mount,
		      .mask = SYS_STATMOUNT_BASIC | SYS_STATMOUNT_POINT };

	FAULT("statmount");
	return SYS_RESULT(
		(int)syscall(SYS_statmount, &request, sm, sizeof(*sm), 0));
}

static inline int sys_mount(const char *source, const char *target,
			    unsigned long flags)
{
	FAULT("mount");
	return SYS_RESULT(mount(source, target, "none", flags, NULL));
}

static inline int sys_mount_sysfs(const char *target, unsigned long flags)
{
	FAULT("mount");
	return SYS_RESULT(mount("sysfs", target, "sysfs", flags, NULL));
}

static inline int sys_umount(const char *target)
{
	FAULT("umount2");
	return SYS_RESULT(umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW));
}

static inline int sys_mkdir(const char *path, mode_t mode)
{
	FAULT("mkdir");
	return SYS_RESULT(mkdir(path, mode));
}

static inline int sys_unlinkat(int dir, const char *name)
{
	FAULT("unlinkat");
	return SYS_RESULT(unlinkat(dir, name, 0));
}

static inline int sys_rmdirat(int dir, const char *name)
{
	FAULT("rmdirat");
	return SYS_RESULT(unlinkat(dir, name, AT_REMOVEDIR));
}

/* -EWOULDBLOCK where another has the lock. */
static inline int sys_lock(int fd)
{
	FAULT("flock");
	return SYS_RESULT(flock(fd, LOCK_EX | LOCK_NB));
}

/* The lock belongs to the open file, which a forked child has as well. */
static inline void sys_unlock(int fd)
{
	flock(fd, LOCK_UN);
}

/* -EINTR where a signal's handler ran. */
static inline int sys_sleep(long microseconds)
{
	struct timespec span = { microseconds / 1000000,
				 microseconds % 1000000 * 1000 };
	int ret, state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	ret = SYS_RESULT(nanosleep(&span, NULL));
	pthread_setcancelstate(state, NULL);
	return ret;
}

static inline int64_t sys_now(void) /* microseconds */
{
	struct timespec now = { 0 };

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline int sys_owner_uid(int userns, uid_t *uid)
{
	FAULT("ioctl");
	return SYS_RESULT(
		syscall(SYS_ioctl, userns, SYS_NS_GET_OWNER_UID, uid));
}

static inline int sys_socket(int family, int type, int protocol)
{
	FAULT("socket");
	return sys_keep_above_2(
		SYS_RESULT(socket(family, type | SOCK_CLOEXEC, protocol)));
}

static inline int sys_getsockopt(int fd, int option, void *value,
				 socklen_t size)
{
	FAULT("getsockopt");
	return SYS_RESULT(getsockopt(fd, SOL_SOCKET, option, value, &size));
}

static inline int sys_setsockopt(int fd, int level, int option, int value)
{
	FAULT("setsockopt");
	return SYS_RESULT(setsockopt(fd, level, option, &value, sizeof(value)));
}

/*
 * libc's connect(3), send(3) and recvfrom(3) are cancellation points, and 32-bit
 * x86 has no system calls for them in old kernels.
 */
static inline int sys_connect(int fd, const void *to, socklen_t size)
{
	int ret, state;

	FAULT("connect");
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	ret = SYS_RESULT(connect(fd, to, size));
	pthread_setcancelstate(state, NULL);
	return ret;
}

static inline int sys_send(int fd, const void *data, size_t size)
{
	int ret, state;

	FAULT("send");
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	ret = SYS_RESULT(send(fd, data, size, 0));
	pthread_setcancelstate(state, NULL);
	return ret;
}

/* Returns the size of the datagram, which may be larger than buf. */
static inline int sys_recv(int fd, void *buf, size_t size, void *from,
			   socklen_t from_size)
{
	int ret, state;

	FAULT("recv");
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	ret = SYS_RESULT(recvfrom(fd, buf, size, MSG_TRUNC, from, &from_size));
	pthread_setcancelstate(state, NULL);
	return ret;
}

/* These are no system calls, but the fault sweep fails them as well. */

static inline void *sys_alloc(size_t size)
{
	return FAULT_ERRNO("malloc") ? NULL : calloc(1, size);
}

static inline void *sys_realloc(void *old, size_t size)
{
	return FAULT_ERRNO("malloc") ? NULL : realloc(old, size);
}

static inline int sys_thread(pthread_t *thread, const pthread_attr_t *attr,
			     void *(*run)(void *), void *arg)
{
	FAULT("pthread_create");
	return -pthread_create(thread, attr, run, arg);
}

/* A helper works on what is on its starter's stack. */
static inline void sys_join(pthread_t thread)
{
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	pthread_join(thread, NULL);
	pthread_setcancelstate(state, NULL);
}

/* A page of zeros that a child of any fork finds zeroed again, or NULL. */
static inline void *sys_map_wiped_page(void)
{
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (!madvise(page, size, SYS_MADV_WIPEONFORK)) /* Linux 4.14 */
		return page;
	munmap(page, size);
	return NULL;
}

#endif
