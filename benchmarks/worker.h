/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The C side of the race's line protocol (README.md): a worker names its
 * operations, then answers each "OPERATION COUNT PRESENT" with nanoseconds.
 */
#ifndef WORKER_H
#define WORKER_H

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct operation {
	const char *name;
	int64_t (*run)(long count, long present);
};

static const char *target; /* the name every contestant enters */

/* Results are only printed of work that happened. */
#define CHECK(truth)                                                          \
	do {                                                                  \
		if (!(truth)) {                                               \
			printf("failed %s:%d: %s (%s)\n", __FILE__, __LINE__, \
			       #truth, strerror(errno));                      \
			exit(1);                                              \
		}                                                             \
	} while (0)

static inline int64_t now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

static inline void path_of(char *path, const char *name)
{
	CHECK(snprintf(path, 128, "/run/netns/%s", name) < 128);
}

/* The name of one of those present, or one to be deleted. */
static inline const char *numbered(char *name, const char *prefix, long i)
{
	CHECK(snprintf(name, 64, "%s-%05ld", prefix, i) < 64);
	return name;
}

/* Each contestant's own: so many Dos, on the calling thread, and their time. */
static int64_t do_times(long count);

static int64_t run_do(long count, long present)
{
	(void)present;
	return do_times(count);
}

static void *do_thread(void *count)
{
	do_times(*(long *)count);
	return NULL;
}

static int64_t do_threads(long count, int threads)
{
	long share = (count + threads - 1) / threads;
	pthread_t ids[4];
	int64_t start = now();
	int i;

	for (i = 0; i < threads; i++)
		CHECK(pthread_create(&ids[i], NULL, do_thread, &share) == 0);
	for (i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	/* Of what was asked, where the share was rounded up. */
	return (now() - start) * count / (share * threads);
}

static int64_t run_threads1(long count, long present)
{
	(void)present;
	return do_threads(count, 1);
}

static int64_t run_threads2(long count, long present)
{
	(void)present;
	return do_threads(count, 2);
}

static int64_t run_threads4(long count, long present)
{
	(void)present;
	return do_threads(count, 4);
}

static int serve(const char *argv[], const struct operation *operations)
{
	const struct operation *op;
	struct rlimit files;
	long count, present;
	char line[128], name[64];

	target = argv[1];
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);
	for (op = operations; op->name; op++)
		printf("%s%s", op == operations ? "" : " ", op->name);
	printf("\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		CHECK(sscanf(line, "%63s %ld %ld", name, &count, &present) ==
		      3);
		for (op = operations; op->name; op++)
			if (strcmp(op->name, name) == 0)
				break;
		CHECK(op->name);
		printf("%" PRId64 "\n", op->run(count, present));
		fflush(stdout);
	}
	return 0;
}

#endif
