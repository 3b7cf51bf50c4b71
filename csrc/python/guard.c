/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guard: the context manager around a body in another namespace, or around a
 * tour of many.
 *
 * Problem: a Python signal handler may raise (KeyboardInterrupt) wherever the
 * interpreter looks for signals: at the start of every Python function and
 * behind every call. With __enter__ and __exit__ written in Python it can raise
 * between the native enter and the place where its result is kept, and at the
 * start of __exit__, before the native leave; the thread would stay inside.
 *
 * Rejected: try/finally around the native calls (does not help a `with` in the
 * caller's frame); masking signals (the body wants them); a finalizer alone (the
 * traceback keeps the guard, and the thread inside, until it is dropped).
 *
 * Solution: __enter__ and __exit__ are C functions, in which no signal handler
 * runs. (Where they call Python, to make an exception, one may; by then the
 * thread's state is settled.) From CPython 3.10 on the interpreter does not look
 * for signals between the return of __enter__ and the block that calls
 * __exit__, nor between the end of that block and the call. In 3.9 it may at
 * the latter place; then the frame drops the guard, whose finalizer leaves.
 */
#include "binding.h"

#include <errno.h>

/*
 * The GIL around a switch
 *
 * Problem: a thread that releases the GIL for a switch of microseconds stands
 * behind every busy Python thread, for 5 ms each, to get it back.
 * Rejected: never releasing it: a system call may wait where nobody expects it.
 * Solution: a switch releases it, unless the program has asked to keep it and
 * the core knows that this switch takes no lock and looks up no path.
 */
static atomic_int keep_gil;

PyObject *netns__py_keep_gil(PyObject *module, PyObject *on)
{
	int value = PyObject_IsTrue(on);

	(void)module;
	return value < 0 ? NULL
			 : PyBool_FromLong(atomic_exchange(&keep_gil, value));
}

/* guard: the one that is left or moved on; 0 to enter. */
static PyThreadState *begin_switch(int64_t guard)
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

static void end_switch(PyThreadState *state)
{
	if (state)
		PyEval_RestoreThread(state);
}

static PyTypeObject *guard_type, *tour_type;

#define ENTERING (-1)

struct guard {
	PyObject_HEAD struct handle *handle; /* NULL: a tour's */
	_Atomic int64_t number; /* of the native guard; 0: outside */
};

/*
 * Tour: the visits of a tour's body. It is not the guard itself, because the
 * body's frame would keep that from its finalizer.
 */
struct tour {
	PyObject_HEAD int64_t guard;
};

static PyObject *raise_order_error(void)
{
	struct netns_error err;

	err.err = EINVAL;
	err.step = NETNS_STEP_CHECK_ORDER;
	err.path[0] = '\0';
	return netns__py_raise(&err);
}

static PyObject *refuse_new(PyTypeObject *type, PyObject *args,
			    PyObject *kwargs)
{
	(void)type;
	(void)args;
	(void)kwargs;
	PyErr_SetString(PyExc_TypeError,
			"NetNS.enter() and netns.tour() make these");
	return NULL;
}

static PyObject *tour_visit(PyObject *obj, PyObject *handle)
{
	struct tour *self = (struct tour *)obj;
	struct netns_error err;
	PyThreadState *state;
	int ret;

	if (!PyObject_TypeCheck(handle, netns__py_handle_type))
		return netns__py_raise_wrong_type(handle);
	state = begin_switch(self->guard);
	ret = netns_visit(self->guard, ((struct handle *)handle)->ns, &err);
	end_switch(state);
	return ret < 0 ? netns__py_raise(&err) : netns__py_none();
}

static PyMethodDef tour_methods[] = {
	{ "visit", tour_visit, METH_O,
	  "visit($self, ns, /)\n--\n\n"
	  "Move the thread straight on into another namespace.\n\n"
	  "One setns(2), wherever the thread is now; `netns.tour` has the rest." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot tour_slots[] = {
	{ Py_tp_doc, "The visits of a tour; `netns.tour` makes it." },
	{ Py_tp_new, refuse_new },
	{ Py_tp_dealloc, netns__py_free },
	{ Py_tp_methods, tour_methods },
	{ 0, NULL },
};

static PyType_Spec tour_spec = {
	.name = "netns.Tour",
	.basicsize = sizeof(struct tour),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = tour_slots,
};

static PyObject *make_tour(int64_t guard)
{
	struct tour *made = (struct tour *)PyType_GenericAlloc(tour_type, 0);

	if (made)
		made->guard = guard;
	return (PyObject *)made;
}

/* Leaves if inside. Returns 0, 1 if it was outside, or -1 with *err. */
static int leave(struct guard *self, struct netns_error *err)
{
	int64_t number = atomic_load(&self->number);
	PyThreadState *state;
	int ret;

	do {
		if (number <= 0)
			return 1;
	} while (!atomic_compare_exchange_weak(&self->number, &number, 0));
	state = begin_switch(number);
	ret = netns_leave(number, err);
	end_switch(state);
	return ret < 0 ? -1 : 0;
}

static PyObject *guard_enter(PyObject *obj, PyObject *unused)
{
	struct guard *self = (struct guard *)obj;
	PyObject *result, *type, *value, *traceback;
	int64_t outside = 0, number;
	struct netns_error err;
	PyThreadState *state;

	(void)unused;
	if (!atomic_compare_exchange_strong(&self->number, &outside, ENTERING))
		return raise_order_error();
	state = begin_switch(0);
	number = self->handle ? netns_enter(self->handle->ns, &err)
			      : netns_tour(&err);
	end_switch(state);
	atomic_store_explicit(&self->number, number < 0 ? 0 : number,
			      memory_order_release);
	if (number < 0)
		return netns__py_raise(&err);
	result = self->handle
		       ? netns__py_host(Py_TYPE((PyObject *)self->handle))
		       : make_tour(number);
	if (result)
		return result;
	PyErr_Fetch(&type, &value, &traceback);
	if (leave(self, &err) < 0)
		return netns__py_raise_during(&err, type, value, traceback);
	PyErr_Restore(type, value, traceback);
	return NULL;
}

static PyObject *guard_exit(PyObject *obj, PyObject *const *args,
			    Py_ssize_t count)
{
	struct netns_error err;

	(void)args;
	(void)count;
	switch (leave((struct guard *)obj, &err)) {
	case 0:
		return netns__py_none();
	case 1:
		return raise_order_error();
	default:
		return netns__py_raise(&err);
	}
}

static PyObject *guard_close(PyObject *obj, PyObject *unused)
{
	struct netns_error err;

	(void)unused;
	return leave((struct guard *)obj, &err) < 0 ? netns__py_raise(&err)
						    : netns__py_none();
}

static PyObject *guard_active(PyObject *obj, void *unused)
{
	(void)unused;
	return PyBool_FromLong(atomic_load(&((struct guard *)obj)->number) > 0);
}

/* handle: NULL for a tour's. */
static PyObject *make_guard(PyObject *handle)
{
	struct guard *self = (struct guard *)PyType_GenericAlloc(guard_type, 0);

	if (self && handle) {
		Py_INCREF(handle);
		self->handle = (struct handle *)handle;
	}
	return (PyObject *)self;
}

/* guard(handle): a guard of a body in its namespace. */
PyObject *netns__py_guard(PyObject *module, PyObject *handle)
{
	(void)module;
	if (!PyObject_TypeCheck(handle, netns__py_handle_type))
		return netns__py_raise_wrong_type(handle);
	return make_guard(handle);
}

/* tour_guard(): a guard of a tour. */
PyObject *netns__py_tour_guard(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return make_guard(NULL);
}

static void guard_dealloc(PyObject *obj)
{
	struct guard *self = (struct guard *)obj;
	PyObject *type, *value, *traceback;
	struct netns_error err;

	if (atomic_load(&self->number) > 0) {
		PyErr_Fetch(&type, &value, &traceback);
		if (leave(self, &err) < 0) {
			netns__py_raise(&err);
			PyErr_WriteUnraisable((PyObject *)Py_TYPE(obj));
		}
		PyErr_Restore(type, value, traceback);
	}
	Py_XDECREF((PyObject *)self->handle);
	netns__py_free(obj);
}

static PyMethodDef guard_methods[] = {
	{ "__enter__", guard_enter, METH_NOARGS, NULL },
	{ "__exit__", (PyCFunction)(void (*)(void))guard_exit, METH_FASTCALL,
	  NULL },
	{ "close", guard_close, METH_NOARGS,
	  "close($self, /)\n--\n\nLeave, if inside." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef guard_properties[] = {
	{ "active", guard_active, NULL, "Whether it is inside.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot guard_slots[] = {
	{ Py_tp_doc,
	  "The way into a namespace and home again: `NetNS.enter` makes it." },
	{ Py_tp_new, refuse_new },
	{ Py_tp_dealloc, guard_dealloc },
	{ Py_tp_methods, guard_methods },
	{ Py_tp_getset, guard_properties },
	{ 0, NULL },
};

static PyType_Spec guard_spec = {
	.name = "netns.Guard",
	.basicsize = sizeof(struct guard),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = guard_slots,
};

int netns__py_add_guard(PyObject *module)
{
	int ret = netns__py_add_type(module, "Tour", &tour_spec, &tour_type);

	return ret < 0 ? ret
		       : netns__py_add_type(module, "Guard", &guard_spec,
					    &guard_type);
}
