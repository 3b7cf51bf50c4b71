/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types that the binding has beside cffi's, in C for what the interpreter
 * does around them.
 *
 * Guard: the context manager around a body in another namespace, or around a
 * tour of many.
 *
 * Problem: a Python signal handler may raise (KeyboardInterrupt) wherever the
 * interpreter looks for signals: at the start of every Python function and
 * behind every call. With __enter__ and __exit__ written in Python it can raise
 * between the native enter and the place where its result is kept, and at the
 * start of __exit__, before the native leave; the thread would stay inside.
 *
 * Rejected: try/finally around the native calls (does not help a `with` in the
 * caller's frame); masking signals (the body wants them); a finalizer alone (the
 * traceback keeps the guard, and the thread inside, until it is dropped).
 *
 * Solution: __enter__ and __exit__ are C functions, in which no signal handler
 * runs. (Where they call Python, to make an exception, one may; by then the
 * thread's state is settled.) From CPython 3.10 on the interpreter does not look
 * for signals between the return of __enter__ and the block that calls
 * __exit__, nor between the end of that block and the call. In 3.9 it may at the latter place; then the
 * frame drops the guard, whose finalizer leaves.
 */
#include <Python.h>
#include <structmember.h>
#include <unistd.h>

#include "core.h"
#include "ffi_types.h"

#define ENTERING (-1)

/*
 * Handle: the memory of a native handle, freed with the object and not sooner.
 *
 * A finalizer would be too soon: in a cycle of garbage it may run before that
 * of an object that still uses the handle. It only warns, and is in C, for an
 * interrupt that is raised in a __del__ is lost.
 */
struct handle {
	PyObject_HEAD struct netns *ns;
	PyObject *name, *path; /* what it was opened by, or NULL */
	bool lent; /* the library's own: not for its user to close */
};

struct guard {
	PyObject_HEAD struct handle *handle; /* NULL: a tour's */
	_Atomic int64_t guard;		     /* 0: outside */
};

/*
 * Tour: what the body of a tour is given. Not the guard itself, which the
 * body's frame would keep from its finalizer.
 */
struct tour {
	PyObject_HEAD int64_t guard;
};

/*
 * the GIL
 *
 * Problem: a thread that releases the GIL for a switch of a few microseconds
 * stands behind every busy Python thread, for 5 ms each, to get it back.
 * Rejected: never releasing it: a system call may wait where nobody foresaw it.
 * Solution: releasing it is the rule; who asks for it keeps it, in SWITCH()
 * alone, and there only where nothing is locked and no path is looked up.
 */
static atomic_int keep_gil;

int netns__keep_gil(int on)
{
	return atomic_exchange(&keep_gil, on);
}

static PyThreadState *begin_switch(int64_t guard)
{
#ifdef Py_GIL_DISABLED
	/* There is none; a thread that stays attached makes the collector wait. */
	(void)guard;
#else
	if (atomic_load_explicit(&keep_gil, memory_order_relaxed) &&
	    netns__is_prepared(guard))
		return NULL;
#endif
	return PyEval_SaveThread();
}

static void end_switch(PyThreadState *state)
{
	if (state)
		PyEval_RestoreThread(state);
}

/* guard: the one that is left or moved on; 0 to enter. */
#define SWITCH(guard, call)                                  \
	do {                                                 \
		PyThreadState *state_ = begin_switch(guard); \
		call;                                        \
		end_switch(state_);                          \
	} while (0)

static PyObject *host_key, *socket_name, *new_name, *init_name, *code_name,
	*flags_name, *events_name;
static PyTypeObject *handle_type, *guard_type, *tour_type;

static void free_object(PyObject *obj)
{
	PyTypeObject *type = Py_TYPE(obj);

	((freefunc)PyType_GetSlot(type, Py_tp_free))(obj);
	Py_DECREF(type);
}

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
	free_object(obj);
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

static PyObject *handle_lent(PyObject *obj, void *unused)
{
	(void)unused;
	return PyBool_FromLong(((struct handle *)obj)->lent);
}

static int handle_set_lent(PyObject *obj, PyObject *value, void *unused)
{
	(void)unused;
	((struct handle *)obj)->lent = value == Py_True;
	return 0;
}

static PyGetSetDef handle_properties[] = {
	{ "_lent", handle_lent, handle_set_lent, "Not for its user to close.",
	  NULL },
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

static const char do_doc[] =
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

static const char enter_doc[] =
	"enter($self, /)\n"
	"--\n"
	"\n"
	"A context manager whose body runs inside: ``with ns.enter() as host:``.\n"
	"\n"
	"Returns:\n"
	"    A guard, whose ``__enter__`` moves the thread and gives `host` as\n"
	"    for `do`, and whose ``__exit__`` brings it home.\n"
	"\n"
	"Raises (at the start of the body):\n"
	"    ClosedError: the handle is closed.\n"
	"    NotPermittedError: the target may not be entered, or the thread\n"
	"        could not come home (`do` finds a way there).\n"
	"Raises (at its end):\n"
	"    OrderError: another guard of this thread is still inside, or the\n"
	"        guard is left on another thread.\n"
	"    RestoreError: the thread could not be brought home.\n"
	"\n"
	"Thread: the body must end on the thread it began on and must not\n"
	"    await: in between, everything else on that thread is inside. In\n"
	"    asyncio's debug mode such an await is reported to the loop's\n"
	"    exception handler, with the task and the line.\n"
	"Privilege: CAP_SYS_ADMIN in the user namespace that owns the target.\n"
	"Since: Linux 4.9.\n"
	"Source: setns(2).\n";

static PyObject *handle_current(PyObject *type, PyObject *unused);
static PyObject *handle_new(PyObject *type, PyObject *unused);
static PyObject *handle_create(PyObject *type, PyObject *args);
static PyObject *handle_open(PyObject *type, PyObject *args);
static PyObject *handle_open_pid(PyObject *type, PyObject *pid);
static PyObject *handle_open_thread(PyObject *type, PyObject *args);
static PyObject *handle_open_fd(PyObject *type, PyObject *fd);
static PyObject *handle_open_socket(PyObject *type, PyObject *fd);
static PyObject *handle_duplicate(PyObject *obj, PyObject *unused);
static PyObject *handle_set_name(PyObject *obj, PyObject *args);
static PyObject *handle_close(PyObject *obj, PyObject *unused);
static PyObject *handle_enter(PyObject *obj, PyObject *unused);
static PyObject *handle_socket(PyObject *obj, PyObject *args);
static PyObject *make_sockets(PyObject *unused, PyObject *args);
static PyObject *handle_do(PyObject *obj, PyObject *const *args,
			   Py_ssize_t count, PyObject *names);

/* Arguments as they come. In the limited API since 3.10, and the same in 3.9. */
#ifndef METH_FASTCALL
#define METH_FASTCALL 0x0080
#endif

static PyMethodDef handle_methods[] = {
	{ "_current", handle_current, METH_NOARGS | METH_CLASS, NULL },
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
	{ "_duplicate", handle_duplicate, METH_NOARGS,
	  "Another handle on the same namespace." },
	{ "_set_name", handle_set_name, METH_VARARGS,
	  "_set_name(rundir, name): what it is known by from now on." },
	{ "close", handle_close, METH_NOARGS, close_doc },
	{ "do", (PyCFunction)(void (*)(void))handle_do,
	  METH_FASTCALL | METH_KEYWORDS, do_doc },
	{ "enter", handle_enter, METH_NOARGS, enter_doc },
	{ "_socket", handle_socket, METH_VARARGS,
	  "_socket(family, type, protocol): a socket.socket made inside." },
	{ "_sockets", make_sockets, METH_VARARGS | METH_STATIC,
	  "_sockets(handles, family, type, protocol): one in each." },
	{ NULL, NULL, 0, NULL },
};

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

/* Looked up first: importing what is there costs ten times as much. */
static PyObject *find_module(PyObject *name)
{
	PyObject *module = PyImport_GetModule(name);

	return module || PyErr_Occurred() ? module : PyImport_Import(name);
}

/* The facade's name `function`. */
static PyObject *facade(const char *module, const char *function)
{
	PyObject *name = PyUnicode_FromString(module), *mod, *found;

	mod = name ? find_module(name) : NULL;
	Py_XDECREF(name);
	if (!mod)
		return NULL;
	found = PyObject_GetAttrString(mod, function);
	Py_DECREF(mod);
	return found;
}

/* That, called: what runs in Python is off the path. */
static PyObject *call_facade(const char *module, const char *function,
			     const char *format, ...)
{
	PyObject *callable = facade(module, function);
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

static PyObject *fail(const struct netns_error *err)
{
	PyObject *error = call_facade("netns._errors", "from_native", "(iiy)",
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

/* As fail(), with an earlier exception, as fetched, as the context. */
static PyObject *fail_behind(const struct netns_error *err, PyObject *type,
			     PyObject *value, PyObject *traceback)
{
	PyObject *new_type, *new_value, *new_traceback;

	PyErr_NormalizeException(&type, &value, &traceback);
	if (traceback)
		PyException_SetTraceback(value, traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	fail(err);
	PyErr_Fetch(&new_type, &new_value, &new_traceback);
	PyErr_NormalizeException(&new_type, &new_value, &new_traceback);
	PyException_SetContext(new_value, value); /* takes it over */
	PyErr_Restore(new_type, new_value, new_traceback);
	return NULL;
}

/* What is no handle where one is due. */
static PyObject *fail_type(PyObject *value)
{
	PyObject *error = call_facade("netns._errors", "wrong_type", "(sO)",
				      "a namespace is a NetNS", value);

	if (error) {
		PyErr_SetObject((PyObject *)Py_TYPE(error), error);
		Py_DECREF(error);
	}
	return NULL;
}

static PyObject *misused(void)
{
	struct netns_error err;

	err.err = EINVAL;
	err.step = NETNS_STEP_CHECK_ORDER;
	err.path[0] = '\0';
	return fail(&err);
}

/*
 * opening
 *
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
	return PyErr_Occurred() ? NULL : fail(err);
}

static PyObject *open_here(PyObject *type,
			   int (*open)(struct netns **, struct netns_error *))
{
	struct handle *self = make_handle(type);
	struct netns_error err;
	int ret;

	if (!self)
		return NULL;
	OPEN(ret, open(&self->ns, &err));
	return opened(self, ret, &err);
}

static PyObject *handle_current(PyObject *type, PyObject *unused)
{
	(void)unused;
	return open_here(type, netns_current);
}

static PyObject *handle_new(PyObject *type, PyObject *unused)
{
	(void)unused;
	return open_here(type, netns_new);
}

static PyObject *open_number(PyObject *type, PyObject *number,
			     int (*open)(int, struct netns **,
					 struct netns_error *))
{
	long value = PyLong_AsLong(number);
	struct handle *self;
	struct netns_error err;
	int ret;

	if (value == -1 && PyErr_Occurred())
		return NULL;
	self = make_handle(type);
	if (!self)
		return NULL;
	OPEN(ret, open((int)value, &self->ns, &err));
	return opened(self, ret, &err);
}

static PyObject *handle_open_pid(PyObject *type, PyObject *pid)
{
	return open_number(type, pid, netns_open_pid);
}

static PyObject *handle_open_fd(PyObject *type, PyObject *fd)
{
	return open_number(type, fd, netns_open_fd);
}

static PyObject *handle_open_socket(PyObject *type, PyObject *fd)
{
	return open_number(type, fd, netns_open_socket);
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
	OPEN(ret, netns_open_thread(pid, tid, &self->ns, &err));
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

/* What is too long for a path is left to who opens it to refuse. */
static int set_name(struct handle *self, const char *rundir, const char *target)
{
	char path[NETNS_PATH_SIZE];
	bool is_name = !strchr(target, '/');

	if (is_name && netns__path(path, rundir, target) < 0)
		return 0;
	if (is_name && !(self->name = PyUnicode_DecodeFSDefault(target)))
		return -1;
	self->path = PyUnicode_DecodeFSDefault(is_name ? path : target);
	return self->path ? 0 : -1;
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
			     int (*open)(const char *, const char *,
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
	OPEN(ret, open(rundir, target, &self->ns, &err));
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

/* Held meanwhile: else, closed by another thread, its descriptor may be another's. */
static int duplicate(struct netns *ns, struct netns **made,
		     struct netns_error *err)
{
	int fd = netns__hold(ns, err), ret;

	if (fd < 0)
		return fd;
	ret = netns_open_fd(fd, made, err);
	netns__release(ns);
	return ret;
}

static PyObject *handle_duplicate(PyObject *obj, PyObject *unused)
{
	struct handle *self = (struct handle *)obj;
	struct handle *made = make_handle((PyObject *)Py_TYPE(obj));
	struct netns_error err;
	int ret;

	(void)unused;
	if (!made)
		return NULL;
	Py_XINCREF(self->name);
	made->name = self->name;
	Py_XINCREF(self->path);
	made->path = self->path;
	OPEN(ret, duplicate(self->ns, &made->ns, &err));
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
static PyObject *host(PyTypeObject *type)
{
	struct netns *home = netns__outermost_home();
	PyObject *dict, *made;

	if (!home)
		return make_host(type);
	dict = PyThreadState_GetDict(); /* borrowed */
	if (!dict)
		return PyErr_NoMemory();
	made = PyDict_GetItemWithError(dict, host_key); /* borrowed */
	if (made && ((struct handle *)made)->ns == home) {
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

/*
 * sockets
 *
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
	PyObject *module = find_module(socket_name), *class;

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

static PyObject *handle_socket(PyObject *obj, PyObject *args)
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
		fail(&err);
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

static PyObject *make_sockets(PyObject *unused, PyObject *args)
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
		if (!PyObject_TypeCheck(handle, handle_type)) {
			fail_type(handle);
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
		fail(&err);
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

/*
 * do
 *
 * One C function, for nothing can come between its parts then, and for what
 * the interpreter would take to go from one to the next.
 */
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
	done = call_facade("netns._switch", "check_function", "(O)", fn);
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
	PyObject *came_from = host(Py_TYPE(obj)), *result = NULL;
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
		result = call_facade("netns._switch", "run_in_thread", "(OOOO)",
				     obj, args[0], rest, kwargs);
	Py_XDECREF(rest);
	Py_XDECREF(kwargs);
	return result;
}

static PyObject *handle_do(PyObject *obj, PyObject *const *args,
			   Py_ssize_t count, PyObject *names)
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
		return netns__may_not_return((int)guard, &err)
			     ? do_in_thread(obj, args, count, names)
			     : fail(&err);
	result = call_inside(obj, args, count, names);
	SWITCH(guard, ret = netns_leave(guard, &err));
	if (result && ret < 0) {
		Py_DECREF(result);
		return fail(&err);
	}
	if (ret < 0) {
		PyErr_Fetch(&type, &value, &traceback);
		return fail_behind(&err, type, value, traceback);
	}
	return result;
}

static PyObject *tour_visit(PyObject *obj, PyObject *handle)
{
	struct tour *self = (struct tour *)obj;
	struct netns_error err;
	int ret;

	if (!PyObject_TypeCheck(handle, handle_type))
		return fail_type(handle);
	SWITCH(self->guard,
	       ret = netns_visit(self->guard, ((struct handle *)handle)->ns,
				 &err));
	if (ret < 0)
		return fail(&err);
	Py_RETURN_NONE;
}

static PyMethodDef tour_methods[] = {
	{ "visit", tour_visit, METH_O,
	  "visit(ns): move the thread straight on into another namespace.\n\n"
	  "One setns(2), wherever the thread is now. `netns.tour` tells the "
	  "rest." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot tour_slots[] = {
	{ Py_tp_doc, "What the body of a tour visits namespaces with." },
	{ Py_tp_dealloc, free_object },
	{ Py_tp_methods, tour_methods },
	{ 0, NULL },
};

static PyType_Spec tour_spec = {
	.name = "netns._native.Tour",
	.basicsize = sizeof(struct tour),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = tour_slots,
};

static PyObject *new_tour(int64_t guard)
{
	struct tour *made = (struct tour *)PyType_GenericAlloc(tour_type, 0);

	if (made)
		made->guard = guard;
	return (PyObject *)made;
}

/* Leaves if inside. 0, 1 where it was outside, -1 with *err. */
static int leave(struct guard *self, struct netns_error *err)
{
	int64_t guard = atomic_load(&self->guard);
	int ret;

	do {
		if (guard <= 0)
			return 1;
	} while (!atomic_compare_exchange_weak(&self->guard, &guard, 0));
	SWITCH(guard, ret = netns_leave(guard, err));
	return ret < 0 ? -1 : 0;
}

static PyObject *guard_enter(PyObject *obj, PyObject *unused)
{
	struct guard *self = (struct guard *)obj;
	struct netns_error err;
	int64_t outside = 0, guard;
	PyObject *result;

	(void)unused;
	if (!atomic_compare_exchange_strong(&self->guard, &outside, ENTERING))
		return misused();
	SWITCH(0, guard = self->handle ? netns_enter(self->handle->ns, &err)
				       : netns_tour(&err));
	atomic_store(&self->guard, guard < 0 ? 0 : guard);
	if (guard < 0)
		return fail(&err);
	result = self->handle ? host(Py_TYPE((PyObject *)self->handle))
			      : new_tour(guard);
	if (!result) {
		PyObject *type, *value, *traceback;

		PyErr_Fetch(&type, &value, &traceback);
		if (leave(self, &err) < 0)
			return fail_behind(&err, type, value, traceback);
		PyErr_Restore(type, value, traceback);
	}
	return result;
}

static PyObject *guard_exit(PyObject *obj, PyObject *unused)
{
	struct netns_error err;

	(void)unused;
	switch (leave((struct guard *)obj, &err)) {
	case 0:
		Py_RETURN_NONE;
	case 1:
		return misused();
	default:
		return fail(&err);
	}
}

static PyObject *guard_close(PyObject *obj, PyObject *unused)
{
	struct netns_error err;

	(void)unused;
	if (leave((struct guard *)obj, &err) < 0)
		return fail(&err);
	Py_RETURN_NONE;
}

static PyObject *guard_active(PyObject *obj, void *unused)
{
	(void)unused;
	return PyBool_FromLong(atomic_load(&((struct guard *)obj)->guard) > 0);
}

/* handle: NULL for a tour's. */
static PyObject *make_guard(PyTypeObject *type, PyObject *handle)
{
	struct guard *self = (struct guard *)PyType_GenericAlloc(type, 0);

	if (self && handle) {
		Py_INCREF(handle);
		self->handle = (struct handle *)handle;
	}
	return (PyObject *)self;
}

/* PyImport_GetModule() would wait for a thread that is importing it. */
static bool is_imported(PyObject *name)
{
	PyObject *modules = PySys_GetObject("modules"); /* borrowed */

	return modules && PyDict_Check(modules) &&
	       PyDict_Contains(modules, name) == 1;
}

/* Found at first use. Its module keeps it: whoever has read it may call it. */
static PyObject *_Atomic watched;

static PyObject *handle_enter(PyObject *obj, PyObject *unused)
{
	PyObject *guard = make_guard(guard_type, obj), *watch, *result = NULL;

	(void)unused;
	if (!guard || !is_imported(events_name))
		return guard;
	watch = atomic_load(&watched);
	if (!watch) {
		watch = facade("netns._switch", "watched");
		Py_XDECREF(atomic_exchange(&watched, watch));
	}
	if (watch)
		result = PyObject_CallFunctionObjArgs(watch, guard, NULL);
	Py_DECREF(guard);
	return result;
}

static PyObject *guard_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	PyObject *handle = NULL;

	if (kwargs && PyDict_Size(kwargs)) {
		PyErr_SetString(PyExc_TypeError, "Guard() takes no keywords");
		return NULL;
	}
	if (!PyArg_ParseTuple(args, "|O!:Guard", handle_type, &handle))
		return NULL;
	return make_guard(type, handle);
}

static void guard_dealloc(PyObject *obj)
{
	struct guard *self = (struct guard *)obj;
	PyObject *type, *value, *traceback;
	struct netns_error err;

	if (atomic_load(&self->guard) > 0) {
		PyErr_Fetch(&type, &value, &traceback);
		if (leave(self, &err) < 0) {
			fail(&err);
			PyErr_WriteUnraisable((PyObject *)Py_TYPE(obj));
		}
		PyErr_Restore(type, value, traceback);
	}
	Py_XDECREF((PyObject *)self->handle);
	free_object(obj);
}

static PyMethodDef guard_methods[] = {
	{ "__enter__", guard_enter, METH_NOARGS, NULL },
	{ "__exit__", guard_exit, METH_VARARGS, NULL },
	{ "close", guard_close, METH_NOARGS, "Leave, if inside." },
	{ NULL, NULL, 0, NULL },
};

static PyGetSetDef guard_properties[] = {
	{ "active", guard_active, NULL, "Whether it is inside.", NULL },
	{ NULL, NULL, NULL, NULL, NULL },
};

static PyType_Slot guard_slots[] = {
	{ Py_tp_doc, "Guard(handle): a body inside, as a context manager "
		     "that gives the host; Guard(): a tour." },
	{ Py_tp_new, guard_new },
	{ Py_tp_dealloc, guard_dealloc },
	{ Py_tp_methods, guard_methods },
	{ Py_tp_getset, guard_properties },
	{ 0, NULL },
};

static PyType_Spec guard_spec = {
	.name = "netns._native.Guard",
	.basicsize = sizeof(struct guard),
	.flags = Py_TPFLAGS_DEFAULT,
	.slots = guard_slots,
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec,
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

	host_key = PyUnicode_InternFromString("netns.host");
	socket_name = PyUnicode_InternFromString("socket");
	new_name = PyUnicode_InternFromString("__new__");
	init_name = PyUnicode_InternFromString("__init__");
	code_name = PyUnicode_InternFromString("__code__");
	flags_name = PyUnicode_InternFromString("co_flags");
	events_name = PyUnicode_InternFromString("asyncio.events");
	if (module && host_key && socket_name && new_name && init_name &&
	    code_name && flags_name && events_name)
		ret = add_type(module, "Handle", &handle_spec, &handle_type);
	if (!ret)
		ret = add_type(module, "Tour", &tour_spec, &tour_type);
	if (!ret)
		ret = add_type(module, "Guard", &guard_spec, &guard_type);
	Py_XDECREF(module);
	if (ret < 0)
		PyErr_Print();
	PyGILState_Release(state);
	return ret;
}
