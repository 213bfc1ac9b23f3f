#!/usr/bin/python3
"""client ── gate ── server and proxy: `epif redirect --observe` writes down what the client talks to, and changes nothing."""
import json
import signal
import socket
import threading

from lab import check, epif, equal, promise, run, wait_until
from redirect_world import Service, World, echo, read_all

TARGET, RESOLVER = "10.2.0.20", "10.3.0.30"


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


class Resolver:
    """Answers every question with one address."""

    def __init__(self, node, address):
        with node.inside():
            self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((RESOLVER, 53))
        self.address = socket.inet_aton(address)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            try:
                asked, peer = self.socket.recvfrom(512)
            except OSError:
                return
            head = asked[:2] + b"\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00"
            self.socket.sendto(head + asked[12:] + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04" + self.address, peer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def resolve(w, name):
    with w.client.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.settimeout(5)
        out.sendto(question(name), (RESOLVER, 53))
        return socket.inet_ntoa(out.recv(512)[-4:])


@promise("a short TCP connection, its DNS name, its program, an incoming connection and UDP are seen; no rule is made")
def seen():
    with World("observe", proxy=False) as w, Service(w.server, 4242, echo), Service(w.client, 2222, echo), Resolver(w.proxy_node, TARGET):
        before = w.ruleset()
        draft = w.lab.path("draft.yaml")
        observer = w.client.start(epif(), "redirect", "--observe", "--out", draft)
        observer.wait_for_log("observes")
        # The socket stands a moment after the line.
        wait_until(lambda: len(w.client.run("cat", "/proc/net/packet").stdout.splitlines()) > 1, "the observer's packet socket stands")
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
        done = w.client.run(epif(), "plan", "-f", draft, "-o", "json", check=False)
        check(done.returncode in (0, 3), f"epif plan -f: {done.returncode} {done.stderr}")
        flows = {(f["from"], f["to"]) for f in json.loads(done.stdout)["flows"]}
        host = socket.gethostname()
        check((f"here/{host}", "there/pacs.example") in flows, flows)


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
