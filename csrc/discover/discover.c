/* SPDX-License-Identifier: Apache-2.0 */
/* Every network namespace of the host. */
#include <string.h>

#include "holders.h"
#include "sys.h"

static void count_holders(const struct holders *holders,
			  struct netns_discovery *sum)
{
	const struct holder *held = holders->held;
	uint64_t ino = 0;
	size_t i;

	for (i = 0; i < holders->count; i++) {
		sum->count += held[i].ino != ino;
		ino = held[i].ino;
		if (held[i].kind == HOLDER_NAME || held[i].kind == HOLDER_PATH)
			sum->texts_size += (uint32_t)strlen(held[i].text) + 1;
		else if (held[i].kind != HOLDER_UNSEEN)
			sum->ids_count++;
	}
}

static void fill_block(const struct holders *holders,
		       struct netns_discovery *made)
{
	const struct holder *held = holders->held;
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
		}
		switch (held[i].kind) {
		case HOLDER_NAME:
		case HOLDER_PATH:
			text = stpcpy(text, held[i].text) + 1;
			found->names += held[i].kind == HOLDER_NAME;
			found->paths += held[i].kind == HOLDER_PATH;
			break;
		case HOLDER_PROCESS:
		case HOLDER_THREAD:
			*id++ = held[i].id;
			found->pids += held[i].kind == HOLDER_PROCESS;
			found->threads += held[i].kind == HOLDER_THREAD;
			break;
		case HOLDER_UNSEEN:
			break;
		}
	}
}

/* One block, so that one netns_free() frees all of it. */
static int make_block(struct holders *holders, dev_t nsfs, uint32_t hidden,
		      struct netns_discovery **discovery)
{
	struct netns_discovery sum = { .dev = nsfs, .hidden = hidden }, *made;

	netns__holders_sort(holders);
	count_holders(holders, &sum);
	made = sys_alloc(sizeof(*made) + sum.count * sizeof(*made->found) +
			 sum.ids_count * sizeof(*made->ids) + sum.texts_size);
	if (!made)
		return -ENOMEM;
	*made = sum;
	made->found = (struct netns_found *)(made + 1);
	made->ids = (int32_t *)(made->found + sum.count);
	made->texts = (char *)(made->ids + sum.ids_count);
	fill_block(holders, made);
	*discovery = made;
	return 0;
}

static int scan_mounts(void *arg)
{
	return netns__scan_mounts(arg);
}

/* The mounts are a second task beside the processes, where both are wanted. */
static int scan_host(struct scan *scan, struct mounts *mounts)
{
	int ret = 0;

	if (scan->what & (NETNS_PROCESSES | NETNS_THREADS)) {
		if (scan->what & NETNS_PINS)
			scan->second_task = scan_mounts;
		ret = netns__scan_processes(scan);
	} else if (scan->what & NETNS_PINS) {
		ret = netns__scan_mounts(mounts);
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
	ret = scan_host(&scan, &mounts);
	if (!ret)
		ret = netns__holders_append(&scan.found, &links.found);
	if (!ret)
		ret = make_block(&scan.found, mounts.nsfs, scan.hidden,
				 discovery);
	netns__check(err, ret, scan.step, NULL);
	free(scan.found.held);
	free(mounts.found.held);
	free(mounts.text);
out:
	netns__free_names(&links);
	return ret;
}
