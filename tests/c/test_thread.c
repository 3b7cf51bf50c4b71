/* SPDX-License-Identifier: Apache-2.0 */
/* Threads: each by itself; races of close with enter; forks; nothing is left. */
#include <time.h>

#include "support.h"

#define VISITORS 8
#define ROUNDS	 2000
#define LONGEST	 5 /* seconds; fewer rounds where CPUs are few */
#define RACERS	 3
#define FORKS	 50

static uint64_t home;

static bool is_time_left(const struct timespec *begun, int seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - begun->tv_sec < seconds;
}

/* Many threads are inside at once, each in a namespace of its own. */

struct visitor {
	struct netns *ns;
	pthread_barrier_t *all_inside, *all_checked;
	pid_t tid;
	bool entered, stayed, left;
};

static void *visit(void *argument)
{
	struct visitor *visitor = argument;
	int64_t guard = netns_enter(visitor->ns, fresh());

	visitor->tid = thread_id();
	visitor->entered = good(guard);
	pthread_barrier_wait(visitor->all_inside);
	pthread_barrier_wait(visitor->all_checked);
	visitor->stayed = where() == netns_ino(visitor->ns);
	visitor->left = good(netns_leave(guard, fresh())) && where() == home;
	return NULL;
}

struct crowd {
	struct visitor visitors[VISITORS];
	pthread_t threads[VISITORS];
	pthread_barrier_t all_inside, all_checked;
};

static void gather(struct crowd *crowd)
{
	int i;

	pthread_barrier_init(&crowd->all_inside, NULL, VISITORS + 1);
	pthread_barrier_init(&crowd->all_checked, NULL, VISITORS + 1);
	for (i = 0; i < VISITORS; i++) {
		crowd->visitors[i] =
			(struct visitor) { .ns = make_namespace(),
					   .all_inside = &crowd->all_inside,
					   .all_checked = &crowd->all_checked };
		crowd->threads[i] = start(visit, &crowd->visitors[i]);
	}
	pthread_barrier_wait(&crowd->all_inside);
}

/* How many entered, stayed and left as they should. */
static int disperse(struct crowd *crowd)
{
	int i, count = 0;

	pthread_barrier_wait(&crowd->all_checked);
	for (i = 0; i < VISITORS; i++) {
		pthread_join(crowd->threads[i], NULL);
		count += crowd->visitors[i].entered &&
			 crowd->visitors[i].stayed && crowd->visitors[i].left;
		netns_unref(crowd->visitors[i].ns);
	}
	pthread_barrier_destroy(&crowd->all_inside);
	pthread_barrier_destroy(&crowd->all_checked);
	return count;
}

static void test_own_namespaces(void)
{
	int i, inside = 0, before = count_fds();
	struct crowd crowd;

	gather(&crowd);
	for (i = 0; i < VISITORS; i++)
		inside += where_is_thread(crowd.visitors[i].tid) ==
			  netns_ino(crowd.visitors[i].ns);
	ok(inside == VISITORS, "threads: each is in its own namespace");
	ok(where() == home && where_is_thread(getpid()) == home,
	   "threads: the main one has not moved");
	ok(count_fds() == before + 3 * VISITORS,
	   "threads: two descriptors each, and one for the handle");
	ok(disperse(&crowd) == VISITORS, "threads: all stayed and came home");
	ok(count_fds() == before, "threads: none leaves a descriptor");
}

/* Threads end inside several guards. */
static void *end_inside(void *argument)
{
	struct netns **ns = argument;

	netns_enter(ns[0], fresh());
	netns_enter(ns[1], fresh());
	netns_enter(ns[0], fresh());
	return NULL;
}

static void test_ended_inside(void)
{
	struct netns *ns[2] = { make_namespace(), make_namespace() };
	int i, before = count_fds();

	for (i = 0; i < 16; i++)
		pthread_join(start(end_inside, ns), NULL);
	ok(count_fds() == before,
	   "threads that ended inside leave no descriptor");
	netns_unref(ns[0]);
	netns_unref(ns[1]);
}

/*
 * One thread closes a handle while others enter it. Each round has a new handle;
 * the closer fills the freed number with a descriptor of another namespace.
 */

struct race {
	pthread_barrier_t begin, end;
	struct netns *ns; /* the round's; NULL: no more rounds */
	uint64_t ino;
	atomic_int bodies, refused, elsewhere, lost, unexpected;
};

static void *enter_until_closed(void *argument)
{
	struct race *race = argument;

	for (;;) {
		pthread_barrier_wait(&race->begin);
		if (!race->ns)
			return NULL;
		for (;;) {
			int64_t guard = netns_enter(race->ns, fresh());

			if (guard < 0) {
				if (err.err == EBADF &&
				    err.step == NETNS_STEP_USE_HANDLE)
					race->refused++;
				else
					race->unexpected++;
				break;
			}
			race->elsewhere += where() != race->ino;
			race->bodies++;
			if (netns_leave(guard, fresh()) < 0 || where() != home)
				race->lost++;
		}
		if (where() != home)
			race->lost++;
		pthread_barrier_wait(&race->end);
	}
}

/* Waits until that many more bodies have run. */
static void wait_for_bodies(struct race *race, int more)
{
	int until = race->bodies + more;

	while (race->bodies < until)
		sched_yield();
}

static void test_close_race(void)
{
	struct netns *keep = make_namespace();
	struct netns *others[2] = { make_namespace(), make_namespace() };
	struct race race = { .ino = netns_ino(keep) };
	int i, rounds, reused = 0, before = count_fds();
	pthread_t threads[RACERS];
	struct timespec begun;

	pthread_barrier_init(&race.begin, NULL, RACERS + 1);
	pthread_barrier_init(&race.end, NULL, RACERS + 1);
	for (i = 0; i < RACERS; i++)
		threads[i] = start(enter_until_closed, &race);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (rounds = 0; rounds < ROUNDS && is_time_left(&begun, LONGEST);
	     rounds++) {
		int fd, copies[4], j;

		if (netns_from_fd(netns_fd(keep), &race.ns, &err) < 0)
			bail("netns_from_fd");
		fd = netns_fd(race.ns);
		pthread_barrier_wait(&race.begin);
		wait_for_bodies(&race, rounds % 4);
		netns_close(race.ns);
		for (j = 0; j < 4; j++) {
			copies[j] = fcntl(netns_fd(others[j % 2]),
					  F_DUPFD_CLOEXEC, 0);
			reused += copies[j] == fd;
		}
		pthread_barrier_wait(&race.end);
		for (j = 0; j < 4; j++)
			close(copies[j]);
		netns_unref(race.ns);
	}
	race.ns = NULL;
	pthread_barrier_wait(&race.begin);
	for (i = 0; i < RACERS; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&race.begin);
	pthread_barrier_destroy(&race.end);

	printf("# %d bodies, %d descriptors reused in %d rounds\n", race.bodies,
	       reused, rounds);
	ok(race.elsewhere == 0, "close race: no body ran in another namespace");
	ok(race.lost == 0, "close race: every thread came home each time");
	ok(race.unexpected == 0 && race.refused == RACERS * rounds,
	   "close race: each round ended in EBADF, and nothing else");
	ok(rounds > 0 && race.bodies >= rounds, "close race: bodies did run");
	ok(reused > rounds / 4, "close race: descriptors were reused");
	ok(count_fds() == before, "close race: each was closed once");
	for (i = 0; i < 2; i++)
		netns_unref(others[i]);
	netns_unref(keep);
}

/* Another thread leaves a guard while its own thread makes a namespace. */

struct recall {
	_Atomic int64_t guard;
	atomic_bool stop;
};

/* Leaves each guard after another delay. */
static void *leave_for_another(void *argument)
{
	struct recall *recall = argument;
	int64_t guard, last = 0;
	volatile int spin;
	int delay = 0;

	while (!recall->stop) {
		guard = recall->guard;
		if (guard == last) {
			sched_yield();
			continue;
		}
		for (spin = 0; spin < delay; spin++)
			continue;
		delay = (delay + 37) % 4000;
		netns_leave(guard, fresh());
		last = guard;
	}
	return NULL;
}

static void test_left_while_making_one(void)
{
	struct netns *in = make_namespace(), *made;
	struct recall recall = { 0 };
	int rounds, unexpected = 0;
	struct timespec begun;
	pthread_t thread;
	int64_t guard;
	int ret;

	thread = start(leave_for_another, &recall);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (rounds = 0; rounds < ROUNDS && is_time_left(&begun, 2); rounds++) {
		guard = netns_enter(in, fresh());
		recall.guard = guard;
		ret = netns_new(&made, fresh());
		if (!ret)
			netns_unref(made);
		else if (ret != -EINVAL || err.step != NETNS_STEP_CHECK_ORDER)
			unexpected++;
		netns_leave(guard, fresh());
		if (where() != home)
			break;
	}
	recall.stop = true;
	pthread_join(thread, NULL);
	printf("# %d rounds\n", rounds);
	ok(where() == home, "left while making one: home each time");
	ok(rounds > 0 && !unexpected, "left while making one: or refused");
	netns_unref(in);
}

/* Two threads close one handle: its descriptor is closed once. */

struct closing {
	pthread_barrier_t begin, end;
	struct netns *ns;
};

static void *close_each(void *argument)
{
	struct closing *closing = argument;
	struct netns *ns;

	for (;;) {
		pthread_barrier_wait(&closing->begin);
		ns = closing->ns;
		if (!ns)
			return NULL;
		netns_close(ns);
		netns_unref(ns);
		pthread_barrier_wait(&closing->end);
	}
}

static void test_closed_once(void)
{
	struct netns *keep = make_namespace();
	struct closing closing = { 0 };
	pthread_t threads[2];
	struct timespec begun;
	int i, fd, copy, gone = 0;

	pthread_barrier_init(&closing.begin, NULL, 3);
	pthread_barrier_init(&closing.end, NULL, 3);
	for (i = 0; i < 2; i++)
		threads[i] = start(close_each, &closing);
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (i = 0; i < ROUNDS && is_time_left(&begun, LONGEST); i++) {
		if (netns_from_fd(netns_fd(keep), &closing.ns, &err) < 0)
			bail("netns_from_fd");
		fd = netns_fd(closing.ns);
		netns_ref(closing.ns);
		pthread_barrier_wait(&closing.begin);
		/* Takes the freed number; a second close would close this. */
		while ((copy = fcntl(netns_fd(keep), F_DUPFD_CLOEXEC, fd)) !=
		       fd)
			close(copy);
		pthread_barrier_wait(&closing.end);
		gone += close(fd) < 0;
	}
	closing.ns = NULL;
	pthread_barrier_wait(&closing.begin);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ok(gone == 0, "close by two threads: one descriptor is closed, once");
	pthread_barrier_destroy(&closing.begin);
	pthread_barrier_destroy(&closing.end);
	netns_unref(keep);
}

/* A process forks whose other threads have descriptors and guards. */

struct forked {
	struct netns *in, *other;
	int64_t guard;
	int fds;
};

static int after_fork(void *argument)
{
	struct forked *forked = argument;
	struct netns *seen = NULL;
	int64_t guard;

	must(where() == netns_ino(forked->in));
	/* The child closes two of each other thread; handles stay open. */
	guard = netns_enter(forked->in, fresh());
	must(good(guard) && good(netns_leave(guard, fresh())));
	must(count_fds() <= forked->fds - 2 * VISITORS + 1);
	must(good(netns_current(&seen, fresh())));
	must(netns_ino(seen) == netns_ino(forked->in));
	netns_unref(seen);
	must(good(netns_leave(forked->guard, fresh())));
	must(where() == home);
	must(count_fds() == forked->fds - 2 * VISITORS);
	guard = netns_enter(forked->other, fresh());
	must(good(guard) && where() == netns_ino(forked->other));
	must(good(netns_leave(guard, fresh())) && where() == home);
	must(count_fds() == forked->fds - 2 * VISITORS);
	return 0;
}

static void test_fork(void)
{
	struct forked forked = { .in = make_namespace(),
				 .other = make_namespace() };
	struct crowd crowd;
	int i, inside = 0;

	gather(&crowd);
	forked.guard = netns_enter(forked.in, fresh());
	forked.fds = count_fds();
	ok(in_child(after_fork, &forked) == 0,
	   "fork: the child is right and closes what others' threads kept");
	ok(count_fds() == forked.fds, "fork: the parent keeps its own");
	for (i = 0; i < VISITORS; i++)
		inside += where_is_thread(crowd.visitors[i].tid) ==
			  netns_ino(crowd.visitors[i].ns);
	ok(inside == VISITORS && where() == netns_ino(forked.in),
	   "fork: its threads have not moved");
	ok(good(netns_leave(forked.guard, fresh())) && where() == home,
	   "fork: the parent comes home");
	ok(disperse(&crowd) == VISITORS, "fork: and so do its threads");
	netns_unref(forked.in);
	netns_unref(forked.other);
}

/* A process forks while its threads enter, leave, start and end. */

struct traffic {
	struct netns *ns;
	atomic_bool stop;
	atomic_int bodies, lost;
};

static void *pass_once(void *argument)
{
	struct traffic *traffic = argument;
	int64_t guard = netns_enter(traffic->ns, fresh());

	if (!good(guard) || where() != netns_ino(traffic->ns) ||
	    !good(netns_leave(guard, fresh())) || where() != home)
		traffic->lost++;
	traffic->bodies++;
	return NULL;
}

static void *pass_in_threads(void *argument)
{
	struct traffic *traffic = argument;

	while (!traffic->stop)
		pthread_join(start(pass_once, traffic), NULL);
	return NULL;
}

static int pass_in_child(void *argument)
{
	struct traffic *traffic = argument;
	struct netns *here = NULL;
	int64_t guard = netns_enter(traffic->ns, fresh());

	must(good(guard) && where() == netns_ino(traffic->ns));
	must(good(netns_leave(guard, fresh())) && where() == home);
	must(good(netns_current(&here, fresh())) && netns_ino(here) == home);
	return 0;
}

static void test_fork_in_traffic(void)
{
	struct traffic traffic = { .ns = make_namespace() };
	int i, correct = 0, before = count_fds();
	pthread_t threads[2];

	for (i = 0; i < 2; i++)
		threads[i] = start(pass_in_threads, &traffic);
	while (traffic.bodies < 2)
		sched_yield();
	for (i = 0; i < FORKS; i++)
		correct += in_child(pass_in_child, &traffic) == 0;
	traffic.stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	ok(correct == FORKS, "fork in traffic: %d children are right", FORKS);
	ok(traffic.lost == 0 && traffic.bodies > 0,
	   "fork in traffic: so are the parent's threads");
	ok(count_fds() == before, "fork in traffic: no descriptor is left");
	netns_unref(traffic.ns);
}

/* No thread-specific key is left when the library is first used. */

static int take_every_key(void *argument)
{
	struct netns *ns = NULL;
	pthread_key_t key;

	(void)argument;
	while (pthread_key_create(&key, NULL) == 0)
		continue;
	must(bad(netns_new(&ns, fresh()), EAGAIN, NETNS_STEP_SET_UP_THREAD,
		 ""));
	must(bad((int)netns_tour(fresh()), EAGAIN, NETNS_STEP_SET_UP_THREAD,
		 ""));
	must(!ns && where() == home);
	return 0;
}

int main(void)
{
	int before;

	alarm(SECONDS);
	home = where();
	ok(in_child(take_every_key, NULL) == 0,
	   "no thread-specific key left: refused, at home");
	make_thread_known();
	before = count_fds();
	test_own_namespaces();
	test_ended_inside();
	test_close_race();
	test_closed_once();
	test_left_while_making_one();
	test_fork();
	test_fork_in_traffic();
	ok(count_fds() == before, "no descriptor is left");
	ok(where() == home, "at home");
	return done();
}
