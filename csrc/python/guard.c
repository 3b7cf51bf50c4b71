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
 * the latter place; then the frame drops the guard, whose finalizer leaves. In
 * 3.14 it may at the former place; there __enter__ is the one of _switch.py.
 *
 * With `async with` the same holds for the task's context: what sets the
 * variable that names the namespace, and takes it back, is C as well.
 */
#include "binding.h"

#include <errno.h>

static PyTypeObject *guard_type, *tour_type, *turn_type;

#define ENTERING (-1)

struct guard {
	PyObject_HEAD struct handle *handle; /* NULL: a tour's */
	_Atomic int64_t number;	     /* of the native guard; 0: outside */
	PyObject *variable, *inside; /* `async with`: which, and its value */
	_Atomic(PyObject *) token;   /* there while the context names inside */
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
	state = netns__py_begin_switch(self->guard);
	ret = netns_visit(self->guard, ((struct handle *)handle)->ns, &err);
	netns__py_end_switch(state);
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

/*
 * Leaves if inside. Returns 0, 1 if it was outside, or -1 with *err.
 *
 * Where another thread has left the guard, this one may still be inside: the
 * core is called all the same, with a guard that no thread has, and brings the
 * thread home first.
 */
static int leave(struct guard *self, struct netns_error *err)
{
	int64_t number = atomic_load(&self->number), left;
	PyThreadState *state;
	int ret;

	do {
		left = number > 0 ? number : 0;
	} while (left &&
		 !atomic_compare_exchange_weak(&self->number, &number, 0));
	state = netns__py_begin_switch(left);
	ret = netns_leave(left, err);
	netns__py_end_switch(state);
	if (ret < 0 && left && err->step == NETNS_STEP_ALLOCATE)
		atomic_store(&self->number, left); /* nothing has happened */
	if (!left && ret < 0 && err->step == NETNS_STEP_CHECK_ORDER)
		return 1;
	return ret < 0 ? -1 : 0;
}

static PyObject *guard_enter(PyObject *obj, PyObject *unused)
{
	struct guard *self = (struct guard *)obj;
	PyObject *result, *type, *value, *traceback;
	int64_t outside = 0, number;
	struct netns_error err;

	(void)unused;
	if (!atomic_compare_exchange_strong(&self->number, &outside, ENTERING))
		return raise_order_error();
	number = netns__py_enter((PyObject *)self->handle);
	atomic_store_explicit(&self->number, number < 0 ? 0 : number,
			      memory_order_release);
	if (number < 0)
		return NULL;
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

/*
 * async with
 *
 * What the context names says where the task's steps run, from the next one on;
 * so __aenter__ lets the loop turn once. __aexit__ need not wait: it moves the
 * step that it is called in.
 */

/* Sets the variable of the current context. */
static int enter_context(struct guard *self)
{
	PyObject *none = NULL, *token, *result;

	token = PyObject_CallMethod(self->variable, "set", "O", self->inside);
	if (!token)
		return -1;
	if (atomic_compare_exchange_strong(&self->token, &none, token))
		return 0;
	result = PyObject_CallMethod(self->variable, "reset", "O", token);
	if (result)
		raise_order_error();
	Py_XDECREF(result);
	Py_DECREF(token);
	return -1;
}

enum left { LEFT, NOT_THERE, OTHER_CONTEXT, FAILED };

/* Resets it, and moves the step. Only FAILED comes with an exception. */
static enum left leave_context(struct guard *self)
{
	PyObject *token = atomic_exchange(&self->token, NULL), *result, *outer;
	PyObject *inside;
	int ret;

	if (!token)
		return NOT_THERE;
	inside = self->inside;
	self->inside = NULL;
	result = PyObject_CallMethod(self->variable, "reset", "O", token);
	Py_DECREF(token);
	if (!result) {
		Py_DECREF(inside);
		PyErr_Clear(); /* ValueError */
		return OTHER_CONTEXT;
	}
	Py_DECREF(result);
	outer = PyObject_CallMethod(self->variable, "get", NULL);
	ret = outer ? netns__py_move_step(inside,
					  outer == Py_None ? NULL : outer)
		    : -1;
	Py_XDECREF(outer);
	Py_DECREF(inside);
	return ret < 0 ? FAILED : LEFT;
}

/* For finalizers: nobody is there to be told. */
static void leave_context_quietly(PyObject *obj)
{
	if (leave_context((struct guard *)obj) == FAILED)
		PyErr_WriteUnraisable((PyObject *)Py_TYPE(obj));
}

/* Turn: what __aenter__ and __aexit__ give to await. */
struct turn {
	PyObject_HEAD struct guard *guard; /* NULL: nothing to wait for */
	PyObject *host;
	bool is_waiting;
};

static PyObject *make_turn(struct guard *guard)
{
	struct turn *made = (struct turn *)PyType_GenericAlloc(turn_type, 0);

	if (made && guard) {
		Py_INCREF((PyObject *)guard);
		made->guard = guard;
	}
	return (PyObject *)made;
}

static PyObject *turn_await(PyObject *obj)
{
	Py_INCREF(obj);
	return obj;
}

static PyObject *turn_next(PyObject *obj)
{
	struct turn *self = (struct turn *)obj;
	struct guard *guard = self->guard;
	PyObject *host;

	if (!guard) {
		PyErr_SetObject(PyExc_StopIteration, Py_None);
		return NULL;
	}
	if (!self->is_waiting) {
		host = PyObject_CallMethod(guard->variable, "get", NULL);
		if (!host || enter_context(guard) < 0) {
			Py_XDECREF(host);
			return NULL;
		}
		self->host = host;
		self->is_waiting = true;
		return netns__py_none();
	}
	if (!netns__py_is_step_in(guard->inside))
		return raise_order_error(); /* the finalizer resets */
	if (self->host == Py_None) {
		host = netns__py_host(Py_TYPE((PyObject *)guard->handle));
		if (!host)
			return NULL;
		Py_DECREF(self->host);
		self->host = host;
	}
	PyErr_SetObject(PyExc_StopIteration, self->host);
	self->is_waiting = false;
	self->guard = NULL;
	Py_DECREF((PyObject *)guard);
	return NULL;
}

static int turn_traverse(PyObject *obj, visitproc visit, void *arg)
{
	Py_VISIT((PyObject *)((struct turn *)obj)->guard);
	Py_VISIT((PyObject *)Py_TYPE(obj));
	return 0;
}

/* One that is dropped while it waits was interrupted, or cancelled. */
static void turn_dealloc(PyObject *obj)
{
	struct turn *self = (struct turn *)obj;
	PyObject *type, *value, *traceback;

	PyObject_GC_UnTrack(obj);
	if (self->is_waiting) {
		PyErr_Fetch(&type, &value, &traceback);
		leave_context_quietly((PyObject *)self->guard);
		PyErr_Restore(type, value, traceback);
	}
	Py_XDECREF((PyObject *)self->guard);
	Py_XDECREF(self->host);
	netns__py_free(obj);
}

static PyType_Slot turn_slots[] = {
	{ Py_tp_dealloc, turn_dealloc }, { Py_tp_traverse, turn_traverse },
	{ Py_am_await, turn_await },	 { Py_tp_iter, turn_await },
	{ Py_tp_iternext, turn_next },	 { 0, NULL },
};

static PyType_Spec turn_spec = {
	.name = "netns._native.Turn",
	.basicsize = sizeof(struct turn),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = turn_slots,
};

static PyObject *guard_aenter(PyObject *obj, PyObject *unused)
{
	struct guard *self = (struct guard *)obj;
	PyObject *begun, *variable, *inside, *old_variable, *old_inside;

	(void)unused;
	if (!self->handle)
		return netns__py_raise_wrong_type(obj);
	if (atomic_load(&self->number) || atomic_load(&self->token))
		return raise_order_error();
	begun = netns__py_call_facade("netns.begin_async",
				      (PyObject *)self->handle);
	if (!begun)
		return NULL;
	if (!PyArg_ParseTuple(begun, "OO", &variable, &inside)) {
		Py_DECREF(begun);
		return NULL;
	}
	Py_INCREF(variable);
	Py_INCREF(inside);
	Py_DECREF(begun);
	old_variable = self->variable;
	old_inside = self->inside;
	self->variable = variable;
	self->inside = inside;
	Py_XDECREF(old_variable);
	Py_XDECREF(old_inside);
	return make_turn(self);
}

static PyObject *guard_aexit(PyObject *obj, PyObject *args)
{
	switch (leave_context((struct guard *)obj)) {
	case LEFT:
		return make_turn(NULL);
	case OTHER_CONTEXT:
		/*
		 * So it is when the collector closes the coroutine of a task
		 * that was dropped.
		 */
		if (PyTuple_Size(args) &&
		    PyTuple_GetItem(args, 0) == PyExc_GeneratorExit)
			return make_turn(NULL);
		return raise_order_error();
	case NOT_THERE:
		return raise_order_error();
	default:
		return NULL;
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

static int guard_traverse(PyObject *obj, visitproc visit, void *arg)
{
	Py_VISIT(atomic_load(&((struct guard *)obj)->token));
	Py_VISIT((PyObject *)Py_TYPE(obj));
	return 0;
}

static int guard_clear(PyObject *obj)
{
	Py_XDECREF(atomic_exchange(&((struct guard *)obj)->token, NULL));
	return 0;
}

static void guard_dealloc(PyObject *obj)
{
	struct guard *self = (struct guard *)obj;
	PyObject *type, *value, *traceback;
	struct netns_error err;

	PyObject_GC_UnTrack(obj);
	if (atomic_load(&self->number) > 0 || atomic_load(&self->token)) {
		PyErr_Fetch(&type, &value, &traceback);
		if (leave(self, &err) < 0) {
			netns__py_raise(&err);
			PyErr_WriteUnraisable((PyObject *)Py_TYPE(obj));
		}
		leave_context_quietly(obj);
		PyErr_Restore(type, value, traceback);
	}
	Py_XDECREF((PyObject *)self->handle);
	Py_XDECREF(self->variable);
	Py_XDECREF(self->inside);
	netns__py_free(obj);
}

static PyMethodDef guard_methods[] = {
	{ "__enter__", guard_enter, METH_NOARGS, NULL },
	{ "_enter", guard_enter, METH_NOARGS, NULL },
	{ "__exit__", (PyCFunction)(void (*)(void))guard_exit, METH_FASTCALL,
	  NULL },
	{ "__aenter__", guard_aenter, METH_NOARGS, NULL },
	{ "__aexit__", guard_aexit, METH_VARARGS, NULL },
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
	{ Py_tp_traverse, guard_traverse },
	{ Py_tp_clear, guard_clear },
	{ Py_tp_methods, guard_methods },
	{ Py_tp_getset, guard_properties },
	{ 0, NULL },
};

static PyType_Spec guard_spec = {
	.name = "netns.Guard",
	.basicsize = sizeof(struct guard),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
	.slots = guard_slots,
};

int netns__py_add_guard(PyObject *module)
{
	if (!turn_type)
		turn_type = (PyTypeObject *)PyType_FromSpec(&turn_spec);
	if (!turn_type ||
	    netns__py_add_type(module, "Tour", &tour_spec, &tour_type) < 0)
		return -1;
	return netns__py_add_type(module, "Guard", &guard_spec, &guard_type);
}
