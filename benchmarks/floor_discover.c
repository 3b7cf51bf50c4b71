/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least that finding namespaces takes: the mount table read once, one
 * readlinkat(2) and one fstatat(2) a process, one thread, nothing kept.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Processes seen, and in *pins lines of nsfs; -1 where /proc is missing. */
int floor_discover(int *pins)
{
	char buf[32768], name[288], text[64];
	const struct dirent64 *entry;
	int proc, mounts, seen = 0;
	struct stat st;
	const char *at;
	long size, offset;

	proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	mounts = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	if (proc < 0 || mounts < 0)
		return -1;
	*pins = 0;
	while ((size = read(mounts, buf, sizeof(buf) - 1)) > 0) {
		buf[size] = '\0';
		for (at = buf; (at = strstr(at, " net:[")); at++)
			++*pins;
	}
	close(mounts);
	while ((size = syscall(SYS_getdents64, proc, buf, sizeof(buf))) > 0) {
		for (offset = 0; offset < size; offset += entry->d_reclen) {
			entry = (const void *)(buf + offset);
			if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
				continue;
			strcpy(stpcpy(name, entry->d_name), "/ns/net");
			if (readlinkat(proc, name, text, sizeof(text)) < 0)
				continue;
			strcpy(stpcpy(name, entry->d_name), "/task");
			seen += fstatat(proc, name, &st, 0) == 0;
		}
	}
	close(proc);
	return seen;
}
