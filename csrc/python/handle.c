/* SPDX-License-Identifier: Apache-2.0 */
/* Handle: opened, known by a name, closed; and a body's host. */
#include "binding.h"

#include <errno.h>
#include <string.h>
#include <structmember.h>

PyTypeObject *ffi_handle_type;
static PyObject *host_key;

static void handle_finalize(PyObject *obj)
{
	struct handle *self = (struct handle *)obj;
	PyObject *type, *value, *traceback;

	if (self->lent || netns_is_closed(self->ns))
		return;
	PyErr_Fetch(&type, &value, &traceback);
	if (PyErr_ResourceWarning(obj, 1, "unclosed %R", obj) < 0)
		PyErr_WriteUnraisable(obj);
	PyErr_Restore(type, value, traceback);
}

static void handle_dealloc(PyObject *obj)
{
	struct handle *self = (struct handle *)obj;

	Py_BEGIN_ALLOW_THREADS netns_unref(self->ns);
	Py_END_ALLOW_THREADS Py_XDECREF(self->name);
	Py_XDECREF(self->path);
	ffi_free(obj);
}

static PyObject *handle_cell(PyObject *obj, void *unused)
{
	(void)unused;
	return PyLong_FromVoidPtr(&((struct handle *)obj)->ns);
}

static PyObject *handle_closed(PyObject *obj, void *unused)
{
	(void)unused;
	return PyBool_FromLong(netns_is_closed(((struct handle *)obj)->ns));
}

static PyGetSetDef handle_properties[] = {
	{ "_closed", handle_closed, NULL, "Also one that never was open.",
	  NULL },
	{ "_cell_address", handle_cell, NULL,
	  "Where native calls put the native handle, and find it.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyMemberDef handle_members[] = {
	{ "_name", T_OBJECT, offsetof(struct handle, name), 0, NULL },
	{ "_path", T_OBJECT, offsetof(struct handle, path), 0, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static const char close_doc[] =
	"close($self, /)\n--\n\n"
	"Give the namespace up; the handle raises `ClosedError` from now on.\n\n"
	"Closing twice is fine, and closing the host that a body was given does\n"
	"nothing: it is the library's. Uses under way on other threads go on to their\n"
	"end in this namespace.\n\n"
	"Thread: any. Privilege: none. Since: any. Source: close(2).";

/*
 * The object is there before the native call, and owns what that puts into it.
 * The call is begun again where a signal handler let it go on (PEP 475).
 */
#define OPEN(ret, call)                            \
	do {                                       \
		Py_BEGIN_ALLOW_THREADS ret = call; \
		Py_END_ALLOW_THREADS               \
	} while (ret == -EINTR && PyErr_CheckSignals() == 0)

/* A handle of its user's class, on nothing yet. */
static struct handle *make_handle(PyObject *type)
{
	return (struct handle *)PyType_GenericAlloc((PyTypeObject *)type, 0);
}

static PyObject *opened(struct handle *self, int ret,
			const struct netns_error *err)
{
	if (ret >= 0)
		return (PyObject *)self;
	Py_DECREF((PyObject *)self);
	return PyErr_Occurred() ? NULL : ffi_fail(err);
}

static PyObject *open_here(PyObject *type, bool lent,
			   int (*way)(struct netns **, struct netns_error *))
{
	struct handle *self = make_handle(type);
	struct netns_error err;
	int ret;

	if (!self)
		return NULL;
	self->lent = lent;
	OPEN(ret, way(&self->ns, &err));
	return opened(self, ret, &err);
}

static PyObject *handle_current(PyObject *type, PyObject *lent)
{
	return open_here(type, lent == Py_True, netns_current);
}

static PyObject *handle_new(PyObject *type, PyObject *unused)
{
	(void)unused;
	return open_here(type, false, netns_new);
}

static PyObject *open_number(PyObject *type, PyObject *number,
			     int (*way)(int, struct netns **,
					struct netns_error *))
{
	long value = PyLong_AsLong(number);
	struct handle *self;
	struct netns_error err;
	int ret;

	if (value == -1 && PyErr_Occurred())
		return NULL;
	if (value != (int)value) {
		PyErr_SetString(PyExc_OverflowError, "not a C int");
		return NULL;
	}
	self = make_handle(type);
	if (!self)
		return NULL;
	OPEN(ret, way((int)value, &self->ns, &err));
	return opened(self, ret, &err);
}

static PyObject *handle_open_pid(PyObject *type, PyObject *pid)
{
	return open_number(type, pid, netns_from_pid);
}

static PyObject *handle_open_fd(PyObject *type, PyObject *fd)
{
	return open_number(type, fd, netns_from_fd);
}

static PyObject *handle_open_socket(PyObject *type, PyObject *fd)
{
	return open_number(type, fd, netns_from_socket);
}

static PyObject *handle_open_thread(PyObject *type, PyObject *args)
{
	struct netns_error err;
	struct handle *self;
	int pid, tid, ret;

	if (!PyArg_ParseTuple(args, "ii", &pid, &tid))
		return NULL;
	self = make_handle(type);
	if (!self)
		return NULL;
	OPEN(ret, netns_from_thread(pid, tid, &self->ns, &err));
	return opened(self, ret, &err);
}

/* Of "(rundir, target)": bytes, and of the former anything else for none. */
static int parse_target(PyObject *args, const char **rundir,
			const char **target)
{
	PyObject *where;

	if (!PyArg_ParseTuple(args, "Oy", &where, target))
		return -1;
	*rundir = PyBytes_Check(where) ? PyBytes_AsString(where) : NULL;
	return 0;
}

/* What can't be a name, or is too long, is left to whoever opens it to refuse. */
static int set_name(struct handle *self, const char *rundir, const char *target)
{
	PyObject *name = NULL, *whole, *old_name, *old_path;
	char dir[NETNS_PATH_SIZE], path[NETNS_PATH_SIZE + 1 + 255];
	bool is_name = !strchr(target, '/');

	if (is_name &&
	    (!netns__is_name(target) || netns__rundir_text(dir, rundir) < 0))
		return 0;
	if (is_name)
		snprintf(path, sizeof(path), "%s%s%s", dir,
			 strcmp(dir, "/") ? "/" : "", target);
	whole = PyUnicode_DecodeFSDefault(is_name ? path : target);
	if (whole && is_name)
		name = PyUnicode_DecodeFSDefault(target);
	if (!whole || (is_name && !name)) {
		Py_XDECREF(whole);
		return -1;
	}
	old_name = self->name;
	old_path = self->path;
	self->name = name;
	self->path = whole;
	Py_XDECREF(old_name);
	Py_XDECREF(old_path);
	return 0;
}

static PyObject *handle_set_name(PyObject *obj, PyObject *args)
{
	const char *rundir, *name;

	if (parse_target(args, &rundir, &name) < 0 ||
	    set_name((struct handle *)obj, rundir, name) < 0)
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *open_target(PyObject *type, PyObject *args,
			     int (*way)(const char *, const char *,
					struct netns **, struct netns_error *))
{
	const char *rundir, *target;
	struct netns_error err;
	struct handle *self;
	int ret;

	if (parse_target(args, &rundir, &target) < 0)
		return NULL;
	self = make_handle(type);
	if (!self)
		return NULL;
	if (set_name(self, rundir, target) < 0) {
		Py_DECREF((PyObject *)self);
		return NULL;
	}
	OPEN(ret, way(rundir, target, &self->ns, &err));
	return opened(self, ret, &err);
}

static PyObject *handle_open(PyObject *type, PyObject *args)
{
	return open_target(type, args, netns_open);
}

static PyObject *handle_create(PyObject *type, PyObject *args)
{
	return open_target(type, args, netns_create);
}

static PyObject *handle_duplicate(PyObject *obj, PyObject *lent)
{
	struct handle *self = (struct handle *)obj;
	struct handle *made = make_handle((PyObject *)Py_TYPE(obj));
	struct netns_error err;
	int ret;

	if (!made)
		return NULL;
	made->lent = lent == Py_True;
	Py_XINCREF(self->name);
	made->name = self->name;
	Py_XINCREF(self->path);
	made->path = self->path;
	OPEN(ret, netns_dup(self->ns, &made->ns, &err));
	return opened(made, ret, &err);
}

static PyObject *handle_close(PyObject *obj, PyObject *unused)
{
	struct handle *self = (struct handle *)obj;

	(void)unused;
	if (!self->lent) {
		Py_BEGIN_ALLOW_THREADS netns_close(self->ns);
		Py_END_ALLOW_THREADS
	}
	Py_RETURN_NONE;
}

/* On what the calling thread came from. */
static PyObject *make_host(PyTypeObject *type)
{
	struct handle *made = make_handle((PyObject *)type);
	struct netns_error err;

	if (!made)
		return NULL;
	made->lent = true;
	return opened(made, netns_host(&made->ns, &err), &err);
}

/*
 * The body's host. That of an outermost body is one object for as long as the
 * thread's home stays the same: it lives in the interpreter's dict for this
 * thread and pins no more than the thread does. That of an inner body is made
 * anew, for it must not outlive the outer one.
 */
PyObject *ffi_host(PyTypeObject *type)
{
	struct netns *home = NULL;
	PyObject *dict, *made;

	if (netns_host(&home, NULL) != 1) {
		netns_unref(home);
		return make_host(type);
	}
	netns_unref(home);
	dict = PyThreadState_GetDict(); /* borrowed */
	if (!dict)
		return PyErr_NoMemory();
	made = PyDict_GetItemWithError(dict, host_key); /* borrowed */
	if (made && Py_TYPE(made) == type &&
	    ((struct handle *)made)->ns == home) {
		Py_INCREF(made);
		return made;
	}
	if (PyErr_Occurred())
		return NULL;
	made = make_host(type);
	if (made && PyDict_SetItem(dict, host_key, made) < 0)
		Py_CLEAR(made);
	return made;
}

void netns__forget_host(void)
{
	PyGILState_STATE state = PyGILState_Ensure();
	PyObject *dict = PyThreadState_GetDict(); /* borrowed */

	if (dict && PyDict_DelItem(dict, host_key) < 0)
		PyErr_Clear(); /* there was none */
	PyGILState_Release(state);
}

/* Arguments as they come. In the limited API since 3.10, and the same in 3.9. */
#ifndef METH_FASTCALL
#define METH_FASTCALL 0x0080
#endif

static PyMethodDef handle_methods[] = {
	{ "_current", handle_current, METH_O | METH_CLASS, "_current(lent)" },
	{ "_new", handle_new, METH_NOARGS | METH_CLASS, NULL },
	{ "_create", handle_create, METH_VARARGS | METH_CLASS,
	  "_create(rundir, name)" },
	{ "_open", handle_open, METH_VARARGS | METH_CLASS,
	  "_open(rundir, target)" },
	{ "_open_pid", handle_open_pid, METH_O | METH_CLASS, NULL },
	{ "_open_thread", handle_open_thread, METH_VARARGS | METH_CLASS,
	  "_open_thread(pid, tid)" },
	{ "_open_fd", handle_open_fd, METH_O | METH_CLASS, NULL },
	{ "_open_socket", handle_open_socket, METH_O | METH_CLASS, NULL },
	{ "_duplicate", handle_duplicate, METH_O,
	  "_duplicate(lent): another handle on the same namespace." },
	{ "_set_name", handle_set_name, METH_VARARGS,
	  "_set_name(rundir, name): what it is known by from now on." },
	{ "close", handle_close, METH_NOARGS, close_doc },
	{ "do", (PyCFunction)(void (*)(void))ffi_do,
	  METH_FASTCALL | METH_KEYWORDS, ffi_do_doc },
	{ "enter", ffi_enter, METH_NOARGS, ffi_enter_doc },
	{ "socket", (PyCFunction)(void (*)(void))ffi_socket,
	  METH_VARARGS | METH_KEYWORDS, ffi_socket_doc },
	{ "_sockets", ffi_sockets, METH_VARARGS | METH_STATIC,
	  "_sockets(handles, family, type, protocol): one in each." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot handle_slots[] = {
	{ Py_tp_doc, "A native handle, and what is done with it in C." },
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

int ffi_add_handle(PyObject *module)
{
	host_key = PyUnicode_InternFromString("netns.host");
	return host_key ? ffi_add_type(module, "Handle", &handle_spec,
				       &ffi_handle_type)
			: -1;
}
