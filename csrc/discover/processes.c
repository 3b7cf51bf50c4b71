/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces that processes and their threads are in: one walk over /proc. */
#include <sched.h>
#include <stdio.h>

#include "holders.h"
#include "sys.h"

/*
 * One readlinkat(2) tells a process's namespace and opens nothing. One
 * fstatat(2) tells whether a process has several threads: only the threads of
 * such a process are read. The kernel takes microseconds for each, so from some
 * hundred processes on several threads share the walk: each worker takes the
 * next batch of the directory.
 */
#define BATCHES_ALONE	5 /* the first has hardly a process */
#define HELPERS_AT_MOST 3

struct shared {
	pthread_mutex_t lock; /* of the position in proc, and of the flags */
	int proc;
	bool at_end, second_task_taken;
	atomic_bool failed;
	struct scan *scan;
};

struct worker {
	struct shared *shared;
	struct sys_walk walk; /* the batch that it took */
	struct holders found;
	uint32_t hidden;
	int32_t tid;
	int ret;
	enum netns_step step;
	pthread_t thread;
};

/* 0 for a name that is no id. */
static int32_t parse_id(const char *name)
{
	int32_t id = 0;

	while (*name >= '0' && *name <= '9')
		id = id * 10 + (*name++ - '0');
	return *name ? 0 : id;
}

/* "123" and the rest, in a third of the time that snprintf(3) takes. */
static const char *write_path(char *buf, int32_t id, const char *rest)
{
	char digits[12], *to = buf;
	int count = 0;

	do {
		digits[count++] = (char)('0' + id % 10);
	} while (id /= 10);
	while (count)
		*to++ = digits[--count];
	strcpy(to, rest);
	return buf;
}

static bool is_gone(int ret)
{
	return ret == -ENOENT || ret == -ESRCH;
}

static bool is_refused(int ret)
{
	return ret == -EACCES || ret == -EPERM;
}

/* *ino is 0 where there is no namespace: a task that is gone, or ending. */
static int read_ino(int dir, int32_t id, uint64_t *ino)
{
	char name[32], text[64];
	int ret = sys_readlinkat(dir, write_path(name, id, "/ns/net"), text,
				 sizeof(text));

	*ino = ret > 0 ? netns__parse_ino(text, (size_t)ret) : 0;
	return is_gone(ret) ? 0 : ret;
}

/* A thread is listed only where it is not in its main thread's namespace. */
static int list_thread(struct worker *worker, int dir, int32_t tid,
		       uint64_t main_ino)
{
	uint64_t ino;
	int ret = read_ino(dir, tid, &ino);

	if (ret < 0)
		return is_refused(ret) ? 0 : ret;
	if (!ino || ino == main_ino)
		return 0;
	return netns__holders_add(&worker->found, ino, HOLDER_THREAD, tid,
				  NULL);
}

static int list_threads(struct worker *worker, int32_t pid, uint64_t main_ino)
{
	struct sys_walk walk;
	const char *entry;
	char name[32];
	int dir, walked, ret = 0;
	int32_t tid;

	dir = sys_openat(worker->shared->proc, write_path(name, pid, "/task"),
			 O_RDONLY | O_DIRECTORY, 0);
	if (is_gone(dir) || is_refused(dir))
		return 0;
	if (dir < 0)
		return dir;
	sys_begin_walk(&walk, dir);
	while (!ret && (entry = sys_next_name(&walk, &walked))) {
		tid = parse_id(entry);
		if (tid > 0 && tid != pid)
			ret = list_thread(worker, dir, tid, main_ino);
	}
	sys_close(dir);
	return ret < 0 ? ret : walked;
}

/* 1, 0 or -errno. /task has two links more than there are threads. */
static int has_threads(struct worker *worker, int32_t pid)
{
	struct stat st;
	char name[32];
	int ret = sys_fstatat(worker->shared->proc,
			      write_path(name, pid, "/task"), &st);

	if (ret < 0)
		return is_gone(ret) || is_refused(ret) ? 0 : ret;
	return st.st_nlink > 3;
}

/* A process whose main thread has ended has no namespace, but threads. */
static int list_process(struct worker *worker, int32_t pid)
{
	uint64_t ino;
	int ret;

	ret = read_ino(worker->shared->proc, pid, &ino);
	if (is_refused(ret)) {
		worker->hidden++;
		return 0;
	}
	if (ret >= 0 && ino)
		ret = netns__holders_add(&worker->found, ino, HOLDER_PROCESS,
					 pid, NULL);
	if (ret < 0 || !(worker->shared->scan->what & NETNS_THREADS))
		return ret;
	ret = has_threads(worker, pid);
	if (ret < 0)
		return ret;
	return ret || !ino ? list_threads(worker, pid, ino) : 0;
}

static int take_batch(struct worker *worker)
{
	struct shared *shared = worker->shared;
	int ret = 0;

	pthread_mutex_lock(&shared->lock);
	if (!shared->at_end) {
		ret = sys_read_batch(&worker->walk);
		shared->at_end = ret <= 0;
	}
	pthread_mutex_unlock(&shared->lock);
	return ret;
}

static int list_batch(struct worker *worker)
{
	const char *name;
	int32_t pid;
	int ret = 0;

	while (ret >= 0 && (name = sys_next_in_batch(&worker->walk))) {
		pid = parse_id(name);
		if (pid > 0)
			ret = list_process(worker, pid);
	}
	return ret;
}

/* Lists up to at_most batches; returns whether there may be more. */
static bool list_batches(struct worker *worker, int at_most)
{
	struct shared *shared = worker->shared;
	int listed, ret = 1;

	while (ret > 0 && at_most-- > 0 && !atomic_load(&shared->failed)) {
		ret = take_batch(worker);
		listed = ret > 0 ? list_batch(worker) : 0;
		if (listed < 0)
			ret = listed;
	}
	if (ret < 0) {
		worker->ret = ret;
		worker->step = NETNS_STEP_READ_PROCESSES;
		atomic_store(&shared->failed, true);
	}
	return ret > 0;
}

static void do_second_task(struct worker *worker)
{
	struct shared *shared = worker->shared;
	struct scan *scan = shared->scan;
	bool mine;

	pthread_mutex_lock(&shared->lock);
	mine = !shared->second_task_taken;
	shared->second_task_taken = true;
	pthread_mutex_unlock(&shared->lock);
	if (mine)
		worker->ret = scan->second_task(scan->second_arg);
	if (worker->ret < 0)
		worker->step = scan->second_step;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;

	worker->tid = sys_gettid();
	do_second_task(worker);
	if (!worker->ret)
		list_batches(worker, INT32_MAX);
	return NULL;
}

/* Returns how many started; the walk is complete with any number of them. */
static int start_workers(struct worker *workers)
{
	cpu_set_t cpus;
	int wanted, count = 0;

	CPU_ZERO(&cpus);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		CPU_ZERO(&cpus); /* there are more CPUs than it has room for */
	wanted = CPU_COUNT(&cpus) - 1;
	while (count < wanted && count < HELPERS_AT_MOST &&
	       !netns__helper_start(&workers[count].thread, HELPER_STACK,
				    worker_main, &workers[count]))
		count++;
	return count;
}

/* The scan must not report its own threads. */
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

static int collect_found(struct scan *scan, const struct worker *workers)
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
				ret = netns__holders_add(
					&scan->found, held[i].ino, held[i].kind,
					held[i].id, NULL);
		}
	}
	return ret;
}

static void walk_processes(struct worker *workers)
{
	int i, started = 0;

	if (list_batches(&workers[0], BATCHES_ALONE)) {
		started = start_workers(&workers[1]);
		list_batches(&workers[0], INT32_MAX);
	}
	if (!workers[0].ret)
		do_second_task(&workers[0]);
	for (i = 1; i <= started; i++)
		sys_join(workers[i].thread);
}

int netns__scan_processes(struct scan *scan)
{
	struct worker workers[1 + HELPERS_AT_MOST] = { 0 };
	struct shared shared = { .scan = scan };
	int i, ret;

	shared.proc = ret =
		sys_openat(AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY, 0);
	if (ret < 0) {
		scan->step = NETNS_STEP_READ_PROCESSES;
		return ret;
	}
	pthread_mutex_init(&shared.lock, NULL);
	shared.second_task_taken = !scan->second_task;
	for (i = 0; i <= HELPERS_AT_MOST; i++) {
		workers[i].shared = &shared;
		sys_begin_walk(&workers[i].walk, shared.proc);
	}
	walk_processes(workers);
	ret = collect_found(scan, workers);
	for (i = 0; i <= HELPERS_AT_MOST; i++)
		free(workers[i].found.held);
	pthread_mutex_destroy(&shared.lock);
	sys_close(shared.proc);
	return ret;
}
