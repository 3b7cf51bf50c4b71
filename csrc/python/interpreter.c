/* SPDX-License-Identifier: Apache-2.0 */
/*
 * None, types and calls, the same under each interpreter that loads the module.
 * What C needs of the facade is handed over once per interpreter, so that
 * nothing here looks into a Python module.
 */
#include "binding.h"

#include <dlfcn.h>
#include <string.h>

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

/* hand_over(key, function): what C calls by that key. */
PyObject *netns__py_hand_over(PyObject *module, PyObject *args)
{
	PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
	PyObject *key, *function;

	(void)module;
	if (!PyArg_ParseTuple(args, "UO:hand_over", &key, &function))
		return NULL;
	if (!dict)
		return PyErr_NoMemory();
	return PyDict_SetItem(dict, key, function) < 0 ? NULL
						       : netns__py_none();
}

/*
 * Borrowed. NULL with no exception set, while the interpreter comes and goes, or
 * with one.
 */
PyObject *netns__py_handed_over(const char *key)
{
	PyObject *dict = PyInterpreterState_GetDict(PyInterpreterState_Get());
	PyObject *function, *name;

	/* Not PyDict_GetItemString(), which drops an interrupt. */
	name = dict ? PyUnicode_FromString(key) : NULL;
	if (!name)
		return NULL;
	function = PyDict_GetItemWithError(dict, name);
	Py_DECREF(name);
	return function;
}

PyObject *netns__py_call_facade(const char *key, PyObject *arg)
{
	PyObject *function = netns__py_handed_over(key);

	if (function)
		return PyObject_CallFunctionObjArgs(function, arg, NULL);
	if (!PyErr_Occurred())
		PyErr_SetString(PyExc_RuntimeError,
				"netns: the facade is not there");
	return NULL;
}

/*
 * PyObject_Vectorcall() is in the limited API since 3.12, and in the interpreter
 * since 3.11. Without it each call makes a tuple, and perhaps a dict.
 */
typedef PyObject *vectorcall(PyObject *callable, PyObject *const *args,
			     size_t count, PyObject *names);
static vectorcall *vectorcall_found;

void netns__py_find_vectorcall(void)
{
	void *symbol = dlsym(RTLD_DEFAULT, "PyObject_Vectorcall");

	memcpy(&vectorcall_found, &symbol, sizeof(symbol));
}

PyObject *netns__py_call(PyObject *callable, PyObject *const *args,
			 Py_ssize_t count, PyObject *names)
{
	Py_ssize_t i, named = names ? PyTuple_Size(names) : 0;
	PyObject *tuple, *dict = NULL, *result = NULL;

	if (vectorcall_found)
		return vectorcall_found(callable, args, (size_t)count, names);
	tuple = PyTuple_New(count);
	if (!tuple)
		return NULL;
	for (i = 0; i < count; i++) {
		Py_INCREF(args[i]);
		PyTuple_SetItem(tuple, i, args[i]);
	}
	if (named && !(dict = PyDict_New()))
		goto out;
	for (i = 0; i < named; i++)
		if (PyDict_SetItem(dict, PyTuple_GetItem(names, i),
				   args[count + i]) < 0)
			goto out;
	result = PyObject_Call(callable, tuple, dict);
out:
	Py_DECREF(tuple);
	Py_XDECREF(dict);
	return result;
}
