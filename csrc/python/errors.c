/* SPDX-License-Identifier: Apache-2.0 */
/* The facade, called from C; and its exceptions, raised by it. */
#include "binding.h"

#include <string.h>

/* Looked up first: importing what is there costs ten times as much. */
PyObject *ffi_module(PyObject *name)
{
	PyObject *module = PyImport_GetModule(name);

	return module || PyErr_Occurred() ? module : PyImport_Import(name);
}

/* The facade's name `function`. */
PyObject *ffi_facade(const char *module, const char *function)
{
	PyObject *name = PyUnicode_FromString(module), *mod, *found;

	mod = name ? ffi_module(name) : NULL;
	Py_XDECREF(name);
	if (!mod)
		return NULL;
	found = PyObject_GetAttrString(mod, function);
	Py_DECREF(mod);
	return found;
}

/* That, called: what runs in Python is off the path. */
PyObject *ffi_call_facade(const char *module, const char *function,
			  const char *format, ...)
{
	PyObject *callable = ffi_facade(module, function);
	PyObject *args = NULL, *result = NULL;
	va_list ap;

	va_start(ap, format);
	if (callable)
		args = Py_VaBuildValue(format, ap);
	va_end(ap);
	if (args)
		result = PyObject_CallObject(callable, args);
	Py_XDECREF(args);
	Py_XDECREF(callable);
	return result;
}

PyObject *ffi_fail(const struct netns_error *err)
{
	PyObject *error =
		ffi_call_facade("netns._errors", "from_native", "(iiy)",
				err->err, err->step, err->path);

	if (error) {
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
		Py_DECREF(error);
	} else if (PyErr_ExceptionMatches(PyExc_ImportError)) {
		/* The interpreter is ending, and imports no more. */
		PyErr_Clear();
		PyErr_Format(PyExc_RuntimeError, "netns: %s: %s",
			     netns_step_text(err->step), strerror(err->err));
	}
	return NULL;
}

/* As ffi_fail(), with an earlier exception, as fetched, as the context. */
PyObject *ffi_fail_behind(const struct netns_error *err, PyObject *type,
			  PyObject *value, PyObject *traceback)
{
	PyObject *new_type, *new_value, *new_traceback;

	PyErr_NormalizeException(&type, &value, &traceback);
	if (traceback)
		PyException_SetTraceback(value, traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	ffi_fail(err);
	PyErr_Fetch(&new_type, &new_value, &new_traceback);
	PyErr_NormalizeException(&new_type, &new_value, &new_traceback);
	PyException_SetContext(new_value, value); /* takes it over */
	PyErr_Restore(new_type, new_value, new_traceback);
	return NULL;
}

/* What is no handle where one is due. */
PyObject *ffi_fail_type(PyObject *value)
{
	PyObject *error = ffi_call_facade("netns._errors", "wrong_type", "(sO)",
					  "a namespace is a NetNS", value);

	if (error) {
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
		Py_DECREF(error);
	}
	return NULL;
}
