/* SPDX-License-Identifier: Apache-2.0 */
/* The counters of every interface in every network namespace of this host. */
#include <errno.h>
#include <inttypes.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netns.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int json;

static void quoted(const char *text)
{
	for (putchar('"'); *text; text++) {
		if (*text == '"' || *text == '\\' || (*text > 0 && *text < ' '))
			printf("\\u%04x", (unsigned int)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static void show_link(const struct nlmsghdr *message, const char *label)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);
	const struct rtattr *attribute = IFLA_RTA(info);
	int left = (int)IFLA_PAYLOAD(message);
	struct rtnl_link_stats64 s = { 0 };
	const char *name = "?";

	for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
		if (attribute->rta_type == IFLA_IFNAME)
			name = RTA_DATA(attribute);
		if (attribute->rta_type == IFLA_STATS64) /* not aligned */
			memcpy(&s, RTA_DATA(attribute), sizeof(s));
	}
	if (json) {
		quoted(name);
		printf(": {\"rx_bytes\": %llu, \"rx_packets\": %llu, "
		       "\"tx_bytes\": %llu, \"tx_packets\": %llu}",
		       s.rx_bytes, s.rx_packets, s.tx_bytes, s.tx_packets);
	} else {
		printf("%-15s %14llu %14llu %14llu %14llu  %s\n", name,
		       s.rx_bytes, s.rx_packets, s.tx_bytes, s.tx_packets,
		       label);
	}
}

/* From a socket of the namespace that it was made in. */
static int show_links(int sock, const char *label)
{
	struct {
		struct nlmsghdr head;
		struct ifinfomsg info;
	} request = { .head = { .nlmsg_len = sizeof(request),
				.nlmsg_type = RTM_GETLINK,
				.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP } };
	static _Alignas(8) char answer[65536];
	const struct nlmsghdr *message;
	const char *between = "";
	ssize_t size;

	if (send(sock, &request, sizeof(request), 0) < 0)
		return -errno;
	while ((size = recv(sock, answer, sizeof(answer), 0)) > 0) {
		message = (const void *)answer;
		for (; NLMSG_OK(message, size);
		     message = NLMSG_NEXT(message, size)) {
			if (message->nlmsg_type == NLMSG_DONE)
				return 0;
			if (message->nlmsg_type == NLMSG_ERROR)
				return *(int *)NLMSG_DATA(message);
			fputs(json ? between : "", stdout);
			between = ", ";
			show_link(message, label);
		}
	}
	return size < 0 ? -errno : -EPROTO;
}

struct shown {
	const struct netns_found *found;
	const char *label;
};

/* Runs inside, in a thread of its own where this one could not return. */
static int show_inside(struct netns *host, void *arg)
{
	static const char *before = "";
	const struct shown *shown = arg;
	int ret, sock;

	(void)host;
	sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);

	if (sock < 0)
		return -errno;
	if (json) {
		printf("%s{\"ino\": %" PRIu64 ", \"label\": ", before,
		       shown->found->ino);
		quoted(shown->label);
		printf(", \"interfaces\": {");
	}
	ret = show_links(sock, shown->label);
	fputs(json ? "}}" : "", stdout);
	before = ",\n ";
	close(sock);
	return ret;
}

static int show(const struct netns_found *found, const char *label)
{
	struct shown shown = { .found = found, .label = label };
	struct netns_error err = { .step = NETNS_STEP_NONE };
	struct netns *ns = NULL;
	int ret = found->names + found->paths
			? netns_open(NULL, label, &ns, &err)
			: netns_from_pid(atoi(label + 4), &ns, &err);

	if (!ret && netns_ino(ns) != found->ino)
		ret = -ESRCH; /* who was inside has moved */
	if (!ret)
		ret = netns_do(ns, show_inside, &shown, &err);
	netns_unref(ns);
	if (ret >= 0 || ret == -ENOENT || ret == -ESRCH ||
	    err.step == NETNS_STEP_CHECK_TYPE)
		return 0; /* shown, or gone or unpinned meanwhile */
	fprintf(stderr, "%s: %s: %s\n", label,
		err.err ? netns_step_text(err.step) : "show interfaces",
		strerror(-ret));
	return 1;
}

int main(int argc, char **argv)
{
	struct netns_discovery *all;
	struct netns_error err;
	int status = 0;
	char pid[32];
	uint32_t i;

	json = argc > 1 && !strcmp(argv[1], "--json");
	if (netns_discover(NULL, NETNS_PINS | NETNS_THREADS, &all, &err) < 0) {
		fprintf(stderr, "%s: %s\n", netns_step_text(err.step),
			strerror(err.err));
		return 1;
	}
	printf(json ? "[" : "%-15s %14s %14s %14s %14s  %s\n", "INTERFACE",
	       "RX BYTES", "RX PACKETS", "TX BYTES", "TX PACKETS", "NAMESPACE");
	for (i = 0; i < all->count; i++) {
		const struct netns_found *f = &all->found[i];

		if (f->pids + f->threads)
			sprintf(pid, "pid %d", all->ids[f->first_id]);
		if (f->names + f->paths)
			status |= show(f, all->texts + f->first_text);
		else if (f->pids + f->threads)
			status |= show(f, pid);
	}
	printf(json ? "]\n" : "");
	netns_free(all);
	return status;
}
