/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GIL, around a switch.
 *
 * Problem: a thread that releases the GIL for a switch of a few microseconds
 * stands behind every busy Python thread, for 5 ms each, to get it back.
 * Rejected: never releasing it: a system call may wait where nobody foresaw it.
 * Solution: releasing it is the rule; who asks for it keeps it, in SWITCH()
 * alone, and there only where nothing is locked and no path is looked up.
 */
#include "binding.h"

static atomic_int keep_gil;

int netns__keep_gil(int on)
{
	return atomic_exchange(&keep_gil, on);
}

PyThreadState *ffi_begin_switch(int64_t guard)
{
#ifdef Py_GIL_DISABLED
	/* There is none; a thread that stays attached makes the collector wait. */
	(void)guard;
#else
	if (atomic_load_explicit(&keep_gil, memory_order_relaxed) &&
	    netns_is_prepared(guard))
		return NULL;
#endif
	return PyEval_SaveThread();
}

void ffi_end_switch(PyThreadState *state)
{
	if (state)
		PyEval_RestoreThread(state);
}
