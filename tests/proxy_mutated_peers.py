#!/usr/bin/python3
"""Hostile bytes from the other sides: a next proxy's and a proxy's mutated answers, and mutated TLS. Descriptors, timers and memory
are afterwards where they were. On loopback, and for the redirector client ── gate ── proxy.

EPIF_MUTATIONS and EPIF_SEED: see mutations.py. A twentieth of them in TLS, a tenth as answers."""
import contextlib
import os
import random
import resource
import signal
import socket
import ssl
import struct
import time

from lab import check, equal, promise, run, wait_until
from mutations import COUNT, SEED, answer_mutated, child, in_two_processes, mutate
from proxy_tables import Pair, Table
from proxy_world import TIMEOUT, Proxy, Server, echo, option, read_exactly, v5_request, v6_reply, v6_request
from redirect_world import Service, World
from redirect_world import echo as echo_until_end

WARM_UP = 1_000
FLOW = 0xfce1
ADDRESS = b"\x0a\x02\0\x14"


def answers():
    """What a proxy of SOCKS6 may say: success with and without options, refusals, server-first bytes behind it."""
    accepted = b"\x06\0\0\0"
    options = option(6, bytes(range(16))) + option(8, b"") + option(12, struct.pack(">II", 5, 32)) + option(14, b"")
    stack = option(1, b"\x81\x01\xb8\0") + option(1, b"\x84\x02\x02\0")

    def operation(code, after=b""):
        return b"\x06" + bytes([code]) + struct.pack(">HHBB", len(after), 80, 0, 1) + ADDRESS + after
    made = [accepted + operation(0), accepted + operation(0, stack), accepted + operation(0) + b"server first",
            b"\x06\0" + struct.pack(">H", len(options)) + options + operation(0), b"\x06\x01\0\0",
            b"\x06\x01" + struct.pack(">H", 8) + option(4, b"\x02\x01\x01\0"),
            accepted + b"\x06\0\0\0\0\x50\0\x04" + bytes(16), accepted + b"\x06\0\0\0\0\x50\0\x03\x07a.far\0\0"]
    return made + [accepted + operation(code) for code in range(1, 11)]


@contextlib.contextmanager
def hostile(listener):
    """Two processes that answer all that connects to `listener`."""
    children = [child(lambda part=part: answer_mutated(listener, answers(), SEED * 2 + part)) for part in range(2)]
    try:
        yield
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def ask(connect, count, seed, greeting=b""):
    """Connections that say something and read until their end, or leave earlier."""
    chance = random.Random(seed)
    for _ in range(count):
        with contextlib.suppress(OSError), connect() as client:
            client.settimeout(TIMEOUT)
            client.sendall(greeting + b"first bytes")
            if chance.randrange(4):
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def held(proxy):
    wait_until(lambda: proxy.metric('epif_proxy_held{limit="connections"}') == 0, "all connections end", within=20)
    return {name: proxy.metric("epif_proxy_" + name) for name in ("open_descriptors", "timers", "resident_bytes")}


def same(before, after):
    for name in ("open_descriptors", "timers"):
        equal(after[name], before[name], name)
    grown = (after["resident_bytes"] - before["resident_bytes"]) / 1024
    check(grown < 8 * 1024, f"{grown:.0f} KiB more memory")


@promise("a next proxy whose answers are mutated leaves descriptors, timers and memory where they were")
def next_proxy():
    count = COUNT // 10
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener, Table() as table:
        port = listener.getsockname()[1]
        routes = table.write({"id": "r", "sources": ["127.0.0.1/32"], "destination": "10.2.0.20:80",
                              "next": {"proxy": f"127.0.0.1:{port}"}})
        with hostile(listener), Proxy("--routes", routes, "--warm", "0") as proxy:
            connect = lambda: socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT)
            begin = b"\x05\x01\0" + v5_request(80, "10.2.0.20")
            storm = lambda number, seed: in_two_processes(lambda part: ask(connect, number // 2, seed * 2 + part, begin))
            storm(WARM_UP, SEED + 1)
            before, began = held(proxy), time.monotonic()
            storm(count, SEED)
            after = held(proxy)
            opened, refused = proxy.metric("epif_proxy_flows_opened_total"), proxy.metric("epif_proxy_refused_total")
            print(f"      {count} answers in {time.monotonic() - began:.0f} s: {before} -> {after}; {opened:.0f} flows, {refused:.0f} refused", flush=True)
            check(opened > count / 50 and refused > count / 10, f"{opened:.0f} flows, {refused:.0f} refusals: too few of either to say much")
            same(before, after)


def hello():
    """A client's first flight."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="proxy").do_handshake()
    return outgoing.read()


def handshake(connection, context, chance, request):
    """A real handshake and request, in which one flight of the client is changed on its way, or the request in a sound one."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing)
    victim = chance.randrange(3)

    def pass_on(number):
        if flight := outgoing.read():
            connection.sendall(mutate(flight, chance) if number == victim else flight)
    for number in range(8):
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            pass_on(number)
            if number == victim:
                connection.shutdown(socket.SHUT_WR)
            if not (data := connection.recv(16384)):
                return
            incoming.write(data)
    tls.write(mutate(request, chance) if victim == 2 else request)  # the certificate, Finished and the request in one flight
    pass_on(1)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(4096):
        pass


@promise("mutated TLS handshakes, and mutated requests inside of sound ones, leave descriptors, timers and memory where they were")
def in_tls():
    count = COUNT // 20
    with Server(echo) as server, Pair([{"id": "r", "sources": ["127.0.0.1/32"], "destination": f"127.0.0.1:{server.port}"}],
                                      [{"id": "r", "peers": ["umc/proxy"], "destination": f"127.0.0.1:{server.port}"}],
                                      far_words=["--no-resumption"]) as pair:  # else it keeps 1,024 sessions, whose memory would be seen
        pair.near.process.stop()  # it keeps warm connections, which are not to be counted
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(pair.at("ca.pem"))
        context.load_cert_chain(pair.at("umc-proxy.pem"), pair.at("umc-proxy.key"))
        request = v6_request(server.port, options=option(FLOW, b"\x01\x01\0\0r"))
        address, first = tuple(pair.next["proxy"].split(":")), hello()

        def send(number, seed):
            chance = random.Random(seed)
            for _ in range(number):
                with contextlib.suppress(OSError, ssl.SSLError), socket.create_connection(address, TIMEOUT) as client:
                    if chance.randrange(4):
                        client.sendall(mutate(first, chance))
                        if chance.randrange(2):  # without an end the proxy would wait for the rest
                            client.shutdown(socket.SHUT_WR)
                            while client.recv(4096):
                                pass
                    else:
                        handshake(client, context, chance, request + b"ping")
        storm = lambda number, seed: in_two_processes(lambda part: send(number // 2, seed * 2 + part))
        storm(WARM_UP, SEED + 1)
        before, began = held(pair.far), time.monotonic()
        storm(count, SEED)
        after = held(pair.far)
        print(f"      {count} handshakes in {time.monotonic() - began:.0f} s: {before} -> {after}; "
              f"{pair.far.metric('epif_proxy_requests_total'):.0f} requests read whole", flush=True)
        check(pair.far.metric("epif_proxy_requests_total") > count / 100, "too few requests to say much")
        same(before, after)
        with socket.create_connection(address, TIMEOUT) as client, context.wrap_socket(client) as tls:
            tls.sendall(request + b"ping")
            equal(v6_reply(tls)[2], 0, "a sound one afterwards")
            equal(read_exactly(tls, 4), b"ping", "what came back")


@promise("a TLS record, or a trunk, that breaks in the middle of a request ends its connection alone, in every protocol")
def broken_in_the_middle():
    with Server(echo) as server, Pair([], [{"id": "r", "peers": ["umc/proxy"], "destination": f"127.0.0.1:{server.port}"}]) as pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(pair.at("ca.pem"))
        context.load_cert_chain(pair.at("umc-proxy.pem"), pair.at("umc-proxy.key"))
        address = tuple(pair.next["proxy"].split(":"))
        request = v6_request(server.port, options=option(FLOW, b"\x01\x01\0\0r"))
        too_much = b"\x02\0\0\x04\0\0\0\x01\xff\xff\xff\xff"  # credit for stream 1 that it never had
        for begun in (b"\x04\x01", b"\x05\x01", b"\x05\x01\0\x05\x01", request[:1], request[:-1],
                      v6_request(0, "0.0.0.0", option(0xfce3, b"\x01\x01" + bytes(22)), 0) + b"\0\x01\0\x05\0\0\0\x01" + request[:5] + too_much):
            for record in (b"\x17\x03\x03\x00\x20" + bytes(32), b"no TLS at all"):
                with contextlib.suppress(ConnectionError), socket.create_connection(address, TIMEOUT) as client:
                    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                    tls = context.wrap_bio(incoming, outgoing)
                    while True:
                        try:
                            tls.do_handshake()
                            break
                        except ssl.SSLWantReadError:
                            client.sendall(outgoing.read())
                            incoming.write(client.recv(16384))
                    tls.write(begun)
                    client.sendall(outgoing.read() + record)
                    while client.recv(4096):
                        pass
            check(pair.far.process.alive(), f"the proxy died of what came after {begun.hex()}")
        with socket.create_connection(address, TIMEOUT) as client, context.wrap_socket(client) as tls:
            tls.sendall(request + b"ping")
            equal(v6_reply(tls)[2], 0, "a sound one afterwards")


def redirected(name, flags, spare):
    """A redirector before and after many connections through a hostile proxy; `spare` descriptors may differ."""
    count = COUNT // 20
    with World(name, proxy=False) as w:
        with w.proxy_node.listen(1080, "10.3.0.30") as listener:
            listener.settimeout(None)
            with hostile(listener):
                process = w.redirect("--capture", "10.2.0.20", *flags)

                def connect():
                    made = socket.socket()
                    made.settimeout(TIMEOUT)
                    made.connect(("10.2.0.20", 7001))
                    return made

                def ask_inside(number, seed):
                    with w.client.inside():
                        ask(connect, number, seed)

                def storm(number, seed):
                    in_two_processes(lambda part: ask_inside(number // 2, seed * 2 + part))
                    wait_until(lambda: w.metric("connections_active") == 0, "all connections end", within=20)
                    return descriptors(process.pid), resident_kib(process.pid)
                storm(WARM_UP, SEED + 1)
                before, began = storm(WARM_UP, SEED + 2), time.monotonic()
                after = storm(count, SEED)
                print(f"      {count} connections in {time.monotonic() - began:.0f} s: descriptors, KiB {before} -> {after}; "
                      f"{w.metric('connections_completed_total')} ended in order", flush=True)
                check(abs(after[0] - before[0]) <= spare, f"descriptors {before[0]} -> {after[0]}")
                check(after[1] - before[1] < 8 * 1024, f"{after[1] - before[1]} KiB more memory")
        w.start_proxy("--listen", "10.3.0.30:1080", "--allow-all")
        with Service(w.server, 7001, echo_until_end):
            def served():
                with contextlib.suppress(OSError), w.client.connect("10.2.0.20", 7001) as out:
                    out.sendall(b"good")
                    return out.recv(4) == b"good"
                return False
            wait_until(served, "a connection through the good proxy", within=20)


@promise("a redirector whose proxy gives mutated answers keeps descriptors and memory, and serves on when the proxy is a good one again")
def redirector():
    redirected("mutated", ["--warm", "0", "--trunk", "off"], 0)
    redirected("warm", [], 2 * 64)  # the warm pool's connections come and go


run()
