#!/usr/bin/python3
"""Limits of epif proxy: what is too much is refused quickly, in the client's dialect, and takes nothing from others.
client 127.0.0.1 and others of 127.0.0.0/8 ── proxy ── server, on loopback."""
import concurrent.futures
import contextlib
import os
import resource
import socket
import struct
import tempfile
import time

from lab import check, equal, promise, run, wait_until, write_json
from mutations import MILLION, SEED, storm, trunk_messages
from proxy_world import (TIMEOUT, Proxy, Server, echo, is_reset, open_v5, option, read_all, read_exactly, v4_request, v4a_request,
                         v5_credentials, v5_name_request, v5_request, v6_name_request, v6_reply, v6_request)


def from_source(proxy, source):
    return socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT, source_address=(source, 0))


def refusals(proxy, server):
    """What a client that is too much gets, in each protocol."""
    for request, answer in ((v4_request(server.port), b"\0\x5b" + bytes(6)), (b"\x05\x01\0", b"\x05\xff"), (b"GET / HTTP/1.1\r\n", b"\x06"),
                            (v6_request(server.port), b"\x06\0\0\0\x06\x01\0\0\0\0\0\x01\0\0\0\0")):
        began = time.monotonic()
        with proxy.connect() as client:
            client.sendall(request)
            equal(read_all(client), answer, f"the refusal of {request.hex()}")
        check(time.monotonic() - began < 1, "the refusal took its time")


def shed(proxy, limit):
    return proxy.metric(f'epif_proxy_shed_total{{limit="{limit}"}}')


@promise("connections of one source: the next is refused in its own dialect, another source is served, and places come back")
def per_source():
    with Server(echo) as server, Proxy("--allow-all", "--max-connections-per-source", "3") as proxy:
        equal(proxy.metric('epif_proxy_limit{limit="connections_per_source"}'), 3, "the limit in metrics")
        flows = [open_v5(proxy, server.port) for _ in range(3)]
        refusals(proxy, server)
        equal(shed(proxy, "connections_per_source"), 4, "in metrics")
        with from_source(proxy, "127.0.0.2") as other:
            other.sendall(v6_request(server.port))
            equal(v6_reply(other)[2], 0, "another source")
        for flow in flows:
            flow.sendall(b"ping")
            equal(read_exactly(flow, 4), b"ping", "a flow that runs")
            flow.close()
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="connections"}') == 0, "places come back")
        open_v5(proxy, server.port).close()


@promise("handshakes: clients that do not say what they want are limited, by source and in all; flows are not counted")
def handshakes():
    with Server(echo) as server, Proxy("--allow-all", "--max-handshakes-per-source", "2", "--max-handshakes", "3") as proxy:
        flows = [open_v5(proxy, server.port) for _ in range(4)]
        silent = [proxy.connect() for _ in range(2)]
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="handshakes"}') == 2, "both are known")
        refusals(proxy, server)
        equal(shed(proxy, "handshakes_per_source"), 4, "by source")
        silent.append(from_source(proxy, "127.0.0.2"))
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="handshakes"}') == 3, "the third is known")
        with from_source(proxy, "127.0.0.3") as other:
            other.sendall(v4_request(server.port))
            equal(read_exactly(other, 2), b"\0\x5b", "in all")
        equal(shed(proxy, "handshakes"), 1, "in all")
        silent[0].sendall(v4_request(server.port))
        equal(read_exactly(silent[0], 2), b"\0\x5a", "a silent one that speaks in the end")
        open_v5(proxy, server.port).close()
        for one in flows + silent:
            one.close()


@promise("rate: a burst from one source is cut to its limit, another source is served meanwhile, and the rate comes back")
def rate():
    with Server(echo) as server, Proxy("--allow-all", "--max-rate-per-source", "20") as proxy:
        served = 0
        for _ in range(60):
            with contextlib.suppress(ConnectionResetError), proxy.connect() as client:
                client.sendall(v4_request(server.port))
                served += read_exactly(client, 2) == b"\0\x5a"
        check(20 <= served <= 45, f"{served} of 60 were served at 20 a second")
        with from_source(proxy, "127.0.0.2") as other:
            other.sendall(v4_request(server.port))
            equal(read_exactly(other, 2), b"\0\x5a", "another source")
        equal(shed(proxy, "rate_per_source"), 60 - served, "in metrics")

        def again():
            with contextlib.suppress(ConnectionResetError), proxy.connect() as client:
                client.sendall(v4_request(server.port))
                return read_exactly(client, 2) == b"\0\x5a"
        wait_until(again, "the rate comes back")


@promise("memory: unread requests of one source are bounded; the one too much is refused in its dialect, the others finish")
def memory():
    with Server(echo) as server, Proxy("--allow-all", "--max-handshake-bytes-per-source", "30000") as proxy:
        request = v6_request(server.port, options=option(0xFCFF, bytes(20000)))
        with proxy.connect() as first, proxy.connect() as second:
            first.sendall(request[:-1])
            wait_until(lambda: proxy.metric('epif_proxy_held{limit="memory"}') == len(request) - 1, "the first is held")
            second.sendall(request[:-1])
            equal(v6_reply(second)[2], 1, "the second")
            equal(shed(proxy, "memory_per_source"), 1, "in metrics")
            first.sendall(request[-1:] + b"ping")
            equal(v6_reply(first)[2], 0, "the first")
            equal(read_exactly(first, 4), b"ping", "its bytes")
        wait_until(lambda: proxy.metric('epif_proxy_held{limit="memory"}') == 0, "the memory comes back")


@promise("first bytes that a server has taken count as unread no longer: flows that began with them and go on keep nobody out")
def taken_bytes():
    first = os.urandom(16_000)
    with Server(echo) as server, Proxy("--allow-all", "--max-handshake-bytes-per-source", "30000") as proxy, contextlib.ExitStack() as flows:
        for number in range(10):
            client = flows.enter_context(proxy.connect())
            client.sendall(v6_request(server.port) + first)
            equal(v6_reply(client)[2], 0, f"the reply to flow {number}")
            check(read_exactly(client, len(first)) == first, "other bytes came back")
        equal(proxy.metric('epif_proxy_held{limit="memory"}'), 0, "bytes that count as unread")


@promise("the whole handshake has one deadline: a client that sends a byte now and then meets it, whatever its protocol")
def deadline():
    # What each begins with, and what it then sends a byte at a time without ever being whole.
    slow = {"4": (b"\x04\x01\0\x50\x7f\0\0\x01", b"x"), "5": (b"\x05\xff", b"\0"),
            "6": (v6_request(80, options=option(0xFCFF, bytes(200)))[:20], b"\0"), "version only": (b"\x05", b"")}
    with Proxy("--allow-all") as proxy:
        began = time.monotonic()
        clients = {name: proxy.connect() for name in slow}
        ended = {}
        for name, client in clients.items():
            client.sendall(slow[name][0])
            client.settimeout(0.05)
        while len(ended) < len(slow) and time.monotonic() - began < 15:
            for name in set(slow) - set(ended):
                try:
                    clients[name].sendall(slow[name][1])
                    check(clients[name].recv(100) == b"", f"{name} was answered")
                    ended[name] = time.monotonic() - began
                except TimeoutError:
                    pass
                except OSError:
                    ended[name] = time.monotonic() - began
        check(set(ended) == set(slow), f"after {time.monotonic() - began:.1f} s only {ended} had ended")
        check(all(9.5 < end < 11.5 for end in ended.values()), f"ended after {ended}")


@promise("without descriptors accept pauses and does not spin, what runs goes on, and new clients are served when some are free")
def no_descriptors():
    def cpu_s():
        with open(f"/proc/{proxy.process.pid}/stat") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    with Server(echo) as server, Proxy("--allow-all", "--threads", "1", "--max-connections", "1000",
                                       prefix=("prlimit", "--nofile=64:64")) as proxy:
        flows = [open_v5(proxy, server.port) for _ in range(5)]
        crowd = [proxy.connect() for _ in range(100)]
        for flow in flows:
            flow.sendall(b"ping")
            equal(read_exactly(flow, 4), b"ping", "a flow that runs")
        before, began = cpu_s(), time.monotonic()
        while time.monotonic() - began < 1:
            flows[0].sendall(b"ping")
            equal(read_exactly(flows[0], 4), b"ping", "a flow that runs")
            time.sleep(0.01)
        check(cpu_s() - before < 0.3, f"{cpu_s() - before:.2f} s of CPU in one second without descriptors")
        for one in crowd:
            one.close()
        with proxy.connect() as late:
            late.sendall(v4_request(server.port))
            equal(read_exactly(late, 2), b"\0\x5a", "a client that comes later")
        check(proxy.metric("epif_proxy_accept_pauses_total") > 0, "accept never paused")
        for flow in flows:
            flow.sendall(b"ping")
            equal(read_exactly(flow, 4), b"ping", "a flow that ran all the time")
            flow.close()


def originals(port):
    initial, login = option(2, struct.pack(">H", 4) + b"\x02"), option(4, b"\x02" + v5_credentials("ann", "secret"))
    stack = b"".join(option(1, wish) for wish in (b"\xc1\x01\xb8\0", b"\x84\x01\x04\xb0", b"\x84\x02\x02\0", b"\x81\x02\x02\0"))
    session = option(5, b"") + option(11, b"\0\0\0\x20")
    return [v4_request(port) + b"ping", v4a_request(port, "server.example") + b"ping", b"\x05\x02\0\x02" + v5_request(port) + b"ping",
            b"\x05\x01\0" + v5_name_request(port, "server.example") + b"ping", b"\x05\x01\0" + v5_request(port, command=2),
            v6_request(port, options=initial + login + stack + session) + b"ping", v6_name_request(port, "server.example", stack) + b"ping",
            v6_request(0, "0.0.0.0", session, 0), v6_request(0, "0.0.0.0", option(6, bytes(16)) + option(13, bytes(4)) + stack, 2),
            b"\x06\x01\0\0\0\x50\0\x04" + bytes(15) + b"\x01" + b"ping"] + trunk_messages(port)


def held(proxy, connections):
    wait_until(lambda: proxy.metric('epif_proxy_held{limit="connections"}') == connections, "all other connections end", within=20)
    return {name: proxy.metric("epif_proxy_" + name) for name in ("open_descriptors", "timers", "resident_bytes", "binds_waiting")}


def patient_echo(connection):
    connection.settimeout(None)
    echo(connection)


@promise("a million mutated handshakes on a proxy that serves leave descriptors, timers and memory where they were, and each has its end")
def mutated():
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with tempfile.TemporaryDirectory(prefix="epif-mutated-") as folder, Server(patient_echo) as steady, \
            socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        path, port = os.path.join(folder, "routes.json"), listener.getsockname()[1]
        route = {"sources": ["127.0.0.1/32"], "name": "server.example", "bind": True}
        write_json(path, {"routes": [route | {"id": "r", "destination": f"127.0.0.1:{port}"},
                                     {"id": "steady", "sources": ["127.0.0.1/32"], "destination": f"127.0.0.1:{steady.port}"}]})
        # The bounds for one source would turn some away unread.
        with Proxy("--routes", path, "--max-rate", "10000000", "--max-rate-per-source", "10000000") as proxy, \
                open_v5(proxy, steady.port) as flow, concurrent.futures.ThreadPoolExecutor(1) as pool:
            messages = originals(port)
            storm(proxy.port, messages, 5000, SEED + 1, listener)
            before, began = held(proxy, 1), time.monotonic()
            seen = proxy.metric("epif_proxy_connections_total")
            sending, served = pool.submit(storm, proxy.port, messages, MILLION, SEED, listener), 0
            while concurrent.futures.wait([sending], timeout=1).not_done:
                with open_v5(proxy, steady.port) as other:
                    other.sendall(b"ping")
                    equal(read_exactly(other, 4), b"ping", "a flow that begins meanwhile")
                served += 1
            told = sending.result()
            took, after = time.monotonic() - began, held(proxy, 1)
            arrived = proxy.metric("epif_proxy_connections_total") - seen - served
            print(f"      {arrived:.0f} handshakes in {took:.0f} s, seed {SEED}: {before} -> {after}; "
                  f"{proxy.metric('epif_proxy_requests_total'):.0f} requests read whole, {proxy.metric('epif_proxy_refused_total'):.0f} refused, "
                  f"{proxy.metric('epif_proxy_flows_opened_total'):.0f} flows; the clients: {told}", flush=True)
            equal((arrived, told["sent"]), (MILLION, MILLION), "handshakes that arrived, and that were sent")
            sessions = proxy.metric('epif_proxy_shed_total{limit="sessions"}')  # the draft wants silence there: the request goes on
            equal(proxy.metric("epif_proxy_shed_total") - sessions, 0, "handshakes that were turned away unread")
            check(told["echoed"] > MILLION / 50 and told["answered"] > MILLION / 5, f"too few were served to say much: {told}")
            for name in ("open_descriptors", "timers", "binds_waiting"):
                equal(after[name], before[name], name)
            grown = after["resident_bytes"] - before["resident_bytes"]
            check(grown < 8 * 1024 * 1024, f"{grown / 1024:.0f} KiB more memory")
            flow.sendall(b"ping")
            equal(read_exactly(flow, 4), b"ping", "a flow that ran all the time")
            open_v5(proxy, steady.port).close()


run(needs_root=False)
