/* SPDX-License-Identifier: Apache-2.0 */
/* The facade's exceptions, raised from C. */
#include "binding.h"

#include <string.h>

static PyObject *raise_made(PyObject *error)
{
	if (error) {
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
		Py_DECREF(error);
	}
	return NULL;
}

PyObject *netns__py_raise(const struct netns_error *err)
{
	PyObject *factory = netns__py_handed_over("netns.from_native");

	if (factory)
		return raise_made(PyObject_CallFunction(
			factory, "iiy", err->err, err->step, err->path));
	if (PyErr_Occurred())
		return NULL;
	PyErr_Format(PyExc_RuntimeError, "netns: %s: %s",
		     netns_step_text(err->step), strerror(err->err));
	return NULL;
}

PyObject *netns__py_raise_wrong_type(PyObject *value)
{
	PyObject *factory = netns__py_handed_over("netns.wrong_type");

	if (factory)
		return raise_made(PyObject_CallFunction(
			factory, "sO", "a namespace is a NetNS", value));
	if (!PyErr_Occurred())
		PyErr_SetString(PyExc_TypeError, "a namespace is a NetNS");
	return NULL;
}

/* Gives the exception that is set an earlier one, as of PyErr_Fetch(), as context. */
void netns__py_add_context(PyObject *type, PyObject *value, PyObject *traceback)
{
	PyObject *new_type, *new_value, *new_traceback;

	PyErr_Fetch(&new_type, &new_value, &new_traceback);
	PyErr_NormalizeException(&type, &value, &traceback);
	if (traceback)
		PyException_SetTraceback(value, traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	PyErr_NormalizeException(&new_type, &new_value, &new_traceback);
	PyException_SetContext(new_value, value); /* steals value */
	PyErr_Restore(new_type, new_value, new_traceback);
}

/* Raises err, with an earlier exception as context. */
PyObject *netns__py_raise_during(const struct netns_error *err, PyObject *type,
				 PyObject *value, PyObject *traceback)
{
	netns__py_raise(err);
	netns__py_add_context(type, value, traceback);
	return NULL;
}
