/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces that processes and their threads are in: one walk over /proc. */
#include <sched.h>
#include <stdio.h>

#include "holders.h"
#include "sys.h"

/*
 * One readlinkat(2) a process tells its namespace without opening anything;
 * one fstatat(2) how many threads it has, so that only those of processes with
 * several are read. The kernel takes microseconds for each, so from some
 * hundred processes on the walk is shared: whoever is free takes the next
 * batch of the directory.
 */
#define BATCH_SIZE	2048 /* bytes; some 80 processes */
#define BATCHES_ALONE	4
#define HELPERS_AT_MOST 3

struct shared {
	pthread_mutex_t lock; /* of the directory's position and of aside */
	int proc;
	int what;
	bool at_end, aside_taken;
	atomic_bool failed;
	struct scan *scan;
};

struct worker {
	struct shared *shared;
	struct holders found;
	uint32_t hidden;
	int32_t tid;
	int ret;
	enum netns_step step;
	pthread_t thread;
};

/* The id that a name is; 0 for other names. */
static int32_t number(const char *name)
{
	int32_t id = 0;

	while (*name >= '0' && *name <= '9')
		id = id * 10 + (*name++ - '0');
	return *name ? 0 : id;
}

static char *put_number(char *to, int32_t id)
{
	char digits[12];
	int count = 0;

	do {
		digits[count++] = (char)('0' + id % 10);
	} while (id /= 10);
	while (count)
		*to++ = digits[--count];
	return to;
}

/* "123/ns/net" at a third of what snprintf(3) takes. */
static const char *below(char *buf, int32_t id, const char *rest)
{
	strcpy(put_number(buf, id), rest);
	return buf;
}

/*
 * The inode number, or 0 where there is none: gone, or on its way out and of
 * no namespace any more.
 */
static int where(int dir, int32_t id, uint64_t *ino)
{
	char name[32], text[64];
	int ret = sys_readlinkat(dir, below(name, id, "/ns/net"), text,
				 sizeof(text));

	*ino = ret > 0 ? netns__inode(text, (size_t)ret) : 0;
	return ret == -ENOENT || ret == -ESRCH ? 0 : ret;
}

static bool is_refused(int ret)
{
	return ret == -EACCES || ret == -EPERM;
}

static int list_thread(struct worker *worker, int dir, int32_t tid,
		       uint64_t main_ino)
{
	uint64_t ino;
	int ret = where(dir, tid, &ino);

	if (ret < 0)
		return is_refused(ret) ? 0 : ret;
	if (!ino || ino == main_ino)
		return 0;
	return netns__hold_by(&worker->found, ino, HOLDER_THREAD, tid, NULL);
}

/*
 * A directory's entries that are numbers, a batch at a time: how many of ids[]
 * were filled, 0 at the end.
 */
static int next_ids(int dir, int32_t *ids)
{
	char batch[BATCH_SIZE] __attribute__((aligned(8)));
	const struct sys_dirent *entry;
	int offset, ret, count = 0;

	do {
		ret = sys_getdents(dir, batch, sizeof(batch));
		for (offset = 0; offset < ret; offset += entry->size) {
			entry = (const void *)(batch + offset);
			ids[count] = number(entry->name);
			count += ids[count] > 0;
		}
	} while (ret > 0 && !count);
	/* A directory of threads whose process is gone is at its end. */
	return ret < 0 && ret != -ENOENT ? ret : count;
}

#define BATCH_IDS (BATCH_SIZE / 24 + 1)

static int list_threads(struct worker *worker, int32_t pid, uint64_t main_ino)
{
	int32_t ids[BATCH_IDS];
	char name[32];
	int dir, count, i, ret = 0;

	dir = sys_openat(worker->shared->proc, below(name, pid, "/task"),
			 O_RDONLY | O_DIRECTORY, 0);
	if (dir == -ENOENT || dir == -ESRCH || is_refused(dir))
		return 0;
	if (dir < 0)
		return dir;
	do {
		count = next_ids(dir, ids);
		for (i = 0; i < count && !ret; i++) {
			if (ids[i] != pid)
				ret = list_thread(worker, dir, ids[i],
						  main_ino);
		}
	} while (count > 0 && !ret);
	sys_close(dir);
	return count < 0 ? count : ret;
}

/* A process whose main thread has ended has no namespace, but threads. */
static int list_process(struct worker *worker, int32_t pid)
{
	struct shared *shared = worker->shared;
	struct stat st;
	char name[32];
	uint64_t ino;
	int ret;

	ret = where(shared->proc, pid, &ino);
	if (is_refused(ret)) {
		worker->hidden++;
		return 0;
	}
	if (ret >= 0 && ino)
		ret = netns__hold_by(&worker->found, ino, HOLDER_PROCESS, pid,
				     NULL);
	if (ret < 0 || !(shared->what & NETNS_THREADS))
		return ret;
	ret = sys_fstatat(shared->proc, below(name, pid, "/task"), &st);
	if (ret < 0)
		return ret == -ENOENT || ret == -ESRCH || is_refused(ret) ? 0
									  : ret;
	return st.st_nlink > 3 || !ino ? list_threads(worker, pid, ino) : 0;
}

static int next_batch(struct shared *shared, int32_t *ids)
{
	int ret = 0;

	pthread_mutex_lock(&shared->lock);
	if (!shared->at_end) {
		ret = next_ids(shared->proc, ids);
		shared->at_end = ret <= 0;
	}
	pthread_mutex_unlock(&shared->lock);
	return ret;
}

static void do_aside(struct worker *worker)
{
	struct shared *shared = worker->shared;
	bool mine;

	pthread_mutex_lock(&shared->lock);
	mine = !shared->aside_taken;
	shared->aside_taken = true;
	pthread_mutex_unlock(&shared->lock);
	if (mine)
		worker->ret = shared->scan->aside(shared->scan->argument);
	if (worker->ret < 0)
		worker->step = NETNS_STEP_READ_MOUNTS;
}

/* How many batches; less than at_most only at the end. */
static int work(struct worker *worker, int at_most)
{
	int32_t ids[BATCH_IDS];
	int batches, count, i, ret = 0;

	for (batches = 0; batches < at_most; batches++) {
		if (atomic_load(&worker->shared->failed))
			break;
		count = next_batch(worker->shared, ids);
		if (count <= 0) {
			ret = count;
			break;
		}
		for (i = 0; i < count && ret >= 0; i++)
			ret = list_process(worker, ids[i]);
		if (ret < 0)
			break;
	}
	if (ret < 0) {
		worker->ret = ret;
		worker->step = NETNS_STEP_READ_PROCESSES;
		atomic_store(&worker->shared->failed, true);
	}
	return batches;
}

static void *help(void *argument)
{
	struct worker *worker = argument;

	worker->tid = sys_gettid();
	do_aside(worker);
	if (!worker->ret)
		work(worker, INT32_MAX);
	return NULL;
}

/* As many as start; none is missed. */
static int start_helpers(struct worker *workers)
{
	cpu_set_t cpus;
	int wanted, count = 0;

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		CPU_ZERO(&cpus); /* more CPUs than it has room for */
	wanted = CPU_COUNT(&cpus) - 1;
	while (count < wanted && count < HELPERS_AT_MOST &&
	       !netns__start(&workers[count].thread, help, &workers[count]))
		count++;
	return count;
}

/* The walkers themselves are not what is looked for. */
static bool is_worker(const struct worker *workers, const struct holder *holder)
{
	int i;

	for (i = 0; i <= HELPERS_AT_MOST; i++) {
		if (holder->kind == HOLDER_THREAD &&
		    holder->id == workers[i].tid)
			return true;
	}
	return false;
}

static int collect(struct scan *scan, const struct worker *workers)
{
	const struct holder *held;
	size_t i;
	int w, ret = 0;

	for (w = 0; w <= HELPERS_AT_MOST && !ret; w++) {
		scan->hidden += workers[w].hidden;
		scan->step = workers[w].step;
		ret = workers[w].ret;
		held = workers[w].found.held;
		for (i = 0; i < workers[w].found.count && !ret; i++) {
			scan->step = NETNS_STEP_ALLOCATE;
			if (!is_worker(workers, &held[i]))
				ret = netns__hold_by(&scan->found, held[i].ino,
						     held[i].kind, held[i].id,
						     NULL);
		}
	}
	return ret;
}

int netns__scan(struct scan *scan)
{
	struct worker workers[1 + HELPERS_AT_MOST] = { 0 };
	struct shared shared = { .what = scan->what, .scan = scan };
	int i, ret, helpers = 0;

	shared.proc = ret =
		sys_openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY, 0);
	if (ret < 0) {
		scan->step = NETNS_STEP_READ_PROCESSES;
		return ret;
	}
	pthread_mutex_init(&shared.lock, NULL);
	shared.aside_taken = !scan->aside;
	for (i = 0; i <= HELPERS_AT_MOST; i++)
		workers[i].shared = &shared;
	if (work(&workers[0], BATCHES_ALONE) == BATCHES_ALONE) {
		helpers = start_helpers(&workers[1]);
		work(&workers[0], INT32_MAX);
	}
	if (!workers[0].ret)
		do_aside(&workers[0]);
	for (i = 1; i <= helpers; i++)
		pthread_join(workers[i].thread, NULL);
	ret = collect(scan, workers);
	for (i = 0; i <= HELPERS_AT_MOST; i++)
		free(workers[i].found.held);
	pthread_mutex_destroy(&shared.lock);
	sys_close(shared.proc);
	return ret;
}
