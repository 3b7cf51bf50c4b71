/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the Python binding know of each other. */
#ifndef NETNS_FFI_BINDING_H
#define NETNS_FFI_BINDING_H

#include <Python.h>

#include "internal.h"
#include "types.h"

/* ffi_types.c */

void ffi_free(PyObject *obj);
int ffi_add_type(PyObject *module, const char *name, PyType_Spec *spec,
		 PyTypeObject **type);

/* ffi_errors.c */

PyObject *ffi_module(PyObject *name);
PyObject *ffi_facade(const char *module, const char *function);
PyObject *ffi_call_facade(const char *module, const char *function,
			  const char *format, ...);
PyObject *ffi_fail(const struct netns_error *err);
PyObject *ffi_fail_behind(const struct netns_error *err, PyObject *type,
			  PyObject *value, PyObject *traceback);
PyObject *ffi_fail_type(PyObject *value);

/* ffi_gil.c */

PyThreadState *ffi_begin_switch(int64_t guard);
void ffi_end_switch(PyThreadState *state);

/* guard: the one that is left or moved on; 0 to enter. */
#define SWITCH(guard, call)                                      \
	do {                                                     \
		PyThreadState *state_ = ffi_begin_switch(guard); \
		call;                                            \
		ffi_end_switch(state_);                          \
	} while (0)

/* ffi_handle.c */

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

extern PyTypeObject *ffi_handle_type;
PyObject *ffi_host(PyTypeObject *type);
int ffi_add_handle(PyObject *module);

/* ffi_do.c */

extern const char ffi_do_doc[];
PyObject *ffi_do(PyObject *obj, PyObject *const *args, Py_ssize_t count,
		 PyObject *names);
int ffi_prepare_do(void);

/* ffi_guard.c */

extern const char ffi_enter_doc[];
PyObject *ffi_enter(PyObject *obj, PyObject *unused);
int ffi_add_guards(PyObject *module);

/* ffi_socket.c */

extern const char ffi_socket_doc[];
PyObject *ffi_socket(PyObject *obj, PyObject *args, PyObject *kwargs);
PyObject *ffi_sockets(PyObject *unused, PyObject *args);
int ffi_prepare_sockets(void);

#endif
