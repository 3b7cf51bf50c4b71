/* SPDX-License-Identifier: Apache-2.0 */
/* socket.socket objects around what the core makes inside. */
#include <unistd.h>

#include "ffi_binding.h"

static PyObject *socket_name, *new_name, *init_name;

/*
 * Problem: a descriptor that a native call has returned belongs to nobody until
 * a socket.socket has it, and a signal handler may raise in between; closing it
 * then would close it twice if the socket has it already.
 * Solution: the empty socket is made first, and fed from here, where handlers
 * run only in socket.socket.__init__ itself; fileno() tells who the owner is.
 *
 * Family, type and protocol are the arguments from `first` on.
 */
static int feed(PyObject *sock, PyObject *class, PyObject *args,
		Py_ssize_t first, int fd)
{
	PyObject *exception, *value, *traceback, *number, *fed = NULL, *owned;

	number = PyLong_FromLong(fd);
	if (number)
		fed = PyObject_CallMethodObjArgs(
			class, init_name, sock, PyTuple_GetItem(args, first),
			PyTuple_GetItem(args, first + 1),
			PyTuple_GetItem(args, first + 2), number, NULL);
	Py_XDECREF(number);
	if (fed) {
		Py_DECREF(fed);
		return 0;
	}
	PyErr_Fetch(&exception, &value, &traceback);
	owned = PyObject_CallMethod(sock, "fileno", NULL);
	if (!owned || PyLong_AsLong(owned) != fd)
		close(fd);
	Py_XDECREF(owned);
	PyErr_Restore(exception, value, traceback);
	return -1;
}

static PyObject *socket_class(void)
{
	PyObject *module = ffi_module(socket_name), *class;

	if (!module)
		return NULL;
	class = PyObject_GetAttr(module, socket_name);
	Py_DECREF(module);
	return class;
}

static PyObject *empty_socket(PyObject *class)
{
	return PyObject_CallMethodObjArgs(class, new_name, class, NULL);
}

PyObject *ffi_socket(PyObject *obj, PyObject *args)
{
	struct netns *ns = ((struct handle *)obj)->ns;
	PyObject *class, *sock = NULL;
	int family, type, protocol, fd;
	struct netns_error err;

	if (!PyArg_ParseTuple(args, "iii", &family, &type, &protocol))
		return NULL;
	class = socket_class();
	if (class)
		sock = empty_socket(class);
	if (!sock)
		goto out;
	Py_BEGIN_ALLOW_THREADS fd =
		netns_socket(ns, family, type, protocol, &err);
	Py_END_ALLOW_THREADS if (fd < 0)
	{
		ffi_fail(&err);
		Py_CLEAR(sock);
	}
	else if (feed(sock, class, args, 0, fd) < 0)
	{
		Py_CLEAR(sock);
	}
out:
	Py_XDECREF(class);
	return sock;
}

/* Empty sockets, as many as there are handles in the tuple. */
static PyObject *empty_sockets(PyObject *class, Py_ssize_t count)
{
	PyObject *list = PyList_New(count), *sock;
	Py_ssize_t i;

	for (i = 0; list && i < count; i++) {
		sock = empty_socket(class);
		if (!sock || PyList_SetItem(list, i, sock) < 0)
			Py_CLEAR(list);
	}
	return list;
}

/* All of them, or none: those that are fed already are closed. */
static int feed_all(PyObject *list, PyObject *class, PyObject *args,
		    Py_ssize_t first, const int *fds)
{
	PyObject *exception, *value, *traceback, *closed;
	Py_ssize_t i, j, count = PyList_Size(list);

	for (i = 0; i < count; i++) {
		if (feed(PyList_GetItem(list, i), class, args, first, fds[i]) <
		    0)
			break;
	}
	if (i == count)
		return 0;
	PyErr_Fetch(&exception, &value, &traceback);
	for (j = i + 1; j < count; j++)
		close(fds[j]);
	for (j = 0; j <= i; j++) {
		closed = PyObject_CallMethod(PyList_GetItem(list, j), "close",
					     NULL);
		Py_XDECREF(closed);
		PyErr_Clear();
	}
	PyErr_Restore(exception, value, traceback);
	return -1;
}

PyObject *ffi_sockets(PyObject *unused, PyObject *args)
{
	PyObject *handles, *handle, *class = NULL, *list = NULL;
	int family, type, protocol, ret, *fds = NULL;
	struct netns **namespaces = NULL;
	struct netns_error err;
	Py_ssize_t i, count;

	(void)unused;
	if (!PyArg_ParseTuple(args, "O!iii", &PyTuple_Type, &handles, &family,
			      &type, &protocol))
		return NULL;
	count = PyTuple_Size(handles);
	namespaces = PyMem_Malloc((size_t)count * sizeof(*namespaces));
	fds = PyMem_Malloc((size_t)count * sizeof(*fds));
	if (!namespaces || !fds) {
		PyErr_NoMemory();
		goto out;
	}
	for (i = 0; i < count; i++) {
		handle = PyTuple_GetItem(handles, i);
		if (!PyObject_TypeCheck(handle, ffi_handle_type)) {
			ffi_fail_type(handle);
			goto out;
		}
		namespaces[i] = ((struct handle *)handle)->ns;
	}
	class = socket_class();
	if (class)
		list = empty_sockets(class, count);
	if (!list)
		goto out;
	Py_BEGIN_ALLOW_THREADS ret = netns_sockets(
		namespaces, (size_t)count, family, type, protocol, fds, &err);
	Py_END_ALLOW_THREADS if (ret < 0)
	{
		ffi_fail(&err);
		Py_CLEAR(list);
	}
	else if (feed_all(list, class, args, 1, fds) < 0)
	{
		Py_CLEAR(list);
	}
out:
	Py_XDECREF(class);
	PyMem_Free(namespaces);
	PyMem_Free(fds);
	return list;
}

int ffi_prepare_sockets(void)
{
	socket_name = PyUnicode_InternFromString("socket");
	new_name = PyUnicode_InternFromString("__new__");
	init_name = PyUnicode_InternFromString("__init__");
	return socket_name && new_name && init_name ? 0 : -1;
}
