/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the core's own. */
#include <signal.h>

#include "internal.h"
#include "sys.h"

int netns__helper_start(pthread_t *thread, size_t stack, void *(*run)(void *),
			void *arg)
{
	pthread_attr_t attr;
	sigset_t all, old;
	int ret;

	ret = -pthread_attr_init(&attr);
	if (ret)
		return ret;
	if (stack != HELPER_STACK_WHOLE)
		ret = -pthread_attr_setstacksize(&attr, stack);
	if (!ret) {
		/* The process's own threads handle its signals. */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		ret = sys_thread(thread, &attr, run, arg);
		/* Static thread-local storage may need more than that. */
		if (ret == -EINVAL)
			ret = sys_thread(thread, NULL, run, arg);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	pthread_attr_destroy(&attr);
	return ret;
}

int netns__helper_run(size_t stack, void *(*run)(void *), void *arg,
		      struct netns_error *err)
{
	pthread_t thread;
	int ret = netns__helper_start(&thread, stack, run, arg);

	if (ret < 0)
		return netns__fail(err, ret, NETNS_STEP_START_THREAD, NULL);
	pthread_join(thread, NULL);
	return 0;
}
