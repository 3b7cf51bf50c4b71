/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netns: run code in another Linux network namespace and come home.
 *
 * Conventions
 *
 * Returns: a call that can fail returns 0 or a value >= 0, or a negative errno.
 * The value of errno itself is not specified. The library never prints, exits
 * or aborts (but see netns_abort_when_stranded()).
 *
 * Errors: a call that takes `struct netns_error *err` fills it on failure with
 * the errno (positive), the step that failed and the path concerned, and leaves
 * it untouched on success. NULL is accepted. Besides the errors that a call
 * lists, any call may fail with EMFILE, ENFILE or ENOMEM, and, on a thread that
 * could not be brought home, with ENOTRECOVERABLE (NETNS_STEP_CHECK_STRANDED).
 *
 * Threads: a network namespace is a property of a thread. enter, leave, set,
 * current and host concern the calling thread alone. Every call may be made
 * from any thread at any time; threads may share a handle, and netns_close()
 * may race any other use of it. A child of fork() may go on where its parent
 * was, also inside a guard. A descriptor that another thread was about to use
 * or to open at the fork stays open in the child until the child ends or execs.
 *
 * Descriptors: all are close-on-exec and above 2. Each thread that enters keeps two: its
 * ns/net link and its home. While it is in a body from which it has entered
 * further, it keeps one more for that body. They are closed when the thread
 * ends. A program may close all descriptors or put others in their place, as a
 * daemon does: what is not the library's any more is forgotten, neither closed
 * nor entered. A handle then gives ESTALE with NETNS_STEP_USE_HANDLE; so does
 * leaving a guard whose home is lost, with NETNS_STEP_RETURN. (What can't be
 * seen: a body that closes the descriptor of its home and puts that of another
 * namespace in its place without any call of this library in between. Leaving
 * it leads there.)
 *
 * Forks: children of fork(2), clone(2) and the raw system calls are told from
 * their parent, these two from Linux 4.14 on. A child that shares its parent's
 * memory (vfork(2), CLONE_VM) may call netns_set() and netns_setup_exec() before
 * it executes a program, and netns_enter() if it leaves as well.
 *
 * Cancellation: a thread is cancelled at the start of netns_create() and
 * netns_delete(), and in no other call.
 *
 * Targets: a target without '/' is a name in the run directory, of 1 to 255
 * bytes and neither "." nor ".."; a target with '/' is a path. `rundir` is the
 * run directory; NULL means the directory that netns_rundir() gives.
 *
 * Kernel: 4.9 and later. Newer calls are used where the kernel has them.
 */
#ifndef NETNS_H
#define NETNS_H

#include <stddef.h>
#include <stdint.h>

#define NETNS_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

#ifndef NETNS_EXTENSION
#pragma GCC visibility push(default)
#endif

/* The Python binding reads its cdef between these marks. */
/* cdef: begin */

#define NETNS_PATH_SIZE 4096

/*
 * A handle on a network namespace; it keeps the namespace alive. NULL counts as
 * a closed handle.
 */
struct netns;

/* The step of an operation that failed. */
enum netns_step {
	NETNS_STEP_NONE,

	/* argument and memory */
	NETNS_STEP_CHECK_ARGUMENT,
	NETNS_STEP_ALLOCATE,

	/* thread */
	NETNS_STEP_CHECK_STRANDED,
	NETNS_STEP_SET_UP_THREAD,
	NETNS_STEP_START_THREAD,
	NETNS_STEP_OPEN_HOME,

	/* handle */
	NETNS_STEP_USE_HANDLE,
	NETNS_STEP_IDENTIFY,
	NETNS_STEP_FIND_OWNER,

	/* switch */
	NETNS_STEP_CHECK_RETURN,
	NETNS_STEP_ENTER,
	NETNS_STEP_CHECK_ORDER,
	NETNS_STEP_RETURN,

	/* open */
	NETNS_STEP_OPEN_TARGET,
	NETNS_STEP_CHECK_TYPE,
	NETNS_STEP_OPEN_SOCKET,

	/* run directory */
	NETNS_STEP_MAKE_RUNDIR,
	NETNS_STEP_OPEN_RUNDIR,
	NETNS_STEP_LOCK_RUNDIR,
	NETNS_STEP_SHARE_RUNDIR,
	NETNS_STEP_LIST,

	/* create and delete */
	NETNS_STEP_CHECK_MOUNTS,
	NETNS_STEP_UNSHARE,
	NETNS_STEP_OPEN_NEW,
	NETNS_STEP_MAKE_MOUNT_POINT,
	NETNS_STEP_BIND,
	NETNS_STEP_UNMOUNT,
	NETNS_STEP_UNLINK,

	/* socket */
	NETNS_STEP_MAKE_SOCKET,
	NETNS_STEP_ASK_COOKIE,

	/* nsid */
	NETNS_STEP_GET_NSID,
	NETNS_STEP_SET_NSID,

	/* exec */
	NETNS_STEP_JOIN_OWNER,
	NETNS_STEP_UNSHARE_MOUNTS,
	NETNS_STEP_MOUNT_SYSFS,
	NETNS_STEP_CARRY_MOUNT,
	NETNS_STEP_BIND_CONFIGURATION,

	/* discovery */
	NETNS_STEP_READ_MOUNTS,
	NETNS_STEP_READ_PROCESSES,

	NETNS_STEP_COUNT
};

struct netns_error {
	int err;		    /* errno, positive */
	int step;		    /* enum netns_step */
	char path[NETNS_PATH_SIZE]; /* "" where no path is concerned */
};

/*
 * netns_step_text - the step in words, as "enter the namespace"
 *
 * Never NULL.
 */
const char *netns_step_text(int step);

/*
 * netns_version - the version of the library, as "1.2.3"
 */
const char *netns_version(void);

/*
 * netns_current - a handle on the calling thread's namespace
 *
 * Errors: ENOSYS where both /proc and PIDFD_GET_NET_NAMESPACE are missing.
 * Privilege: none.
 * Source: namespaces(7), proc_pid_ns(5); pidfd ioctl: Linux 6.11, 5b08bd408534.
 */
int netns_current(struct netns **ns, struct netns_error *err);

/*
 * netns_new - a handle on a new, nameless namespace
 *
 * The namespace ends with its last handle, thread and socket. The calling
 * thread is inside during the call, and so is a signal handler that runs on it
 * meanwhile. Before it moves the thread, the library checks that the thread is
 * allowed to return, as netns_enter() does. Where the thread is not, a thread
 * that is made for the call, with all signals blocked, makes the namespace.
 *
 * Errors: EPERM; ENOSPC (user.max_net_namespaces); EAGAIN (no thread); those
 * of netns_leave() with NETNS_STEP_RETURN.
 * Privilege: CAP_SYS_ADMIN in the caller's user namespace.
 * Source: unshare(2), network_namespaces(7).
 */
int netns_new(struct netns **ns, struct netns_error *err);

/*
 * netns_create - a new namespace with a name, as `ip netns add` makes it
 *
 * The run directory is made and shared if it is not yet, under the lock that
 * iproute2 takes. For others, the name is either absent or a working namespace.
 * An empty file that a dead creator left is used as the mount point.
 *
 * Errors: EEXIST; EINVAL (not a name); EPERM, EACCES; ENOSPC (also
 * fs.mount-max); EINTR (a signal while waiting for the lock: nothing is left);
 * ETIMEDOUT with NETNS_STEP_LOCK_RUNDIR (another process keeps the lock: see
 * lslocks(8)); EXDEV with NETNS_STEP_CHECK_MOUNTS (the thread has mounts of its
 * own, so that nobody else would see the name).
 * Privilege: CAP_SYS_ADMIN, also over the mount namespace; write access to the
 * run directory.
 * Source: ip-netns(8); open_tree(2) and move_mount(2) from Linux 5.2, mount(2)
 * before.
 */
int netns_create(const char *rundir, const char *name, struct netns **ns,
		 struct netns_error *err);

/*
 * netns_open - a handle on the namespace at a name or a path
 *
 * The library looks at the file before it opens it, so that FIFOs do not block
 * and devices do not act, and asks the descriptor for the type, not the path.
 * Symbolic links are followed, names and the run directory too.
 *
 * Errors: ENOENT, also for an empty file at a name, which its creator has not
 * bound or has left, and for one that netns_pin() made; EINVAL with
 * NETNS_STEP_CHECK_TYPE (not a network namespace); EACCES.
 * Privilege: search permission; for /proc/PID paths what ptrace(2) asks for
 * PTRACE_MODE_READ.
 * Source: ioctl_ns(2): NS_GET_NSTYPE from Linux 4.11, the link's text before.
 */
int netns_open(const char *rundir, const char *target, struct netns **ns,
	       struct netns_error *err);

/*
 * netns_from_pid - the namespace of a process's main thread
 * netns_from_thread - the namespace of a thread; pid 0 is the calling process
 *
 * netns_from_pid() also takes the id of another thread. The id is looked up
 * once, so a process that reuses it can't be mixed up with the first. Where the
 * main thread has ended, it is the namespace of another of the process.
 *
 * Errors: ENOENT or ESRCH (no such process or thread); EACCES, EPERM; EINVAL
 * (an id below 1, or a negative pid).
 * Privilege: PTRACE_MODE_READ over the process (CAP_SYS_PTRACE), see ptrace(2).
 * Source: proc_pid_ns(5); pidfd ioctl where /proc is missing, Linux 6.11.
 */
int netns_from_pid(int32_t pid, struct netns **ns, struct netns_error *err);
int netns_from_thread(int32_t pid, int32_t tid, struct netns **ns,
		      struct netns_error *err);

/*
 * netns_from_fd - the namespace that a descriptor refers to
 *
 * The descriptor is duplicated and stays the caller's.
 *
 * Errors: EBADF, or EINVAL with NETNS_STEP_CHECK_TYPE.
 * Privilege: none.
 */
int netns_from_fd(int fd, struct netns **ns, struct netns_error *err);

/*
 * netns_dup - another handle on the same namespace
 *
 * Safe while another thread closes ns.
 *
 * Errors: EBADF (closed).
 * Privilege: none.
 */
int netns_dup(struct netns *ns, struct netns **made, struct netns_error *err);

/*
 * netns_from_socket - the namespace that a socket lives in
 *
 * Errors, with NETNS_STEP_OPEN_SOCKET: EBADF; ENOTSOCK; EPERM; ENOTTY (the kind
 * of socket does not tell, or the kernel: before Linux 4.10).
 * Privilege: CAP_NET_ADMIN in the user namespace that owns the namespace.
 * Source: SIOCGSKNS, Linux 4.10, c62cce2caee5.
 */
int netns_from_socket(int fd, struct netns **ns, struct netns_error *err);

/*
 * netns_from_cookie - the namespace that has a cookie, see netns_cookie()
 *
 * Looks nothing up in any file system. ino is its inode number, which Linux
 * 6.18 asks for, or 0.
 *
 * Errors: ENOENT (none has these numbers, or this kernel wants both); ENOSYS
 * before Linux 6.18, where netns_discover() and netns_cookie() tell.
 * Privilege: none for the calling thread's own namespace and those that its
 * user namespace or a descendant owns.
 * Source: open_by_handle_at(2), FD_NSFS_ROOT, Linux 6.18.
 */
int netns_from_cookie(uint64_t cookie, uint64_t ino, struct netns **ns,
		      struct netns_error *err);

/*
 * netns_from_descriptor - the namespace that a process's descriptor holds
 *
 * That of a namespace, of a socket or of /dev/net/tun, as a netns_holder has
 * it.
 *
 * Errors: ENOENT (no such process or descriptor); EINVAL (an id below 1, or
 * with NETNS_STEP_CHECK_TYPE another file); EACCES, EPERM; for sockets, with
 * NETNS_STEP_OPEN_SOCKET, ENOSYS before Linux 5.6 and where it is refused.
 * Privilege: PTRACE_MODE_READ over the process; for sockets PTRACE_MODE_ATTACH,
 * and that of netns_from_socket().
 * Source: proc_pid_fd(5), pidfd_getfd(2).
 */
int netns_from_descriptor(int32_t pid, int32_t fd, struct netns **ns,
			  struct netns_error *err);

/*
 * netns_close - let go of the namespace; the handle gives EBADF from now on
 *
 * Idempotent. Closing a handle while another thread uses it is safe: that
 * thread still runs in this namespace or gets EBADF, and never uses a reused
 * descriptor, because the last user closes it. The handle's memory stays until
 * netns_unref(). On a handle from netns_host() or netns_do() it does nothing.
 */
void netns_close(struct netns *ns);

/*
 * netns_ref - add an owner of the handle's memory; returns ns, also NULL
 * netns_unref - remove an owner; the last one closes the handle and frees it
 */
struct netns *netns_ref(struct netns *ns);
void netns_unref(struct netns *ns);

/*
 * netns_fd - the handle's own descriptor, valid until netns_close(), or -EBADF;
 *            -ESTALE where it is another file by now
 * netns_is_closed - 1 or 0
 * netns_ino, netns_dev - the identity of the namespace, also after closing
 *
 * The kernel reuses an inode number once its namespace has ended.
 */
int netns_fd(const struct netns *ns);
int netns_is_closed(const struct netns *ns);
uint64_t netns_ino(const struct netns *ns);
uint64_t netns_dev(const struct netns *ns);

/*
 * netns_owner_uid - the user who owns the namespace
 *
 * Returns the user id of the creator of the user namespace that owns the
 * namespace, as the caller's user namespace maps it.
 *
 * Errors, with NETNS_STEP_FIND_OWNER: EPERM (the owner is neither the caller's
 * user namespace nor a descendant of it, so the kernel does not tell); ENOTTY
 * before Linux 4.11. EBADF (closed).
 * Privilege: none.
 * Source: ioctl_ns(2): NS_GET_USERNS, NS_GET_OWNER_UID.
 */
int64_t netns_owner_uid(struct netns *ns, struct netns_error *err);

/*
 * netns_cookie - the kernel's number for the namespace, which is never reused
 *
 * Asked of the handle; before Linux 6.18 of a socket that is made inside, as by
 * netns_socket().
 *
 * Errors: EBADF (closed). Before Linux 6.18 as netns_enter(), except EPERM with
 * NETNS_STEP_CHECK_RETURN; ENOPROTOOPT with NETNS_STEP_ASK_COOKIE (before Linux
 * 5.14); EAGAIN (no thread).
 * Privilege: none; before Linux 6.18 as for netns_enter(), unless it is the
 * calling thread's own.
 * Source: NS_GET_ID, Linux 6.18; SO_NETNS_COOKIE, Linux 5.14, e8b9eab99232.
 */
int netns_cookie(struct netns *ns, uint64_t *cookie, struct netns_error *err);

/* What netns_nsids() lists; -1 where there is none. */
struct netns_nsid {
	int32_t nsid;
	int32_t current; /* that of the same namespace in the calling thread's,
			    if the list is a target's */
};

/*
 * netns_get_nsid - the id that the calling thread's namespace has for ns, or -1
 * netns_get_nsids - the same of many, asked over one socket
 * netns_set_nsid - give ns an id, for good; below 0: the kernel chooses
 * netns_nsids - the ids that the calling thread's namespace, or another, gave
 *
 * rtnetlink names the namespaces of veth peers and the like by these ids. Two
 * namespaces have ids for each other independently.
 *
 * netns_nsids() lists the ids that the namespace with the id target gave (Linux
 * 4.20), or, if that is below 0, those of the calling thread's; if only is not
 * below 0, just that of the namespace that has the id only. It returns how many
 * there are; *nsids is unsorted, for netns_free(), and NULL if there are none. A
 * kernel that ends its list with the first message (Linux 6.18 does) gives some
 * 1,100 of more.
 *
 * Errors: EBADF (closed); EEXIST with NETNS_STEP_SET_NSID (it has an id, or
 * another namespace has this id: older kernels say ENOSPC for the latter);
 * ENOENT or EINVAL with NETNS_STEP_GET_NSID (no namespace has the id);
 * EPERM; EMFILE and the like for the socket.
 * Privilege: none to get; CAP_NET_ADMIN in the user namespace that owns the
 * calling thread's namespace to set.
 * Source: rtnetlink(7), RTM_NEWNSID and RTM_GETNSID, Linux 4.0; ip-netns(8).
 */
int netns_get_nsid(struct netns *ns, int32_t *nsid, struct netns_error *err);
int netns_get_nsids(struct netns *const *namespaces, size_t count,
		    int32_t *nsids, struct netns_error *err);
int netns_set_nsid(struct netns *ns, int32_t nsid, struct netns_error *err);
int netns_nsids(int32_t target, int32_t only, struct netns_nsid **nsids,
		struct netns_error *err);

/*
 * netns_enter - move the calling thread into the namespace
 *
 * Returns a guard, a number > 0, for netns_leave(). Guards nest. Each call
 * proves where the thread is, its home, by one readlinkat(2). A thread that is
 * inside already is not moved; if its body then moves it without this library,
 * leaving does not move it back. Before it moves the thread, the library checks
 * that the thread is allowed to return: home and target have one owner, so the
 * kernel's answer for the one holds for the other, or a setns(2) to home asks.
 *
 * Errors: EBADF (closed); EPERM with NETNS_STEP_CHECK_RETURN (the thread would
 * not be allowed to return) or NETNS_STEP_ENTER. The thread has not moved then.
 * Privilege: CAP_SYS_ADMIN in the thread's user namespace, in the target's
 * owner and in home's.
 * Source: setns(2); Linux net/core/net_namespace.c, netns_install().
 */
int64_t netns_enter(struct netns *ns, struct netns_error *err);

/*
 * netns_leave - bring the calling thread home from the guard's body
 *
 * Errors: EINVAL with NETNS_STEP_CHECK_ORDER: the guard is not the innermost
 * one of this thread. If it is another guard of this thread, all guards of the
 * thread are void and the thread is at its outermost home. If it is a guard of
 * another thread, that thread goes home when it next calls this library, be it
 * to leave that guard (but not by netns_close(), netns_unref() and what only
 * reads a handle: netns_fd(), netns_ino() and the like). Any
 * error with NETNS_STEP_RETURN: the thread is stranded, and further calls on it
 * give ENOTRECOVERABLE, unless an outer guard still brings it home.
 */
int netns_leave(int64_t guard, struct netns_error *err);

/*
 * netns_host - the home of the innermost guard: where the thread came from
 *
 * *host is a new reference, for netns_unref(); netns_close() on it does
 * nothing. Returns 1 for the outermost guard's home, which is one handle as
 * long as the thread enters from there, and 0 for an inner guard's.
 *
 * Errors: ENOENT outside a guard.
 */
int netns_host(struct netns **host, struct netns_error *err);

/*
 * netns_do - call a function inside the namespace
 *
 * Enters as netns_enter() does, calls fn(host, arg) and leaves. host is where
 * the calling thread was; it is borrowed for the call: netns_ref() keeps it
 * longer. fn must return: it must not throw, jump out or end its thread.
 *
 * Where the thread would not be allowed to return, fn runs on a thread that is
 * made for it, with all signals blocked and a stack of the default size, and
 * that ends afterwards. A child that fn forks there must not return from fn.
 *
 * Returns what fn returns, and leaves err untouched then. Where the library
 * fails, it returns a negative errno and fills err: either fn has not run, or
 * the thread could not leave (NETNS_STEP_RETURN, NETNS_STEP_CHECK_ORDER), which
 * counts for more than what fn returned. If fn may return a negative number,
 * set err.err to 0 before the call and give fn another err: if it is still 0,
 * the number is fn's.
 *
 * Errors: as netns_enter(), except EPERM with NETNS_STEP_CHECK_RETURN; those of
 * netns_leave(); EAGAIN (no thread).
 * Privilege: as netns_enter(), but not over home.
 * Source: setns(2).
 */
int netns_do(struct netns *ns, int (*fn)(struct netns *host, void *arg),
	     void *arg, struct netns_error *err);

/*
 * netns_tour - a guard for visits: the thread stays where it is for now
 * netns_visit - move the calling thread straight on into another namespace
 *
 * netns_tour() proves home once, and netns_leave() brings the thread there. A
 * visit in between is one setns(2), whatever the thread visited before. A visit
 * may be made within any guard that is the innermost one of the calling thread.
 * Each visit checks the return, as netns_enter() does; a target of another
 * owner costs a setns(2) home and on.
 *
 * Errors: as netns_enter(); EINVAL with NETNS_STEP_CHECK_ORDER (not the
 * innermost guard of this thread: nothing has changed). After a failed visit
 * the thread is where it was, or at home.
 * Privilege: netns_tour() none, netns_visit() as netns_enter().
 * Source: setns(2).
 */
int64_t netns_tour(struct netns_error *err);
int netns_visit(int64_t guard, struct netns *ns, struct netns_error *err);

/*
 * netns_is_prepared - whether the thread's next switch waits for nobody
 *
 * Returns 1 where the switch neither takes a lock nor looks up a path: the
 * thread has entered before, and `guard` is its innermost one (0: the next call
 * is a netns_enter()). A language runtime need not give up its own lock for
 * such a call. (A home that has changed is looked up all the same, among the
 * thread's own files in /proc.)
 */
int netns_is_prepared(int64_t guard);

/*
 * netns_set - move the calling thread into the namespace for good
 *
 * Inside a guard, leaving it still brings the thread home, so the library
 * checks the return as netns_enter() does; outside, it does not.
 *
 * Errors and privilege: as netns_enter().
 */
int netns_set(struct netns *ns, struct netns_error *err);

/*
 * netns_socket - a socket that lives in the namespace
 * netns_sockets - one socket in each of many namespaces
 *
 * As socket(2) with SOCK_CLOEXEC. A socket stays where it was made and may be
 * used from anywhere. The calling thread is inside during the call;
 * netns_sockets() goes straight from one namespace to the next. Where the
 * thread would not be allowed to return, a thread that is made for the call
 * makes the sockets.
 *
 * netns_socket() returns the descriptor. netns_sockets() fills fds, which has
 * count elements as namespaces has, and returns 0. On failure no socket is
 * left, and the error's path is "net:[INODE]" of the namespace concerned.
 *
 * Errors: as netns_enter(), except EPERM with NETNS_STEP_CHECK_RETURN; those of
 * socket(2) with NETNS_STEP_MAKE_SOCKET; EAGAIN (no thread).
 * Privilege: as netns_enter(), but not over home; CAP_NET_RAW in the target's
 * owner for raw and packet sockets.
 * Source: socket(2), network_namespaces(7).
 */
int netns_socket(struct netns *ns, int family, int type, int protocol,
		 struct netns_error *err);
int netns_sockets(struct netns *const *namespaces, size_t count, int family,
		  int type, int protocol, int *fds, struct netns_error *err);

/*
 * netns_abort_when_stranded - on != 0: abort(3) where a thread can't come home
 *
 * For a process that would rather end than run in the wrong namespace. Holds
 * for the whole process. Returns the setting before.
 */
int netns_abort_when_stranded(int on);

/*
 * netns_pin - give the namespace a name, or bind it at a path
 *
 * A name is made as netns_create() makes it. At a path, the file is made, in a
 * directory that exists, and must not exist: but one that a pin has left, as
 * after a reboot, is taken over.
 *
 * Errors and privilege: as netns_create(); EBADF (closed).
 */
int netns_pin(struct netns *ns, const char *rundir, const char *target,
	      struct netns_error *err);

/*
 * netns_delete - unpin a name or a path
 *
 * The namespace lives on until its last user is gone. The file that it was
 * mounted on is removed if it is empty. A leftover, on which no namespace is
 * mounted any more, is removed as well: an empty file at a name, or what
 * netns_pin() made at a path. Of a name that is a symbolic link the link is
 * removed, and not what it leads to.
 *
 * It waits for the run directory's lock, but not longer than two seconds.
 *
 * Errors: ENOENT; EINVAL with NETNS_STEP_CHECK_TYPE (no network namespace is
 * mounted there: nothing was touched); EPERM, EACCES, EROFS (nothing was
 * unmounted either); EINTR as netns_create().
 * Privilege: CAP_SYS_ADMIN over the mount namespace; write access to the
 * directory.
 */
int netns_delete(const char *rundir, const char *target,
		 struct netns_error *err);

/*
 * netns_delete_many - unpin many names and paths
 *
 * Deletes each as netns_delete() does, also after failures. Up to sixteen
 * threads, which end with the call, delete the names together and so share the
 * kernel's grace periods. Meanwhile they keep the namespaces alive, in descriptors
 * of their own: the kernel clears away those that have ended in the same periods.
 * Others get the directory's lock from time to time. Each name must be given once.
 *
 * Returns how many failed. errors has count elements; err is 0 in those whose
 * target is deleted.
 *
 * Errors and privilege: as netns_delete(), in errors.
 */
int netns_delete_many(const char *rundir, const char *const *targets,
		      size_t count, struct netns_error *errors);

/*
 * netns_names - the names in the run directory
 *
 * Only names of network namespaces are listed. *names is one block of *size
 * bytes, each name ended by a NUL, unsorted, for netns_free(). Returns how many
 * names there are: none where the run directory does not exist.
 *
 * A symbolic link to one is a name, unless the caller may not follow it.
 *
 * Errors: ENOTDIR, EACCES; EMFILE, ENOMEM and the like where a name can't be
 * looked at: none is left out.
 */
int netns_names(const char *rundir, char **names, size_t *size,
		struct netns_error *err);
void netns_free(void *block);

/* Where netns_discover() looks. */
#define NETNS_PINS	1 /* mounts, the run directory's names among them */
#define NETNS_PROCESSES 2 /* the main thread of each process */
#define NETNS_THREADS	4 /* the other threads too; includes NETNS_PROCESSES */
#define NETNS_DESCRIPTORS 8 /* what else holds any; includes NETNS_THREADS */

/* With NETNS_PINS: fill mounts, one for each name, then the run directory's. */
#define NETNS_MOUNT_IDS 16

/* What holds a namespace that no path and no task leads to. */
enum netns_holder_kind {
	NETNS_HELD_BY_DESCRIPTOR, /* of a namespace */
	NETNS_HELD_BY_SOCKET,	  /* or by a descriptor of /dev/net/tun */
	NETNS_HELD_BY_MOUNT,	  /* in another mount namespace */
};

struct netns_holder {
	int32_t kind; /* enum netns_holder_kind */
	int32_t pid;  /* a process, or a thread that shares its own with none */
	int32_t fd;   /* -1 for a mount */
};

/*
 * A namespace that was found. Its texts are first the names in the run
 * directory, then the paths at which it is pinned, then those of the mounts
 * among its holders, each ended by a NUL. Its ids are first the ids of
 * processes, then of threads. Each kind is ascending.
 */
struct netns_found {
	uint64_t ino;
	uint64_t cookie; /* for netns_from_cookie(), or 0 */
	uint32_t names, paths, pids, threads, holders; /* how many */
	uint32_t first_text;			       /* offset in texts */
	uint32_t first_id;			       /* index in ids */
	uint32_t first_holder;			       /* index in holders */
};

struct netns_discovery {
	uint64_t dev;		/* of all */
	uint32_t count;		/* namespaces in found, by inode number */
	uint32_t hidden;	/* processes that may not be looked at */
	uint32_t texts_size;	/* bytes in texts */
	uint32_t ids_count;	/* numbers in ids */
	uint64_t holders_count; /* in holders */
	uint64_t mounts_count;	/* in mounts, with NETNS_MOUNT_IDS */
	struct netns_found *found;
	struct netns_holder *holders;
	uint64_t *mounts; /* ids, from Linux 6.8 on never reused, or 0 */
	int32_t *ids;
	char *texts;
};

/*
 * netns_discover - every network namespace of the host, each once
 *
 * `what` says where to look: NETNS_PINS, NETNS_PROCESSES, NETNS_THREADS,
 * NETNS_DESCRIPTORS. Paths are paths of the calling process's mount namespace
 * that lead to the namespace. A path that another mount covers is left out; a
 * namespace that has no other path is found without one. A thread is listed
 * where it is not in its main thread's namespace, or where its main thread has
 * ended.
 *
 * NETNS_DESCRIPTORS also finds what only a descriptor of a namespace, a socket,
 * /dev/net/tun or a mount in another mount namespace holds. Holders are listed
 * of namespaces that neither paths nor tasks lead to. To see a socket's
 * namespace, its descriptor is copied for a moment: Linux 5.6, and the rights
 * to do so (PTRACE_MODE_ATTACH, CAP_NET_ADMIN). Linux 6.19 itself lists those
 * that a task, a descriptor or a mount holds, wherever it is, to a caller of the
 * first pid namespace with CAP_SYS_ADMIN: they are found, without a holder if
 * none is seen, and all have their cookie. Else not found are namespaces held
 * by descriptors that are on their way through a socket, by io_uring's, and by
 * a mount namespace without a process; and those of processes that /proc does
 * not show: in other pid namespaces, or hidden by its hidepid option. Sockets
 * of these, or on their way, and a device's move never count for the list.
 *
 * Processes that end meanwhile are skipped; those that may not be looked at are
 * counted in hidden. The scan is no snapshot: a thread that moves meanwhile may
 * be seen before or after its move.
 *
 * *discovery is one block, for netns_free(). Nothing is remembered for the next
 * scan. From some hundred processes on up to three threads help, which end with
 * the call.
 *
 * Errors: ENOENT where /proc is missing; ENOTDIR (a run directory that is a
 * file), EACCES; EMFILE, ENOMEM and the like: nothing is left out for want of
 * them.
 * Privilege: PTRACE_MODE_READ over processes (CAP_SYS_PTRACE), see ptrace(2).
 * Source: proc_pid_ns(5), proc_pid_mountinfo(5); statx(2) with STATX_MNT_ID
 * from Linux 5.8; listns(2) from 6.19.
 */
int netns_discover(const char *rundir, int what,
		   struct netns_discovery **discovery, struct netns_error *err);

/*
 * netns_rundir - the directory that names live in
 *
 * $NETNS_RUN_DIR if it is set; else $XDG_RUNTIME_DIR/netns if that is set and
 * /var/run does not belong to the effective user, as in CNI; else /run/netns,
 * as in iproute2. Fills buf and returns the length, or -ENAMETOOLONG, or -EPERM
 * where NETNS_RUN_DIR is set but not to be used: in a program with set-user-ID
 * or file capabilities (see secure_getenv(3)).
 */
int netns_rundir(char *buf, size_t size);

/*
 * netns_join_owner - enter the user namespace that owns the network namespace
 *
 * The calling process, which must have one thread, has every capability there.
 * Its user and group ids stay. This can't be undone: it is for a process that
 * executes a program in a namespace that netns_set() refuses, as one that a
 * rootless container of the same user has.
 *
 * Errors, with NETNS_STEP_JOIN_OWNER: EPERM; EINVAL (it is the process's own,
 * or the process has several threads). EBADF (closed).
 * Privilege: CAP_SYS_ADMIN in that user namespace, which the user who made it
 * has from outside.
 * Source: setns(2), user_namespaces(7), ioctl_ns(2): NS_GET_USERNS.
 */
int netns_join_owner(struct netns *ns, struct netns_error *err);

/*
 * netns_setup_exec - set up mounts for a command, as `ip netns exec` does
 *
 * The calling thread gets a mount namespace of its own, in which /sys shows its
 * network namespace, with what was mounted below /sys before, and each file of
 * /etc/netns/NAME is bound over the file of the same name in /etc. NULL for
 * name sets up /sys alone. This can't be undone: it is for a thread that ends,
 * or that executes a program. It allocates nothing, so a child of fork() may
 * call it.
 *
 * What can't be set up is left out, and /sys or the file in /etc is as before.
 * Returns how many things were; the first ones fill left_out, which has room
 * for so many: NETNS_STEP_MOUNT_SYSFS (a sandbox that covers parts of /sys, or
 * a namespace of another owner); NETNS_STEP_CARRY_MOUNT;
 * NETNS_STEP_BIND_CONFIGURATION (nothing of that name in /etc, a file over a
 * directory, a link that leads nowhere).
 *
 * Errors: EPERM; EINVAL (not a name).
 * Privilege: CAP_SYS_ADMIN, also in the user namespace that owns the network
 * namespace.
 * Source: ip-netns(8), mount_namespaces(7).
 */
int netns_setup_exec(const char *name, struct netns_error *left_out,
		     size_t room, struct netns_error *err);

/* cdef: end */

#ifndef NETNS_EXTENSION
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif

#endif
