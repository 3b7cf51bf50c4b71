/* SPDX-License-Identifier: Apache-2.0 */
/* socket.socket objects around what the core makes inside. */
#include "binding.h"

#include <sys/socket.h>
#include <unistd.h>

static PyObject *socket_name, *new_name, *init_name;

const char ffi_socket_doc[] =
	"socket($self, /, family=-1, type=-1, proto=0)\n"
	"--\n"
	"\n"
	"A socket that lives in the namespace, for use from anywhere.\n"
	"\n"
	"Args:\n"
	"    family, type, proto: as for `socket.socket`: AF_INET and SOCK_STREAM\n"
	"        where they are left out (-1).\n"
	"\n"
	"Returns:\n"
	"    A `socket.socket`, close-on-exec, which is the caller's to close. It\n"
	"    keeps the namespace alive.\n"
	"\n"
	"Raises:\n"
	"    ClosedError: the handle is closed.\n"
	"    NotPermittedError: the target may not be entered, or such a socket\n"
	"        not be made there.\n"
	"    RestoreError: the thread could not be brought home.\n"
	"    KernelError: no such family, type or protocol; no descriptor left.\n"
	"\n"
	"Thread: the calling thread is inside for one native call; where it could\n"
	"    not come home, one made for it goes.\n"
	"Privilege: CAP_SYS_ADMIN in the user namespace that owns the target, and\n"
	"    CAP_NET_RAW there for raw and packet sockets.\n"
	"Since: Linux 4.9. Source: socket(2), network_namespaces(7).\n";

struct kind {
	int family, type, protocol;
};

static void complete(struct kind *kind)
{
	if (kind->family == -1)
		kind->family = AF_INET;
	if (kind->type == -1)
		kind->type = SOCK_STREAM;
}

static PyObject *initialize(PyObject *sock, PyObject *class,
			    const struct kind *kind, int fd)
{
	const int numbers[] = { kind->family, kind->type, kind->protocol, fd };
	PyObject *args[4] = { NULL }, *done = NULL;
	size_t i;

	for (i = 0; i < 4; i++) {
		args[i] = PyLong_FromLong(numbers[i]);
		if (!args[i])
			break;
	}
	if (i == 4)
		done = PyObject_CallMethodObjArgs(class, init_name, sock,
						  args[0], args[1], args[2],
						  args[3], NULL);
	while (i)
		Py_DECREF(args[--i]);
	return done;
}

/*
 * Problem: a descriptor that a native call has returned belongs to nobody until
 * a socket.socket has it, and a signal handler may raise in between; closing it
 * then would close it twice if the socket has it already.
 * Solution: the empty socket is made first, and fed from here, where handlers
 * run only in socket.socket.__init__ itself; fileno() tells who the owner is.
 */
static int feed(PyObject *sock, PyObject *class, const struct kind *kind,
		int fd)
{
	PyObject *exception, *value, *traceback, *owned;
	PyObject *fed = initialize(sock, class, kind, fd);

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

PyObject *ffi_socket(PyObject *obj, PyObject *args, PyObject *kwargs)
{
	static char *names[] = { "family", "type", "proto", NULL };
	struct netns *ns = ((struct handle *)obj)->ns;
	struct kind kind = { -1, -1, 0 };
	PyObject *class, *sock = NULL;
	struct netns_error err;
	int fd;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|iii:socket", names,
					 &kind.family, &kind.type,
					 &kind.protocol))
		return NULL;
	complete(&kind);
	class = socket_class();
	if (class)
		sock = empty_socket(class);
	if (!sock)
		goto out;
	Py_BEGIN_ALLOW_THREADS fd =
		netns_socket(ns, kind.family, kind.type, kind.protocol, &err);
	Py_END_ALLOW_THREADS if (fd < 0)
	{
		ffi_fail(&err);
		Py_CLEAR(sock);
	}
	else if (feed(sock, class, &kind, fd) < 0)
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
static int feed_all(PyObject *list, PyObject *class, const struct kind *kind,
		    const int *fds)
{
	PyObject *exception, *value, *traceback, *closed;
	Py_ssize_t i, j, count = PyList_Size(list);

	for (i = 0; i < count; i++) {
		if (feed(PyList_GetItem(list, i), class, kind, fds[i]) < 0)
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
	struct kind kind;
	int ret, *fds = NULL;
	struct netns **namespaces = NULL;
	struct netns_error err;
	Py_ssize_t i, count;

	(void)unused;
	if (!PyArg_ParseTuple(args, "O!iii", &PyTuple_Type, &handles,
			      &kind.family, &kind.type, &kind.protocol))
		return NULL;
	complete(&kind);
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
	Py_BEGIN_ALLOW_THREADS ret =
		netns_sockets(namespaces, (size_t)count, kind.family, kind.type,
			      kind.protocol, fds, &err);
	Py_END_ALLOW_THREADS if (ret < 0)
	{
		ffi_fail(&err);
		Py_CLEAR(list);
	}
	else if (feed_all(list, class, &kind, fds) < 0)
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
