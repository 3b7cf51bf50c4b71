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
	pthread_mutex_t lock; /* of all but proc, failed and what scan says */
	int proc;
	bool at_end, second_task_taken;
	atomic_bool failed;
	uint64_t *mounts; /* mount namespaces that somebody has read */
	size_t mount_count, mount_room;
	struct scan *scan;
};

struct worker {
	struct shared *shared;
	struct sys_walk walk; /* the batch that it took */
	struct holders found;
	uint64_t mounts; /* the mount namespace of the task before */
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

/* *ino is 0 where there is no namespace: a task that is gone, or ending. */
static int read_ino(int dir, int32_t id, uint64_t *ino)
{
	char name[32], text[64];
	int ret = sys_readlinkat(dir, write_path(name, id, "/ns/net"), text,
				 sizeof(text));

	*ino = ret > 0 ? netns__parse_ino(text, (size_t)ret) : 0;
	return netns__is_gone(ret) ? 0 : ret;
}

/* Whether the mount namespace is to be read by the caller; or -ENOMEM. */
static int take_mounts(struct shared *shared, uint64_t ino)
{
	uint64_t *mounts;
	size_t i;
	int ret = 1;

	pthread_mutex_lock(&shared->lock);
	for (i = 0; i < shared->mount_count && ret; i++)
		ret = shared->mounts[i] != ino;
	if (ret) {
		mounts = netns__grow(shared->mounts, &shared->mount_room,
				     shared->mount_count + 1, sizeof(*mounts));
		if (mounts) {
			shared->mounts = mounts;
			mounts[shared->mount_count++] = ino;
		} else {
			ret = -ENOMEM;
		}
	}
	pthread_mutex_unlock(&shared->lock);
	return ret;
}

/* The holders' texts live as long as the scan. */
static int keep_text(struct shared *shared, char *text)
{
	struct text_node *node = sys_alloc(sizeof(*node));

	if (!node) {
		free(text);
		return -ENOMEM;
	}
	node->text = text;
	pthread_mutex_lock(&shared->lock);
	node->next = shared->scan->texts;
	shared->scan->texts = node;
	pthread_mutex_unlock(&shared->lock);
	return 0;
}

static int read_mounts(struct worker *worker, const struct task *task)
{
	struct shared *shared = worker->shared;
	size_t before = worker->found.count;
	char *text = NULL;
	int kept, ret = netns__scan_other_mounts(
			  task->proc, task->folder,
			  task->tid ? task->tid : task->pid, shared->scan->nsfs,
			  &worker->found, &text);

	if (text) {
		kept = keep_text(shared, text);
		if (kept < 0) {
			worker->found.count = before;
			ret = kept;
		}
	}
	return ret;
}

static uint64_t read_mount_ino(int proc, const char *folder)
{
	char path[48], text[64];
	int ret;

	snprintf(path, sizeof(path), "%s/ns/mnt", folder);
	ret = sys_readlinkat(proc, path, text, sizeof(text));
	return ret > 0 ? netns__parse_link("mnt", text, (size_t)ret) : 0;
}

static int list_other_mounts(struct worker *worker, const struct task *task)
{
	uint64_t ino = read_mount_ino(task->proc, task->folder);
	int ret;

	if (!ino || ino == worker->mounts)
		return 0;
	worker->mounts = ino;
	ret = take_mounts(worker->shared, ino);
	if (ret > 0)
		ret = read_mounts(worker, task);
	/* A process that ends meanwhile: the next one in there is not asked. */
	return netns__is_gone(ret) || netns__is_refused(ret) || ret == -EINVAL
		     ? 0
		     : ret;
}

/* What a process holds, or a thread that has a table or mounts of its own. */
static int list_held(struct worker *worker, int32_t pid, int32_t tid,
		     uint64_t ino)
{
	char folder[32];
	struct task task = { .proc = worker->shared->proc,
			     .folder = folder,
			     .pid = pid,
			     .tid = tid,
			     .ino = ino };
	int ret = 0;

	write_path(folder, pid, "");
	if (tid)
		snprintf(folder, sizeof(folder), "%d/task/%d", pid, tid);
	if (!tid || sys_compare_files(pid, tid) > 0)
		ret = netns__scan_descriptors(&task, worker->shared->scan->nsfs,
					      &worker->found);
	return ret < 0 ? ret : list_other_mounts(worker, &task);
}

/* A thread is listed only where it is not in its main thread's namespace. */
static int list_thread(struct worker *worker, int dir, int32_t tid,
		       uint64_t main_ino)
{
	uint64_t ino;
	int ret = read_ino(dir, tid, &ino);

	if (ret < 0)
		return netns__is_refused(ret) ? 0 : ret;
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
	if (netns__is_gone(dir) || netns__is_refused(dir))
		return 0;
	if (dir < 0)
		return dir;
	sys_begin_walk(&walk, dir);
	while (!ret && (entry = sys_next_name(&walk, &walked))) {
		tid = parse_id(entry);
		if (tid <= 0 || tid == pid)
			continue;
		ret = list_thread(worker, dir, tid, main_ino);
		if (!ret && worker->shared->scan->what & NETNS_DESCRIPTORS)
			ret = list_held(worker, pid, tid, main_ino);
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
		return netns__is_gone(ret) || netns__is_refused(ret) ? 0 : ret;
	return st.st_nlink > 3;
}

/* A process whose main thread has ended has no namespace, but threads. */
static int list_process(struct worker *worker, int32_t pid)
{
	int ret, what = worker->shared->scan->what;
	uint64_t ino;

	ret = read_ino(worker->shared->proc, pid, &ino);
	if (netns__is_refused(ret)) {
		worker->hidden++;
		return 0;
	}
	if (ret >= 0 && ino)
		ret = netns__holders_add(&worker->found, ino, HOLDER_PROCESS,
					 pid, NULL);
	if (ret >= 0 && what & NETNS_DESCRIPTORS && pid != getpid())
		ret = list_held(worker, pid, 0, ino);
	if (ret < 0 || !(what & (NETNS_THREADS | NETNS_DESCRIPTORS)))
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

static int collect_found(struct scan *scan, struct worker *workers)
{
	struct holders *found;
	size_t i, kept;
	int w, ret = 0;

	for (w = 0; w <= HELPERS_AT_MOST && !ret; w++) {
		scan->hidden += workers[w].hidden;
		scan->step = workers[w].step;
		ret = workers[w].ret;
		found = &workers[w].found;
		for (i = kept = 0; i < found->count; i++) {
			if (!is_worker(workers, &found->held[i]))
				found->held[kept++] = found->held[i];
		}
		found->count = kept;
		if (!ret) {
			scan->step = NETNS_STEP_ALLOCATE;
			ret = netns__holders_append(&scan->found, found);
		}
	}
	return ret;
}

/*
 * The caller's own descriptors come first, and its own mounts count as read:
 * they are scan_mounts()'s. Later on the table has what the workers have open.
 */
static int list_own(struct worker *worker)
{
	struct shared *shared = worker->shared;
	struct task task = { .proc = shared->proc, .folder = "thread-self" };
	int ret;

	if (!(shared->scan->what & NETNS_DESCRIPTORS))
		return 0;
	task.pid = getpid();
	worker->mounts = read_mount_ino(shared->proc, task.folder);
	ret = take_mounts(shared, worker->mounts);
	return ret < 0 ? ret
		       : netns__scan_descriptors(&task, shared->scan->nsfs,
						 &worker->found);
}

static void walk_processes(struct worker *workers)
{
	int i, started = 0;

	workers[0].ret = list_own(&workers[0]);
	workers[0].step = NETNS_STEP_READ_PROCESSES;
	if (workers[0].ret < 0)
		return;
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
	free(shared.mounts);
	pthread_mutex_destroy(&shared.lock);
	sys_close(shared.proc);
	return ret;
}
