/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The facade's exceptions, raised from C. The facade hands their factories over
 * once per interpreter, so that nothing here looks for them by name.
 */
#include "binding.h"

#include <string.h>

#define ERRORS_KEY "netns.errors"
#define BEGIN_KEY  "netns.begin_async"

/*
 * Py_RETURN_NONE of the headers of 3.12 and of early 3.13 takes no reference,
 * which frees None under an older interpreter that loads the same module.
 */
PyObject *netns__py_none(void)
{
	Py_INCREF(Py_None);
	return Py_None;
}

void netns__py_free(PyObject *obj)
{
	PyTypeObject *type = Py_TYPE(obj);

	((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
	Py_DECREF(type);
}

/* A second import of the module gets the types of the first: objects outlive it. */
int netns__py_add_type(PyObject *module, const char *name, PyType_Spec *spec,
		       PyTypeObject **type)
{
	if (!*type)
		*type = (PyTypeObject *)PyType_FromSpec(spec);
	return *type ? PyObject_SetAttrString(module, name, (PyObject *)*type)
		     : -1;
}

/* hand_over(from_native, wrong_type): what makes the facade's exceptions. */
PyObject *netns__py_hand_over(PyObject *module, PyObject *args)
{
	PyObject *dict, *from_native, *wrong_type;

	(void)module;
	if (!PyArg_ParseTuple(args, "OO:hand_over", &from_native, &wrong_type))
		return NULL;
	dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
	if (!dict)
		return PyErr_NoMemory();
	if (PyDict_SetItemString(dict, ERRORS_KEY, args) < 0)
		return NULL;
	return netns__py_none();
}

/* hand_over_async(begin): what makes a task's event loop follow its context. */
PyObject *netns__py_hand_over_async(PyObject *module, PyObject *begin)
{
	PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());

	(void)module;
	if (!dict)
		return PyErr_NoMemory();
	if (PyDict_SetItemString(dict, BEGIN_KEY, begin) < 0)
		return NULL;
	return netns__py_none();
}

/* begin(handle): a new reference to (variable, namespace). */
PyObject *netns__py_begin_async(PyObject *handle)
{
	PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
	PyObject *begin = dict ? PyDict_GetItemString(dict, BEGIN_KEY) : NULL;

	if (begin)
		return PyObject_CallFunctionObjArgs(begin, handle, NULL);
	PyErr_SetString(PyExc_RuntimeError, "netns: the facade is not there");
	return NULL;
}

/* A borrowed factory of exceptions; NULL while the interpreter comes and goes. */
static PyObject *error_factory(Py_ssize_t index)
{
	PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
	PyObject *errors = NULL, *name;

	/* Not PyDict_GetItemString(), which drops an interrupt. */
	name = dict ? PyUnicode_FromString(ERRORS_KEY) : NULL;
	if (name) {
		errors = PyDict_GetItemWithError(dict, name); /* borrowed */
		Py_DECREF(name);
	}
	return errors ? PyTuple_GetItem(errors, index) : NULL;
}

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
	PyObject *factory = error_factory(0);

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
	PyObject *factory = error_factory(1);

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
