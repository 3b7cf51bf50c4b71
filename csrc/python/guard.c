/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NetNS.enter and tour.
 *
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

static PyTypeObject *guard_type, *tour_type;
static PyObject *events_name;

#define ENTERING (-1)

struct guard {
	PyObject_HEAD struct handle *handle; /* NULL: a tour's */
	_Atomic int64_t guard;		     /* 0: outside */
};

/*
 * Tour: what the body of a tour is given. Not the guard itself, which the
 * body's frame would keep from its finalizer.
 */
struct tour {
	PyObject_HEAD int64_t guard;
};

const char ffi_enter_doc[] =
	"enter($self, /)\n"
	"--\n"
	"\n"
	"A context manager whose body runs inside: ``with ns.enter() as host:``.\n"
	"\n"
	"Returns:\n"
	"    A guard, whose ``__enter__`` moves the thread and gives `host` as\n"
	"    for `do`, and whose ``__exit__`` brings it home.\n"
	"\n"
	"Raises (at the start of the body):\n"
	"    ClosedError: the handle is closed.\n"
	"    NotPermittedError: the target may not be entered, or the thread\n"
	"        could not come home (`do` finds a way there).\n"
	"Raises (at its end):\n"
	"    OrderError: another guard of this thread is still inside, or the\n"
	"        guard is left on another thread.\n"
	"    RestoreError: the thread could not be brought home.\n"
	"\n"
	"Thread: the body must end on the thread it began on and must not\n"
	"    await: in between, everything else on that thread is inside. In\n"
	"    asyncio's debug mode such an await is reported to the loop's\n"
	"    exception handler, with the task and the line.\n"
	"Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.\n"
	"Since: Linux 4.9.\n"
	"Source: setns(2).\n";

static PyObject *misused(void)
{
	struct netns_error err;

	err.err = EINVAL;
	err.step = NETNS_STEP_CHECK_ORDER;
	err.path[0] = '\0';
	return ffi_fail(&err);
}

static PyObject *tour_visit(PyObject *obj, PyObject *handle)
{
	struct tour *self = (struct tour *)obj;
	struct netns_error err;
	int ret;

	if (!PyObject_TypeCheck(handle, ffi_handle_type))
		return ffi_fail_type(handle);
	SWITCH(self->guard,
	       ret = netns_visit(self->guard, ((struct handle *)handle)->ns,
				 &err));
	if (ret < 0)
		return ffi_fail(&err);
	Py_RETURN_NONE;
}

static PyMethodDef tour_methods[] = {
	{ "visit", tour_visit, METH_O,
	  "visit(ns): move the thread straight on into another namespace.\n\n"
	  "One setns(2), wherever the thread is now. `netns.tour` tells the "
	  "rest." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot tour_slots[] = {
	{ Py_tp_doc, "What the body of a tour visits namespaces with." },
	{ Py_tp_dealloc, ffi_free },
	{ Py_tp_methods, tour_methods },
	{ 0, NULL },
};

static PyType_Spec tour_spec = {
	.name = "netns._native.Tour",
	.basicsize = sizeof(struct tour),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = tour_slots,
};

static PyObject *new_tour(int64_t guard)
{
	struct tour *made = (struct tour *)PyType_GenericAlloc(tour_type, 0);

	if (made)
		made->guard = guard;
	return (PyObject *)made;
}

/* Leaves if inside. 0, 1 where it was outside, -1 with *err. */
static int leave(struct guard *self, struct netns_error *err)
{
	int64_t guard = atomic_load(&self->guard);
	int ret;

	do {
		if (guard <= 0)
			return 1;
	} while (!atomic_compare_exchange_weak(&self->guard, &guard, 0));
	SWITCH(guard, ret = netns_leave(guard, err));
	return ret < 0 ? -1 : 0;
}

static PyObject *guard_enter(PyObject *obj, PyObject *unused)
{
	struct guard *self = (struct guard *)obj;
	struct netns_error err;
	int64_t outside = 0, guard;
	PyObject *result;

	(void)unused;
	if (!atomic_compare_exchange_strong(&self->guard, &outside, ENTERING))
		return misused();
	SWITCH(0, guard = self->handle ? netns_enter(self->handle->ns, &err)
				       : netns_tour(&err));
	atomic_store(&self->guard, guard < 0 ? 0 : guard);
	if (guard < 0)
		return ffi_fail(&err);
	result = self->handle ? ffi_host(Py_TYPE((PyObject *)self->handle))
			      : new_tour(guard);
	if (!result) {
		PyObject *type, *value, *traceback;

		PyErr_Fetch(&type, &value, &traceback);
		if (leave(self, &err) < 0)
			return ffi_fail_behind(&err, type, value, traceback);
		PyErr_Restore(type, value, traceback);
	}
	return result;
}

static PyObject *guard_exit(PyObject *obj, PyObject *unused)
{
	struct netns_error err;

	(void)unused;
	switch (leave((struct guard *)obj, &err)) {
	case 0:
		Py_RETURN_NONE;
	case 1:
		return misused();
	default:
		return ffi_fail(&err);
	}
}

static PyObject *guard_close(PyObject *obj, PyObject *unused)
{
	struct netns_error err;

	(void)unused;
	if (leave((struct guard *)obj, &err) < 0)
		return ffi_fail(&err);
	Py_RETURN_NONE;
}

static PyObject *guard_active(PyObject *obj, void *unused)
{
	(void)unused;
	return PyBool_FromLong(atomic_load(&((struct guard *)obj)->guard) > 0);
}

/* handle: NULL for a tour's. */
static PyObject *make_guard(PyTypeObject *type, PyObject *handle)
{
	struct guard *self = (struct guard *)PyType_GenericAlloc(type, 0);

	if (self && handle) {
		Py_INCREF(handle);
		self->handle = (struct handle *)handle;
	}
	return (PyObject *)self;
}

/* PyImport_GetModule() would wait for a thread that is importing it. */
static bool is_imported(PyObject *name)
{
	PyObject *modules = PySys_GetObject("modules"); /* borrowed */

	return modules && PyDict_Check(modules) &&
	       PyDict_Contains(modules, name) == 1;
}

/* Found at first use. Its module keeps it: whoever has read it may call it. */
static PyObject *_Atomic watched;

PyObject *ffi_enter(PyObject *obj, PyObject *unused)
{
	PyObject *guard = make_guard(guard_type, obj), *watch, *result = NULL;

	(void)unused;
	if (!guard || !is_imported(events_name))
		return guard;
	watch = atomic_load(&watched);
	if (!watch) {
		watch = ffi_facade("netns._switch", "watched");
		Py_XDECREF(atomic_exchange(&watched, watch));
	}
	if (watch)
		result = PyObject_CallFunctionObjArgs(watch, guard, NULL);
	Py_DECREF(guard);
	return result;
}

static PyObject *guard_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *handle = NULL;

	if (kwargs && PyDict_Size(kwargs)) {
		PyErr_SetString(PyExc_TypeError, "Guard() takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "|O!:Guard", ffi_handle_type, &handle))
		return NULL;
	return make_guard(type, handle);
}

static void guard_dealloc(PyObject *obj)
{
	struct guard *self = (struct guard *)obj;
	PyObject *type, *value, *traceback;
	struct netns_error err;

	if (atomic_load(&self->guard) > 0) {
		PyErr_Fetch(&type, &value, &traceback);
		if (leave(self, &err) < 0) {
			ffi_fail(&err);
			PyErr_WriteUnraisable((PyObject *)Py_TYPE(obj));
		}
		PyErr_Restore(type, value, traceback);
	}
	Py_XDECREF((PyObject *)self->handle);
	ffi_free(obj);
}

static PyMethodDef guard_methods[] = {
	{ "__enter__", guard_enter, METH_NOARGS, NULL },
	{ "__exit__", guard_exit, METH_VARARGS, NULL },
	{ "close", guard_close, METH_NOARGS, "Leave, if inside." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef guard_properties[] = {
	{ "active", guard_active, NULL, "Whether it is inside.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot guard_slots[] = {
	{ Py_tp_doc, "Guard(handle): a body inside, as a context manager "
		     "that gives the host; Guard(): a tour." },
	{ Py_tp_new, guard_new },
	{ Py_tp_dealloc, guard_dealloc },
	{ Py_tp_methods, guard_methods },
	{ Py_tp_getset, guard_properties },
	{ 0, NULL },
};

static PyType_Spec guard_spec = {
	.name = "netns._native.Guard",
	.basicsize = sizeof(struct guard),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = guard_slots,
};

int ffi_add_guards(PyObject *module)
{
	int ret;

	events_name = PyUnicode_InternFromString("asyncio.events");
	if (!events_name)
		return -1;
	ret = ffi_add_type(module, "Tour", &tour_spec, &tour_type);
	return ret < 0
		     ? ret
		     : ffi_add_type(module, "Guard", &guard_spec, &guard_type);
}
