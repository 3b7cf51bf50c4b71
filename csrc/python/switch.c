/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A switch with the GIL around it, and the call of a function inside.
 *
 * Problem: a thread that releases the GIL for a switch of microseconds stands
 * behind every busy Python thread, for 5 ms each, to get it back.
 * Rejected: never releasing it: a system call may wait where nobody expects it.
 * Solution: a switch releases it, unless the program has asked to keep it and
 * the core knows that this switch takes no lock and looks up no path.
 */
#include "binding.h"

#include <errno.h>

static atomic_int keep_gil;
static PyObject *refused; /* what do_inside() returns in place of a result */
static PyObject *code_key, *flags_key;

/* Of code that a call only begins: CO_GENERATOR, _COROUTINE, _ASYNC_GENERATOR. */
#define RUNS_LATER (0x20 | 0x80 | 0x200)

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

static int64_t enter(PyObject *handle, struct netns_error *err)
{
	PyThreadState *state = netns__py_begin_switch(0);
	int64_t number = handle
			       ? netns_enter(((struct handle *)handle)->ns, err)
			       : netns_tour(err);

	netns__py_end_switch(state);
	return number;
}

/*
 * Enters, or without a handle begins a tour; returns the guard's number, or -1
 * with an exception set.
 */
int64_t netns__py_enter(PyObject *handle)
{
	struct netns_error err;
	int64_t number = enter(handle, &err);

	if (number < 0)
		netns__py_raise(&err);
	return number;
}

/*
 * As netns__py_enter(), but 0 where the return would be refused. Not inlined:
 * the error would take 4 KiB of the stack below every body.
 */
static __attribute__((noinline)) int64_t enter_if_returnable(PyObject *handle)
{
	struct netns_error err;
	int64_t number = enter(handle, &err);

	if (number >= 0)
		return number;
	if (err.err == EPERM && err.step == NETNS_STEP_CHECK_RETURN)
		return 0;
	netns__py_raise(&err);
	return -1;
}

/* Returns 0, or -1 with an exception set. */
__attribute__((noinline)) int netns__py_leave(int64_t number)
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

/* Leaves. An exception that is set stays, or is the context of the new one. */
int netns__py_leave_keeping(int64_t number)
{
	PyObject *type, *value, *traceback;
	int ret;

	PyErr_Fetch(&type, &value, &traceback);
	ret = netns__py_leave(number);
	if (ret < 0 && type)
		netns__py_add_context(type, value, traceback);
	else if (ret == 0)
		PyErr_Restore(type, value, traceback);
	return ret;
}

/*
 * Refuses a function whose body would run outside. One written in Python is seen
 * to be none here; the facade looks at everything else, and words the refusal.
 */
static int check_function(PyObject *fn)
{
	PyObject *code = PyObject_GetAttr(fn, code_key), *result;
	PyObject *flags = code ? PyObject_GetAttr(code, flags_key) : NULL;
	long value = flags ? PyLong_AsLong(flags) : -1;

	Py_XDECREF(code);
	Py_XDECREF(flags);
	if (value >= 0 && !(value & RUNS_LATER))
		return 0;
	if (PyErr_Occurred()) {
		if (!PyErr_ExceptionMatches(PyExc_AttributeError))
			return -1;
		PyErr_Clear();
	}
	result = netns__py_call_facade("netns.check_function", fn);
	Py_XDECREF(result);
	return result ? 0 : -1;
}

#define MOST_ON_STACK 8

/* fn(host, *args, **kwargs), where the last two may be empty. */
static PyObject *call_with_host(PyObject *fn, PyObject *host, PyObject *args,
				PyObject *kwargs)
{
	Py_ssize_t i, count = PyTuple_Size(args);
	PyObject *on_stack[MOST_ON_STACK], *all, *arg, *result;

	if (count < MOST_ON_STACK && !PyDict_Size(kwargs)) {
		on_stack[0] = host;
		for (i = 0; i < count; i++)
			on_stack[i + 1] = PyTuple_GetItem(args, i);
		return netns__py_call(fn, on_stack, count + 1, NULL);
	}
	all = PyTuple_New(count + 1);
	if (!all)
		return NULL;
	Py_INCREF(host);
	PyTuple_SetItem(all, 0, host);
	for (i = 0; i < count; i++) {
		arg = PyTuple_GetItem(args, i);
		Py_INCREF(arg);
		PyTuple_SetItem(all, i + 1, arg);
	}
	result = PyObject_Call(fn, all, kwargs);
	Py_DECREF(all);
	return result;
}

/*
 * do_inside(ns, fn, args, kwargs): fn(host, *args, **kwargs) inside, or REFUSED
 * where the thread would not be allowed to return. In C, because no signal handler
 * may raise between the enter, the call and the leave.
 */
PyObject *netns__py_do_inside(PyObject *module, PyObject *const *args,
			      Py_ssize_t count)
{
	PyObject *host, *result;
	int64_t number;

	(void)module;
	if (count != 4 || !PyTuple_Check(args[2]) || !PyDict_Check(args[3]) ||
	    !PyObject_TypeCheck(args[0], netns__py_handle_type)) {
		PyErr_SetString(PyExc_TypeError,
				"do_inside() takes a namespace, a function, a "
				"tuple and a dict");
		return NULL;
	}
	number = check_function(args[1]);
	if (!number)
		number = enter_if_returnable(args[0]);
	if (number < 0)
		return NULL;
	if (!number) {
		Py_INCREF(refused);
		return refused;
	}
	host = netns__py_host(Py_TYPE(args[0]));
	result = host ? call_with_host(args[1], host, args[2], args[3]) : NULL;
	if (result ? netns__py_leave(number) < 0
		   : netns__py_leave_keeping(number) < 0)
		Py_CLEAR(result);
	Py_XDECREF(host);
	return result;
}

int netns__py_add_switch(PyObject *module)
{
	if (!refused)
		refused = PyObject_CallObject((PyObject *)&PyBaseObject_Type,
					      NULL);
	if (!code_key)
		code_key = PyUnicode_InternFromString("__code__");
	if (!flags_key)
		flags_key = PyUnicode_InternFromString("co_flags");
	if (!refused || !code_key || !flags_key)
		return -1;
	if (PyModule_AddIntConstant(module, "RUNS_LATER", RUNS_LATER) < 0)
		return -1;
	return PyObject_SetAttrString(module, "REFUSED", refused);
}
