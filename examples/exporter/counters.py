"""Link, TCP and connection-tracking counters of one network namespace."""

from __future__ import annotations

import os
import socket
import struct
import sys

import netns

# A dump of all links (RTM_GETLINK), whatever the socket has asked before.
NLM_F_REQUEST, NLM_F_DUMP, NLM_F_DUMP_INTR = 0x1, 0x300, 0x10
NLMSG_ERROR, NLMSG_DONE, RTM_NEWLINK, RTM_GETLINK = 2, 3, 16, 18
IFLA_IFNAME, IFLA_STATS64, IFLA_EXT_MASK = 3, 23, 29
RTEXT_FILTER_SKIP_STATS = 8  # those of IPv6, which are summed over all CPUs for each device
IFF_RUNNING = 0x40
HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
ATTRIBUTE = struct.Struct("=HH")  # rtattr: length, type
STATS = struct.Struct("=8Q")  # the head of rtnl_link_stats64
REQUEST = HEADER.pack(40, RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 0, 0) + LINK.pack(0, 0, 0, 0, 0)
REQUEST += ATTRIBUTE.pack(8, IFLA_EXT_MASK) + RTEXT_FILTER_SKIP_STATS.to_bytes(4, sys.byteorder)

Names = tuple[tuple[str, str, str], ...]  # name, type and help of metrics
LINKS: Names = (
    ("netns_link_receive_packets", "counter", "Packets received."),
    ("netns_link_transmit_packets", "counter", "Packets sent."),
    ("netns_link_receive_bytes", "counter", "Bytes received."),
    ("netns_link_transmit_bytes", "counter", "Bytes sent."),
    ("netns_link_receive_errors", "counter", "Bad packets received."),
    ("netns_link_transmit_errors", "counter", "Packets that could not be sent."),
    ("netns_link_receive_dropped", "counter", "Packets received and dropped."),
    ("netns_link_transmit_dropped", "counter", "Packets dropped on the way out."),
    ("netns_link_running", "gauge", "Whether the device is up and has a carrier."),
)
# Each with the name that its column has in the file.
SNMP = {
    "ActiveOpens": ("netns_tcp_active_opens", "counter", "Connections begun from here."),
    "PassiveOpens": ("netns_tcp_passive_opens", "counter", "Connections accepted."),
    "AttemptFails": ("netns_tcp_attempt_fails", "counter", "Connections that failed to open."),
    "EstabResets": ("netns_tcp_established_resets", "counter", "Connections reset."),
    "CurrEstab": ("netns_tcp_established", "gauge", "Connections open now."),
    "InSegs": ("netns_tcp_receive_segments", "counter", "Segments received."),
    "OutSegs": ("netns_tcp_transmit_segments", "counter", "Segments sent."),
    "RetransSegs": ("netns_tcp_retransmit_segments", "counter", "Segments sent again."),
    "InErrs": ("netns_tcp_receive_errors", "counter", "Bad segments received."),
    "OutRsts": ("netns_tcp_transmit_resets", "counter", "Resets sent."),
}
CONNTRACK = {
    "entries": ("netns_conntrack_entries", "gauge", "Connections tracked now."),
    "invalid": ("netns_conntrack_invalid", "counter", "Packets that fit no connection."),
    "insert_failed": ("netns_conntrack_insert_failed", "counter", "Entries that met another."),
    "drop": ("netns_conntrack_drop", "counter", "Packets dropped: no room for an entry."),
    "early_drop": ("netns_conntrack_early_drop", "counter", "Entries dropped to make room."),
}


class Counters:
    """What one namespace counts: a socket and files that were opened inside.

    They keep the namespace alive until they are closed.
    """

    __slots__ = ("conntrack", "links", "snmp")

    def __init__(self, ns: netns.NetNS) -> None:
        # Owned one by one: any of them may be refused.
        self.snmp = self.conntrack = -1
        self.links = ns.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        try:
            # Before Linux 5.0 a thread that has such a file open gets the same file
            # again in another namespace. A new thread has none.
            ns.do_in_thread(self.open_files)
        except BaseException:
            self.close()
            raise

    def open_files(self, host: netns.NetNS) -> None:
        self.snmp = os.open("/proc/thread-self/net/snmp", os.O_RDONLY | os.O_CLOEXEC)
        try:
            path = "/proc/thread-self/net/stat/nf_conntrack"
            self.conntrack = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return  # the module is not loaded: no such metrics

    def close(self) -> None:
        self.links.close()
        for fd in (self.snmp, self.conntrack):
            if fd >= 0:
                os.close(fd)

    def read_links(self, buffer: bytearray) -> dict[str, tuple[int, ...]]:
        """Each device with the values of LINKS."""
        for _ in range(3):  # not for ever: whoever is inside may change devices all the time
            found, whole = self.dump_links(buffer)
            if whole:
                break
        return found

    def dump_links(self, buffer: bytearray) -> tuple[dict[str, tuple[int, ...]], bool]:
        """The same, and whether no device came or went meanwhile: some may be missing."""
        found: dict[str, tuple[int, ...]] = {}
        whole = True
        self.links.send(REQUEST)
        while True:
            end, at = self.links.recv_into(buffer), 0
            while at < end:
                length, kind, flags, _, _ = HEADER.unpack_from(buffer, at)
                whole = whole and not flags & NLM_F_DUMP_INTR
                if kind == RTM_NEWLINK:
                    name, values = read_link(buffer, at + HEADER.size, at + length)
                    found[name] = values
                elif kind == NLMSG_DONE:
                    return found, whole
                elif kind == NLMSG_ERROR:
                    error = -struct.unpack_from("=i", buffer, at + HEADER.size)[0]
                    raise OSError(error, os.strerror(error))
                at += length + 3 & ~3

    def read_tcp(self) -> dict[str, str]:
        """Each column of the two lines about TCP, as the kernel writes it."""
        _, keys, values = os.pread(self.snmp, 1 << 14, 0).decode().split("\nTcp:", 2)
        return dict(zip(keys.split(), values.partition("\n")[0].split()))

    def read_conntrack(self) -> dict[str, int]:
        """The columns of CONNTRACK, summed over the CPUs; nothing without the module."""
        if self.conntrack < 0:
            return {}
        text = b""
        # A read gives a page at most, which some 25 CPUs fill. One that leaves half of the
        # smallest page is the last: the kernel writes each line that has room.
        while part := os.pread(self.conntrack, 1 << 16, len(text)):
            text += part
            if len(part) < 2048:
                break
        head, *cpus = text.decode().splitlines()
        columns = dict(zip(head.split(), zip(*map(str.split, cpus))))
        found = {key: sum(int(value, 16) for value in columns[key]) for key in CONNTRACK}
        found["entries"] = int(columns["entries"][0], 16)  # the namespace's, on each line
        return found


def read_link(buffer: bytearray, at: int, end: int) -> tuple[str, tuple[int, ...]]:
    """The name and the values of LINKS, of an RTM_NEWLINK message's body."""
    _, _, _, flags, _ = LINK.unpack_from(buffer, at)
    at += LINK.size
    name = ""
    while at < end:
        length, kind = ATTRIBUTE.unpack_from(buffer, at)
        if kind == IFLA_IFNAME:
            name = buffer[at + 4 : at + length - 1].decode(errors="backslashreplace")
        elif kind == IFLA_STATS64:
            return name, (*STATS.unpack_from(buffer, at + 4), int(bool(flags & IFF_RUNNING)))
        at += length + 3 & ~3
    raise ValueError(f"the kernel tells no counters of {name!r}")
