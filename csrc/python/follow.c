/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lets a namespace follow a context: callbacks that run inside, and the
 * methods of an event loop that schedule them so.
 *
 * Problem: a signal handler that raises in a Python function between the loop
 * and a task's step loses that step. The task never goes on, and the collector
 * closes it one day, at home: its clean-up runs in the wrong namespace.
 * Solution: everything between them is one native call, in which no handler
 * runs.
 */
#include "binding.h"

#include <string.h>

/*
 * A callback that runs inside, on the C stack. Leaving `async with` in it moves
 * the thread at once, so that the rest of the step is where it belongs.
 */
struct step {
	PyObject *handle;   /* where the thread is; NULL: home */
	int64_t number;	    /* of the native guard */
	struct netns *home; /* where the thread came from */
	struct step *outer;
};

static _Thread_local struct step *innermost;

bool netns__py_is_step_in(PyObject *handle)
{
	return handle && innermost && innermost->handle == handle;
}

/* Moves the innermost step, if it is in `from`, to another namespace or home. */
int netns__py_move_step(PyObject *from, PyObject *to)
{
	struct step *step = innermost;
	int64_t number;

	if (!step || step->handle != from || to == from)
		return 0;
	number = step->number;
	step->number = 0;
	Py_CLEAR(step->handle);
	if (netns__py_leave(number) < 0)
		return -1;
	if (!to)
		return 0;
	number = netns__py_enter(to);
	if (number < 0)
		return -1;
	Py_INCREF(to);
	step->handle = to;
	step->number = number;
	return 0;
}

/* step_home(): the home of the innermost step, or None outside. */
PyObject *netns__py_step_home(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	if (!innermost || !innermost->handle || !innermost->home)
		return netns__py_none();
	return netns__py_borrow(Py_TYPE(innermost->handle),
				netns_ref(innermost->home));
}

/* Leaves. An exception that is set stays, or is the context of the new one. */
static int leave_step(struct step *step)
{
	innermost = step->outer;
	Py_CLEAR(step->handle);
	netns_unref(step->home);
	return step->number ? netns__py_leave_keeping(step->number) : 0;
}

/* call_inside(ns, callback, *args) */
PyObject *netns__py_call_inside(PyObject *module, PyObject *args)
{
	Py_ssize_t count = PyTuple_Size(args);
	PyObject *rest, *result;
	struct step step;

	(void)module;
	if (count < 2) {
		PyErr_SetString(
			PyExc_TypeError,
			"call_inside() takes a namespace and a callback");
		return NULL;
	}
	step.handle = PyTuple_GetItem(args, 0);
	if (!PyObject_TypeCheck(step.handle, netns__py_handle_type))
		return netns__py_raise_wrong_type(step.handle);
	rest = PyTuple_GetSlice(args, 2, count);
	if (!rest)
		return NULL;
	step.number = netns__py_enter(step.handle);
	if (step.number < 0) {
		Py_DECREF(rest);
		return NULL;
	}
	Py_INCREF(step.handle);
	step.home = NULL;
	netns_host(&step.home, NULL);
	step.outer = innermost;
	innermost = &step;
	result = PyObject_Call(PyTuple_GetItem(args, 1), rest, NULL);
	if (leave_step(&step) < 0)
		Py_CLEAR(result);
	Py_DECREF(rest);
	return result;
}

/*
 * A loop's method that schedules a callback. Its self is what schedule() was
 * given.
 */
enum { VARIABLE, METHOD, LOOP, CONTEXT_AT, STAND_IN, CALL_INSIDE, COUNT };

static PyObject *context_key;

/* The context that is among the arguments; NULL: the current one counts. */
static PyObject *find_context(PyObject *self, PyObject *const *args,
			      Py_ssize_t count, PyObject *names)
{
	Py_ssize_t i, named = names ? PyTuple_Size(names) : 0;
	Py_ssize_t at = PyLong_AsSsize_t(PyTuple_GetItem(self, CONTEXT_AT));
	PyObject *found = at > 0 && at < count ? args[at] : Py_None;

	for (i = 0; i < named; i++) {
		PyObject *name = PyTuple_GetItem(names, i);

		if (name == context_key ||
		    PyUnicode_Compare(name, context_key) == 0)
			found = args[count + i];
	}
	return found == Py_None ? NULL : found;
}

/* The namespace that a context, or the current one, names; NULL if none or error. */
static PyObject *find_namespace(PyObject *variable, PyObject *context)
{
	PyObject *found = NULL;

	if (!context)
		found = PyObject_CallMethod(variable, "get", NULL);
	else if (PySequence_Contains(context, variable) > 0)
		found = PyObject_GetItem(context, variable);
	if (found == Py_None)
		Py_CLEAR(found);
	return found;
}

/* A new reference to the loop; NULL if it is gone, or the method needs none. */
static PyObject *get_loop(PyObject *self)
{
	PyObject *reference = PyTuple_GetItem(self, LOOP), *loop = NULL;

	if (reference == Py_None)
		return NULL;
#ifdef Py_GIL_DISABLED
	if (PyWeakref_GetRef(reference, &loop) == 0)
#else
	loop = PyWeakref_GetObject(reference); /* borrowed */
	Py_XINCREF(loop);
	if (loop == Py_None)
		Py_CLEAR(loop);
	if (!loop && !PyErr_Occurred())
#endif
		PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
	return loop;
}

#define MOST_ON_STACK 8

/* Calls the method, with stand_in for the callback unless that is NULL. */
static PyObject *call_method(PyObject *self, PyObject *const *args,
			     Py_ssize_t count, PyObject *names,
			     PyObject *stand_in)
{
	Py_ssize_t all = count + (names ? PyTuple_Size(names) : 0), used = 0;
	PyObject *on_stack[MOST_ON_STACK], **put = on_stack, *result = NULL;
	PyObject *loop = get_loop(self);

	if (!loop && PyErr_Occurred())
		return NULL;
	if (1 + all > MOST_ON_STACK)
		put = PyMem_Malloc(sizeof(*put) * (size_t)(1 + all));
	if (!put) {
		PyErr_NoMemory();
		goto out;
	}
	if (loop)
		put[used++] = loop;
	memcpy(put + used, args, sizeof(*put) * (size_t)all);
	if (stand_in)
		put[used] = stand_in;
	result = netns__py_call(PyTuple_GetItem(self, METHOD), put,
				used + count, names);
	if (put != on_stack)
		PyMem_Free(put);
out:
	Py_XDECREF(loop);
	return result;
}

static PyObject *scheduled(PyObject *self, PyObject *const *args,
			   Py_ssize_t count, PyObject *names)
{
	PyObject *type = PyTuple_GetItem(self, STAND_IN), *stand_in = NULL;
	PyObject *ns, *result;

	if (count && (PyObject *)Py_TYPE(args[0]) != type) {
		ns = find_namespace(PyTuple_GetItem(self, VARIABLE),
				    find_context(self, args, count, names));
		if (!ns && PyErr_Occurred())
			return NULL;
		if (ns && PyTuple_GetItem(self, CALL_INSIDE) == Py_None) {
			Py_DECREF(ns);
			return netns__py_call(type, args, count, names);
		}
		if (ns) {
			stand_in = PyObject_CallFunctionObjArgs(
				type, PyTuple_GetItem(self, CALL_INSIDE), ns,
				args[0], NULL);
			Py_DECREF(ns);
			if (!stand_in)
				return NULL;
		}
	}
	result = call_method(self, args, count, names, stand_in);
	Py_XDECREF(stand_in);
	return result;
}

static PyMethodDef scheduled_method = {
	"scheduled", (PyCFunction)(void (*)(void))scheduled,
	METH_FASTCALL | METH_KEYWORDS,
	"The loop's own method. A callback whose context names a network "
	"namespace runs inside."
};

/*
 * schedule(variable, method, loop, context_at, stand_in, call_inside): in place of
 * a loop's method that takes a callback first. The loop is a weak reference, for a
 * method that takes it as first argument, or None. The context is at that
 * position, if it is not 0, or a keyword argument. Where it names a namespace,
 * stand_in(call_inside, ns, callback) stands for the callback. With None for
 * call_inside, stand_in is called in the method's place, as for a timer.
 */
PyObject *netns__py_schedule(PyObject *module, PyObject *args)
{
	(void)module;
	if (PyTuple_Size(args) != COUNT ||
	    !PyLong_Check(PyTuple_GetItem(args, CONTEXT_AT))) {
		PyErr_SetString(PyExc_TypeError,
				"schedule() takes six arguments");
		return NULL;
	}
	if (!context_key)
		context_key = PyUnicode_InternFromString("context");
	return context_key ? PyCFunction_New(&scheduled_method, args) : NULL;
}
