/* SPDX-License-Identifier: Apache-2.0 */
/*
 * start_thread(fn): fn() on a new kernel thread.
 *
 * Not by _thread.start_new_thread: gevent and eventlet replace that by greenlets
 * of the calling thread, which would then be the one that moves; and CPython 3.12
 * refuses it in atexit's functions.
 */
#include "binding.h"

#include <pythread.h>

struct start {
	PyObject *fn;
	PyInterpreterState *interpreter;
	PyThreadState *state;
	PyThread_type_lock begun; /* free when the thread has its state */
};

static void run(void *arg)
{
	struct start *start = arg;
	PyObject *fn = start->fn, *result;
	PyThreadState *state = PyThreadState_New(start->interpreter);

	start->state = state;
	PyThread_release_lock(start->begun); /* *start is the caller's again */
	if (!state)
		return;
	PyEval_RestoreThread(state);
	result = PyObject_CallFunctionObjArgs(fn, NULL);
	if (!result)
		PyErr_WriteUnraisable(fn);
	Py_XDECREF(result);
	Py_DECREF(fn);
	/*
	 * A new state counts as one PyGILState_Ensure(), so this deletes it: with
	 * the GIL held, or an interpreter that ends could free it at that time.
	 */
	PyGILState_Release(PyGILState_UNLOCKED);
}

/*
 * It waits until the thread has a state of its own: an interpreter that ends
 * knows of its threads by those.
 */
PyObject *netns__py_start_thread(PyObject *module, PyObject *fn)
{
	struct start start = { fn, PyInterpreterState_Get(), NULL, NULL };

	(void)module;
	start.begun = PyThread_allocate_lock();
	if (!start.begun)
		return PyErr_NoMemory();
	Py_INCREF(fn); /* the thread's */
	PyThread_acquire_lock(start.begun, WAIT_LOCK);
	/* PYTHREAD_INVALID_THREAD_ID, which the limited API does not name */
	if (PyThread_start_new_thread(run, &start) != (unsigned long)-1) {
		Py_BEGIN_ALLOW_THREADS PyThread_acquire_lock(start.begun,
							     WAIT_LOCK);
		Py_END_ALLOW_THREADS
	}
	PyThread_release_lock(start.begun);
	PyThread_free_lock(start.begun);
	if (start.state)
		return netns__py_none();
	Py_DECREF(fn);
	PyErr_SetString(PyExc_RuntimeError, "can't start new thread");
	return NULL;
}
