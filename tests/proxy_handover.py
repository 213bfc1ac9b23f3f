#!/usr/bin/python3
"""Restart without loss: a new proxy takes over the listening sockets of the one that runs."""
import contextlib
import os
import socket
import subprocess

from lab import Again, check, epif, equal, promise, run, wait_until
from proxy_datagrams import UdpServer, V6, drops, read_v6, v6_datagram
from proxy_tables import Table
from proxy_world import TIMEOUT, Proxy, Server, echo, is_reset, read_all, successor, v5_request


def through(proxy, server):
    """An open flow to the echo server."""
    client = proxy.connect()
    client.sendall(b"\x05\x01\x00" + v5_request(server.port))
    got = b""
    while len(got) < 12:
        part = client.recv(12 - len(got))
        check(part, "the proxy ended the connection")
        got += part
    equal(got[3], 0, "reply")
    return client


def ask(client, word):
    client.sendall(word)
    got = b""
    while len(got) < len(word):
        part = client.recv(4096)
        check(part, "the flow ended")
        got += part
    equal(got, word, "echo")


@promise("a new process takes over: the old flow goes on, new ones go to the new process, and the old one ends with its last flow")
def take_over():
    with Server(echo) as server, Proxy("--allow-all") as proxy, contextlib.ExitStack() as stack:
        old = stack.enter_context(contextlib.closing(through(proxy, server)))
        ask(old, b"before")
        process = successor(proxy)
        stack.callback(process.stop)
        ask(old, b"after")
        fresh = stack.enter_context(contextlib.closing(through(proxy, server)))
        ask(fresh, b"fresh")
        check(proxy.process.alive(), "the old process ended under its flow")
        equal(proxy.metric("epif_proxy_connections"), 1, "connections that the admin socket, the new one, tells of")
        old.close()
        equal(proxy.process.wait(within=20), 0, "exit code of the old process")
        ask(fresh, b"still")
        check(os.path.exists(proxy.admin_path), "the old process removed the new one's admin socket")
        again = successor(proxy, name="newer")
        stack.callback(again.stop)
        ask(fresh, b"after the second")


@promise("SOCKS6 associations at the UDP port go on through take-overs, in whichever process they began, by the same ports on both sides, and none of their datagrams is lost meanwhile")
def datagrams():
    with UdpServer() as server, Proxy("--allow-all", "--threads", "2") as proxy, contextlib.ExitStack() as stack:
        clients, ports = [], []

        def associations(count):
            clients.extend(stack.enter_context(V6(proxy)) for _ in range(count))

        def exchange(turn):
            """Every client sends, and all are answered; gives the proxies' ports that the server saw, by client."""
            del server.seen[:], server.sources[:]
            words = [b"%d/%d" % (number, turn) for number in range(len(clients))]
            for client, word in zip(clients, words):
                client.send_udp(server.host, server.port, word)
            for client, word in zip(clients, words):
                data, source = client.socket.recvfrom(65536)
                equal((source, read_v6(data)[4]), (client.port, b"re:" + word), "who answered, and what")
            seen = dict(zip(server.seen, server.sources))
            return [seen[word] for word in words]
        talker = stack.enter_context(V6(proxy))

        def datagram():
            talker.send_udp(server.host, server.port, b"talk")
            equal(read_v6(talker.socket.recv(65536))[4], b"re:talk", "the answer")
        associations(12)
        exchange(0)
        associations(2)  # they send their first datagram to the next process
        for turn in (1, 2, 3):
            with Again(datagram, "datagrams") as again:
                process = successor(proxy, name=f"new-{turn}")
                stack.callback(process.stop)
                again.until_more(20)
            now = exchange(turn)
            equal(now[:len(ports)], ports, "the ports that the server sees, by client")
            ports = now
            associations(3)
        exchange(4)
        clients[0].send_udp(server.host, server.port, b"large" + bytes(60_000))
        equal(len(read_v6(clients[0].socket.recv(65536))[4]), 60_008, "bytes of a large datagram that came back")
        for client in (talker, *clients[:14]):
            client.control.close()
        equal(proxy.process.wait(within=20), 0, "exit code of the oldest process")
        del clients[:14], ports[:14]
        equal(exchange(5)[:3], ports[:3], "the ports of those that began in the second process")
        before = drops(proxy, "no_association")
        clients[0].socket.sendto(v6_datagram(bytes(8), server.host, server.port, b"no such number"), clients[0].port)
        exchange(6)
        equal(drops(proxy, "no_association"), before, "what the newest process passes on is not dropped there")


def exchange(client, server, word):
    client.send_udp(server.host, server.port, word)
    equal(client.receive_udp()[4], b"re:" + word, "the answer")


def exchange_inside(client, server, word):
    client.send(server.host, server.port, word)
    message = client.message()
    while message[0] != 3:  # a confirmation comes before the first answer
        message = client.message()
    equal(message[4], b"re:" + word, "the answer inside of the connection")


def udp_port_is_free(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def all_are_cut(clients, proxy):
    for number, client in enumerate(clients):
        try:
            check(is_reset(client.control), f"association {number} ended as if all were well")
        except TimeoutError:
            check(False, f"the client of association {number} is not told that it has ended")
    wait_until(lambda: udp_port_is_free(proxy.port) or None, "the UDP port is let go of")


@promise("when the process that reads the UDP port is killed, or one in between, clients of the associations before it learn so at once, all else drains on, and a proxy starts at the port anew")
def killed():
    for middle in (False, True):
        with UdpServer() as server, Server(echo) as stream, Proxy("--allow-all", "--threads", "2") as proxy, contextlib.ExitStack() as stack:
            flow = stack.enter_context(contextlib.closing(through(proxy, stream)))
            inside, *oldest = [stack.enter_context(V6(proxy)) for _ in range(8)]
            exchange_inside(inside, server, b"inside")
            for client in oldest[:6]:  # the last one has sent nothing yet
                exchange(client, server, b"before")
            second = successor(proxy, name="second")
            stack.callback(second.stop)
            between = stack.enter_context(V6(proxy))
            exchange(between, server, b"between")
            third = successor(proxy, name="third")
            stack.callback(third.stop)
            newest = stack.enter_context(V6(proxy))
            for client in (*oldest[:6], between, newest):
                exchange(client, server, b"after")
            if middle:
                second.kill()
                for client in oldest:
                    check(is_reset(client.control), "an association behind a dead process ended as if all were well")
                before = drops(proxy, "no_association")
                newest.socket.sendto(v6_datagram(bytes(8), server.host, server.port, b"no such number"), newest.port)
                exchange(newest, server, b"goes on")
                wait_until(lambda: drops(proxy, "no_association") == before + 1 or None, "what a dead predecessor does not get is counted")
                third.kill()
                all_are_cut([], proxy)
            else:
                third.kill()
                all_are_cut([*oldest, between], proxy)
            with Proxy("--allow-all", listen=f"127.0.0.1:{proxy.port}") as anew:
                with contextlib.closing(through(anew, stream)) as fresh, V6(anew) as client:
                    ask(fresh, b"anew")
                    exchange(client, server, b"anew")
                ask(flow, b"drains on")
                exchange_inside(inside, server, b"drains on")


@promise("associations at the UDP port are cut at once, and the port is let go of, if the successor passes no datagrams on (an earlier version), or dies before it asks for them")
def nothing_passed():
    for words in ([b"tell your state"], []):
        with UdpServer() as server, Server(echo) as stream, Proxy("--allow-all", "--threads", "2") as proxy, contextlib.ExitStack() as stack:
            flow = stack.enter_context(contextlib.closing(through(proxy, stream)))
            clients = [stack.enter_context(V6(proxy)) for _ in range(6)]
            for client in clients:
                exchange(client, server, b"before")
            other = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            other.settimeout(TIMEOUT)
            other.connect(proxy.admin_path + ".handover")
            while (said := other.recv(4096)) != b"end":
                check(said, "the proxy gives nothing")
            other.sendall(b"serving")
            equal(other.recv(4096), b"yours", "the proxy's answer")
            for word in words:
                other.sendall(word)
            if not words:
                other.close()
            all_are_cut(clients, proxy)
            ask(flow, b"drains on")


@promise("no connection of thousands is lost while processes take over from each other")
def nothing_lost():
    with Server(echo) as server, Proxy("--allow-all", "--max-connections-per-source", "9000") as proxy, contextlib.ExitStack() as stack:
        def once():
            with contextlib.closing(through(proxy, server)) as client:
                ask(client, b"hello")

        with Again(once, "connections", threads=4) as again:
            for number in range(3):
                process = successor(proxy, name=f"new-{number}")
                stack.callback(process.stop)
                again.until_more(200, 20)
        equal(proxy.process.wait(within=20), 0, "exit code of the first process")


@promise("a successor that dies before it serves changes nothing; one with other threads, or without a predecessor, says so")
def failed():
    with Server(echo) as server, Proxy("--allow-all", "--threads", "2") as proxy:
        listen = ["--listen", f"127.0.0.1:{proxy.port}", "--admin", "unix:" + proxy.admin_path]
        done = subprocess.run([epif(), "proxy", *listen, "--allow-all", "--take-over", "--threads", "3"], capture_output=True, text=True, timeout=30)
        equal(done.returncode, 1, "exit code")
        check("the running proxy has 2 threads, this one 3" in done.stderr, done.stderr)
        done = subprocess.run([epif(), "proxy", *listen, "--allow-all", "--take-over", "--threads", "2", "--hpke-key", "/nowhere"],
                              capture_output=True, text=True, timeout=30)
        check(done.returncode != 0, "a successor without its key served")
        with contextlib.closing(through(proxy, server)) as client:
            ask(client, b"as before")
            equal(proxy.metric("epif_proxy_connections"), 1, "connections")
    done = subprocess.run([epif(), "proxy", *listen, "--allow-all", "--take-over"], capture_output=True, text=True, timeout=30)
    equal(done.returncode, 1, "exit code without a predecessor")
    check("--take-over wants a running proxy" in done.stderr, done.stderr)


@promise("a process that drains follows its successor's routes, though they stand in another file; --mptcp cannot change so, and that is said")
def other_routes():
    with Server(echo) as server, Server(echo) as other, Table() as first, Table() as second:
        stays, goes = ({"id": name, "sources": ["127.0.0.1/32"], "destination": f"127.0.0.1:{one.port}"}
                       for name, one in (("stays", server), ("goes", other)))
        with Proxy("--routes", first.write(stays, goes)) as proxy, contextlib.ExitStack() as stack:
            kept, lost = through(proxy, server), through(proxy, other)
            process = successor(proxy, instead=["--routes", second.write(stays, goes)])
            stack.callback(process.stop)
            proxy.process.wait_for_log("follows the successor's routes")
            ask(lost, b"still permitted")
            first.write()  # nobody's any more
            second.write(stays)
            check(is_reset(lost), "a flow whose route is withdrawn was not cut")
            ask(kept, b"permitted")
            done = subprocess.run([epif(), "proxy", "--listen", f"127.0.0.1:{proxy.port}", "--admin", "unix:" + proxy.admin_path, "--routes",
                                   str(second.path), "--take-over", "--mptcp"], capture_output=True, text=True, timeout=30)
            equal(done.returncode, 1, "exit code of one with --mptcp")
            check("the running proxy does not speak MPTCP, this one does" in done.stderr, done.stderr)
            ask(through(proxy, server), b"as before")
            check("epif_proxy_connections{" in proxy.get("/metrics"), "the serving process has lost its admin socket")


@promise("a process that only drains and cannot read a newer table cuts what it carries within seconds, also if it could not follow its successor's file from the start; one that serves goes on")
def unread():
    for same in (True, False):
        with Server(echo) as server, Table() as first, Table() as second:
            granted = {"id": "a", "sources": ["127.0.0.1/32"], "destination": f"127.0.0.1:{server.port}"}
            with Proxy("--routes", first.write(granted)) as proxy, contextlib.ExitStack() as stack:
                drains = through(proxy, server)
                process = successor(proxy, instead=None if same else ["--routes", second.write(granted)])
                stack.callback(process.stop)
                proxy.process.wait_for_log("proxy stopping")  # whatever is accepted from here on is the successor's
                served = through(proxy, server)
                ask(drains, b"granted")
                (first if same else second).write({**granted, "not_on_holidays": True})
                check(is_reset(drains), "the flow of a process that cannot know what is permitted goes on")
                ask(served, b"granted")
                equal(proxy.process.wait(within=20), 0, "exit code of the one that drained")


if __name__ == "__main__":
    run(needs_root=False)
