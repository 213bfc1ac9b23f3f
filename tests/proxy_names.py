#!/usr/bin/python3
"""Names whose servers do not answer: clients ── proxy ── a name server that keeps silent on purpose, all in one node."""
import contextlib
import re
import socket
import struct
import threading
import time

from interop_daemons import with_resolver
from lab import Lab, Service, Setting, check, echo, epif, equal, promise, run, wait_until
from proxy_world import read_all, read_exactly, v6_name_request, v6_reply

PORT, PROXY = 7001, 1080
HOST_UNREACHABLE, TIMED_OUT = 4, 9
SLOW = "slow-{}.example"


class World(Setting):
    """Names with `slow` never get an answer, names with `later` once `self.later` is set, all others at once: 127.0.0.1."""

    def __init__(self, name):
        super().__init__(Lab(name))

    def build(self):
        lab = self.lab
        self.node = lab.node("proxy")
        self.later, self.asked = threading.Event(), []
        with self.node.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self.serve_names, daemon=True).start()
        lab.at_end(Service(self.node.listen(PORT, "127.0.0.1"), echo).close)
        proxy = self.node.start(*with_resolver(lab, "127.0.0.1", [epif(), "proxy", "--listen", f"127.0.0.1:{PROXY}", "--allow-all",
                                                                  "--admin", "unix:" + lab.path("admin.sock")]), name="proxy")
        proxy.wait_for_log("proxy ready ")

    def take_down(self):
        self.later.set()
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def serve_names(self):
        with contextlib.suppress(OSError):
            while True:
                question, source = self.socket.recvfrom(1000)
                if not question:
                    return
                threading.Thread(target=self.answer_name, args=(question, source), daemon=True).start()

    def answer_name(self, question, source):
        end = question.index(b"\0", 12)
        name, kind = question[12:end], struct.unpack(">H", question[end + 1:end + 3])[0]
        self.asked.append(name)
        if b"slow" in name:
            return
        if b"later" in name:
            self.later.wait(30)
        address = b"\xc0\x0c\0\1\0\1\0\0\0\0\0\4\x7f\0\0\1" if kind == 1 else b""
        head = question[:2] + b"\x81\x80\0\1" + struct.pack(">H", 1 if address else 0) + bytes(4)
        with contextlib.suppress(OSError):
            self.socket.sendto(head + question[12:end + 5] + address, source)

    def connect(self, source="127.0.0.1"):
        with self.node.inside():
            made = socket.socket()
        made.bind((source, 0))
        made.settimeout(30)
        made.connect(("127.0.0.1", PROXY))
        return made

    def metric(self, series):
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(self.lab.path("admin.sock"))
            admin.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            found = re.search("^" + re.escape(series) + r" (\S+)$", read_all(admin).decode(), re.MULTILINE)
        return float(found[1]) if found else 0

    def names_asked(self, part):
        return {name for name in self.asked if part in name}


def ask_slow(world, held, count):
    """So many clients of one host, each with a name of its own that nobody answers."""
    for i in range(count):
        client = held.enter_context(world.connect())
        client.sendall(v6_name_request(PORT, SLOW.format(i)))
        yield client


def served(world, source, name):
    """How long a client waits until it is connected by name."""
    began = time.monotonic()
    with world.connect(source) as client:
        client.sendall(v6_name_request(PORT, name) + b"ping")
        equal(v6_reply(client)[2], 0, f"the reply to {name}")
        equal(read_exactly(client, 4), b"ping", "the bytes")
    return time.monotonic() - began


@promise("many names of one client that nobody answers do not hold up another client's, and are refused in bounded time")
def slow_names():
    with World("slownames") as world, contextlib.ExitStack() as held:
        began = time.monotonic()
        clients = list(ask_slow(world, held, 200))
        wait_until(lambda: world.metric('epif_proxy_connections{stage="deciding"}') == 200, "all wait for their names")
        took = served(world, "127.0.0.2", "quick.example")
        check(took < 3, f"another client waited {took:.1f} s")
        codes = {v6_reply(client)[2] for client in clients}
        took = time.monotonic() - began
        check(codes <= {HOST_UNREACHABLE, TIMED_OUT}, f"the slow ones got {codes}")
        check(took < 15, f"the last of them waited {took:.1f} s")
        check(served(world, "127.0.0.1", "quick-again.example") < 3, "their client is held up by what is over")


@promise("a name that many ask for at once is asked for once, and all get its answer")
def shared():
    with World("sharednames") as world, contextlib.ExitStack() as held:
        clients = [held.enter_context(world.connect(f"127.0.0.{1 + i % 5}")) for i in range(50)]
        for client in clients:
            client.sendall(v6_name_request(PORT, "later.example"))
        wait_until(lambda: world.metric('epif_proxy_connections{stage="deciding"}') == 50, "all wait")
        world.later.set()
        equal({v6_reply(client)[2] for client in clients}, {0}, "the replies")
        check(len(world.asked) <= 2, f"{len(world.asked)} questions were asked, for IPv4 and IPv6")


@promise("a client that leaves while its name is resolved frees its place at once; one that only ends its side is served to the end")
def leaving():
    with World("leavenames") as world:
        with contextlib.ExitStack() as held:
            for client in ask_slow(world, held, 50):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wait_until(lambda: world.metric('epif_proxy_held{limit="connections"}') == 50, "all are there")
        wait_until(lambda: world.metric('epif_proxy_held{limit="connections"}') == 0, "all places are free", within=3)
        with world.connect("127.0.0.2") as client:  # the first one's threads are still with the system
            client.sendall(v6_name_request(PORT, "later.example") + b"all that it has to say")
            client.shutdown(socket.SHUT_WR)
            wait_until(lambda: world.names_asked(b"later"), "its name is asked for")
            world.later.set()
            equal(v6_reply(client)[2], 0, "the reply")
            equal(read_all(client), b"all that it has to say", "what came back")


@promise("what a client sends while its name is resolved arrives whole and in order")
def early():
    with World("earlynames") as world, world.connect() as client:
        sent = bytes(range(256)) * 1024
        client.sendall(v6_name_request(PORT, "later.example"))
        sender = threading.Thread(target=client.sendall, args=(sent,))
        sender.start()
        wait_until(lambda: world.names_asked(b"later"), "its name is asked for")
        world.later.set()
        equal(v6_reply(client)[2], 0, "the reply")
        equal(read_exactly(client, len(sent)), sent, "what came back")
        sender.join()


run()
