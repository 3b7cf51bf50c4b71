/* SPDX-License-Identifier: Apache-2.0 */
/* Threads of the core's own. */
#include <link.h>
#include <signal.h>

#include "internal.h"
#include "sys.h"

static int add_tls_size(struct dl_phdr_info *object, size_t size, void *sum)
{
	int i;

	(void)size;
	for (i = 0; i < object->dlpi_phnum; i++) {
		if (object->dlpi_phdr[i].p_type == PT_TLS)
			*(size_t *)sum += object->dlpi_phdr[i].p_memsz +
					  object->dlpi_phdr[i].p_align;
	}
	return 0;
}

/* glibc takes a program's static thread-local storage from the thread's stack. */
static size_t add_tls(size_t stack)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	dl_iterate_phdr(add_tls_size, &stack);
	return (stack + page - 1) / page * page;
}

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
		ret = -pthread_attr_setstacksize(&attr, add_tls(stack));
	if (!ret) {
		/* The process's own threads handle its signals. */
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &old);
		ret = sys_thread(thread, &attr, run, arg);
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
	sys_join(thread);
	return 0;
}
