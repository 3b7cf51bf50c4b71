/* SPDX-License-Identifier: Apache-2.0 */
/* A user of the library, in what C and C++ have in common. */
#include <stdio.h>

#include <netns.h>

int main(void)
{
	struct netns_error err;
	struct netns *ns = NULL;
	int64_t guard = -1;

	if (netns_new(&ns, &err) < 0 || (guard = netns_enter(ns, &err)) < 0 ||
	    netns_leave(guard, &err) < 0)
		fprintf(stderr, "%s: %d\n", netns_step_text(err.step), err.err);
	netns_unref(ns);
	return guard < 0;
}
