/* SPDX-License-Identifier: Apache-2.0 */
/* The Test Anything Protocol: ok() from one thread, the plan at the end. */
#ifndef TAP_H
#define TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static int tap_count, tap_failures;

static inline void tap_line(bool passed, const char *format, va_list arguments)
{
	tap_count++;
	tap_failures += !passed;
	printf("%sok %d - ", passed ? "" : "not ", tap_count);
	vprintf(format, arguments);
}

__attribute__((format(printf, 5, 6))) static inline bool
tap_ok(bool passed, const char *file, int line, const char *condition,
       const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	tap_line(passed, format, arguments);
	va_end(arguments);
	printf("\n");
	if (!passed)
		printf("# %s:%d: %s\n", file, line, condition);
	fflush(stdout);
	return passed;
}

/* ok(condition, name, ...): the name is a printf format */
#define ok(condition, ...) \
	tap_ok(!!(condition), __FILE__, __LINE__, #condition, __VA_ARGS__)

/* Reports a test that this machine can't run, and why. */
__attribute__((format(printf, 1, 2))) static inline void
skip(const char *format, ...)
{
	va_list arguments;

	printf("ok %d - # SKIP ", ++tap_count);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

/* Ends a program that can't go on; without a plan it counts as failed. */
#define bail(why)                                                             \
	do {                                                                  \
		printf("Bail out! %s:%d: %s: %m\n", __FILE__, __LINE__, why); \
		exit(1);                                                      \
	} while (0)

/* Prints the plan; returns the exit status of the program. */
static inline int done(void)
{
	printf("1..%d\n", tap_count);
	if (tap_failures)
		printf("# %d of %d failed\n", tap_failures, tap_count);
	fflush(stdout);
	return tap_failures != 0;
}

#endif
