#!/usr/bin/python3
"""--dialect socksx: SOCKS6 as the EPI project's own programs write it, for clients and towards a next proxy; its chain metadata
decides nothing. client ── [proxy ──] proxy ── server, on loopback."""
import contextlib
import os
import struct
import subprocess
import tempfile

from lab import check, epif, equal, promise, run, wait_until, write_json
from proxy_world import (Proxy, Server, echo, free_port, ip4, open_v5, option, read_all, read_exactly, v5_code, v5_credentials,
                         v5_request, v6_reply, v6_request)

AUTHENTICATED = b"\x06\0\0\0"


def request(port, address="127.0.0.1", options=b"", command=1):
    return bytes([6, command, 1]) + ip4(address) + struct.pack(">HxH", port, len(options)) + options


def name_request(port, name):
    return b"\x06\x01\x03" + bytes([len(name)]) + name.encode() + struct.pack(">HxH", port, 0)


def metadata(key, value):
    """With the padding bug of socksx: an aligned value gets four zeros more."""
    body = struct.pack(">HH", key, len(value)) + value.encode()
    return option(0xFDE8, body + b"\0" * (4 - len(value) % 4))


def chain(index, *links):
    return b"".join([metadata(1000 + i, link) for i, link in enumerate(links)]
                    + [metadata(998, str(index)), metadata(999, str(len(links)))]) + option(2, b"\0\0\0\0")


def reply(client):
    """Its server's reply: the authentication's, then code, 0, type, address, port and options."""
    first = read_exactly(client, 4)
    read_exactly(client, struct.unpack(">H", first[2:])[0])
    if first[1] != 0:
        return first, None
    answer = read_exactly(client, 12)
    equal((answer[0], answer[2:4], answer[10:]), (6, b"\0\x01", b"\0\0"), "the shape of the operation reply")
    return first, answer[1]


@promise("requests of socksx are served at every cut, by address and by name, and announced initial data that never come do not hold them up")
def served():
    with Server(echo) as server, Proxy("--allow-all", "--dialect", "socksx") as proxy:
        for stream in (request(server.port), name_request(server.port, "localhost"),
                       request(server.port, options=option(2, struct.pack(">H", 8) + b"\0\0"))):
            for cut in range(1, len(stream) + 1):
                with proxy.connect() as client:
                    client.sendall(stream[:cut])
                    client.sendall(stream[cut:])
                    equal(reply(client), (AUTHENTICATED, 0), f"cut at {cut}")
                    client.sendall(b"ping")
                    equal(read_exactly(client, 4), b"ping", "the bytes")
        with proxy.connect() as client:
            client.sendall(request(free_port()))
            equal(reply(client)[1], 5, "a refused connection gets its reply")
        open_v5(proxy, server.port).close()


@promise("each listener has its own dialect, and a wrong word for one is refused at the start")
def per_listener():
    with Server(echo) as server:
        at = f"127.0.0.1:{free_port()}"
        with Proxy("--allow-all", "--listen", at, "--dialect", "socksx@" + at) as proxy:
            with proxy.connect(proxy.ports[0]) as client:
                client.sendall(v6_request(server.port))
                equal(v6_reply(client)[2], 0, "the draft's listener")
            with proxy.connect(proxy.ports[1]) as client:
                client.sendall(request(server.port))
                equal(reply(client)[1], 0, "the other")
        for word in ("socks7", "socksx@127.0.0.1:1", "socksx@x"):
            done = subprocess.run([epif(), "proxy", "--listen", at, "--allow-all", "--dialect", word], capture_output=True, timeout=10)
            equal(done.returncode, 2, f"--dialect {word}")


@contextlib.contextmanager
def routed(*words, **fields):
    with tempfile.TemporaryDirectory(prefix="epif-socksx-") as folder:
        path = os.path.join(folder, "routes.json")
        write_json(path, {"routes": [{"id": "r", "sources": ["127.0.0.1/32"], **fields}]})
        with Proxy("--routes", path, *words) as proxy:
            yield proxy


@promise("chain metadata is taken from clients that showed who they are, and only where it says what the route says")
def chains():
    login = option(4, b"\x02" + v5_credentials("ann", "secret"))
    root, other = "socks6://root:1080", "socks6://127.0.0.1:9"

    def ask(proxy, options, command=1):
        with proxy.connect() as client:
            client.sendall(request(server.port, options=options, command=command))
            return reply(client)[1]
    with Server(echo) as server:
        with routed("--dialect", "socksx", destination=f"127.0.0.1:{server.port}") as proxy:
            equal(ask(proxy, chain(0, root)), 2, "from nobody, even where it is true")
            equal(ask(proxy, b""), 0, "without metadata")
            equal(ask(proxy, chain(0, root), command=0), 2, "a NOOP from nobody")
            equal(ask(proxy, b"", command=0), 0, "a NOOP without metadata")
        with routed("--dialect", "socksx", "--user", "ann:secret", destination=f"127.0.0.1:{server.port}") as proxy:
            equal(ask(proxy, login + chain(0, root)), 0, "the last link, and the route leads to the server")
            own = f"socks6://127.0.0.1:{proxy.port}"
            equal(ask(proxy, login + chain(1, root, own)), 0, "the last link of two")
            equal(ask(proxy, login, command=0), 0, "a NOOP of a known client")
            equal(ask(proxy, login + chain(0, root), command=0), 2, "the same with metadata, which no route can confirm")
            equal(ask(proxy, login + chain(2, root, other, own)), 0, "the client is the link before")
            equal(ask(proxy, login + chain(1, root, other)), 2, "another proxy in this one's place")
            equal(ask(proxy, login + chain(1, other, own)), 2, "a chain that did not begin at its root")
            equal(ask(proxy, login + chain(2, root, "socks6://127.0.0.2:9", own)), 2, "another host in the client's place")
            equal(ask(proxy, login + chain(3, root, other, other, own)), 2, "a proxy before the client, which nobody can confirm")
            equal(ask(proxy, login + chain(0, root, other)), 2, "a further proxy that the route does not name")
            equal(ask(proxy, login + metadata(998, "7") + metadata(999, "1") + metadata(1000, root)), None, "an index beyond the links")
            wait_until(lambda: server.accepted >= 4, "the server's thread has counted")
            equal(server.accepted, 4, "connections that reached the server")
        with Proxy("--allow-all", "--dialect", "socksx") as back:
            there = {"proxy": f"127.0.0.1:{back.port}", "dialect": "socksx"}
            with routed("--dialect", "socksx", "--user", "ann:secret", destination=f"127.0.0.1:{server.port}", next=there) as front:
                equal(ask(front, login + chain(0, root, f"socks6://127.0.0.1:{back.port}")), 0, "the route's own next proxy")
                equal(ask(front, login + chain(0, root, f"socks6://127.0.0.1:{back.port}", other)), 2, "a proxy behind the next one")
                equal(ask(front, login + chain(0, root, other)), 2, "another next proxy")
                equal(ask(front, login + chain(0, root)), 2, "no next proxy, but the route has one")


@promise("a next proxy of the socksx dialect carries flows both ways, and its refusal reaches the client")
def upstream():
    closed = free_port()
    with Server(echo) as server, Proxy("--allow-all", "--dialect", "socksx") as back:
        there = {"proxy": f"127.0.0.1:{back.port}", "dialect": "socksx"}
        with routed(destination="127.0.0.1", next=there) as front:
            with front.connect() as client:
                client.sendall(v6_request(server.port) + b"early")
                equal(v6_reply(client)[2], 0, "the reply")
                client.sendall(b" and late")
                equal(read_exactly(client, 14), b"early and late", "the bytes")
            equal(v5_code(front, v5_request(closed)), 5, "a refused connection")
        equal(back.metric('epif_proxy_requests_total{protocol="socks6"}'), 2, "requests that the next proxy read")


run(needs_root=False)
