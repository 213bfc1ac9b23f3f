#!/usr/bin/python3
"""Restart without loss for flows in the hands of bridging functions: copies of their sockets and the control connections move to the new
process, and the functions notice nothing. Where the proxy itself carries bytes to a function, the old process does so to the end."""
import contextlib
import hashlib
import os
import threading

from functions_world import Functions
from lab import check, equal, promise, run, wait_until
from proxy_tables import Table
from proxy_world import Proxy, Server, digest, echo, is_reset, open_v5, read_all, read_exactly, successor, v5_request


class World:
    """A proxy with an echo server and one that tells the hash of all that it got, both behind the chain audit-1, audit-2."""

    def __init__(self, trusted=True, **routes):
        self.trusted, self.routes = trusted, routes

    def __enter__(self):
        self.stack, self.clients = contextlib.ExitStack(), contextlib.ExitStack()
        enter = self.stack.enter_context
        functions = enter(Functions())
        self.processes = functions.running
        chain = [{**functions.start(name, "audit"), "trusted": self.trusted} for name in ("audit-1", "audit-2")]
        self.server = enter(Server(echo))
        self.sink = enter(Server(lambda c: (c.settimeout(60), c.sendall(digest(read_all(c)).encode()))))
        self.table = enter(Table())
        self.echoes = self.route("echoes", self.server, chain)
        self.sinks = self.route("sinks", self.sink, chain)
        self.pumped = Server(echo)
        enter(self.pumped)
        self.pumps = self.route("pumps", self.pumped, [{**link, "trusted": False} for link in chain])
        self.proxy = enter(Proxy("--routes", self.table.write(self.echoes, self.sinks, self.pumps), "--threads", "1"))
        return self

    def __exit__(self, *failure):
        self.clients.close()  # first: a proxy that stops waits for its flows
        self.stack.close()

    def route(self, name, server, chain):
        return {"id": name, "sources": ["127.0.0.0/8"], "destination": f"127.0.0.1:{server.port}", "chain": chain, **self.routes}

    def swap(self, name="new"):
        process = successor(self.proxy, name=name)
        self.stack.callback(process.stop)
        return process

    def flow(self, server=None, word=b"ping"):
        client = self.clients.enter_context(open_v5(self.proxy, (server or self.server).port))
        client.settimeout(30)
        if server is not self.sink:
            asked(client, word)
        return client

    def counts(self, metric):
        wait_until(lambda: self.proxy.metric(metric) == 1, f"{metric} is 1")


def asked(client, word):
    client.sendall(word)
    equal(read_exactly(client, len(word)), word, "echo")


def moved(process, count):
    process.wait_for_log(f'flows of bridging functions came from the old process flows={count}')


@promise("flows in the hands of functions go on in the new process, in the middle of a transfer, and the old process ends at once")
def whole():
    data, sent, swapped, done = os.urandom(1024 * 1024), hashlib.sha256(), threading.Event(), threading.Event()

    def send(sender):
        """Without a pause, until both swaps are over."""
        while not swapped.is_set():
            sender.sendall(data)
            sent.update(data)
        sender.shutdown(1)
        done.set()
    with World() as world:
        flows = [world.flow() for _ in range(20)]
        sender = world.flow(world.sink)
        half = world.flow()
        threading.Thread(target=send, args=(sender,), daemon=True).start()
        first = world.swap()
        equal(world.proxy.process.wait(within=20), 0, "exit code of the old process, while its flows run")
        equal(world.proxy.metric('epif_proxy_flows_moved_total{way="in"}'), 22, "flows that moved")
        for client in flows:
            asked(client, b"after the first swap")
        second = world.swap("newer")
        equal(first.wait(within=20), 0, "exit code of the second process")
        for client in flows:
            asked(client, b"after the second swap")
        swapped.set()
        check(done.wait(30), "the transfer stopped")
        equal(read_all(sender).decode(), sent.hexdigest(), "what the server got")
        second.wait_for_log(sent.hexdigest())  # both audits tell whoever holds their control connections
        half.sendall(b"last words")
        half.shutdown(1)
        equal(read_all(half), b"last words", "what came back before the end")
        carried = 'epif_proxy_route_bytes_total{route="sinks",direction="to_server"}'
        check(world.proxy.metric(carried) % len(data) == 0 < world.proxy.metric(carried), "not all bytes are counted over both swaps")
        for client in flows:
            client.shutdown(1)
            equal(read_all(client), b"", "a proper end")
        wait_until(lambda: world.proxy.metric("epif_proxy_connections") == 0, "no flow is left")


@promise("after the swap the new process cuts what loses its route, and a function's death resets its flows")
def held():
    with World() as world:
        lost, kept = world.flow(), world.flow(world.sink)
        world.swap()
        equal(world.proxy.process.wait(within=20), 0, "exit code of the old process")
        asked(lost, b"still")
        world.table.write(world.sinks)
        check(is_reset(lost), "a flow whose route is withdrawn was not cut")
        kept.sendall(b"goes on")
        world.counts('epif_proxy_cut_total{reason="revoked"}')
        world.processes["audit-2"].kill()
        check(is_reset(kept), "the client saw a clean end")
        world.counts('epif_proxy_cut_total{reason="bf_failed"}')


@promise("what the old process carries itself stays there to its end, while others of the same functions leave")
def mixed():
    with World() as world:
        lent, pumped = world.flow(), world.flow(world.pumped)
        process = world.swap()
        moved(process, 1)
        asked(lent, b"one"), asked(pumped, b"two")
        fresh = world.flow()
        check(world.proxy.process.alive(), "the old process ended under a flow that it carries")
        pumped.close()
        equal(world.proxy.process.wait(within=20), 0, "exit code of the old process")
        asked(lent, b"three"), asked(fresh, b"four")
        equal(world.proxy.metric('epif_proxy_flows_moved_total{way="in"}'), 1, "flows that moved")


@promise("a flow that begins in the old process reaches the newest of three by itself; with its successor dead it stays where it is")
def late():
    with World() as world:
        warm = [world.clients.enter_context(world.proxy.connect()) for _ in range(2)]  # they have not asked yet
        for client in warm:
            client.sendall(b"\5\1\0")
            equal(read_exactly(client, 2), b"\5\0", "the method")
        second = world.swap()
        third = world.swap("newer")

        def ask(client):
            client.sendall(v5_request(world.server.port))
            equal(read_exactly(client, 10)[1], 0, "the reply")
            asked(client, b"word")
        ask(warm[0])
        moved(second, 1), moved(third, 1)
        asked(warm[0], b"in the third")
        third.kill(), second.kill()
        warm[0].settimeout(3)
        check(is_reset(warm[0]), "a flow of a process that was killed ended properly")
        ask(warm[1])
        warm[1].shutdown(1)
        equal(read_all(warm[1]), b"", "a proper end")
        equal(world.proxy.process.wait(within=20), 0, "exit code of the first process")


@promise("a successor that is stopped takes the process that still drains with it")
def together():
    with World() as world:
        pumped = world.flow(world.pumped)
        process = world.swap()
        process.ask_to_stop()
        check(is_reset(pumped), "a flow that was carried to the end of both processes ended properly")
        equal((process.wait(within=20), world.proxy.process.wait(within=20)), (0, 0), "exit codes")


@promise("stopped while it drains, an old process cuts what it carries itself, and gives away the rest")
def stopped():
    with World() as world:
        lent, pumped = world.flow(), world.flow(world.pumped)
        process = world.swap()
        world.proxy.process.ask_to_stop()
        check(is_reset(pumped), "a flow that the process carried itself ended properly")
        moved(process, 1)
        equal(world.proxy.process.wait(within=20), 0, "exit code of the old process")
        asked(lent, b"goes on")


@promise("the limits of a route go with its flows: how many it may have, and what the direction without data may carry")
def limits():
    with World(limits={"connections": 2, "reverse_bytes": 100_000}, data="push") as world:
        first, second = world.flow(), world.flow()
        moved(world.swap(), 2)
        with world.proxy.connect() as third:
            third.sendall(b"\5\1\0" + v5_request(world.server.port))
            check(read_exactly(third, 4)[3] != 0, "a third flow was let in")
        asked(second, b"x" * 1000)
        with contextlib.suppress(OSError):
            while True:
                first.sendall(bytes(65536))
                read_exactly(first, 65536)
        world.counts('epif_proxy_cut_total{reason="limit"}')
        asked(second, b"the other goes on")


run(needs_root=False)
