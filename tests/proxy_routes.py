#!/usr/bin/python3
"""epif proxy obeys routes.json: default deny, hot reload, live cut, limits. client ── proxy ── server, on loopback."""
import contextlib
import os
import signal
import time

from lab import Again, LongFlow, check, digest_of_all, equal, promise, run, wait_until
from proxy_datagrams import stack
from proxy_tables import Table
from proxy_world import (Proxy, Server, echo, is_reset, open_v5, read_all, read_exactly, v5_code, v5_name_request,
                         v5_request, v6_reply, v6_request)


def route(id, port, **fields):
    return {"id": id, "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{port}", **fields}


def flows(proxy, wanted):
    wait_until(lambda: proxy.metric("epif_proxy_connections{stage=\"open\"}") == wanted, f"{wanted} open flows")


@promise("default deny: without a route nothing reaches the server, not even a SYN, and the reason stands in the metric")
def default_deny():
    with Server(echo) as server, Table() as table, Proxy("--routes", table.write()) as proxy:
        equal(v5_code(proxy, v5_request(server.port)), 2, "the reply")
        equal(v5_code(proxy, v5_name_request(server.port)), 2, "the reply to a name")
        equal(server.accepted, 0, "connections that reached the server")
        equal(proxy.metric('epif_proxy_refused_total{reason="no_route"}'), 2, "refusals counted")
        check("no_route" in proxy.process.output(), "the log does not name the reason")


@promise("a route permits its destination only, by address and by its name")
def a_route():
    with Server(echo) as server, Server(echo) as other, Table() as table:
        with Proxy("--routes", table.write(route("a", server.port, name="pacs.example"))) as proxy:
            equal(v5_code(proxy, v5_request(server.port)), 0, "the route's own address")
            equal(v5_code(proxy, v5_name_request(server.port, "PACS.example")), 0, "the route's own name")
            equal(v5_code(proxy, v5_request(other.port)), 2, "another port")
            equal(v5_code(proxy, v5_request(server.port, "127.0.0.2")), 2, "another address")


@promise("a withdrawn route cuts its flows within a second, with an error at both ends, and touches no other flow")
def live_cut():
    seen = []
    with Server(lambda c: seen.append(is_reset(c))) as victim, Server(echo) as server, Table() as table:
        with Proxy("--routes", table.write(route("a", victim.port), route("b", server.port))) as proxy:
            doomed, unrelated = open_v5(proxy, victim.port), open_v5(proxy, server.port)
            doomed.sendall(b"half of a file")
            flows(proxy, 2)
            began = time.monotonic()
            table.write(route("b", server.port))
            check(is_reset(doomed), "the client saw a clean end")
            wait_until(lambda: seen, "the server sees the end")
            took = time.monotonic() - began
            check(seen[0], "the server saw a clean end")
            check(took < 1.0, f"the cut took {took:.2f} s")
            unrelated.sendall(b"ping")
            equal(read_exactly(unrelated, 4), b"ping", "the unrelated flow")
            equal(v5_code(proxy, v5_request(victim.port)), 2, "a new connection")
            equal(proxy.metric('epif_proxy_cut_total{reason="revoked"}'), 1, "cuts counted")


@promise("a table that changes nothing for a flow, or renews its expiry, does not touch it")
def harmless_reloads():
    with Server(echo) as server, Table() as table, Proxy("--routes", table.write(route("a", server.port))) as proxy:
        client = open_v5(proxy, server.port)
        changes = ([route("a", server.port)], [route("b", 9), route("a", server.port, expires="2090-01-01")],
                   [route("a", server.port, policy="p", policy_version="2")])
        for number, change in enumerate(changes, 2):
            table.write(*change, generation=number)
            wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == number, f"generation {number} serves")
            client.sendall(b"ping")
            equal(read_exactly(client, 4), b"ping", f"the flow after change {number}")


@promise("a bad routes file is refused with file, line and reason, the old table keeps serving, and metrics say so")
def bad_file():
    with Server(echo) as server, Table() as table, Proxy("--routes", table.write(route("a", server.port))) as proxy:
        client = open_v5(proxy, server.port)
        for text in ('{"routes": [\n  {"id": "a",,}\n]}', '{"routes": [{"id": "a", "destination": "nowhere"}]}', ""):
            failed = proxy.metric('epif_proxy_reloads_total{outcome="failed"}')
            new = table.path.with_suffix(".new")
            new.write_text(text)
            os.replace(new, table.path)
            wait_until(lambda: proxy.metric('epif_proxy_reloads_total{outcome="failed"}') > failed, "the failure is counted")
        check("routes.json:2:" in proxy.process.output(), "the log does not name the line")
        check("routes[0].destination" in proxy.process.output(), "the log does not name the field")
        equal(proxy.metric("epif_proxy_routes_stale"), 1, "stale")
        client.sendall(b"ping")
        equal(read_exactly(client, 4), b"ping", "the running flow")
        equal(v5_code(proxy, v5_request(server.port)), 0, "a new flow under the old table")
        table.write(route("a", server.port))
        wait_until(lambda: proxy.metric("epif_proxy_routes_stale") == 0, "the good file is taken")


@promise("SIGHUP reads the routes again")
def sighup():
    with Table() as table, Proxy("--routes", table.write()) as proxy:
        reloads = proxy.metric('epif_proxy_reloads_total{outcome="ok"}')
        proxy.process.signal(signal.SIGHUP)
        wait_until(lambda: proxy.metric('epif_proxy_reloads_total{outcome="ok"}') > reloads, "the file is read again")


@promise("an expiry that comes nearer, or is added, by a new table ends the running flow in time")
def expiry_comes_nearer():
    with Server(echo) as server, Server(echo) as other, Table() as table:
        before = [route("a", server.port, expires="2090-01-01"), route("b", other.port)]
        with Proxy("--routes", table.write(*before)) as proxy:
            flows = [open_v5(proxy, server.port), open_v5(proxy, other.port)]
            soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
            table.write(route("a", server.port, expires=soon), route("b", other.port, expires=soon), generation=2)
            wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == 2, "the new table serves")
            for flow in flows:
                flow.sendall(b"ping")
                equal(read_exactly(flow, 4), b"ping", "the flow until then")
            for flow in flows:
                flow.settimeout(6)
                check(is_reset(flow), "the flow ended cleanly at its expiry")
            equal(proxy.metric('epif_proxy_cut_total{reason="expired"}'), 2, "cuts counted")


@promise("a blocked route refuses with its reason, an expired one refuses, and a flow ends when its route expires")
def blocked_and_expired():
    with Server(echo) as server, Table() as table:
        soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
        routes = [route("a", server.port, expires=soon), route("b", 9, blocked="consent p-0042 revoked"),
                  route("c", 10, expires="2020-01-01")]
        with Proxy("--routes", table.write(*routes)) as proxy:
            client = open_v5(proxy, server.port)
            equal(v5_code(proxy, v5_request(9)), 2, "blocked")
            equal(v5_code(proxy, v5_request(10)), 2, "expired")
            check("consent p-0042 revoked" in proxy.process.output(), "the log does not hold the reason")
            check(is_reset(client), "the flow ended cleanly at its expiry")
            equal(v5_code(proxy, v5_request(server.port)), 2, "after the expiry")


@promise("the direction that carries no data is cut beyond its limit")
def reverse_limit():
    def flood(connection):
        connection.recv(1)
        for _ in range(64):
            connection.sendall(b"x" * 65536)
    with Server(flood) as server, Table() as table:
        with Proxy("--routes", table.write(route("a", server.port, data="push"))) as proxy:
            client = open_v5(proxy, server.port)
            client.sendall(b"x")
            check(is_reset(client), "4 MiB came back on a push flow")
            equal(proxy.metric('epif_proxy_cut_total{reason="limit"}'), 1, "cuts counted")


@promise("a route's connection limit refuses the next one and frees with the first")
def route_connections():
    with Server(echo) as server, Table() as table:
        with Proxy("--routes", table.write(route("a", server.port, limits={"connections": 1}))) as proxy:
            first = open_v5(proxy, server.port)
            check(v5_code(proxy, v5_request(server.port)) != 0, "a second connection was let in")
            first.close()
            flows(proxy, 0)
            equal(v5_code(proxy, v5_request(server.port)), 0, "after the first has gone")


@promise("a block put in front of a wide route, or another way, cuts the flows to there and no other, like new ones")
def narrowed():
    def wide(id="wide"):
        return {"id": id, "sources": ["127.0.0.0/8"], "destination": "127.0.0.0/8"}
    for change, code in (({"blocked": "consent withdrawn"}, 2), ({}, 0)):
        with Server(echo) as victim, Server(echo) as server, Table() as table:
            with Proxy("--routes", table.write(wide())) as proxy:
                doomed, unrelated = open_v5(proxy, victim.port), open_v5(proxy, server.port)
                flows(proxy, 2)
                table.write(route("narrow", victim.port, **change), wide(), generation=2)
                check(is_reset(doomed), "the flow to there went on")
                wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == 2, "every thread follows the new table")
                equal(v5_code(proxy, v5_request(victim.port)), code, "a new one")
                table.write(route("narrow", victim.port, purpose="research", **change), wide(), wide("later"), generation=3)
                wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == 3, "the next table serves")
                unrelated.sendall(b"ping")
                equal(read_exactly(unrelated, 4), b"ping", "the unrelated flow")
                equal(proxy.metric('epif_proxy_cut_total{reason="revoked"}'), 1, "cuts counted")
                unrelated.close()
                flows(proxy, 0)


@promise("a table that keeps connections ready to more than one server is refused, and the one before it goes on")
def preconnect_to_one():
    with Server(echo) as server, Table() as table, Proxy("--routes", table.write(route("a", server.port))) as proxy:
        for destination, count in (("127.0.0.0/8:7001", 1), ("127.0.0.1:7001-7002", 1), ("127.0.0.1:7001", 65)):
            before = proxy.process.output().count("routes[0].preconnect")
            table.write({"id": "w", "sources": ["127.0.0.0/8"], "destination": destination, "preconnect": count})
            wait_until(lambda: proxy.process.output().count("routes[0].preconnect") > before, f"{destination} is refused")
        equal(v5_code(proxy, v5_request(server.port)), 0, "by the table before")


@promise("pre-connected servers are used once each, and never after the server has ended them")
def preconnect():
    with Server(echo) as server, Table() as table:
        with Proxy("--routes", table.write(route("a", server.port, preconnect=2)), "--threads", "1") as proxy:
            for _ in range(5):
                with open_v5(proxy, server.port) as client:
                    client.sendall(b"ping")
                    equal(read_exactly(client, 4), b"ping", "echo")
            check(proxy.metric("epif_proxy_warm_hits_total") >= 1, "no connection was taken from the ready ones")


@promise("a pre-connected server serves who asks for Fast Open or for its own leg, and is told to nobody as what it is not")
def preconnect_wishes():
    fast_open, own_tos, remote_tos = stack(2, 4, 1, 0), stack(1, 1, 1, 0x28), stack(2, 1, 1, 0x28)
    held = []

    def hold(connection):
        held.append(connection)
        try:
            echo(connection)
        finally:
            held.remove(connection)
    with Server(hold) as server, Table() as table:
        with Proxy("--routes", table.write(route("a", server.port, preconnect=2, replay_safe=True)), "--threads", "1") as proxy:
            hits = lambda: proxy.metric("epif_proxy_warm_hits_total")
            open_v5(proxy, server.port).close()
            for wishes, ready in ((fast_open, 1), (own_tos, 1), (fast_open + own_tos, 1), (remote_tos, 0), (fast_open + remote_tos, 0)):
                flows(proxy, 0)
                wait_until(lambda: len(held) >= 2, "connections stand ready")
                before = hits()
                with proxy.connect() as client:
                    client.sendall(v6_request(server.port, options=wishes) + b"ping")
                    _, _, code, told = v6_reply(client)
                    equal((code, read_exactly(client, 4)), (0, b"ping"), "reply and echo")
                equal(hits() - before, ready, f"connections taken from the ready ones, with {wishes.hex()}")
                if ready:
                    equal(told, own_tos if own_tos in wishes else b"", "what is told: nothing of Fast Open, which was not attempted")


@promise("connections that stand ready end with their route, when it expires and when it is blocked, and no more are made")
def preconnect_ends():
    def soon():
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 2))
    held = []

    def hold(connection):
        held.append(connection)
        read_all(connection)
        held.remove(connection)
    for expires, blocked in ((soon, {}), (lambda: "2090-01-01", {"blocked": "consent revoked"})):
        with Server(hold) as server, Table() as table:
            first = route("a", server.port, preconnect=3, expires=expires())
            with Proxy("--routes", table.write(first), "--threads", "1") as proxy:
                open_v5(proxy, server.port).close()
                wait_until(lambda: len(held) >= 3, "connections stand ready")
                if blocked:
                    table.write(route("a", server.port, preconnect=3, expires=first["expires"], **blocked))
                wait_until(lambda: not held, "they end with their route", within=6)
                made = server.accepted
                equal(v5_code(proxy, v5_request(server.port)), 2, "a new flow")
                equal((held, server.accepted), ([], made), "connections made after that")


@promise("twenty tables in a row under load: no connection of a granted route is lost, long flows arrive whole, and what a table withdraws is cut within a second")
def swapped_under_load():
    with Server(echo) as server, Server(digest_of_all) as sink, Server(echo) as victim, Table() as table, contextlib.ExitStack() as stack:
        stay = [route("echo", server.port), route("sink", sink.port)]
        proxy = stack.enter_context(Proxy("--routes", table.write(*stay, generation=1), "--max-connections-per-source", "9000"))

        def once():
            with open_v5(proxy, server.port) as client:
                client.sendall(b"ping")
                equal(read_exactly(client, 4), b"ping", "echo")

        for _ in range(2):
            stack.enter_context(LongFlow(stack.enter_context(open_v5(proxy, sink.port))))
        slowest, doomed = 0.0, None
        with Again(once, "connections", threads=2) as again:
            for generation in range(2, 22):
                others = [route(f"other-{n}", n) for n in range(generation, 20 * generation, generation)]
                gives = generation % 2 == 0
                began = time.monotonic()
                table.write(*others, *stay, *([route("victim", victim.port)] if gives else []), generation=generation)
                if not gives:
                    check(is_reset(doomed), "a withdrawn flow ended cleanly")
                    slowest = max(slowest, time.monotonic() - began)
                wait_until(lambda: proxy.metric("epif_proxy_routes_generation") == generation, f"generation {generation} serves")
                if gives:
                    doomed = stack.enter_context(open_v5(proxy, victim.port))
                else:
                    equal(v5_code(proxy, v5_request(victim.port)), 2, "a new connection by the withdrawn route")
                again.until_more(50)
        check(slowest < 1.0, f"a cut took {slowest:.2f} s")
        equal(proxy.metric('epif_proxy_cut_total{reason="revoked"}'), 10, "cuts counted")
        print(f"      {again.count} connections, the slowest cut after {slowest * 1000:.0f} ms")


run(needs_root=False)
