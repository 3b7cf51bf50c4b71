/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NetNS.do: one C function, for nothing can come between its parts then, and
 * for what the interpreter would take to go from one to the next.
 */
#include "binding.h"

static PyObject *code_name, *flags_name;

const char ffi_do_doc[] =
	"do($self, fn, /, *args, **kwargs)\n"
	"--\n"
	"\n"
	"Call ``fn(host, *args, **kwargs)`` inside and return its result.\n"
	"\n"
	"Args:\n"
	"    fn: an ordinary callable. `host` is the namespace that the caller\n"
	"        was in: a handle that is the library's (closing it does\n"
	"        nothing) and valid for as long as it is referenced.\n"
	"\n"
	"Returns:\n"
	"    What fn returns.\n"
	"\n"
	"Raises:\n"
	"    ClosedError: the handle is closed.\n"
	"    InvalidTypeError: fn is a coroutine, generator or async generator\n"
	"        function, whose body would run later, outside.\n"
	"    NotPermittedError: the target may not be entered.\n"
	"    RestoreError: the thread could not be brought home.\n"
	"    Whatever fn raises; the thread is home by then.\n"
	"\n"
	"Thread: the calling thread alone moves; threads started by fn are\n"
	"    born inside and stay there. Where the thread could not come home\n"
	"    afterwards (home is owned by a user namespace in which it may do\n"
	"    nothing), fn runs on a thread made for it instead, with the\n"
	"    caller's context variables.\n"
	"Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.\n"
	"Since: Linux 4.9.\n"
	"Source: setns(2), network_namespaces(7).\n";

#define RUNS_LATER \
	(0x20 | 0x80 | 0x200) /* CO_GENERATOR, COROUTINE, ASYNC_GENERATOR */

/* The last found plain, kept: most who call do() call one body for long. */
static PyObject *_Atomic plain_code;

/* 0 where a call runs fn's body; what is not plain is asked in Python. */
static int check_function(PyObject *fn)
{
	PyObject *code = PyObject_GetAttr(fn, code_name), *flags = NULL, *done;
	long value = RUNS_LATER;

	if (code && code == atomic_load(&plain_code)) {
		Py_DECREF(code);
		return 0;
	}
	if (code)
		flags = PyObject_GetAttr(code, flags_name);
	if (flags)
		value = PyLong_AsLong(flags);
	Py_XDECREF(flags);
	if (!(value & RUNS_LATER)) {
		code = atomic_exchange(&plain_code, code);
		Py_XDECREF(code);
		return 0;
	}
	Py_XDECREF(code);
	PyErr_Clear();
	done = ffi_call_facade("netns._switch", "check_function", "(O)", fn);
	Py_XDECREF(done);
	return done ? 0 : -1;
}

/* Of what do() was called with: first, if any, and those behind fn. */
static PyObject *positional(PyObject *first, PyObject *const *args,
			    Py_ssize_t count)
{
	Py_ssize_t i, skipped = first ? 0 : 1;
	PyObject *made = PyTuple_New(count - skipped), *item;

	for (i = skipped; made && i < count; i++) {
		item = i ? args[i] : first;
		Py_INCREF(item);
		PyTuple_SetItem(made, i - skipped, item);
	}
	return made;
}

/* names: NULL where there are none. */
static PyObject *named(PyObject *names, PyObject *const *values)
{
	PyObject *made = PyDict_New();
	Py_ssize_t i, count = names ? PyTuple_Size(names) : 0;

	for (i = 0; made && i < count; i++) {
		if (PyDict_SetItem(made, PyTuple_GetItem(names, i), values[i]) <
		    0)
			Py_CLEAR(made);
	}
	return made;
}

/* fn(host, ...): the arguments with the host in the function's place. */
static PyObject *call_inside(PyObject *obj, PyObject *const *args,
			     Py_ssize_t count, PyObject *names)
{
	PyObject *came_from = ffi_host(Py_TYPE(obj)), *result = NULL;
	PyObject *given, *kwargs = NULL;

	if (!came_from)
		return NULL;
	if (count == 1 && !names) {
		result = PyObject_CallFunctionObjArgs(args[0], came_from, NULL);
		Py_DECREF(came_from);
		return result;
	}
	given = positional(came_from, args, count);
	if (given)
		kwargs = named(names, args + count);
	if (kwargs)
		result = PyObject_Call(args[0], given, kwargs);
	Py_XDECREF(kwargs);
	Py_XDECREF(given);
	Py_DECREF(came_from);
	return result;
}

static PyObject *do_in_thread(PyObject *obj, PyObject *const *args,
			      Py_ssize_t count, PyObject *names)
{
	PyObject *rest = positional(NULL, args, count), *result = NULL;
	PyObject *kwargs = named(names, args + count);

	if (rest && kwargs)
		result = ffi_call_facade("netns._switch", "run_in_thread",
					 "(OOOO)", obj, args[0], rest, kwargs);
	Py_XDECREF(rest);
	Py_XDECREF(kwargs);
	return result;
}

PyObject *ffi_do(PyObject *obj, PyObject *const *args, Py_ssize_t count,
		 PyObject *names)
{
	PyObject *result, *type, *value, *traceback;
	struct netns_error err;
	int64_t guard;
	int ret;

	if (!count) {
		PyErr_SetString(PyExc_TypeError, "do() takes a function");
		return NULL;
	}
	if (check_function(args[0]) < 0)
		return NULL;
	SWITCH(0, guard = netns_enter(((struct handle *)obj)->ns, &err));
	if (guard < 0)
		return guard == -EPERM && err.step == NETNS_STEP_CHECK_RETURN
			     ? do_in_thread(obj, args, count, names)
			     : ffi_fail(&err);
	result = call_inside(obj, args, count, names);
	SWITCH(guard, ret = netns_leave(guard, &err));
	if (result && ret < 0) {
		Py_DECREF(result);
		return ffi_fail(&err);
	}
	if (ret < 0) {
		PyErr_Fetch(&type, &value, &traceback);
		return ffi_fail_behind(&err, type, value, traceback);
	}
	return result;
}

int ffi_prepare_do(void)
{
	code_name = PyUnicode_InternFromString("__code__");
	flags_name = PyUnicode_InternFromString("co_flags");
	return code_name && flags_name ? 0 : -1;
}
