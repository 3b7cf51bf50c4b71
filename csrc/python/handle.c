/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handle: the memory of a native handle, which is freed with the object and not
 * sooner. The object is there before a native call fills it, so that an
 * interrupt behind the call loses nothing.
 */
#include "binding.h"

#include <structmember.h>

PyTypeObject *netns__py_handle_type;
static PyObject *host_key;

static bool is_set(PyObject *member)
{
	return member && member != Py_None;
}

/* As __repr__, which is Python's: an interrupt in it would be lost here. */
static int warn_unclosed(struct handle *self)
{
	PyObject *label = is_set(self->name) ? self->name : self->where;
	unsigned long long ino = netns_ino(self->ns);

	return is_set(label)
		     ? PyErr_ResourceWarning((PyObject *)self, 1,
					     "unclosed <NetNS %R net:[%llu]>",
					     label, ino)
		     : PyErr_ResourceWarning((PyObject *)self, 1,
					     "unclosed <NetNS net:[%llu]>",
					     ino);
}

/*
 * The finalizer only warns. If it closed, an object in the same cycle of
 * garbage could still use the handle. It is in C, because the interpreter
 * discards an interrupt that is raised in a __del__.
 */
static void handle_finalize(PyObject *obj)
{
	struct handle *self = (struct handle *)obj;
	PyObject *type, *value, *traceback;

	if (self->is_borrowed || netns_is_closed(self->ns))
		return;
	PyErr_Fetch(&type, &value, &traceback);
	if (warn_unclosed(self) < 0)
		PyErr_WriteUnraisable(obj);
	PyErr_Restore(type, value, traceback);
}

static void handle_dealloc(PyObject *obj)
{
	struct handle *self = (struct handle *)obj;

	if (netns_is_closed(self->ns)) {
		netns_unref(self->ns); /* only memory to free */
	} else {
		Py_BEGIN_ALLOW_THREADS netns_unref(self->ns);
		Py_END_ALLOW_THREADS
	}
	Py_XDECREF(self->name);
	Py_XDECREF(self->where);
	netns__py_free(obj);
}

static PyObject *handle_address(PyObject *obj, void *unused)
{
	(void)unused;
	return PyLong_FromVoidPtr(&((struct handle *)obj)->ns);
}

static PyGetSetDef handle_properties[] = {
	{ "_address", handle_address, NULL, "Of the struct netns *, as an int.",
	  NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyObject *handle_close(PyObject *obj, PyObject *unused)
{
	struct handle *self = (struct handle *)obj;

	(void)unused;
	if (!self->is_borrowed) {
		Py_BEGIN_ALLOW_THREADS netns_close(self->ns);
		Py_END_ALLOW_THREADS
	}
	return netns__py_none();
}

static PyMethodDef handle_methods[] = {
	{ "_close", handle_close, METH_NOARGS, NULL },
	{ NULL, NULL, 0, NULL },
};

static PyMemberDef handle_members[] = {
	{ "_name", T_OBJECT, offsetof(struct handle, name), 0, NULL },
	{ "_where", T_OBJECT, offsetof(struct handle, where), 0, NULL },
	{ "_borrowed", T_BOOL, offsetof(struct handle, is_borrowed), 0, NULL },
	{ NULL, 0, 0, 0, NULL },
};

/* Owns the reference; closing the object does nothing. */
PyObject *netns__py_borrow(PyTypeObject *type, struct netns *host)
{
	struct handle *made = (struct handle *)PyType_GenericAlloc(type, 0);

	if (!made) {
		netns_unref(host);
		return NULL;
	}
	made->is_borrowed = 1;
	made->ns = host;
	return (PyObject *)made;
}

/*
 * The host of the calling thread's innermost guard, a new reference. For the
 * outermost guard it is one object while the thread's home is the same; the
 * interpreter's dict of the thread keeps it, and so pins no more than the
 * thread does. For an inner guard it is made anew, because it must not outlive
 * the outer one.
 */
PyObject *netns__py_host(PyTypeObject *type)
{
	struct netns *host = NULL;
	struct netns_error err;
	PyObject *dict, *made;
	int is_outermost = netns_host(&host, &err);

	if (is_outermost < 0)
		return netns__py_raise(&err);
	dict = is_outermost ? PyThreadState_GetDict() : NULL; /* borrowed */
	if (!dict)
		return netns__py_borrow(type, host);
	made = PyDict_GetItemWithError(dict, host_key); /* borrowed */
	if (made && Py_TYPE(made) == type &&
	    ((struct handle *)made)->ns == host) {
		Py_INCREF(made);
		netns_unref(host);
		return made;
	}
	if (PyErr_Occurred()) {
		netns_unref(host);
		return NULL;
	}
	made = netns__py_borrow(type, host);
	if (made && PyDict_SetItem(dict, host_key, made) < 0)
		Py_CLEAR(made);
	return made;
}

/* forget_host(): for a thread that has moved for good. */
PyObject *netns__py_forget_host(PyObject *module, PyObject *unused)
{
	PyObject *dict = PyThreadState_GetDict(); /* borrowed */
	int found = dict ? PyDict_Contains(dict, host_key) : 0;

	(void)module;
	(void)unused;
	if (found < 0 || (found && PyDict_DelItem(dict, host_key) < 0))
		return NULL;
	return netns__py_none();
}

static PyType_Slot handle_slots[] = {
	{ Py_tp_doc, "The memory of a native handle." },
	{ Py_tp_new, PyType_GenericNew },
	{ Py_tp_finalize, handle_finalize },
	{ Py_tp_dealloc, handle_dealloc },
	{ Py_tp_methods, handle_methods },
	{ Py_tp_getset, handle_properties },
	{ Py_tp_members, handle_members },
	{ 0, NULL },
};

static PyType_Spec handle_spec = {
	.name = "netns._native.Handle",
	.basicsize = sizeof(struct handle),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
	.slots = handle_slots,
};

int netns__py_add_handle(PyObject *module)
{
	if (!host_key)
		host_key = PyUnicode_InternFromString("netns.host");
	return host_key ? netns__py_add_type(module, "Handle", &handle_spec,
					     &netns__py_handle_type)
			: -1;
}
