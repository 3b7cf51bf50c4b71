/* SPDX-License-Identifier: Apache-2.0 */
/* What the Python binding has beyond the public header. */
#ifndef NETNS_FFI_TYPES_H
#define NETNS_FFI_TYPES_H

/* cdef: begin */

/* Adds the types Handle, Guard and Tour to the extension module; -1 if that fails. */
int netns__add_types(void);

/* Drops the calling thread's memory of a host that it no longer comes from. */
void netns__forget_host(void);

/* Whether enter, leave and visit keep the GIL from now on; returns what was set before. */
int netns__keep_gil(int on);

/* cdef: end */

#endif
