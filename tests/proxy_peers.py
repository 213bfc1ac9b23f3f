#!/usr/bin/python3
"""What broke in other proxies, told by their issue trackers, and no other test is about. client ── proxy ── server, on loopback."""
import contextlib
import os
import socket
import struct

from lab import check, equal, promise, run, wait_until
from proxy_bind_messages import come_from
from proxy_datagrams import V5, V6, UdpServer, expect
from proxy_world import (Proxy, Server, echo, open_v5, read_all, read_exactly, v4_request, v4a_request, v5_code, v5_name_request, v5_request,
                         v6_name_request, v6_request)


def states(proxy):
    """How many TCP sockets of the proxy's process are in which state."""
    inodes = set()
    for name in os.listdir(f"/proc/{proxy.process.pid}/fd"):
        with contextlib.suppress(OSError):
            link = os.readlink(f"/proc/{proxy.process.pid}/fd/{name}")
            if link.startswith("socket:["):
                inodes.add(link[8:-1])
    found = {}
    for table in ("tcp", "tcp6"):
        with open(f"/proc/net/{table}", encoding="ascii") as file:
            for line in file.readlines()[1:]:
                fields = line.split()
                if fields[9] in inodes:
                    found[fields[3]] = found.get(fields[3], 0) + 1
    return found


@promise("microsocks 105: all of a handshake and the application's first bytes in one segment, or one byte a segment, for each protocol")
def coalesced():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        whole = {"4": (v4_request(server.port), 8), "4a": (v4a_request(server.port), 8), "5": (b"\5\1\0" + v5_request(server.port), 12),
                 "5 by name": (b"\5\1\0" + v5_name_request(server.port), 12), "6": (v6_request(server.port), 16),
                 "6 by name": (v6_name_request(server.port), 16)}
        for name, (request, answer) in whole.items():
            for step in (1, 2, 3, len(request) + 100):
                stream = request + b"first words"
                with proxy.connect() as client:
                    for at in range(0, len(stream), step):
                        client.sendall(stream[at:at + step])
                    read_exactly(client, answer)
                    equal(read_exactly(client, 11), b"first words", f"SOCKS{name}, {step} bytes a segment")


@promise("mina-sshd 911: the reply holds nothing of what the client sent ahead, and the server gets each byte of it once, in order")
def no_echo_in_reply():
    data = os.urandom(200_000)
    with Server(lambda c: c.sendall(read_all(c)[::-1])) as server, Proxy("--allow-all") as proxy, proxy.connect() as client:
        client.sendall(b"\5\1\0" + v5_request(server.port) + data)
        client.shutdown(socket.SHUT_WR)
        equal(read_exactly(client, 2), b"\5\0", "the method")
        reply = read_exactly(client, 10)
        equal((reply[:4], reply[4:8]), (b"\5\0\0\1", socket.inet_aton("127.0.0.1")), "the reply")
        equal(read_all(client), data[::-1], "what the server received, turned round")


@promise("redsocks 26, microsocks 16: peers that end in any order, or vanish half-way, leave no socket in CLOSE_WAIT and no descriptor")
def nothing_stays():
    def one_way(connection):
        connection.sendall(b"hello")
        connection.shutdown(socket.SHUT_WR)
        read_all(connection)
    with Server(one_way) as server, Proxy("--allow-all") as proxy:
        open_v5(proxy, server.port).close()
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="connections"}') == 0, "the first flow is gone")
        before = proxy.metric("epif_proxy_open_descriptors")
        clients = [open_v5(proxy, server.port) for _ in range(60)]
        for number, client in enumerate(clients):
            if number % 3 == 0:
                client.shutdown(socket.SHUT_WR)
                equal(read_all(client), b"hello", "after the client's end")
            elif number % 3 == 1:
                equal(read_all(client), b"hello", "before the client's end")
            else:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="connections"}') == 0, "all flows are gone")
        equal(set(states(proxy)) - {"0A"}, set(), "states of the proxy's sockets other than LISTEN")
        equal(proxy.metric("epif_proxy_open_descriptors"), before, "descriptors")


@promise("redsocks 155: a proxy that is asked for itself, ten times over, carries, and closing one end frees all of it")
def through_itself():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        client = open_v5(proxy, proxy.port)
        for depth in range(10):
            client.sendall(b"\5\1\0" + v5_request(server.port if depth == 9 else proxy.port))
            equal(read_exactly(client, 12)[:4], b"\5\0\5\0", f"the replies at depth {depth}")
        client.sendall(b"all the way")
        equal(read_exactly(client, 11), b"all the way", "the echo")
        client.close()
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="connections"}') == 0, "all of it is gone")


@promise("3proxy 494, things-go 55, ProxyBridge 89: unreachable hosts and empty datagrams end no association and cost no time")
def datagrams_to_nobody():
    def ticks():
        with open(f"/proc/{proxy.process.pid}/stat", encoding="ascii") as file:
            return sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = closed.getsockname()[1]
    with UdpServer() as server, Proxy("--allow-all") as proxy, V5(proxy) as five, V6(proxy) as six:
        six.send("0.0.0.0", 0, b"")
        six.message()
        for turn in range(50):
            five.send("127.0.0.1", nobody, b"")
            six.send("127.0.0.1", nobody, b"")
            five.send(server.host, server.port, b"%d" % turn)
            expect(five, (server.host, server.port, b"re:%d" % turn), "SOCKS5 after a datagram to nobody")
            six.send(server.host, server.port, b"%d" % turn)
            equal(six.message()[4], b"re:%d" % turn, "SOCKS6 after a datagram to nobody")
        before = ticks()
        wait_until(lambda: proxy.metric("epif_proxy_udp_associations") == 2, "both associations stand")
        check(ticks() - before < 20, f"{ticks() - before} ticks of CPU with nothing to do")


@promise("node-socks 58, libtorrent 1987: BIND's second reply follows the first, never before it, and an association's connection stays open")
def replies_in_order():
    with Proxy("--allow-all") as proxy:
        for _ in range(20):
            with proxy.connect() as client:
                client.sendall(b"\5\1\0" + v5_request(0, "127.0.0.1", 2))
                first = read_exactly(client, 12)[2:]
                with come_from("127.0.0.1", ("127.0.0.1", struct.unpack(">H", first[8:])[0])) as peer:
                    second = read_exactly(client, 10)
                    equal((second[:2], struct.unpack(">H", second[8:])[0]), (b"\5\0", peer.getsockname()[1]), "the second reply")
        with V5(proxy) as client:
            client.control.settimeout(0.5)
            try:
                check(client.control.recv(1), "the proxy ended the association's connection")
            except TimeoutError:
                pass


@promise("tun2socks 324: what cannot be reached is refused before any byte of the application, never accepted first")
def no_false_success():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        closed = probe.getsockname()[1]
    with Proxy("--allow-all") as proxy:
        equal(v5_code(proxy, v5_request(closed)), 5, "nothing listens there")
        with proxy.connect() as client:
            client.sendall(v6_request(closed) + b"early bytes")
            equal(read_exactly(client, 6)[4:], b"\6\5", "with early bytes behind the request")


run(needs_root=False)
