/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extension module: what cffi generates from netns.h, and beside it the
 * types Handle, Guard and Tour with a few functions.
 */
#include "binding.h"

#include <errno.h>

PyObject *netns__init_cffi(void);

/*
 * rundir(): netns_rundir() as bytes. It keeps the GIL, for os.environ on
 * another thread changes the environment that it reads.
 */
static PyObject *rundir(PyObject *module, PyObject *unused)
{
	char path[NETNS_PATH_SIZE];
	int size = netns_rundir(path, sizeof(path));
	struct netns_error err;

	(void)module;
	(void)unused;
	if (size >= 0)
		return PyBytes_FromStringAndSize(path, size);
	err.err = -size;
	err.step = NETNS_STEP_OPEN_RUNDIR;
	strcpy(err.path, size == -EPERM ? "NETNS_RUN_DIR" : "");
	return netns__py_raise(&err);
}

/*
 * The types are one for the process, and an interpreter that ends takes what it
 * has made with it: only the main one, whose number is 0, may have them. Once
 * the module is loaded, another interpreter imports it without its init
 * function, so the package calls this as well.
 */
static int is_refused_here(void)
{
	if (!PyInterpreterState_GetID(PyInterpreterState_Get()))
		return 0;
	PyErr_SetString(PyExc_ImportError,
			"netns works in the main interpreter only, not in a "
			"sub-interpreter (mod_wsgi: WSGIApplicationGroup "
			"%{GLOBAL})");
	return 1;
}

static PyObject *check_interpreter(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return is_refused_here() ? NULL : netns__py_none();
}

static PyMethodDef functions[] = {
	{ "check_interpreter", check_interpreter, METH_NOARGS, NULL },
	{ "hand_over", netns__py_hand_over, METH_VARARGS, NULL },
	{ "guard", netns__py_guard, METH_O, NULL },
	{ "tour_guard", netns__py_tour_guard, METH_NOARGS, NULL },
	{ "do_inside", (PyCFunction)(void (*)(void))netns__py_do_inside,
	  METH_FASTCALL, NULL },
	{ "step_home", netns__py_step_home, METH_NOARGS, NULL },
	{ "call_inside", netns__py_call_inside, METH_VARARGS, NULL },
	{ "schedule", netns__py_schedule, METH_VARARGS, NULL },
	{ "rundir", rundir, METH_NOARGS, NULL },
	{ "keep_gil", netns__py_keep_gil, METH_O, NULL },
	{ "forget_host", netns__py_forget_host, METH_NOARGS, NULL },
	{ "start_thread", netns__py_start_thread, METH_O, NULL },
	{ NULL, NULL, 0, NULL },
};

PyMODINIT_FUNC PyInit__native(void)
{
	PyObject *module = is_refused_here() ? NULL : netns__init_cffi();

	netns__py_find_vectorcall();
	if (module && (PyModule_AddFunctions(module, functions) < 0 ||
		       netns__py_add_switch(module) < 0 ||
		       netns__py_add_handle(module) < 0 ||
		       netns__py_add_guard(module) < 0))
		Py_CLEAR(module);
	return module;
}
