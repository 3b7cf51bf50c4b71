/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The GIL around a switch.
 *
 * Problem: a thread that releases the GIL for a switch of microseconds stands
 * behind every busy Python thread, for 5 ms each, to get it back.
 * Rejected: never releasing it: a system call may wait where nobody expects it.
 * Solution: a switch releases it, unless the program has asked to keep it and
 * the core knows that this switch takes no lock and looks up no path.
 */
#include "binding.h"

static atomic_int keep_gil;

PyObject *netns__py_keep_gil(PyObject *module, PyObject *on)
{
	int value = PyObject_IsTrue(on);

	(void)module;
	return value < 0 ? NULL
			 : PyBool_FromLong(atomic_exchange(&keep_gil, value));
}

/* guard: the one that is left or moved on; 0 to enter. */
PyThreadState *netns__py_begin_switch(int64_t guard)
{
#ifdef Py_GIL_DISABLED
	/* A thread that stays attached would make the collector wait. */
	(void)guard;
#else
	if (atomic_load_explicit(&keep_gil, memory_order_relaxed) &&
	    netns_is_prepared(guard))
		return NULL;
#endif
	return PyEval_SaveThread();
}

void netns__py_end_switch(PyThreadState *state)
{
	if (state)
		PyEval_RestoreThread(state);
}

/* Enters; returns the guard's number, or -1 with an exception set. */
int64_t netns__py_enter(PyObject *handle)
{
	PyThreadState *state = netns__py_begin_switch(0);
	struct netns_error err;
	int64_t number;

	number = netns_enter(((struct handle *)handle)->ns, &err);
	netns__py_end_switch(state);
	if (number < 0)
		netns__py_raise(&err);
	return number;
}

/* Returns 0, or -1 with an exception set. */
int netns__py_leave(int64_t number)
{
	PyThreadState *state = netns__py_begin_switch(number);
	struct netns_error err;
	int ret;

	ret = netns_leave(number, &err);
	netns__py_end_switch(state);
	if (ret < 0)
		netns__py_raise(&err);
	return ret < 0 ? -1 : 0;
}
