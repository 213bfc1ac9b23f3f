#!/usr/bin/python3
"""Chains of bridging functions: client ── near[audit, encrypt] ══ far[decrypt, audit] ── server, in clear, on loopback.

The functions run as plain processes here; their containers have tests of their own."""
import base64
import contextlib
import os
import socket
import subprocess
import threading

from lab import check, equal, promise, run, wait_until, write_json
from functions_world import Functions
from proxy_world import (Proxy, Server, digest, echo, is_reset, open_v5, read_all, read_exactly, successor,
                         v5_code, v5_request)


def x25519():
    """(secret, public), base64, as the key files and routes hold them."""
    der = subprocess.run(["openssl", "genpkey", "-algorithm", "X25519", "-outform", "DER"], capture_output=True, check=True).stdout
    public = subprocess.run(["openssl", "pkey", "-inform", "DER", "-pubout", "-outform", "DER"], input=der, capture_output=True,
                            check=True).stdout
    return base64.b64encode(der[-32:]).decode(), base64.b64encode(public[-32:]).decode()


def source(id, port, **fields):
    return {"id": id, "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{port}", "purpose": "research", **fields}


class Chained:
    """near and far proxy with a pair between them; the leg between is in clear and can be listened to."""

    def __init__(self, server, far_key_in_near_route=None):
        self.server, self.wrong_key = server, far_key_in_near_route

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.functions = self.stack.enter_context(Functions())
        keys = {}
        for name in ("near", "far"):
            secret, keys[name] = x25519()
            path = os.path.join(self.functions.folder, name + ".key")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
                file.write(secret + "\n")
        start = self.functions.start
        far_chain = [{**start("decrypt-1", "decrypt"), "key_pair": "p"}, start("audit-2", "audit")]
        near_chain = [start("audit-1", "audit"), {**start("encrypt-1", "encrypt"), "key_pair": "p"}]
        far_route = source("a/b", self.server.port, chain=far_chain, peer_keys={"umc/proxy": keys["near"]})
        self.far = self.proxy("far", far_route)
        self.wire = Wire(self.far.port)
        self.stack.enter_context(self.wire)
        next_hop = {"proxy": f"127.0.0.1:{self.wire.port}", "public_key": self.wrong_key or keys["far"]}
        self.near = self.proxy("near", source("a/b", self.server.port, chain=near_chain, next=next_hop))
        return self

    def proxy(self, name, route):
        path = os.path.join(self.functions.folder, name + ".json")
        write_json(path, {"node": name, "routes": [route]})
        return self.stack.enter_context(Proxy("--routes", path, "--hpke-key", os.path.join(self.functions.folder, name + ".key")))

    def __exit__(self, *failure):
        self.stack.close()


class Wire(Server):
    """The leg between the proxies: passes bytes on and remembers those towards the far one."""

    def __init__(self, port):
        self.seen = b""
        self.to = port
        super().__init__(self.carry)

    def carry(self, near):
        with socket.create_connection(("127.0.0.1", self.to)) as far:
            def back():
                try:
                    while data := far.recv(65536):
                        near.sendall(data)
                    near.shutdown(socket.SHUT_WR)
                except OSError:
                    near.shutdown(socket.SHUT_RDWR)  # a reset of the far side must not leave the near one waiting
            thread = threading.Thread(target=back, daemon=True)
            thread.start()
            near.settimeout(None)
            while data := near.recv(65536):
                self.seen += data
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
            thread.join()


@promise("bytes pass audit and a pair of encrypt and decrypt on two proxies, hidden on the leg between")
def pair():
    data = b"PatientName^Doe" * 100_000
    with Server(lambda c: (c.settimeout(30), c.sendall(digest(read_all(c)).encode()))) as server, Chained(server) as world:
        for _ in range(2):
            with open_v5(world.near, server.port) as client:
                client.settimeout(30)
                client.sendall(data)
                client.shutdown(1)
                equal(read_all(client).decode(), digest(data), "the hash that the server saw")
        check(len(world.wire.seen) > 2 * len(data), "the wire saw too little to be the data")
        check(b"PatientName" not in world.wire.seen, "the name crossed the leg in clear")
        for proxy in (world.near, world.far):
            proxy.process.wait_for_log(digest(data))  # both audits saw the plain bytes


@promise("a wrong key of the far proxy gives an error at both ends and no plain byte to the server")
def wrong_key():
    got = []
    with Server(lambda c: got.append(c.recv(100))) as server, Chained(server, x25519()[1]) as world:
        client = open_v5(world.near, server.port)
        client.sendall(b"PatientName^Doe" * 1000)
        check(is_reset(client), "the client saw a clean end")
        check(not any(got), f"the server read {got}")


@promise("a function that dies closes its flows with an error, and new ones are refused with the reason")
def death():
    with Server(echo) as server, Functions() as functions:
        link = functions.start("audit-1", "audit")
        path = os.path.join(functions.folder, "routes.json")
        write_json(path, {"routes": [source("a", server.port, chain=[link])]})
        with Proxy("--routes", path) as proxy:
            client = open_v5(proxy, server.port)
            client.sendall(b"ping")
            equal(read_exactly(client, 4), b"ping", "echo")
            before = server.accepted
            functions.running["audit-1"].kill()
            check(is_reset(client), "the client saw a clean end")
            check(v5_code(proxy, v5_request(server.port)) != 0, "a new flow was let through")
            equal(server.accepted, before, "connections that reached the server without its function")
            equal(proxy.metric('epif_proxy_refused_total{reason="bf_failed"}'), 1, "refusals counted")


@promise("a function that dies between its consent and the answer: the client is refused, and the next proxy told that it is over")
def death_before_answer():
    seen, go = [], threading.Event()

    def next_proxy(connection):
        connection.recv(4096)
        go.wait(10)
        connection.sendall(b"\x06\0\0\0" + b"\x06\0\0\0\0\x50\0\x01\x7f\0\0\x01")
        seen.append(is_reset(connection))
    with Server(next_proxy) as far, Functions() as functions:
        path = os.path.join(functions.folder, "routes.json")
        write_json(path, {"routes": [source("a", 80, chain=[functions.start("audit-1", "audit")],
                                            next={"proxy": f"127.0.0.1:{far.port}"})]})
        with Proxy("--routes", path) as proxy, proxy.connect() as client:
            client.sendall(b"\x05\x01\0" + v5_request(80))
            read_exactly(client, 2)
            wait_until(lambda: far.accepted, "the next proxy is asked")
            functions.running["audit-1"].kill()
            wait_until(lambda: proxy.metric("epif_proxy_functions_connected") == 0, "the proxy knows of the death")
            go.set()
            check(read_exactly(client, 2)[1] != 0, "the client was told that its flow is open")
            wait_until(lambda: seen, "the next proxy sees the end")
            check(seen[0], "the next proxy saw a clean end")


@promise("a proxy that takes over uses the same functions; the flow that is in them goes on whole in the old one")
def taken_over():
    data = os.urandom(4 * 1024 * 1024)
    with Server(lambda c: (c.settimeout(60), c.sendall(digest(read_all(c)).encode()))) as server, Chained(server) as world:
        with open_v5(world.near, server.port) as running:
            running.settimeout(60)
            running.sendall(data[:1024 * 1024])
            for number, proxy in enumerate((world.near, world.far)):  # first the side that began the flow, then the other
                process = successor(proxy)
                world.stack.callback(process.stop)
                running.sendall(data[(1 + number) << 20:(2 + number) << 20])
                with open_v5(world.near, server.port) as client:  # through both, whichever serve now
                    client.settimeout(60)
                    client.sendall(data)
                    client.shutdown(1)
                    equal(read_all(client).decode(), digest(data), "what a new flow brought to the server")
                check(proxy.process.alive(), "the old process ended under its flow")
            running.sendall(data[3 << 20:])
            running.shutdown(1)
            equal(read_all(running).decode(), digest(data), "what the old flow brought to the server")
        for proxy in (world.near, world.far):
            equal(proxy.process.wait(within=20), 0, "exit code of an old process after its last flow")


@promise("a route withdrawn under a running chain is an error at both ends")
def cut():
    seen = []
    with Server(lambda c: seen.append(is_reset(c))) as server, Functions() as functions:
        link = functions.start("audit-1", "audit")
        path = os.path.join(functions.folder, "routes.json")
        write_json(path, {"routes": [source("a", server.port, chain=[link])]})
        with Proxy("--routes", path) as proxy:
            client = open_v5(proxy, server.port)
            client.sendall(b"half")
            write_json(path, {"routes": []})
            check(is_reset(client), "the client saw a clean end")
            wait_until(lambda: seen, "the server sees the end")
            check(seen[0], "the server saw a clean end")


run(needs_root=False)
