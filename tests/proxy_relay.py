#!/usr/bin/python3
"""epif proxy carries bytes exactly: half-close, RST, order, volume. client ── proxy ── server, on loopback."""
import os
import random
import socket
import struct
import tempfile
import threading

from lab import check, equal, promise, run, wait_until, write_json
from proxy_world import Proxy, Server, digest, echo, is_reset, open_v5, read_all, read_exactly, v6_reply, v6_request

BIG = 100 * 1024 * 1024


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@promise("half-close: the client ends first, the server still answers")
def client_ends_first():
    def count(connection):
        connection.sendall(b"%d" % len(read_all(connection)))
    with Server(count) as server, Proxy("--allow-all") as proxy, open_v5(proxy, server.port) as client:
        client.sendall(b"x" * 100_000)
        client.shutdown(socket.SHUT_WR)
        equal(read_all(client), b"100000", "the answer after the client's end")


@promise("half-close: the server ends first, the client still sends")
def server_ends_first():
    got = []

    def bye(connection):
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        got.append(read_all(connection))
    with Server(bye) as server, Proxy("--allow-all") as proxy, open_v5(proxy, server.port) as client:
        equal(read_all(client), b"bye", "the server's words")
        client.sendall(b"late news")
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: got, "the server has read to the end")
        equal(got[0], b"late news", "what was sent after the server's end")


@promise("a reset on either side is a reset on the other, never a clean end")
def resets():
    def abort_after_first(connection):
        connection.recv(10)
        reset(connection)
    with Server(abort_after_first) as server, Proxy("--allow-all") as proxy, open_v5(proxy, server.port) as client:
        client.sendall(b"go")
        check(is_reset(client), "the client saw a clean end although the server reset")
    seen = []
    with Server(lambda connection: seen.append(is_reset(connection))) as server, Proxy("--allow-all") as proxy:
        client = open_v5(proxy, server.port)
        client.sendall(b"half of something")
        wait_until(lambda: server.accepted, "the server has accepted")
        reset(client)
        wait_until(lambda: seen, "the server has seen the end")
        check(seen[0], "the server saw a clean end although the client reset")


@promise("kill -9 of the proxy in the middle of a transfer is an error at both ends, never a clean end")
def killed():
    seen = []

    def upload(connection):
        connection.sendall(b"go on")
        seen.append(is_reset(connection))
    for words in (("--allow-all",), ("--allow-all", "--threads", "1")):
        seen.clear()
        with Server(upload) as server, Proxy(*words) as proxy, open_v5(proxy, server.port) as client:
            equal(read_exactly(client, 5), b"go on", "the server's words")
            client.sendall(b"half of something")
            wait_until(lambda: proxy.metric("epif_proxy_bytes_total") == 22, "the proxy has passed all on")
            proxy.process.kill()
            check(is_reset(client), "the client saw a clean end")
            wait_until(lambda: seen, "the server has seen the end")
            check(seen[0], "the server saw a clean end")


@promise("early bytes whose client breaks off before the answer are an error at the next proxy, not a complete message")
def broken_before_answer():
    seen, go = [], threading.Event()

    def next_proxy(connection):
        read_exactly(connection, 5000)  # the request, and most of the early bytes
        go.wait(10)
        connection.sendall(b"\x06\0\0\0" + b"\x06\0\0\0\0\x50\0\x01\x7f\0\0\x01")
        seen.append(is_reset(connection))
    with Server(next_proxy) as far, tempfile.TemporaryDirectory(prefix="epif-routes-") as folder:
        path = os.path.join(folder, "routes.json")
        write_json(path, {"routes": [{"id": "a", "sources": ["127.0.0.0/8"], "destination": "127.0.0.1:80",
                                      "next": {"proxy": f"127.0.0.1:{far.port}"}}]})
        with Proxy("--routes", path) as proxy:
            client = proxy.connect()
            client.sendall(v6_request(80) + b"x" * 6000)
            wait_until(lambda: far.accepted, "the next proxy is asked")
            reset(client)
            go.set()
            wait_until(lambda: seen, "the next proxy has seen the end")
            check(seen[0], "the next proxy saw a clean end")


@promise("a server that speaks first is heard at once")
def server_first():
    with Server(lambda c: (c.sendall(b"220 hello\r\n"), c.recv(1))) as server, Proxy("--allow-all") as proxy:
        with open_v5(proxy, server.port) as client:
            equal(client.recv(100), b"220 hello\r\n", "the greeting")
        with proxy.connect() as client:
            client.sendall(v6_request(server.port))
            equal(v6_reply(client)[2], 0, "SOCKS6")
            equal(read_exactly(client, 11), b"220 hello\r\n", "the greeting")


@promise("100 MB arrive whole, both ways at once, and memory stays bounded")
def volume():
    data = random.Random(7).randbytes(1024 * 1024) * (BIG // 1024 // 1024)
    seen = []

    def duplex(connection):
        connection.settimeout(120)
        sender = threading.Thread(target=lambda: (connection.sendall(data), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        seen.append(digest(read_all(connection)))
        sender.join()
    with Server(duplex) as server, Proxy("--allow-all") as proxy, open_v5(proxy, server.port) as client:
        client.settimeout(120)
        sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
        sender.start()
        down = digest(read_all(client))
        sender.join()
        wait_until(lambda: seen, "the server has all", within=60)
        equal((down, seen[0]), (digest(data), digest(data)), "hashes")
        with open(f"/proc/{proxy.process.pid}/status") as status:
            peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        check(peak < 64 * 1024, f"the proxy held up to {peak} KiB")
        equal(proxy.metric("epif_proxy_route_bytes_total"), 2 * BIG, "bytes counted")


@promise("an idle flow holds less than 16 KiB, even if it began with 16 KB of early data")
def idle_memory():
    def resident(proxy):
        with open(f"/proc/{proxy.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    early = os.urandom(16_000)
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        def opened():
            client = proxy.connect()
            client.sendall(v6_request(server.port) + early)
            equal(v6_reply(client)[2], 0, "the reply")
            equal(digest(read_exactly(client, len(early))), digest(early), "echo")
            return client
        flows = [opened() for _ in range(20)]
        before = resident(proxy)
        flows += [opened() for _ in range(300)]
        each = (resident(proxy) - before) / 300
        check(each < 16, f"{each:.1f} KiB for each flow")


@promise("a reader that pauses stops the sender, and gets everything afterwards")
def back_pressure():
    go = threading.Event()
    seen = []

    def late(connection):
        connection.settimeout(60)
        go.wait(30)
        seen.append(len(read_all(connection)))
    with Server(late) as server, Proxy("--allow-all") as proxy, open_v5(proxy, server.port) as client:
        client.setblocking(False)
        block, sent = os.urandom(65536), 0
        try:
            while sent < BIG:
                sent += client.send(block)
        except BlockingIOError:
            pass
        check(sent < BIG, "the proxy swallowed 100 MB for a reader that does not read")
        go.set()
        client.setblocking(True)
        client.shutdown(socket.SHUT_WR)
        wait_until(lambda: seen, "the server has read", within=60)
        equal(seen[0], sent, "bytes that arrived")


@promise("200 connections at once each get their own bytes")
def many():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        clients = [open_v5(proxy, server.port) for _ in range(200)]
        for number, client in enumerate(clients):
            client.sendall(b"%06d" % number)
        for number, client in enumerate(clients):
            equal(read_exactly(client, 6), b"%06d" % number, "echo")
            client.close()
        wait_until(lambda: proxy.metric("epif_proxy_connections") == 0, "all connections are gone from the metrics")


run(needs_root=False)
