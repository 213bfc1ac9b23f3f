#!/usr/bin/python3
"""Bursts against the limits of a whole proxy, from several addresses of 127.0.0.0/8 at once: what is too much is told so in the client's
own dialect or reset, nobody hangs, and afterwards all is free again. clients ── proxy ── server, on loopback."""
import contextlib
import socket
import ssl
import time

from lab import check, equal, promise, run, wait_until
from proxy_datagrams import UdpServer, V5, expect, v5_associate, v6_associate
from proxy_tables import Pair, Table
from proxy_world import (TIMEOUT, Proxy, Server, echo, is_reset, open_v5, option, read_all, read_exactly, v4_request, v5_request, v6_reply,
                         v6_request)

REFUSED_UNREAD = {"4": b"\0\x5b" + bytes(6), "5": b"\5\xff", "6": b"\6\0\0\0\6\1\0\0\0\0\0\1\0\0\0\0"}
REFUSED = {"4": b"\0\x5b", "5": b"\5\0\5\1", "6": b"\6\0\0\0\6\1"}
GRANTED = {"4": b"\0\x5a", "5": b"\5\0\5\0", "6": b"\6\0\0\0\6\0"}


def asks(port):
    return {"4": v4_request(port), "5": b"\5\1\0" + v5_request(port), "6": v6_request(port)}


def burst(proxy, requests, count, sources=16):
    """`count` clients that all stay, in all protocols and from many addresses: [(protocol, connection)]; None instead of a connection
    that was reset at once."""
    made = []
    for number in range(count):
        protocol = list(requests)[number % len(requests)]
        try:
            client = socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT, source_address=(f"127.0.1.{1 + number % sources}", 0))
            client.sendall(requests[protocol])
        except ConnectionError:  # a socket tells of its reset once: a read would see an end
            client = None
        made.append((protocol, client))
    return made


def outcomes(clients, refused):
    """(granted connections, how many were refused in their own dialect, how many were reset); anything else fails."""
    granted, told, reset = [], 0, 0
    for protocol, client in clients:
        if client is None:
            reset += 1
            continue
        began = time.monotonic()
        try:
            answer = read_exactly(client, len(refused[protocol]))
            if answer == refused[protocol]:
                told += 1
                read_all(client)  # to the end, which comes from the proxy
                client.close()
            else:
                check(answer.startswith(GRANTED[protocol][:len(answer)]), f"SOCKS{protocol}: {answer.hex()}")
                granted.append(client)
        except ConnectionError:
            reset += 1
            client.close()
        check(time.monotonic() - began < 5, f"SOCKS{protocol}: nobody said anything for {time.monotonic() - began:.1f} s")
    return granted, told, reset


def free(proxy):
    wait_until(lambda: proxy.metric("epif_proxy_held") == proxy.metric('epif_proxy_held{limit="sessions"}'), "nothing is held any more")


@promise("connections in all: a burst of 300 against 50 gives 50 flows, each other client its own refusal or a reset, a silent one a reset")
def connections():
    with Server(echo) as server, Proxy("--allow-all", "--max-connections", "50") as proxy:
        granted, told, reset = outcomes(burst(proxy, asks(server.port), 300), REFUSED_UNREAD)
        equal(len(granted), 50, "flows")
        equal(told + reset, 250, "refusals")
        check(told >= 64, f"only {told} were told")
        equal(proxy.metric('epif_proxy_shed_total{limit="connections"}'), 250, "in metrics")
        with proxy.connect() as silent:
            check(is_reset(silent), "one too many that says nothing met a proper end")
        for client in granted:
            client.close()
        free(proxy)
        open_v5(proxy, server.port).close()


@promise("over TLS what is one too many is reset before its handshake costs anything, and those inside go on")
def over_tls():
    with Server(echo) as server:
        route = {"id": "r", "peers": ["umc/proxy"], "destination": f"127.0.0.1:{server.port}"}
        with Pair([], [route], far_words=("--max-connections", "3")) as pair, contextlib.ExitStack() as stack:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.load_verify_locations(pair.at("ca.pem"))
            context.load_cert_chain(pair.at("umc-proxy.pem"), pair.at("umc-proxy.key"))
            at = ("127.0.0.1", int(pair.next["proxy"].rsplit(":", 1)[1]))
            inside = [stack.enter_context(context.wrap_socket(socket.create_connection(at, TIMEOUT))) for _ in range(3)]
            for _ in range(20):
                try:
                    context.wrap_socket(socket.create_connection(at, TIMEOUT)).close()
                    check(False, "one too many was served")
                except OSError:  # a reset, before or within the handshake
                    pass
            equal(pair.far.metric('epif_proxy_shed_total{limit="connections"}'), 20, "in metrics")
            for client in inside:
                client.sendall(v6_request(server.port) + b"ping")
                equal(v6_reply(client)[2], 0, "the reply to one inside")
                equal(read_exactly(client, 4), b"ping", "its bytes")


@promise("rate in all: a burst of 200 against 40 a second from many addresses, and the rate comes back")
def rate():
    with Server(echo) as server, Proxy("--allow-all", "--max-rate", "40") as proxy:
        began = time.monotonic()
        granted, told, reset = outcomes(burst(proxy, asks(server.port), 200), REFUSED_UNREAD)
        most = 40 + 40 * (time.monotonic() - began) + 1
        check(40 <= len(granted) <= most, f"{len(granted)} of 200 were served, at most {most:.0f} were allowed")
        equal(proxy.metric('epif_proxy_shed_total{limit="rate"}'), told + reset, "in metrics")
        for client in granted:
            client.close()
        free(proxy)

        def again():
            with contextlib.suppress(ConnectionResetError), proxy.connect() as client:
                client.sendall(v4_request(server.port))
                return read_exactly(client, 2) == GRANTED["4"]
        wait_until(again, "the rate comes back")


@promise("memory in all: unread requests of many addresses are bounded together, the rest is refused and those inside finish")
def memory():
    most = 100_000
    with Server(echo) as server, Proxy("--allow-all", "--max-handshake-bytes", str(most)) as proxy:
        request = v6_request(server.port, options=option(0xFCFF, bytes(20_000)))
        clients = burst(proxy, {"6": request[:-1]}, 40)
        wait_until(lambda: proxy.metric('epif_proxy_shed_total{limit="memory"}') >= 36, "all but a few are refused")
        held = proxy.metric('epif_proxy_held{limit="memory"}')
        check(0 < held <= most, f"{held} bytes are held")
        inside = round(held / (len(request) - 1))
        for _, client in clients:
            with contextlib.suppress(ConnectionError):
                if client:
                    client.sendall(request[-1:])
        granted, told, reset = outcomes(clients, {"6": REFUSED["6"]})
        equal((len(granted), told + reset), (inside, 40 - inside), "those inside, and the others")
        for client in granted:
            client.close()
        free(proxy)


@promise("a route's limit: a burst of 60 against 5 is refused after the request, in the client's dialect")
def of_a_route():
    with Server(echo) as server, Table() as table:
        path = table.write({"id": "r", "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{server.port}", "limits": {"connections": 5}})
        with Proxy("--routes", path) as proxy:
            granted, told, reset = outcomes(burst(proxy, asks(server.port), 60), REFUSED)
            equal((len(granted), told, reset), (5, 55, 0), "flows, refusals, resets")
            equal(proxy.metric('epif_proxy_shed_total{limit="route"}'), 55, "in metrics")
            for client in granted:
                client.close()
            free(proxy)


@promise("UDP associations of one source: the one too many is refused in its dialect, another source is served, and places come back")
def associations():
    with UdpServer() as server, Proxy("--allow-all") as proxy:
        most = int(proxy.metric('epif_proxy_limit{limit="udp_associations_per_source"}'))
        held = []
        for _ in range(most):
            client = proxy.connect()
            client.sendall(v5_associate())
            held.append(client)
        for client in held:
            equal(read_exactly(client, 4)[2:], b"\5\0", "an association inside of the limit")
        equal(proxy.metric('epif_proxy_held{limit="udp_associations"}'), most, "held")
        with proxy.connect() as client:
            client.sendall(v5_associate())
            equal(read_exactly(client, 4), REFUSED["5"], "SOCKS5, one too many")
        with proxy.connect() as client:
            client.sendall(v6_associate())
            equal(v6_reply(client)[2], 1, "SOCKS6, one too many")
        equal(proxy.metric('epif_proxy_shed_total{limit="udp_associations_per_source"}'), 2, "in metrics")
        with socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT, source_address=("127.0.0.2", 0)) as other:
            other.sendall(v5_associate())
            equal(read_exactly(other, 4)[2:], b"\5\0", "another source")
        for client in held:
            client.close()
        free(proxy)
        with V5(proxy) as client:
            client.send(server.host, server.port, b"ping")
            expect(client, (server.host, server.port, b"re:ping"), "the answer")


@promise("without descriptors an association, a BIND and a CONNECT are each refused with a reply, and those that run go on")
def no_descriptors():
    with Server(echo) as server, UdpServer() as udp, Proxy("--allow-all", "--threads", "1", "--max-connections", "1000",
                                                           prefix=("prlimit", "--nofile=80:80")) as proxy, V5(proxy) as running:
        flow = open_v5(proxy, server.port)
        # Each association takes three descriptors, so that the last ones have a connection and nothing more.
        crowd, codes = [], []
        for number in range(40):
            client = proxy.connect()
            client.sendall(v5_associate() if number % 4 else b"\5\1\0" + v5_request(0, "127.0.0.1", 2) if number % 8 else
                           b"\5\1\0" + v5_request(server.port))
            client.settimeout(0.5)
            crowd.append(client)
            try:
                codes.append(read_exactly(client, 4)[3])
            except TimeoutError:  # accept pauses: nobody answers as long as nothing is free
                break
        check(codes[0] == 0 and 1 in codes, f"reply codes {codes}: none was refused for want of descriptors")
        check(set(codes) <= {0, 1}, f"reply codes {codes}")
        flow.sendall(b"ping")
        equal(read_exactly(flow, 4), b"ping", "the flow that runs")
        running.send(udp.host, udp.port, b"ping")
        expect(running, (udp.host, udp.port, b"re:ping"), "the association that runs")
        for client in crowd:
            client.close()
        flow.close()
        with proxy.connect() as late:
            late.sendall(v4_request(server.port))
            equal(read_exactly(late, 2), GRANTED["4"], "a client that comes later")


run(needs_root=False)
