#!/usr/bin/python3
"""Restart without loss for limits by source and by route: what one process has counted holds in the next one, also while both serve.
clients of 127.0.0.0/8 ── old and new proxy ── server, on loopback."""
import contextlib
import os
import signal
import socket
import time

from functions_world import Functions
from lab import check, equal, promise, run, wait_until
from proxy_tables import Table
from proxy_world import TIMEOUT, Proxy, Server, echo, open_v5, read_exactly, successor, v5_code, v5_request

OTHERS = "127.0.0.2"
CONNECTIONS = 'epif_proxy_held{limit="connections"}'


def greeted(proxy, source="127.0.0.1"):
    """True if a new client of this source is asked what it wants, and not turned away. It has left when this returns."""
    before = proxy.metric(CONNECTIONS)
    with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT, source_address=(source, 0)) as client:
        client.sendall(b"\x05\x01\0")
        answer = read_exactly(client, 2)
    wait_until(lambda: proxy.metric(CONNECTIONS) == before, "it has left")
    return answer == b"\x05\0"


def held(proxy, limit, count):
    wait_until(lambda: proxy.metric(f'epif_proxy_held{{limit="{limit}"}}') == count, f"{limit} held: {count}")


@promise("what a source holds in a process that drains counts in its successors, also in the next but one, until it ends there; others are served, and an end without a word ends it, too")
def per_source():
    with Server(echo) as server, Proxy("--allow-all", "--max-connections-per-source", "4") as proxy, contextlib.ExitStack() as stack:
        def flow():
            return stack.enter_context(contextlib.closing(open_v5(proxy, server.port)))
        first = [flow(), flow()]
        for name in ("second", "third"):
            stack.callback(successor(proxy, name=name).stop)
            check(greeted(proxy), f"a place that is left is not given by the {name} process")
            last = flow()
            equal(greeted(proxy), name == "second", f"one more than four in all, to the {name} process")
        equal(proxy.metric('epif_proxy_shed_total{limit="connections_per_source"}'), 1, "in metrics")
        equal(proxy.metric(CONNECTIONS), 1, "what the third process itself holds")
        check(greeted(proxy, OTHERS), "another source is turned away")
        check(proxy.process.alive(), "the first process ended under its flows")
        first.pop().close()
        wait_until(lambda: greeted(proxy), "a place comes back from the first process by way of the second")
        flow()
        check(not greeted(proxy), "two places came back for one")
        os.kill(proxy.process.pid, signal.SIGKILL)
        wait_until(lambda: greeted(proxy), "a process that is no more holds nothing")
        last.sendall(b"still")
        equal(read_exactly(last, 5), b"still", "echo")


@promise("handshakes and a route's connections count across a take-over in the same way, and a flow of functions that moves counts once")
def handshakes_and_routes():
    with Server(echo) as server, Functions() as functions, Table() as table, contextlib.ExitStack() as stack:
        routes = [{"id": name, "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{one.port}", "limits": {"connections": 2}, "chain": chain}
                  for name, one, chain in (("plain", server, []),
                                           ("watched", stack.enter_context(Server(echo)), [{**functions.start("audit-1", "audit"), "trusted": True}]))]
        watched = int(routes[1]["destination"].rsplit(":", 1)[1])
        proxy = stack.enter_context(Proxy("--routes", table.write(*routes), "--max-handshakes-per-source", "2", "--threads", "1"))
        silent = [stack.enter_context(proxy.connect()) for _ in range(2)]
        held(proxy, "handshakes", 2)
        with contextlib.ExitStack() as flows:
            for one in silent:
                one.close()
            held(proxy, "handshakes", 0)
            plain = flows.enter_context(open_v5(proxy, server.port))
            moves = flows.enter_context(open_v5(proxy, watched))
            moves.sendall(b"ping")
            equal(read_exactly(moves, 4), b"ping", "echo")
            silent = flows.enter_context(proxy.connect())
            held(proxy, "handshakes", 1)
            process = successor(proxy)
            stack.callback(process.stop)
            process.wait_for_log("flows of bridging functions came from the old process flows=1")
            waits = flows.enter_context(proxy.connect())
            held(proxy, "handshakes", 1)
            check(not greeted(proxy), "a third handshake of the source")
            silent.close()
            wait_until(lambda: greeted(proxy), "the old process's handshake ends")
            waits.close()
            held(proxy, "handshakes", 0)
            for port, here in ((server.port, plain), (watched, moves)):
                more = flows.enter_context(open_v5(proxy, port))
                equal(v5_code(proxy, v5_request(port)), 1, "a third flow of a route with two")
                here.close()
                wait_until(lambda port=port: v5_code(proxy, v5_request(port)) == 0, "its place comes back")
                more.close()


@promise("how fast a source comes is remembered across a take-over: it gets no second burst")
def rates():
    rate = 40
    with Proxy("--allow-all", "--max-rate-per-source", str(rate)) as proxy, contextlib.ExitStack() as stack:
        for number in range(3):
            wait_until(lambda: not greeted(proxy), "the burst is used up")
            began = time.monotonic()
            stack.callback(successor(proxy, name=f"new-{number}").stop)
            count = 0
            while greeted(proxy):
                count += 1
            # What time has brought meanwhile; a bucket that begins full has `rate` more.
            passed = time.monotonic() - began
            check(count <= rate * passed + 1, f"{count} connections in {passed:.2f} s at {rate} a second")
            check(passed < 1 or number < 2, "too slow to tell")
            if passed < 1:
                return


if __name__ == "__main__":
    run(needs_root=False)
