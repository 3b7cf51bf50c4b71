/* SPDX-License-Identifier: Apache-2.0 */
/* Every network namespace of the host. */
#include <string.h>

#include "holders.h"
#include "sys.h"

static bool has_text(enum holder_kind kind)
{
	return kind == HOLDER_NAME || kind == HOLDER_PATH ||
	       kind == HOLDER_MOUNT;
}

static bool has_id(enum holder_kind kind)
{
	return kind == HOLDER_PROCESS || kind == HOLDER_THREAD;
}

/*
 * Descriptors, sockets and other mounts are what a namespace is held by that
 * has neither paths nor tasks: most have many more of these.
 */
static void drop_further_holders(struct holders *holders)
{
	struct holder *held = holders->held;
	bool is_known = false;
	uint64_t ino = 0;
	size_t from, to = 0;

	for (from = 0; from < holders->count; from++) {
		if (held[from].ino != ino)
			is_known = false;
		ino = held[from].ino;
		is_known |= held[from].kind < HOLDER_UNSEEN;
		if (!is_known || held[from].kind <= HOLDER_UNSEEN)
			held[to++] = held[from];
	}
	holders->count = to;
}

static void count_holders(const struct holders *holders,
			  struct netns_discovery *sum)
{
	const struct holder *held = holders->held;
	uint64_t ino = 0;
	size_t i;

	for (i = 0; i < holders->count; i++) {
		sum->count += held[i].ino != ino;
		ino = held[i].ino;
		if (has_text(held[i].kind))
			sum->texts_size += (uint32_t)strlen(held[i].text) + 1;
		sum->mounts_count += held[i].kind == HOLDER_NAME;
		sum->ids_count += has_id(held[i].kind);
		sum->holders_count += held[i].kind > HOLDER_UNSEEN;
	}
}

static struct netns_holder make_holder(const struct holder *held)
{
	struct netns_holder made = { .kind = NETNS_HELD_BY_DESCRIPTOR,
				     .pid = held->id,
				     .fd = held->fd };

	if (held->kind == HOLDER_SOCKET)
		made.kind = NETNS_HELD_BY_SOCKET;
	if (held->kind == HOLDER_MOUNT) {
		made.kind = NETNS_HELD_BY_MOUNT;
		made.fd = -1;
	}
	return made;
}

static void fill_block(const struct holders *holders,
		       struct netns_discovery *made)
{
	const struct holder *held = holders->held;
	struct netns_holder *other = made->holders;
	struct netns_found *found = NULL;
	char *text = made->texts;
	int32_t *id = made->ids;
	size_t i;

	for (i = 0; i < holders->count; i++) {
		if (!found || found->ino != held[i].ino) {
			found = found ? found + 1 : made->found;
			found->ino = held[i].ino;
			found->first_text = (uint32_t)(text - made->texts);
			found->first_id = (uint32_t)(id - made->ids);
			found->first_holder = (uint32_t)(other - made->holders);
		}
		found->names += held[i].kind == HOLDER_NAME;
		found->paths += held[i].kind == HOLDER_PATH;
		found->pids += held[i].kind == HOLDER_PROCESS;
		found->threads += held[i].kind == HOLDER_THREAD;
		if (has_text(held[i].kind))
			text = stpcpy(text, held[i].text) + 1;
		if (has_id(held[i].kind))
			*id++ = held[i].id;
		if (held[i].kind == HOLDER_UNSEEN && held[i].cookie)
			found->cookie = held[i].cookie;
		if (held[i].kind > HOLDER_UNSEEN) {
			*other++ = make_holder(&held[i]);
			found->holders++;
		}
	}
}

static uint64_t mount_id(int dir, const char *path)
{
	struct sys_statx sx = { 0 };

	return sys_locate_unique(dir, path, &sx) < 0 ? 0 : sx.mnt_id;
}

/*
 * The ids of the mounts at the names. A name that is given to another namespace
 * has another mount, while its inode number may be the one before. All have
 * other mounts where the run directory has: so its own is the last.
 */
static int fill_mounts(const struct holders *holders, const char *rundir,
		       struct netns_discovery *made)
{
	char path[NETNS_PATH_SIZE];
	uint64_t *mount = made->mounts, own;
	size_t i;
	int dir;

	if (!made->mounts_count)
		return 0;
	dir = netns__rundir_open(path, rundir, O_PATH, NULL);
	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	own = mount_id(dir, ".");
	for (i = 0; i < holders->count; i++) {
		if (holders->held[i].kind != HOLDER_NAME)
			continue;
		*mount = mount_id(dir, holders->held[i].text);
		if (*mount == own)
			*mount = 0; /* unmounted since the table was read */
		mount++;
	}
	*mount = own;
	sys_close(dir);
	return 0;
}

/* One block, so that one netns_free() frees all of it. */
static int make_block(struct holders *holders, const struct scan *scan,
		      const char *rundir, struct netns_discovery **discovery)
{
	struct netns_discovery sum = { .dev = scan->nsfs,
				       .hidden = scan->hidden },
			       *made;
	int ret;

	netns__holders_sort(holders);
	drop_further_holders(holders);
	count_holders(holders, &sum);
	if (scan->what & NETNS_MOUNT_IDS)
		sum.mounts_count++; /* the run directory's */
	else
		sum.mounts_count = 0;
	made = sys_alloc(sizeof(*made) + sum.count * sizeof(*made->found) +
			 sum.mounts_count * sizeof(*made->mounts) +
			 sum.holders_count * sizeof(*made->holders) +
			 sum.ids_count * sizeof(*made->ids) + sum.texts_size);
	if (!made)
		return -ENOMEM;
	*made = sum;
	made->found = (struct netns_found *)(made + 1);
	made->mounts = (uint64_t *)(made->found + sum.count);
	made->holders =
		(struct netns_holder *)(made->mounts + sum.mounts_count);
	made->ids = (int32_t *)(made->holders + sum.holders_count);
	made->texts = (char *)(made->ids + sum.ids_count);
	fill_block(holders, made);
	ret = fill_mounts(holders, rundir, made);
	if (ret < 0)
		free(made);
	else
		*discovery = made;
	return ret;
}

/* One that is gone meanwhile, or not the caller's to open, is left out. */
static int add_listed(struct holders *found, uint64_t cookie)
{
	struct stat st;
	int ret, fd = sys_open_cookie(cookie, 0);

	if (fd < 0)
		return netns__is_shortage(fd) ? fd : 0;
	ret = sys_fstat(fd, &st);
	sys_close(fd);
	return ret < 0 ? ret
		       : netns__holders_add_cookie(found, st.st_ino, cookie);
}

/*
 * The whole list at once: asked for what comes after a cookie, the kernel takes
 * the next namespace for the end of the list if that is held by sockets alone.
 */
static int scan_listed(struct holders *found)
{
	uint64_t *cookies = NULL, *grown;
	size_t room = 0;
	int i, count = 0, ret = 0;

	do {
		grown = netns__grow(cookies, &room, room + 512,
				    sizeof(*cookies));
		if (grown)
			cookies = grown;
		count = grown ? sys_listns(cookies, room) : -ENOMEM;
	} while (count > 0 && (size_t)count == room);
	if (count == -ENOMEM)
		ret = count;
	for (i = 0; i < count && !ret; i++)
		ret = add_listed(found, cookies[i]);
	free(cookies);
	return ret;
}

static int scan_mounts(void *arg)
{
	return netns__scan_mounts(arg);
}

/* The mounts are a second task beside the processes, where both are wanted. */
static int scan_host(struct scan *scan, struct mounts *mounts)
{
	int ret = 0;

	if (scan->what &
	    (NETNS_PROCESSES | NETNS_THREADS | NETNS_DESCRIPTORS)) {
		if (scan->what & NETNS_PINS)
			scan->second_task = scan_mounts;
		ret = netns__scan_processes(scan);
	} else if (scan->what & NETNS_PINS) {
		ret = netns__scan_mounts(mounts);
	}
	if (!ret && scan->what & NETNS_DESCRIPTORS) {
		scan->step = NETNS_STEP_READ_PROCESSES;
		ret = scan_listed(&scan->found);
	}
	if (ret < 0)
		return ret;
	scan->step = NETNS_STEP_ALLOCATE;
	return netns__holders_append(&scan->found, &mounts->found);
}

int netns_discover(const char *rundir, int what,
		   struct netns_discovery **discovery, struct netns_error *err)
{
	struct mounts mounts = { 0 };
	struct names links = { 0 };
	struct text_node *node;
	struct scan scan = { .what = what,
			     .step = NETNS_STEP_READ_MOUNTS,
			     .second_arg = &mounts,
			     .second_step = NETNS_STEP_READ_MOUNTS };
	int ret = netns__thread_check(err);

	if (!ret)
		ret = netns__nsfs_device(&mounts.nsfs, err);
	if (!ret && (what & NETNS_PINS))
		ret = netns__locate_rundir(&mounts.rundir, rundir, err);
	if (!ret && (what & NETNS_PINS))
		ret = netns__scan_links(&links, rundir, err);
	if (ret < 0)
		goto out;
	scan.nsfs = mounts.nsfs;
	ret = scan_host(&scan, &mounts);
	if (!ret)
		ret = netns__holders_append(&scan.found, &links.found);
	if (!ret)
		ret = make_block(&scan.found, &scan, rundir, discovery);
	netns__check(err, ret, scan.step, NULL);
	free(scan.found.held);
	free(mounts.found.held);
	free(mounts.text);
	while ((node = scan.texts)) {
		scan.texts = node->next;
		free(node->text);
		free(node);
	}
out:
	netns__free_names(&links);
	return ret;
}
