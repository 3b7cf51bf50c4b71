/* SPDX-License-Identifier: Apache-2.0 */
/* A user of the library, which compiles as C and as C++. */
#include <stdio.h>

#include <netns.h>

/* Inside, host is another namespace. */
static int compare_inode(struct netns *host, void *arg)
{
	return netns_ino(host) != netns_ino((struct netns *)arg);
}

int main(void)
{
	struct netns_error err;
	struct netns *ns = NULL;
	int64_t guard;
	int ret;

	err.err = 0;
	ret = netns_new(&ns, &err);
	if (!ret)
		ret = netns_do(ns, compare_inode, ns, &err);
	if (ret == 1) {
		guard = netns_enter(ns, &err);
		ret = guard < 0 ? (int)guard : netns_leave(guard, &err);
	}
	if (err.err)
		fprintf(stderr, "%s: %d\n", netns_step_text(err.step), err.err);
	netns_unref(ns);
	return ret != 0;
}
