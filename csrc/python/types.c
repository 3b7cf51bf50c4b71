/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types that the binding has beside cffi's: in C for what the interpreter
 * does around them, and for speed.
 */
#include "binding.h"

void ffi_free(PyObject *obj)
{
	PyTypeObject *type = Py_TYPE(obj);

	((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
	Py_DECREF(type);
}

int ffi_add_type(PyObject *module, const char *name, PyType_Spec *spec,
		 PyTypeObject **type)
{
	/* Once: handles may outlive the module, if it is imported anew. */
	if (!*type)
		*type = (PyTypeObject *)PyType_FromSpec(spec);
	return *type ? PyObject_SetAttrString(module, name, (PyObject *)*type)
		     : -1;
}

int netns__add_types(void)
{
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *module = PyImport_ImportModule("netns._native");
	int ret = -1;

	if (module && !ffi_prepare_do() && !ffi_prepare_sockets() &&
	    !ffi_add_handle(module))
		ret = ffi_add_guards(module);
	Py_XDECREF(module);
	if (ret < 0)
		PyErr_Print();
	PyGILState_Release(state);
	return ret;
}
