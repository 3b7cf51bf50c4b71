/* SPDX-License-Identifier: Apache-2.0 */
/* Until when what the library remembers of its descriptors holds. */
#include "internal.h"
#include "sys.h"

/*
 * generations
 *
 * Problem: a child of fork(2) has its parent's memory, but not its threads, and
 * a link in /proc that it inherits is still the parent's. A daemon closes every
 * descriptor, and what the library remembers as its own becomes a file of the
 * program's.
 * Rejected: pthread_atfork(3) alone: clone(2) and a raw fork(2) do not run it;
 * getpid(2) and fstat(2) at each call, which cost as much as a readlinkat(2).
 * Solution: one number, the generation, changes with each fork and with each
 * descriptor that is found to be lost. A thread's record and a handle keep the
 * number at which they were last seen to be right, and are looked at again where
 * it has changed. The number lies in a page that the kernel clears in a child
 * (MADV_WIPEONFORK, Linux 4.14), and pthread_atfork(3) clears it before that.
 * What remains: a child that shares its parent's memory (vfork(2)) has the
 * parent's number as well.
 */
#define GENERATION(fork) ((uint32_t)(fork) << 16)
#define FIRST		 GENERATION(1)

static _Atomic uint32_t unwiped = FIRST;
static _Atomic uint32_t last = FIRST; /* this or an ancestor's process had it */
_Atomic uint32_t *netns__generation_word = &unwiped;

static __attribute__((constructor)) void map_generation_word(void)
{
	_Atomic uint32_t *word = sys_map_wiped_page();

	if (!word)
		return;
	atomic_store(word, FIRST);
	netns__generation_word = word;
}

/* 15 bits of forks and 16 of losses: a handle keeps it beside other bits. */
static uint32_t next_fork(uint32_t generation)
{
	uint32_t next = (generation >> 16) + 1;

	return GENERATION(next & INT16_MAX ? next & INT16_MAX : 1);
}

uint32_t netns__begin_generation(void)
{
	uint32_t begun = next_fork(atomic_load(&last)), wiped = 0;

	/* First of all, so that a child of this child has yet another number. */
	atomic_store(&last, begun);
	return atomic_compare_exchange_strong(netns__generation_word, &wiped,
					      begun)
		     ? begun
		     : wiped;
}

void netns__note_fork(void)
{
	atomic_store(netns__generation_word, 0);
}

void netns__note_loss(void)
{
	uint32_t now = netns__generation();
	uint32_t next = (now & GENERATION(INT16_MAX)) | (uint16_t)(now + 1);

	if (atomic_compare_exchange_strong(netns__generation_word, &now, next))
		atomic_store(&last, next);
}
