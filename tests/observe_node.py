#!/usr/bin/python3
"""client ── gate ── server and proxy: `epif redirect --observe` writes down what the client talks to, and changes nothing."""
import json
import signal
import socket
import struct
import threading

from lab import check, epif, equal, promise, run, wait_until
from redirect_world import Service, World, datagram_socket, echo, read_all

TARGET, RESOLVER = "10.2.0.20", "10.3.0.30"
TARGET6, RESOLVER6 = "fd02::20", "fd03::30"
A, AAAA = 1, 28


def question(name, kind):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + struct.pack(">BHH", 0, kind, 1)


class Resolver:
    """Answers every question with one address, over IPv4 or IPv6 as that is."""

    def __init__(self, node, address):
        family, here, self.kind = (socket.AF_INET6, RESOLVER6, AAAA) if ":" in address else (socket.AF_INET, RESOLVER, A)
        self.socket = datagram_socket(node, here)
        self.socket.settimeout(None)
        self.socket.bind((here, 53))
        self.address = socket.inet_pton(family, address)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                asked, peer = self.socket.recvfrom(512)
            except OSError:
                return
            head = asked[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
            self.socket.sendto(head + asked[12:] + struct.pack(">HHHIH", 0xc00c, self.kind, 1, 60, len(self.address)) + self.address, peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def resolve(w, name, kind=A):
    with datagram_socket(w.client, RESOLVER6 if kind == AAAA else RESOLVER) as out:
        out.sendto(question(name, kind), (RESOLVER6 if kind == AAAA else RESOLVER, 53))
        return socket.inet_ntop(socket.AF_INET6, out.recv(512)[-16:]) if kind == AAAA else socket.inet_ntop(socket.AF_INET, out.recv(512)[-4:])


def observer_of(w, draft):
    """One that watches: the socket stands a moment after the line."""
    made = w.client.start(epif(), "redirect", "--observe", "--out", draft)
    made.wait_for_log("observes")
    def listens():  # the column "R": bound, and not only made
        return any(line.split()[5] == "1" for line in w.client.run("cat", "/proc/net/packet").stdout.splitlines()[1:])
    wait_until(listens, "the observer's packet socket stands")
    return made


def planned(w, draft):
    """What `epif plan` makes of the draft."""
    done = w.client.run(epif(), "plan", "-f", draft, "-o", "json", check=False)
    check(done.returncode in (0, 3), f"epif plan -f: {done.returncode} {done.stderr}")
    return {(flow["from"], flow["to"]) for flow in json.loads(done.stdout)["flows"]}


@promise("a connection that is older than the observer is in the draft, in both directions, and so are a name told over TCP and what cannot be seen")
def older():
    with World("observeold", proxy=False) as w, Service(w.server, 4242, echo), Service(w.client, 2222, echo), w.proxy_node.listen(53) as resolver:
        with w.client.connect(TARGET, 4242) as out, w.server.connect("10.1.0.10", 2222) as into:
            for one in (out, into):
                one.sendall(b"hello")
                equal(read_all(one, 5), b"hello", "the echo before")
            draft = w.lab.path("draft.yaml")
            observer = observer_of(w, draft)
            with w.client.connect(RESOLVER, 53) as asks:
                answers, _ = resolver.accept()
                with answers:
                    asked = question("old.example", A)
                    asks.sendall(struct.pack(">H", len(asked)) + asked)
                    read_all(answers, len(asked) + 2)
                    answer = asked[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00" + asked[12:] + struct.pack(
                        ">HHHIH", 0xc00c, A, 1, 60, 4) + socket.inet_aton(TARGET)
                    answers.sendall(struct.pack(">H", len(answer)) + answer)
                    read_all(asks, len(answer) + 2)
            out.sendall(b"x" * 100_000)  # the server's echo is read, too
            read_all(out, 100_000)
            observer.signal(signal.SIGINT)
            equal(observer.wait(), 0, "exit code after Ctrl-C")
        with open(draft, encoding="utf-8") as file:
            text = file.read()
        lines = {line.split(":")[0][2:]: line for line in text.splitlines() if " bytes to the server" in line}
        for name, sent in (("to-old.example-4242", "100005"), ("from-old.example-2222", "5")):
            check(name in lines, f"{name} is not in\n{text}")
            for words in ("1 connections (1 began before, or unseen)", f"{sent} bytes to the server, {sent} to the client", "user root"):
                check(words in lines[name], f"{words!r} is not in {lines[name]}")
        check("# Not seen: " in text, text)


@promise("a short TCP connection, its DNS name, its program, an incoming connection and UDP are seen; no rule is made")
def seen():
    with World("observe", proxy=False) as w, Service(w.server, 4242, echo), Service(w.client, 2222, echo), Resolver(w.proxy_node, TARGET):
        before = w.ruleset()
        draft = w.lab.path("draft.yaml")
        observer = observer_of(w, draft)
        equal(resolve(w, "pacs.example"), TARGET, "the resolver's answer")
        w.client.run("bash", "-c", f"exec 3<>/dev/tcp/{TARGET}/4242; echo hi >&3; head -n 1 <&3")
        w.client.connect(TARGET, 4242).close()
        with w.server.connect("10.1.0.10", 2222) as out:
            out.sendall(b"x" * 200_000)
            read_all(out, 200_000)
        equal(w.ruleset(), before, "rules while it observes")
        with w.client.connect(TARGET, 4242):  # still open at the end, so that its program can be found
            observer.signal(signal.SIGINT)
            equal(observer.wait(), 0, "exit code after Ctrl-C")
        with open(draft, encoding="utf-8") as file:
            text = file.read()
        for words in ("name: pacs.example", "port: 4242", "port: 2222", "protocol: udp", "10.2.0.20", "10.1.0.10", "user root", "3 connections"):
            check(words in text, f"{words!r} is not in\n{text}")
        check("python3 (user root)" in text, f"no program's name in\n{text}")
        flows = planned(w, draft)
        host = socket.gethostname()
        check((f"here/{host}", "there/pacs.example") in flows, flows)


@promise("over IPv6 connections, incoming ones, datagrams and DNS names are seen as over IPv4, and `epif plan` takes the draft")
def seen_over_ipv6():
    with World("observesix", proxy=False) as w, Service(w.server, 4242, echo, "::"), Service(w.server, 4242, echo), \
            Service(w.client, 2222, echo, "::"), Resolver(w.proxy_node, TARGET6):
        draft = w.lab.path("draft.yaml")
        observer = observer_of(w, draft)
        equal(resolve(w, "pacs.example", AAAA), TARGET6, "the resolver's answer")
        for _ in range(2):
            with w.client.connect(TARGET6, 4242) as out:
                out.sendall(b"x" * 200_000)
                equal(len(read_all(out, 200_000)), 200_000, "echo")
        w.client.connect(TARGET, 4242).close()  # the same host, which no answer named
        with w.server.connect("fd01::10", 2222) as out:
            out.sendall(b"hi")
            equal(read_all(out, 2), b"hi", "echo")
        with w.client.connect(TARGET6, 4242):  # still open at the end, so that its program can be found
            observer.signal(signal.SIGINT)
            equal(observer.wait(), 0, "exit code after Ctrl-C")
        with open(draft, encoding="utf-8") as file:
            text = file.read()
        for words in ("name: pacs.example", "fd02::20", "fd01::10", "fd03::30", "port: 4242", "port: 2222", "protocol: udp",
                      "3 connections, 400000 bytes to the server, 400000 to the client", "python3 (user root)"):
            check(words in text, f"{words!r} is not in\n{text}")
        check("fe80" not in text, f"a link's own address is in\n{text}")
        host, flows = socket.gethostname(), planned(w, draft)
        for flow in ((f"here/{host}", "there/pacs.example"), ("there/pacs.example", f"here/{host}"), (f"here/{host}", "there/fd03--30")):
            check(flow in flows, f"{flow} is not in {flows}")


@promise("--for ends by itself, a quiet node gives a draft without flows, and wrong use is one message")
def ends():
    with World("observequiet", proxy=False) as w:
        done = w.client.run(epif(), "redirect", "--observe", "--for", "1")
        check("No flow was seen" in done.stdout, done.stdout)
        for words, text in ((["--observe", "--capture", TARGET], "--observe"), (["--for", "3", "--capture", TARGET], "--observe"),
                            (["--observe", "--for", "1", "--out", "/no/such/folder/x"], "/no/such/folder")):
            done = w.client.run(epif(), "redirect", *words, check=False)
            check(done.returncode in (1, 2) and text in done.stderr, f"{words}: {done.returncode} {done.stderr}")


run()
