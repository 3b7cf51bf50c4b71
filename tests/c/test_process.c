/* SPDX-License-Identifier: Apache-2.0 */
/* netns_setup_exec: /sys and the files of /etc/netns, for one thread alone. */
#include <net/if.h>

#include "support.h"

static ino_t mounts_of_thread(void)
{
	struct stat st = { 0 };

	if (stat("/proc/thread-self/ns/mnt", &st) < 0)
		bail("/proc/thread-self/ns/mnt");
	return st.st_ino;
}

struct command {
	struct netns *ns;
	const char *name;
	ino_t mounts;
	int devices, wanted, ret;
	char resolv[64];
	int carried; /* what is mounted below /sys is still there */
	struct netns_error left_out[4];
};

/* Some kernel modules add a device to each new namespace: tunl0 beside lo. */
static int count_devices(void)
{
	struct if_nameindex *devices = if_nameindex();
	int count = 0;

	if (!devices)
		bail("if_nameindex");
	while (devices[count].if_index)
		count++;
	if_freenameindex(devices);
	return count;
}

static void *set_up_command(void *argument)
{
	struct command *command = argument;
	int fd;

	if (!good(netns_set(command->ns, fresh())))
		bail("netns_set");
	memset(command->left_out, 0, sizeof(command->left_out));
	command->ret =
		netns_setup_exec(command->name, command->left_out, 4, fresh());
	tell(command->ret);
	command->carried = access("/sys/fs/cgroup/carried", F_OK) == 0;
	command->mounts = mounts_of_thread();
	command->devices = count_entries("/sys/class/net");
	command->wanted = count_devices();
	fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 &&
	    read(fd, command->resolv, sizeof(command->resolv) - 1) < 0)
		bail("/etc/resolv.conf");
	close(fd);
	return NULL;
}

/* Writes more files than one getdents(2) of their directory returns. */
static void write_many(const char *prefix)
{
	char path[128];
	int i;

	for (i = 0; i < 100; i++) {
		snprintf(path, sizeof(path), "%s-%03d", prefix, i);
		write_file(path, 0644, "");
	}
}

static void *misname(void *argument)
{
	static const char *const names[] = { "", ".", "..", "a/b" };
	ino_t before = mounts_of_thread();
	size_t i;

	for (i = 0; i < 4; i++)
		ok(bad(netns_setup_exec(names[i], NULL, 0, fresh()), EINVAL,
		       NETNS_STEP_CHECK_ARGUMENT, names[i]) &&
			   mounts_of_thread() == before,
		   "setup_exec: \"%s\" is no name", names[i]);
	have_admin(false);
	ok(bad(netns_setup_exec(NULL, NULL, 0, fresh()), EPERM,
	       NETNS_STEP_UNSHARE_MOUNTS, ""),
	   "setup_exec: not without the capability");
	return argument;
}

int main(void)
{
	struct command command = { .ns = make_namespace(),
				   .name = "netns-test" };
	ino_t mounts;
	int devices;

	alarm(SECONDS);
	own_mounts();
	if (mount("none", "/etc", "tmpfs", 0, NULL) < 0)
		bail("a tmpfs over /etc");
	if (mkdir("/etc/netns", 0755) < 0 ||
	    mkdir("/etc/netns/netns-test", 0755) < 0)
		bail("/etc/netns");
	write_file("/etc/resolv.conf", 0644, "host");
	write_file("/etc/netns/netns-test/resolv.conf", 0644, "inside");
	if (mount("none", "/sys/fs/cgroup", "tmpfs", 0, NULL) < 0)
		bail("a tmpfs below /sys");
	write_file("/sys/fs/cgroup/carried", 0644, "");
	mounts = mounts_of_thread();
	devices = count_entries("/sys/class/net");

	pthread_join(start(set_up_command, &command), NULL);
	ok(command.ret == 0, "setup_exec: done");
	ok(command.mounts != mounts, "setup_exec: the thread's own mounts");
	ok(command.devices == command.wanted,
	   "setup_exec: /sys is the namespace's");
	ok(command.carried, "setup_exec: with what is mounted below /sys");
	ok(!strcmp(command.resolv, "inside"), "setup_exec: so is resolv.conf");
	ok(mounts_of_thread() == mounts &&
		   count_entries("/sys/class/net") == devices,
	   "setup_exec: nobody else's");
	command.name = NULL;
	memset(command.resolv, 0, sizeof(command.resolv));
	pthread_join(start(set_up_command, &command), NULL);
	ok(command.devices == command.wanted && !strcmp(command.resolv, "host"),
	   "setup_exec: without a name, /sys alone");
	command.name = "netns-test-2";
	pthread_join(start(set_up_command, &command), NULL);
	ok(command.ret == 0 && !strcmp(command.resolv, "host"),
	   "setup_exec: a name without files");
	if (mkdir("/etc/netns/netns-test-2", 0755) < 0)
		bail("/etc/netns/netns-test-2");
	write_many("/etc/netns/netns-test-2/lacking");
	write_file("/etc/netns/netns-test-2/resolv.conf", 0644, "second");
	pthread_join(start(set_up_command, &command), NULL);
	ok(command.ret == 100 && !strcmp(command.resolv, "second") &&
		   command.left_out[3].err == ENOENT &&
		   command.left_out[3].step == NETNS_STEP_BIND_CONFIGURATION,
	   "setup_exec: files that /etc lacks are left out, the others not");
	if (mkdir("/etc/hosts", 0755) < 0)
		bail("/etc/hosts");
	write_file("/etc/netns/netns-test-2/hosts", 0644, "");
	pthread_join(start(set_up_command, &command), NULL);
	ok(command.ret == 101 && !strcmp(command.resolv, "second"),
	   "setup_exec: a file where /etc has a directory is left out");
	command.name = "netns-test-3";
	if (mkdir("/etc/netns/netns-test-3", 0755) < 0 ||
	    symlink("/nowhere", "/etc/netns/netns-test-3/resolv.conf") < 0)
		bail("/etc/netns/netns-test-3");
	pthread_join(start(set_up_command, &command), NULL);
	ok(command.ret == 1 && command.left_out[0].err == ENOENT &&
		   !strcmp(command.left_out[0].path,
			   "/etc/netns/netns-test-3/resolv.conf"),
	   "setup_exec: nor is a link that leads nowhere silent");
	command.name = "netns-test-4";
	write_file("/etc/netns/netns-test-4", 0644, "");
	pthread_join(start(set_up_command, &command), NULL);
	ok(command.ret == 1 && command.left_out[0].err == ENOTDIR,
	   "setup_exec: nor a file in place of the folder");
	pthread_join(start(misname, NULL), NULL);
	netns_unref(command.ns);
	return done();
}
