/* SPDX-License-Identifier: Apache-2.0 */
/* The ids by which one namespace's rtnetlink speaks of others. */
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "internal.h"
#include "sys.h"

/* From <linux/net_namespace.h> and <linux/rtnetlink.h> from Linux 4.0 on. */
#ifndef RTM_NEWNSID
#define RTM_NEWNSID 88
#define RTM_GETNSID 90
#endif
#define ATTRIBUTE_NSID	  1
#define ATTRIBUTE_FD	  3
#define ATTRIBUTE_TARGET  4 /* these two from Linux 4.20 on */
#define ATTRIBUTE_CURRENT 5

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12
#endif

#define UNASSIGNED  (-1)
#define ANSWER_SIZE 32768 /* the most that the kernel sends at once */

struct request {
	struct nlmsghdr head;
	struct rtgenmsg generic;
	char pad[NLMSG_ALIGN(sizeof(struct rtgenmsg)) -
		 sizeof(struct rtgenmsg)];
	struct {
		struct nlattr head;
		uint32_t value;
	} attributes[2];
};

struct answer {
	uint32_t sequence; /* of the request */
	struct netns_nsid *ids;
	size_t count, room;
	bool done;
};

static void add_attribute(struct request *request, uint16_t type,
			  uint32_t value)
{
	size_t used = (request->head.nlmsg_len -
		       offsetof(struct request, attributes)) /
		      sizeof(request->attributes[0]);

	request->attributes[used].head.nla_type = type;
	request->attributes[used].head.nla_len = sizeof(request->attributes[0]);
	request->attributes[used].value = value;
	request->head.nlmsg_len += (uint32_t)sizeof(request->attributes[0]);
}

static int add_id(struct answer *answer, struct netns_nsid id)
{
	struct netns_nsid *ids = netns__grow(answer->ids, &answer->room,
					     answer->count + 1, sizeof(*ids));

	if (!ids)
		return -ENOMEM;
	answer->ids = ids;
	answer->ids[answer->count++] = id;
	return 0;
}

static int read_nsid(const struct nlmsghdr *message, struct answer *answer)
{
	size_t start = NLMSG_LENGTH(NLMSG_ALIGN(sizeof(struct rtgenmsg)));
	const char *at = (const char *)message + start;
	const char *end = (const char *)message + message->nlmsg_len;
	struct netns_nsid found = { UNASSIGNED, UNASSIGNED };
	struct nlattr head;
	bool has_id = false;

	while (end - at >= (ptrdiff_t)sizeof(head)) {
		memcpy(&head, at, sizeof(head));
		if (head.nla_len < sizeof(head) || head.nla_len > end - at)
			break;
		if (head.nla_len >= sizeof(head) + sizeof(found.nsid)) {
			if (head.nla_type == ATTRIBUTE_NSID) {
				memcpy(&found.nsid, at + sizeof(head),
				       sizeof(found.nsid));
				has_id = true;
			}
			if (head.nla_type == ATTRIBUTE_CURRENT)
				memcpy(&found.current, at + sizeof(head),
				       sizeof(found.current));
		}
		at += NLA_ALIGN(head.nla_len);
	}
	return has_id ? add_id(answer, found) : 0;
}

static int read_message(const struct nlmsghdr *message, struct answer *answer)
{
	int error;

	/* All but a list's are the only one, or the acknowledgement. */
	answer->done = !(message->nlmsg_flags & NLM_F_MULTI);
	switch (message->nlmsg_type) {
	case NLMSG_ERROR: /* or, with 0, an acknowledgement */
	case NLMSG_DONE:
		answer->done = true;
		if (message->nlmsg_len < NLMSG_LENGTH(sizeof(error)))
			return 0;
		memcpy(&error, NLMSG_DATA(message), sizeof(error));
		return error;
	case RTM_NEWNSID:
		return read_nsid(message, answer);
	default:
		return 0;
	}
}

static int read_messages(const char *buf, uint32_t size, struct answer *answer)
{
	const struct nlmsghdr *message;
	uint32_t offset = 0, length;
	int ret = 0;

	while (!ret && offset + sizeof(*message) <= size) {
		message = (const void *)(buf + offset);
		length = message->nlmsg_len;
		if (length < sizeof(*message) || length > size - offset)
			break;
		if (message->nlmsg_seq == answer->sequence)
			ret = read_message(message, answer);
		offset += NLMSG_ALIGN(length);
	}
	return ret;
}

/* Connected to the kernel, so that no other process can fill its queue. */
static int open_rtnetlink(void)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int ret, sock = sys_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);

	if (sock < 0)
		return sock;
	ret = sys_connect(sock, &kernel, sizeof(kernel));
	if (ret < 0)
		sys_close(sock);
	return ret < 0 ? ret : sock;
}

/* Others may have sent before it was connected: the kernel's port is 0. */
static int receive(int sock, char *buf)
{
	struct sockaddr_nl from;
	int ret;

	do {
		from.nl_pid = 0;
		ret = sys_recv(sock, buf, ANSWER_SIZE, &from, sizeof(from));
	} while (ret == -EINTR || (ret >= 0 && from.nl_pid));
	return ret > ANSWER_SIZE ? -EMSGSIZE : ret;
}

static int read_answer(int fd, struct answer *answer)
{
	char *buf = sys_alloc(ANSWER_SIZE);
	int ret = buf ? 0 : -ENOMEM;

	while (!ret && !answer->done) {
		ret = receive(fd, buf);
		if (ret >= 0)
			ret = read_messages(buf, (uint32_t)ret, answer);
	}
	free(buf);
	return ret;
}

/* Sends a request and reads the whole answer. */
static int send_request(int fd, const struct request *request,
			struct answer *answer)
{
	int ret;

	answer->sequence = request->head.nlmsg_seq;
	do {
		ret = sys_send(fd, request, request->head.nlmsg_len);
	} while (ret == -EINTR);
	return ret < 0 ? ret : read_answer(fd, answer);
}

static atomic_uint sequences;

static void begin_request(struct request *request, uint16_t type,
			  uint16_t flags)
{
	memset(request, 0, sizeof(*request));
	request->head.nlmsg_len = offsetof(struct request, attributes);
	request->head.nlmsg_type = type;
	request->head.nlmsg_flags = NLM_F_REQUEST | flags;
	request->head.nlmsg_seq = ++sequences;
	request->generic.rtgen_family = AF_UNSPEC;
}

/* Asks for the id of a namespace's descriptor, or gives it *nsid for one. */
static int request_nsid(int sock, uint16_t type, int fd, int32_t *nsid)
{
	bool gives = type == RTM_NEWNSID;
	struct answer answer = { 0 };
	struct request request;
	int ret;

	begin_request(&request, type, gives ? NLM_F_ACK : 0);
	if (gives)
		add_attribute(&request, ATTRIBUTE_NSID, (uint32_t)*nsid);
	add_attribute(&request, ATTRIBUTE_FD, (uint32_t)fd);
	ret = send_request(sock, &request, &answer);
	if (!ret)
		*nsid = answer.count ? answer.ids[0].nsid : UNASSIGNED;
	free(answer.ids);
	return ret;
}

int netns__ask_nsid(int fd, int32_t *nsid)
{
	int ret, sock = open_rtnetlink();

	if (sock < 0)
		return sock;
	ret = request_nsid(sock, RTM_GETNSID, fd, nsid);
	sys_close(sock);
	return ret;
}

static int request_nsids(uint16_t type, struct netns *const *namespaces,
			 size_t count, int32_t *nsids, enum netns_step step,
			 struct netns_error *err)
{
	int fd, ret = 0, sock = open_rtnetlink();
	size_t i;

	if (sock < 0)
		return netns__fail(err, sock, step, NULL);
	for (i = 0; i < count && ret >= 0; i++) {
		ret = fd = netns__fd_get_usable(namespaces[i], err);
		if (fd < 0)
			break;
		ret = request_nsid(sock, type, fd, &nsids[i]);
		ret = netns__check(err, ret, step, NULL);
		netns__fd_put(namespaces[i]);
	}
	sys_close(sock);
	return ret;
}

int netns_get_nsids(struct netns *const *namespaces, size_t count,
		    int32_t *nsids, struct netns_error *err)
{
	return request_nsids(RTM_GETNSID, namespaces, count, nsids,
			     NETNS_STEP_GET_NSID, err);
}

int netns_get_nsid(struct netns *ns, int32_t *nsid, struct netns_error *err)
{
	return netns_get_nsids(&ns, 1, nsid, err);
}

int netns_set_nsid(struct netns *ns, int32_t nsid, struct netns_error *err)
{
	return request_nsids(RTM_NEWNSID, &ns, 1, &nsid, NETNS_STEP_SET_NSID,
			     err);
}

/*
 * Some kernels (Linux 6.18 is one) end the list of ids with its first message,
 * which is a page long, or as long as the longest buffer that the socket was
 * read into. So the socket is first read into a long buffer: the answer to a
 * message that requests nothing.
 */
static int list_nsids(int32_t target, int32_t only, struct answer *answer)
{
	struct answer nothing = { 0 };
	struct request request;
	int ret, fd = open_rtnetlink();

	if (fd < 0)
		return fd;
	begin_request(&request, NLMSG_NOOP, NLM_F_ACK);
	ret = send_request(fd, &request, &nothing);
	/* Without it a list is the calling thread's, whatever the target. */
	if (!ret && target >= 0)
		ret = sys_setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK,
				     1);
	if (!ret) {
		begin_request(&request, RTM_GETNSID, only < 0 ? NLM_F_DUMP : 0);
		if (only >= 0)
			add_attribute(&request, ATTRIBUTE_NSID, (uint32_t)only);
		if (target >= 0)
			add_attribute(&request, ATTRIBUTE_TARGET,
				      (uint32_t)target);
		ret = send_request(fd, &request, answer);
	}
	sys_close(fd);
	return ret;
}

int netns_nsids(int32_t target, int32_t only, struct netns_nsid **nsids,
		struct netns_error *err)
{
	struct answer answer = { 0 };
	int ret = netns__thread_check(err);

	if (ret < 0)
		return ret;
	ret = list_nsids(target, only, &answer);
	if (ret < 0) {
		free(answer.ids);
		return netns__fail(err, ret, NETNS_STEP_GET_NSID, NULL);
	}
	*nsids = answer.ids;
	return (int)answer.count;
}
