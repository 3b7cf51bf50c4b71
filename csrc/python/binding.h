/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the Python binding know of each other. */
#ifndef NETNS_BINDING_H
#define NETNS_BINDING_H

#include <Python.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "netns.h"

/*
 * The limited API has METH_FASTCALL since 3.10; 3.9 has the same flag and
 * calling convention.
 */
#ifndef METH_FASTCALL
#define METH_FASTCALL 0x0080
#endif

/* interpreter.c */

PyObject *netns__py_none(void);
int netns__py_add_type(PyObject *module, const char *name, PyType_Spec *spec,
		       PyTypeObject **type);
void netns__py_free(PyObject *obj);
PyObject *netns__py_hand_over(PyObject *module, PyObject *args);
PyObject *netns__py_handed_over(const char *key);
PyObject *netns__py_call_facade(const char *key, PyObject *arg);
void netns__py_find_vectorcall(void);
PyObject *netns__py_call(PyObject *callable, PyObject *const *args,
			 Py_ssize_t count, PyObject *names);

/* errors.c */

PyObject *netns__py_raise(const struct netns_error *err);
PyObject *netns__py_raise_during(const struct netns_error *err, PyObject *type,
				 PyObject *value, PyObject *traceback);
void netns__py_add_context(PyObject *type, PyObject *value,
			   PyObject *traceback);
PyObject *netns__py_raise_wrong_type(PyObject *value);

/* handle.c */

struct handle {
	PyObject_HEAD struct netns *ns;
	PyObject *name;	  /* or NULL */
	PyObject *where;  /* the name's run directory, or a path; or NULL */
	char is_borrowed; /* the library's own: its user can't close it */
};

extern PyTypeObject *netns__py_handle_type;
PyObject *netns__py_borrow(PyTypeObject *type, struct netns *host);
PyObject *netns__py_host(PyTypeObject *type);
PyObject *netns__py_forget_host(PyObject *module, PyObject *unused);
int netns__py_add_handle(PyObject *module);

/* switch.c */

PyObject *netns__py_keep_gil(PyObject *module, PyObject *on);
PyThreadState *netns__py_begin_switch(int64_t guard);
void netns__py_end_switch(PyThreadState *state);
int64_t netns__py_enter(PyObject *handle);
int netns__py_leave(int64_t number);
int netns__py_leave_keeping(int64_t number);
PyObject *netns__py_do_inside(PyObject *module, PyObject *const *args,
			      Py_ssize_t count);
int netns__py_add_switch(PyObject *module);

/* follow.c */

bool netns__py_is_step_in(PyObject *handle);
PyObject *netns__py_step_home(PyObject *module, PyObject *unused);
int netns__py_move_step(PyObject *from, PyObject *to);
PyObject *netns__py_call_inside(PyObject *module, PyObject *args);
PyObject *netns__py_schedule(PyObject *module, PyObject *args);

/* guard.c */

PyObject *netns__py_guard(PyObject *module, PyObject *handle);
PyObject *netns__py_tour_guard(PyObject *module, PyObject *unused);
int netns__py_add_guard(PyObject *module);

/* thread.c */

PyObject *netns__py_start_thread(PyObject *module, PyObject *fn);

#endif
