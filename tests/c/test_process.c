/* SPDX-License-Identifier: Apache-2.0 */
/* netns_setup_exec: /sys and the files of /etc/netns, for one thread alone. */
#include "support.h"

static ino_t mounts_of_thread(void)
{
	struct stat st = { 0 };

	if (stat("/proc/thread-self/ns/mnt", &st) < 0)
		bail("/proc/thread-self/ns/mnt");
	return st.st_ino;
}

struct dressed {
	struct netns *ns;
	const char *name;
	ino_t mounts;
	int devices, ret;
	char resolv[64];
};

static void *dress(void *argument)
{
	struct dressed *dressed = argument;
	int fd;

	if (!good(netns_set(dressed->ns, fresh())))
		bail("netns_set");
	dressed->ret = netns_setup_exec(dressed->name, fresh());
	tell(dressed->ret);
	dressed->mounts = mounts_of_thread();
	dressed->devices = count_entries("/sys/class/net");
	fd = open("/etc/resolv.conf", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 &&
	    read(fd, dressed->resolv, sizeof(dressed->resolv) - 1) < 0)
		bail("/etc/resolv.conf");
	close(fd);
	return NULL;
}

/* More than one reading of their directory gives. */
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
		ok(bad(netns_setup_exec(names[i], fresh()), EINVAL,
		       NETNS_STEP_CHECK_ARGUMENT, names[i]) &&
			   mounts_of_thread() == before,
		   "dress: \"%s\" is no name", names[i]);
	have_admin(false);
	ok(bad(netns_setup_exec(NULL, fresh()), EPERM,
	       NETNS_STEP_UNSHARE_MOUNTS, ""),
	   "dress: not without the capability");
	return argument;
}

int main(void)
{
	struct dressed dressed = { .ns = make_namespace(),
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
	mounts = mounts_of_thread();
	devices = count_entries("/sys/class/net");

	pthread_join(start(dress, &dressed), NULL);
	ok(dressed.ret == 0, "dress: done");
	ok(dressed.mounts != mounts, "dress: the thread's own mounts");
	ok(dressed.devices == 1, "dress: /sys is the namespace's");
	ok(!strcmp(dressed.resolv, "inside"), "dress: so is resolv.conf");
	ok(mounts_of_thread() == mounts &&
		   count_entries("/sys/class/net") == devices,
	   "dress: nobody else's");
	dressed.name = NULL;
	memset(dressed.resolv, 0, sizeof(dressed.resolv));
	pthread_join(start(dress, &dressed), NULL);
	ok(dressed.devices == 1 && !strcmp(dressed.resolv, "host"),
	   "dress: without a name, /sys alone");
	dressed.name = "netns-test-2";
	pthread_join(start(dress, &dressed), NULL);
	ok(dressed.ret == 0 && !strcmp(dressed.resolv, "host"),
	   "dress: a name without files");
	if (mkdir("/etc/netns/netns-test-2", 0755) < 0)
		bail("/etc/netns/netns-test-2");
	write_many("/etc/netns/netns-test-2/lacking");
	write_file("/etc/netns/netns-test-2/resolv.conf", 0644, "second");
	pthread_join(start(dress, &dressed), NULL);
	ok(dressed.ret == 0 && !strcmp(dressed.resolv, "second"),
	   "dress: files that /etc lacks are left out, the others not");
	if (mkdir("/etc/hosts", 0755) < 0)
		bail("/etc/hosts");
	write_file("/etc/netns/netns-test-2/hosts", 0644, "");
	pthread_join(start(dress, &dressed), NULL);
	ok(dressed.ret == -ENOTDIR, "dress: a file where /etc has a directory");
	pthread_join(start(misname, NULL), NULL);
	netns_unref(dressed.ns);
	return done();
}
