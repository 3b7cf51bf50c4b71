/* SPDX-License-Identifier: Apache-2.0 */
/* create, pin, delete, names, in a run directory of the test's own. */
#include <sys/file.h>
#include <time.h>

#include "support.h"

#define CREATORS 8

static uint64_t home;
static const char *rundir;

/*
 * The clock that the core sees. Nobody can set the change time of a file, so a
 * leftover gets older when this clock is put ahead.
 */
static time_t ahead;

time_t time(time_t *at)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += ahead;
	if (at)
		*at = now.tv_sec;
	return now.tv_sec;
}

static const char *place(const char *name)
{
	static char paths[64][512];
	static unsigned int next;
	char *path = paths[next++ % 64];

	snprintf(path, sizeof(paths[0]), "%s/%s", rundir, name);
	return path;
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static bool is_bound(const char *path, const struct netns *ns)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_ino == netns_ino(ns) &&
	       st.st_dev == netns_dev(ns);
}

/* Whether a mount at path is shared. */
static bool is_shared(const char *path)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, point[600];
	size_t size = 0;
	bool shared = false;

	if (!file)
		bail("/proc/self/mountinfo");
	snprintf(point, sizeof(point), " %s ", path);
	while (getline(&line, &size, file) > 0)
		shared |= strstr(line, point) && strstr(line, " shared:");
	free(line);
	fclose(file);
	return shared;
}

/* Whether these are the names in dir, in any order: "a\0b\0". */
static bool names_are(const char *dir, int count, const char *wanted)
{
	char *names = NULL, *name;
	size_t size = 0;
	bool same;
	int ret = netns_names(dir, &names, &size, fresh());

	same = good(ret) && ret == count;
	for (; same && *wanted; wanted += strlen(wanted) + 1) {
		for (name = names; name < names + size;
		     name += strlen(name) + 1) {
			if (!strcmp(name, wanted))
				break;
		}
		same = name < names + size;
	}
	netns_free(names);
	return same;
}

static void test_create(void)
{
	struct netns *ns = NULL, *again = NULL;
	int64_t guard;
	int fds = count_fds();

	ok(names_are(rundir, 0, ""), "names: none where there is no directory");
	ok(!is_there(rundir), "names: makes none");
	ok(good(netns_create(rundir, "a", &ns, fresh())), "create");
	ok(is_shared(rundir), "create: the run directory is shared");
	ok(where() == home, "create: the caller has not moved");
	ok(netns_ino(ns) != home && is_bound(place("a"), ns),
	   "create: bound at its name");
	ok(count_fds() == fds + 1, "create: one descriptor, the handle's");
	ok(fcntl(netns_fd(ns), F_GETFD) == FD_CLOEXEC,
	   "create: that is close-on-exec");
	ok(names_are(rundir, 1, "a\0"), "names: it");
	ok(good(netns_open(rundir, "a", &again, fresh())) &&
		   netns_ino(again) == netns_ino(ns),
	   "open: by its name");
	netns_unref(again);
	ok(good(netns_open(NULL, place("a"), &again, fresh())) &&
		   netns_ino(again) == netns_ino(ns),
	   "open: by its path");
	netns_unref(ns);
	guard = netns_enter(again, fresh());
	ok(good(guard) && where() == netns_ino(again) &&
		   good(netns_leave(guard, fresh())),
	   "create: works, and lives on without the first handle");
	netns_unref(again);
	ok(count_fds() == fds, "create: no descriptor is left");
}

static void test_exists(void)
{
	struct netns *ns = NULL;
	struct stat before, after;
	int fds = count_fds(), mounts = count_mounts();

	stat(place("a"), &before);
	ok(bad(netns_create(rundir, "a", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("a")) &&
		   !ns,
	   "create: a name that is there");
	stat(place("a"), &after);
	ok(before.st_ino == after.st_ino && count_mounts() == mounts &&
		   count_fds() == fds,
	   "create: touches nothing then");
	write_file(place("text"), 0600, "text");
	ok(bad(netns_create(rundir, "text", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("text")),
	   "create: a file that is there");
	write_file(place("empty"), 0644, "");
	ok(bad(netns_create(rundir, "empty", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("empty")),
	   "create: an empty file that no creator made");
	if (symlink("/nowhere", place("link")) < 0)
		bail("symlink");
	ok(bad(netns_create(rundir, "link", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("link")),
	   "create: a symbolic link that is there");
	unlink(place("text"));
	unlink(place("empty"));
	unlink(place("link"));
	ok(names_are(rundir, 1, "a\0"), "create: and no name is new");
	ahead = 7;
	ok(bad(netns_create(rundir, "a", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("a")) &&
		   count_mounts() == mounts,
	   "create: nor is an old one taken for a leftover");
	ahead = 0;
}

static void test_bad_names(void)
{
	char longest[256], longer[257];
	const char *path = place("by-path");
	struct netns *ns = NULL;

	memset(longest, 'n', 255);
	longest[255] = '\0';
	memset(longer, 'n', 256);
	longer[256] = '\0';
	ok(bad(netns_create(rundir, "", &ns, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ARGUMENT, ""),
	   "create: the empty name");
	ok(bad(netns_create(rundir, ".", &ns, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ARGUMENT, ".") &&
		   bad(netns_create(rundir, "..", &ns, fresh()), EINVAL,
		       NETNS_STEP_CHECK_ARGUMENT, ".."),
	   "create: the names . and ..");
	ok(bad(netns_create(rundir, longer, &ns, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ARGUMENT, longer),
	   "create: a name of 256 bytes");
	ok(good(netns_create(rundir, longest, &ns, fresh())) &&
		   good(netns_delete(rundir, longest, fresh())),
	   "create: one of 255 bytes is fine");
	netns_unref(ns);
	ns = NULL;
	ok(bad(netns_create(rundir, path, &ns, fresh()), EINVAL,
	       NETNS_STEP_CHECK_ARGUMENT, path) &&
		   !is_there(path),
	   "create: a path is no name");
	netns_unref(ns);
	remove_tree(path);
}

static void test_pin(void)
{
	struct netns *ns = make_namespace();
	const char *path = in_scratch("pinned");
	const char *below = in_scratch("none/pinned");
	int fds = count_fds();

	ok(good(netns_pin(ns, rundir, "b", fresh())) &&
		   is_bound(place("b"), ns),
	   "pin: a name");
	ok(names_are(rundir, 2, "a\0b\0"), "names: both");
	ok(bad(netns_pin(ns, rundir, "b", fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("b")),
	   "pin: a name that is there");
	ok(good(netns_pin(ns, NULL, path, fresh())) && is_bound(path, ns),
	   "pin: a path");
	ok(bad(netns_pin(ns, NULL, path, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, path),
	   "pin: a path that is there");
	ok(bad(netns_pin(ns, NULL, below, fresh()), ENOENT,
	       NETNS_STEP_OPEN_RUNDIR, below),
	   "pin: a path whose directory is not there");
	write_file(in_scratch("ours"), 0400, "");
	ok(good(netns_pin(ns, NULL, in_scratch("ours"), fresh())) &&
		   is_bound(in_scratch("ours"), ns) &&
		   good(netns_delete(NULL, in_scratch("ours"), fresh())),
	   "pin: a path takes over what a pin of ours left");
	write_file(in_scratch("other"), 0644, "");
	ahead = 7;
	ok(bad(netns_pin(ns, NULL, in_scratch("other"), fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, in_scratch("other")),
	   "pin: a path takes no other file over");
	ahead = 0;
	unlink(in_scratch("other"));
	ok(good(netns_delete(NULL, path, fresh())) && !is_there(path),
	   "delete: a path");
	ok(count_fds() == fds, "pin: no descriptor is left");
	netns_unref(ns);
}

static bool has_text(const char *path)
{
	char text[8] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t size = read(fd, text, sizeof(text));

	close(fd);
	return size == 4 && !memcmp(text, "text", 4);
}

static void test_delete(void)
{
	struct netns *ns = NULL;
	int64_t guard;
	int fds = count_fds(), mounts = count_mounts();

	netns_create(rundir, "c", &ns, fresh());
	ok(good(netns_delete(rundir, "c", fresh())) && !is_there(place("c")),
	   "delete: a name");
	ok(names_are(rundir, 2, "a\0b\0"), "names: the others");
	ok(count_mounts() == mounts, "delete: no mount is left");
	guard = netns_enter(ns, fresh());
	ok(good(guard) && good(netns_leave(guard, fresh())) && where() == home,
	   "delete: the namespace lives on for its handle");
	ok(bad(netns_delete(rundir, "c", fresh()), ENOENT,
	       NETNS_STEP_OPEN_TARGET, place("c")),
	   "delete: a name that is not there");
	netns_unref(ns);
	ok(good(netns_create(rundir, "c", &ns, fresh())) &&
		   good(netns_delete(rundir, "c", fresh())),
	   "delete: the name is free");
	netns_unref(ns);

	ns = NULL;
	netns_create(rundir, "c", &ns, fresh());
	if (mount(place("a"), place("c"), NULL, MS_BIND, NULL) < 0)
		bail("mount");
	ok(good(netns_delete(rundir, "c", fresh())) && !is_there(place("c")) &&
		   count_mounts() == mounts,
	   "delete: a name that was bound over again");
	netns_unref(ns);
	write_file(in_scratch("full"), 0600, "text");
	if (mount(place("a"), in_scratch("full"), NULL, MS_BIND, NULL) < 0)
		bail("mount");
	ok(good(netns_delete(NULL, in_scratch("full"), fresh())) &&
		   has_text(in_scratch("full")) && count_mounts() == mounts,
	   "delete: the file that was below is kept if it has content");
	ok(bad(netns_delete(in_scratch("none"), "c", fresh()), ENOENT,
	       NETNS_STEP_OPEN_RUNDIR, in_scratch("none/c")),
	   "delete: where there is no run directory");
	ok(count_fds() == fds, "delete: no descriptor is left");
}

static void test_delete_many(void)
{
	char names[40][8];
	const char *targets[43];
	static struct netns_error errors[43];
	struct netns *ns;
	int i, left = 0, fds = count_fds(), mounts = count_mounts();

	for (i = 0; i < 40; i++) {
		snprintf(names[i], sizeof(names[i]), "m%d", i);
		netns_create(rundir, names[i], &ns, fresh());
		if (!i)
			netns_pin(ns, NULL, in_scratch("many"), fresh());
		netns_unref(ns);
		targets[i] = names[i];
	}
	targets[40] = "missing";
	targets[41] = in_scratch("many");
	targets[42] = ".";
	ok(netns_delete_many(rundir, targets, 43, errors) == 2,
	   "delete_many: all but two");
	for (i = 0; i < 40; i++)
		left += errors[i].err || is_there(place(names[i]));
	ok(!left && count_mounts() == mounts, "delete_many: the names");
	ok(!errors[41].err && !is_there(in_scratch("many")),
	   "delete_many: a path among them");
	err = errors[40];
	ok(bad(-err.err, ENOENT, NETNS_STEP_OPEN_TARGET, place("missing")),
	   "delete_many: what fails has its error");
	err = errors[42];
	ok(bad(-err.err, EINVAL, NETNS_STEP_CHECK_ARGUMENT, "."),
	   "delete_many: each its own");
	ok(netns_delete_many(in_scratch("none"), targets, 2, errors) == 2,
	   "delete_many: where there is no run directory");
	err = errors[1];
	ok(bad(-err.err, ENOENT, NETNS_STEP_OPEN_RUNDIR, in_scratch("none/m1")),
	   "delete_many: each name's own error there too");
	ok(netns_delete_many(rundir, targets, 0, errors) == 0,
	   "delete_many: nothing");
	ok(count_fds() == fds, "delete_many: no descriptor is left");
}

static void test_delete_refused(void)
{
	const char *path = in_scratch("regular");
	const char *link = in_scratch("to-pinned");
	const char *uts = place("uts");
	int mounts;

	write_file(path, 0600, "text");
	ok(bad(netns_delete(NULL, path, fresh()), EINVAL, NETNS_STEP_CHECK_TYPE,
	       path) &&
		   has_text(path),
	   "delete: a file by its path is refused, untouched");
	unlink(path);
	write_file(path, 0600, "");
	ok(bad(netns_delete(NULL, path, fresh()), EINVAL, NETNS_STEP_CHECK_TYPE,
	       path) &&
		   is_there(path),
	   "delete: so is an empty one");
	unlink(path);
	write_file(path, 0400, "");
	ok(good(netns_delete(NULL, path, fresh())) && !is_there(path),
	   "delete: but not what a pin of ours left");
	write_file(place("text"), 0600, "text");
	ok(bad(netns_delete(rundir, "text", fresh()), EINVAL,
	       NETNS_STEP_CHECK_TYPE, place("text")) &&
		   has_text(place("text")),
	   "delete: so is one by its name");
	unlink(place("text"));
	if (symlink(place("a"), link) < 0 || symlink("a", place("link")) < 0 ||
	    symlink("/etc/passwd", place("astray")) < 0 ||
	    symlink("gone", place("dangling")) < 0)
		bail("symlink");
	ok(bad(netns_delete(NULL, link, fresh()), EINVAL, NETNS_STEP_CHECK_TYPE,
	       link) &&
		   is_there(link),
	   "delete: so is a path that is a link to a namespace");
	unlink(link);
	ok(bad(netns_delete(rundir, "astray", fresh()), EINVAL,
	       NETNS_STEP_CHECK_TYPE, place("astray")) &&
		   is_there(place("astray")),
	   "delete: so is a name's link to something else");
	unlink(place("astray"));
	ok(names_are(rundir, 3, "a\0b\0link\0") &&
		   good(netns_delete(rundir, "link", fresh())) &&
		   !is_there(place("link")) && names_are(rundir, 2, "a\0b\0"),
	   "delete: a name's link, and not what it leads to");
	ok(good(netns_delete(rundir, "dangling", fresh())) &&
		   !is_there(place("dangling")),
	   "delete: a name's link that leads nowhere");
	ok(bad(netns_delete(NULL, "/proc/self/ns/net", fresh()), EINVAL,
	       NETNS_STEP_CHECK_TYPE, "/proc/self/ns/net"),
	   "delete: so is a link of /proc");

	write_file(uts, 0600, "");
	if (mount("/proc/self/ns/uts", uts, NULL, MS_BIND, NULL) < 0)
		bail("mount");
	mounts = count_mounts();
	ok(bad(netns_delete(rundir, "uts", fresh()), EINVAL,
	       NETNS_STEP_CHECK_TYPE, uts) &&
		   count_mounts() == mounts && is_there(uts),
	   "delete: so is a namespace of another type");
	remove_tree(uts);
}

static void test_names(void)
{
	struct netns *ns = make_namespace();
	int i, fds = count_fds() - 1;
	char longest[256] = "", *names = NULL;
	size_t size = 0;

	write_file(place("text"), 0600, "text");
	write_file(place("left"), 0, "");
	write_file(place("uts"), 0600, "");
	if (mkfifo(place("fifo"), 0600) < 0 || mkdir(place("dir"), 0700) < 0 ||
	    symlink("/proc/self/ns/uts", place("link")) < 0 ||
	    symlink("nowhere", place("dangling")) < 0 ||
	    mount("/proc/self/ns/uts", place("uts"), NULL, MS_BIND, NULL) < 0)
		bail("what is no namespace");
	ok(names_are(rundir, 2, "a\0b\0"), "names: network namespaces alone");
	remove_tree(place("text"));
	remove_tree(place("left"));
	remove_tree(place("uts"));
	remove_tree(place("fifo"));
	remove_tree(place("dir"));
	unlink(place("link"));
	unlink(place("dangling"));
	if (symlink("/proc/self/ns/net", place("link")) < 0)
		bail("symlink");
	ok(names_are(rundir, 3, "a\0b\0link\0"), "names: a link to one");
	unlink(place("link"));
	write_file(in_scratch("file"), 0600, "text");
	ok(bad(netns_names(in_scratch("file"), &names, &size, fresh()), ENOTDIR,
	       NETNS_STEP_OPEN_RUNDIR, in_scratch("file")),
	   "names: of a file");
	memset(longest, 'n', sizeof(longest) - 1);
	for (i = 0; i < 10; i++) {
		longest[0] = (char)('0' + i);
		if (netns_pin(ns, rundir, longest, fresh()) < 0)
			bail("netns_pin");
	}
	ok(netns_names(rundir, &names, &size, fresh()) == 12 &&
		   size == 10 * sizeof(longest) + 4,
	   "names: as long as they may be");
	for (i = 0; i < 10 && size; i++) {
		longest[0] = (char)('0' + i);
		ok(memmem(names, size, longest, sizeof(longest)) &&
			   good(netns_delete(rundir, longest, fresh())),
		   "names: the one of %c", longest[0]);
	}
	netns_free(names);
	netns_unref(ns);
	ok(count_fds() == fds, "names: no descriptor is left");
}

/* Files that a creator made and did not bind, of several modes and ages. */
static void test_leftovers(void)
{
	struct netns *ns = NULL;
	int mounts = count_mounts();

	write_file(place("ours"), 0400, "");
	ok(bad(netns_open(rundir, "ours", &ns, fresh()), ENOENT,
	       NETNS_STEP_OPEN_TARGET, place("ours")),
	   "left by this library: is no name");
	ok(good(netns_create(rundir, "ours", &ns, fresh())) &&
		   is_bound(place("ours"), ns),
	   "left by this library: taken over at once");
	netns_unref(ns);
	ok(good(netns_delete(rundir, "ours", fresh())) &&
		   !is_there(place("ours")) && count_mounts() == mounts,
	   "left by this library: deleted as any name");

	ns = NULL;
	write_file(place("theirs"), 0, "");
	ok(bad(netns_create(rundir, "theirs", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("theirs")),
	   "left by iproute2: may be about to be bound");
	ahead = 4;
	ok(bad(netns_create(rundir, "theirs", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("theirs")),
	   "left by iproute2: for some seconds");
	ahead = 7;
	ok(good(netns_create(rundir, "theirs", &ns, fresh())) &&
		   is_bound(place("theirs"), ns),
	   "left by iproute2: taken over when it is old");
	ahead = 0;
	netns_unref(ns);
	ok(good(netns_delete(rundir, "theirs", fresh())) &&
		   count_mounts() == mounts,
	   "left by iproute2: deleted as any name");

	write_file(place("ours"), 0400, "");
	write_file(place("theirs"), 0, "");
	ok(good(netns_delete(rundir, "ours", fresh())) &&
		   good(netns_delete(rundir, "theirs", fresh())) &&
		   !is_there(place("ours")) && !is_there(place("theirs")),
	   "left by either: delete removes it");

	ns = NULL;
	write_file(place("theirs"), 0644, "");
	if (symlink("theirs", place("link")) < 0)
		bail("symlink");
	ok(bad(netns_open(rundir, "theirs", &ns, fresh()), ENOENT,
	       NETNS_STEP_OPEN_TARGET, place("theirs")) &&
		   bad(netns_open(rundir, "link", &ns, fresh()), ENOENT,
		       NETNS_STEP_OPEN_TARGET, place("link")),
	   "left by a runtime: is no name, nor is a link to it");
	ok(bad(netns_create(rundir, "link", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("link")),
	   "a link that leads nowhere: for some seconds");
	ahead = 7;
	ok(good(netns_create(rundir, "link", &ns, fresh())) &&
		   is_bound(place("link"), ns) &&
		   !is_bound(place("theirs"), ns),
	   "a link that leads nowhere: replaced when it is old");
	netns_unref(ns);
	ns = NULL;
	ok(good(netns_create(rundir, "theirs", &ns, fresh())) &&
		   is_bound(place("theirs"), ns),
	   "left by a runtime: taken over when it is old");
	netns_unref(ns);
	ns = NULL;
	write_file(place("text"), 0400, "text");
	ok(bad(netns_create(rundir, "text", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("text")),
	   "a file that has content: taken over by nobody");
	unlink(place("text"));
	write_file(place("text"), 0400, "");
	if (mount(place("text"), place("text"), NULL, MS_BIND, NULL) < 0)
		bail("mount");
	ok(bad(netns_create(rundir, "text", &ns, fresh()), EEXIST,
	       NETNS_STEP_MAKE_MOUNT_POINT, place("text")) &&
		   bad(netns_open(rundir, "text", &ns, fresh()), EINVAL,
		       NETNS_STEP_CHECK_TYPE, place("text")) &&
		   bad(netns_delete(rundir, "text", fresh()), EINVAL,
		       NETNS_STEP_CHECK_TYPE, place("text")),
	   "an empty file that is mounted there: is somebody's");
	ahead = 0;
	remove_tree(place("text"));
	ok(good(netns_delete(rundir, "link", fresh())) &&
		   good(netns_delete(rundir, "theirs", fresh())) &&
		   count_mounts() == mounts,
	   "left by a runtime: all is gone");
}

/* dir is a symbolic link to elsewhere, or its path with a slash. */
static void follows_rundir(const char *dir, const char *what)
{
	struct netns *ns = make_namespace(), *made = NULL, *again = NULL;
	int fds = count_fds();
	const char *x = in_scratch("elsewhere/x");

	ok(good(netns_create(dir, "x", &made, fresh())) && is_bound(x, made),
	   "create: %s", what);
	ok(good(netns_pin(ns, dir, "y", fresh())) &&
		   is_bound(in_scratch("elsewhere/y"), ns),
	   "pin: %s", what);
	ok(good(netns_open(dir, "y", &again, fresh())) &&
		   netns_ino(again) == netns_ino(ns),
	   "open: %s", what);
	ok(names_are(dir, 2, "x\0y\0"), "names: %s", what);
	ok(good(netns_delete(dir, "x", fresh())) &&
		   good(netns_delete(dir, "y", fresh())) &&
		   count_entries(in_scratch("elsewhere")) == 0,
	   "delete: %s", what);
	netns_unref(made);
	netns_unref(again);
	ok(count_fds() == fds, "%s: no descriptor is left", what);
	netns_unref(ns);
}

static void test_symlinked_rundir(void)
{
	int mounts = count_mounts();

	if (mkdir(in_scratch("elsewhere"), 0755) < 0 ||
	    symlink(in_scratch("elsewhere"), in_scratch("symlinked")) < 0)
		bail("a symbolic link");
	follows_rundir(in_scratch("symlinked"),
		       "a run directory that is a symbolic link");
	follows_rundir(in_scratch("symlinked/"),
		       "one that is a symbolic link with a slash");
	ok(count_mounts() == mounts + 1 &&
		   umount2(in_scratch("elsewhere"), MNT_DETACH) == 0,
	   "a run directory that is a symbolic link: mounted on itself once");
}

/*
 * Others who pinned before the directory was shared must be able to unpin.
 */
static bool is_removable(const char *path)
{
	return umount2(path, MNT_DETACH) == 0 && unlink(path) == 0;
}

static void pin_by_hand(const char *path, const char *file)
{
	write_file(path, 0444, "");
	if (mount(file, path, NULL, MS_BIND, NULL) < 0)
		bail("mount");
}

static void test_pins_of_others(unsigned long propagation, int stacked,
				const char *what)
{
	const char *run = in_scratch("others");
	const char *one = in_scratch("others/run/one");
	const char *two = in_scratch("others/run/two");
	const char *uts = in_scratch("others/run/uts");
	const char *dir = in_scratch("others/run");
	struct netns *ns = NULL, *other = NULL;
	int mounts;

	if (mkdir(run, 0755) < 0 || mount("none", run, "tmpfs", 0, NULL) < 0 ||
	    mount("none", run, NULL, propagation, NULL) < 0 ||
	    mkdir(dir, 0755) < 0)
		bail("a directory of others");
	pin_by_hand(one, "/proc/self/ns/net");
	pin_by_hand(two, "/proc/self/ns/net");
	pin_by_hand(uts, "/proc/self/ns/uts");
	mounts = count_mounts();
	ok(good(netns_create(dir, "a", &ns, fresh())) &&
		   count_mounts() == mounts + 1 + stacked &&
		   names_are(dir, 3, "one\0two\0a\0"),
	   "pins of others, %s: they stay, and once each", what);
	ok(good(netns_create(dir, "b", &other, fresh())) &&
		   count_mounts() == mounts + 2 + stacked,
	   "pins of others, %s: no more mounts than names", what);
	ok(is_removable(one) && is_removable(uts),
	   "pins of others, %s: removable", what);
	ok(good(netns_delete(dir, "two", fresh())) &&
		   good(netns_delete(dir, "a", fresh())) &&
		   is_removable(in_scratch("others/run/b")),
	   "pins of others, %s: by either side", what);
	netns_unref(ns);
	netns_unref(other);
	umount2(run, MNT_DETACH);
	rmdir(run);
}

/* A mount namespace made from this one sees each bind and unmount. */
static int see_changes(void *argument)
{
	int *pipes = argument;
	char byte;

	must(unshare(CLONE_NEWNS) == 0);
	must(names_are(rundir, 3, "a\0b\0shared\0"));
	must(write(pipes[1], "", 1) == 1);
	must(read(pipes[2], &byte, 1) == 1);
	must(names_are(rundir, 3, "a\0b\0later\0"));
	return 0;
}

static void test_shared(void)
{
	struct netns *ns = NULL;
	int pipes[4];
	char byte;
	pid_t pid;

	netns_create(rundir, "shared", &ns, fresh());
	netns_unref(ns);
	/* 0, 1: from the child; 2, 3: to it. */
	if (pipe2(pipes, O_CLOEXEC) < 0 || pipe2(pipes + 2, O_CLOEXEC) < 0)
		bail("pipe2");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		limit_child();
		_exit(see_changes(pipes));
	}
	close(pipes[1]);
	close(pipes[2]);
	if (read(pipes[0], &byte, 1) != 1)
		bail("a child");
	ok(good(netns_delete(rundir, "shared", fresh())) &&
		   good(netns_create(rundir, "later", &ns, fresh())) &&
		   write(pipes[3], "", 1) == 1 && wait_for(pid) == 0,
	   "create and delete: also in another mount namespace");
	netns_unref(ns);
	netns_delete(rundir, "later", fresh());
	close(pipes[0]);
	close(pipes[3]);
}

/* Many create at once, in a run directory that is not made yet. */

struct creator {
	pthread_barrier_t *begin;
	const char *rundir;
	char name[16];
	struct netns *ns;
	bool made, refused;
};

static void *create_one(void *argument)
{
	struct creator *creator = argument;
	int ret;

	pthread_barrier_wait(creator->begin);
	ret = netns_create(creator->rundir, creator->name, &creator->ns,
			   fresh());
	creator->made = ret >= 0 && good(ret);
	creator->refused =
		ret == -EEXIST && err.step == NETNS_STEP_MAKE_MOUNT_POINT;
	if (!creator->made && !creator->refused)
		tell(ret);
	return NULL;
}

/* All create the same name, or each a name of its own. */
static void create_at_once(struct creator *creators, const char *dir, bool same)
{
	pthread_t threads[CREATORS];
	pthread_barrier_t begin;
	int i;

	pthread_barrier_init(&begin, NULL, CREATORS);
	for (i = 0; i < CREATORS; i++) {
		creators[i] =
			(struct creator) { .begin = &begin, .rundir = dir };
		snprintf(creators[i].name, sizeof(creators[i].name), "n%d",
			 same ? 0 : i);
		threads[i] = start(create_one, &creators[i]);
	}
	for (i = 0; i < CREATORS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&begin);
}

static void test_at_once(void)
{
	const char *dir = in_scratch("at-once");
	struct creator creators[CREATORS];
	int i, round, made, bound, refused, one_each = 0;
	int fds = count_fds(), mounts = count_mounts();

	create_at_once(creators, dir, false);
	for (i = made = bound = 0; i < CREATORS; i++) {
		char path[600];

		snprintf(path, sizeof(path), "%s/%s", dir, creators[i].name);
		made += creators[i].made;
		bound += creators[i].made && is_bound(path, creators[i].ns);
		netns_unref(creators[i].ns);
	}
	ok(made == CREATORS && bound == CREATORS,
	   "create at once: %d names, each its own namespace", CREATORS);
	ok(count_mounts() == mounts + CREATORS + 1,
	   "create at once: the directory is mounted on itself once");
	netns_delete(dir, "n0", fresh());
	for (round = 0; round < 20; round++) {
		create_at_once(creators, dir, true);
		for (i = made = refused = 0; i < CREATORS; i++) {
			made += creators[i].made;
			refused += creators[i].refused;
			netns_unref(creators[i].ns);
		}
		one_each += made == 1 && refused == CREATORS - 1 &&
			    good(netns_delete(dir, "n0", fresh()));
	}
	ok(one_each == 20, "create at once: one name, one creator gets it");
	ok(count_mounts() == mounts + CREATORS,
	   "create at once: the others leave no mount");
	ok(count_fds() == fds, "create at once: no descriptor is left");
	remove_tree(dir);
}

/* A signal ends the wait for the lock. */

struct waker {
	pthread_t whom;
	atomic_bool stop;
};

static void ignore(int number)
{
	(void)number;
}

static void *wake(void *argument)
{
	struct waker *waker = argument;

	/* More than once: a signal may come before the wait has begun. */
	while (!waker->stop) {
		pthread_kill(waker->whom, SIGUSR1);
		usleep(1000);
	}
	return NULL;
}

static void test_interrupted(void)
{
	struct sigaction action = { .sa_handler = ignore };
	struct waker waker = { .whom = pthread_self() };
	struct netns *ns = NULL;
	pthread_t thread;
	int lock, created, deleted, pinned;
	struct netns_error create_error, delete_error, pin_error;
	struct netns *other = make_namespace();
	int fds, mounts;

	lock = open(rundir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		bail("flock");
	fds = count_fds();
	mounts = count_mounts();
	sigaction(SIGUSR1, &action, NULL);
	thread = start(wake, &waker);
	created = netns_create(rundir, "waits", &ns, &create_error);
	deleted = netns_delete(rundir, "a", &delete_error);
	pinned = netns_pin(other, rundir, "waits", &pin_error);
	waker.stop = true;
	pthread_join(thread, NULL);
	signal(SIGUSR1, SIG_DFL);
	ok(created == -EINTR && create_error.step == NETNS_STEP_LOCK_RUNDIR &&
		   !strcmp(create_error.path, rundir) && !ns,
	   "create: a signal ends the wait for the lock");
	ok(deleted == -EINTR && delete_error.step == NETNS_STEP_LOCK_RUNDIR,
	   "delete: a signal ends the wait for the lock");
	ok(pinned == -EINTR && pin_error.step == NETNS_STEP_LOCK_RUNDIR,
	   "pin: a signal ends the wait for the lock");
	ok(count_fds() == fds && count_mounts() == mounts &&
		   !is_there(place("waits")),
	   "create: nothing is left then");
	close(lock);
	ok(good(netns_create(rundir, "waits", &ns, fresh())) &&
		   good(netns_delete(rundir, "waits", fresh())),
	   "create: and all is well without it");
	netns_unref(ns);
	netns_unref(other);
}

int main(void)
{
	int before, mounts;

	alarm(SECONDS);
	home = where();
	/* Only a directory on a private mount is mounted on itself. */
	if (unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		bail("unshare");
	rundir = make_rundir();
	make_thread_known();
	before = count_fds();
	mounts = count_mounts();
	test_create();
	test_exists();
	test_bad_names();
	test_pin();
	test_delete();
	test_delete_many();
	test_delete_refused();
	test_names();
	test_leftovers();
	test_symlinked_rundir();
	test_pins_of_others(MS_PRIVATE, 1, "on a private mount");
	test_pins_of_others(MS_SHARED, 0, "on a shared mount");
	test_shared();
	test_at_once();
	test_interrupted();
	ok(good(netns_delete(rundir, "a", fresh())) &&
		   good(netns_delete(rundir, "b", fresh())) &&
		   names_are(rundir, 0, ""),
	   "delete: the last of them");
	ok(count_mounts() == mounts + 1,
	   "no mount is left but the run directory's");
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
