#!/usr/bin/python3
"""client ── gate ── server and proxy: somebody else takes the redirector's rules away while it runs."""
import contextlib
import re
import signal
import socket
import subprocess
import time

from lab import Again, check, epif, equal, promise, run, wait_until
from redirect_world import Service, World, echo, is_reset, read_all

TARGET = "10.2.0.20"
TABLE = "epif_redirect_15001"
FIRST_ADDRESS, PROXY = "10.1.0.10", "10.3.0.30"


def said(w, word=b"hello"):
    with w.client.connect(TARGET, 7001) as out:
        out.sendall(word)
        return read_all(out, len(word))


def plain(rules):
    """Without what differs from one installation to the next."""
    return re.sub(r"packets \d+ bytes \d+", "", rules)


def restored(w):
    return w.metric("rules_restored_total")


def health(w):
    """Status and body of /healthz."""
    with socket.socket(socket.AF_UNIX) as out:
        out.settimeout(5)
        out.connect(w.admin)
        out.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: out.recv(65536), b"")).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def nft(w, words):
    w.client.run("nft", words)


@promise("rules that somebody flushes, deletes, replaces or alters are back within a second, and new connections go by the redirector again")
def put_back():
    with World("putback") as w, Service(w.server, 7001, echo) as service:
        redirector = w.redirect("--capture", TARGET, "--capture", "[fd02::20]")
        whole = plain(w.ruleset())
        saved = w.lab.path("saved.nft")
        with open(saved, "w", encoding="ascii") as file:
            file.write("flush ruleset\n" + w.ruleset().replace(" drop\n", " accept\n"))
        ways = [("nft", "flush ruleset"), ("nft", f"delete table inet {TABLE}"), ("nft", f"delete table netdev {TABLE}"),
                ("nft", f"flush table inet {TABLE}"), ("nft", f"flush chain inet {TABLE} guard_output"),
                ("nft", f"insert rule inet {TABLE} guard_output accept"), ("nft", "-f", saved)]
        for number, words in enumerate(ways, 1):
            began = time.monotonic()
            w.client.run(*words)
            wait_until(lambda: plain(w.ruleset()) == whole, f"the rules are back after {words}", within=1.0 + 2.0)
            wait_until(lambda: restored(w) >= number, f"{words} is counted", within=1.0)
            check(time.monotonic() - began < 1.0, f"{words}: {time.monotonic() - began:.2f} s")
            peers = len(service.peers)
            equal(said(w), b"hello", f"a new connection after {words}")
            equal(service.peers[peers][0], PROXY, f"who connected to the server after {words}")
            check(w.client.run("ping", "-c", "1", "-W", "1", TARGET, check=False).returncode != 0, f"a ping passed after {words}")
        equal(restored(w), len(ways), "restorations")
        equal(redirector.output().count("somebody else removed or changed the rules"), len(ways), "lines in the log")
        check("ok" in w.ask("/healthz"), "health")


@promise("programs that go on connecting while the rules are flushed: soon all go by the redirector again")
def while_trying():
    with World("flushtry") as w, Service(w.server, 7001, echo) as service:
        w.redirect("--capture", TARGET)

        def connection():
            with contextlib.suppress(ConnectionError):
                said(w)
        with Again(connection, "connections", threads=2) as again:
            for number in range(1, 6):
                again.until_more(20)
                nft(w, "flush ruleset")
                wait_until(lambda: restored(w) == number, "the rules are back", within=1.0)
        direct = [peer for peer in service.peers if peer[0] == FIRST_ADDRESS]
        print(f"      {len(direct)} of {len(service.peers)} connections slipped through five gaps", flush=True)
        seen = len(service.peers)
        for _ in range(20):
            equal(said(w), b"hello", "a connection afterwards")
        equal({peer[0] for peer in service.peers[seen:]}, {PROXY}, "who connected afterwards")


@promise("what slips out while the rules are away is cut when they are back, with an error to the program")
def slipped():
    with World("slipped") as w, Service(w.server, 7001, echo) as service:
        redirector = w.redirect("--capture", TARGET)
        redirector.signal(signal.SIGSTOP)  # so that the gap is long enough to be seen
        try:
            nft(w, "flush ruleset")
            out = w.client.connect(TARGET, 7001)
            out.sendall(b"early")
            equal(read_all(out, 5), b"early", "control: without rules a connection goes straight")
            equal(service.peers[-1][0], FIRST_ADDRESS, "control: who connected to the server")
        finally:
            redirector.signal(signal.SIGCONT)
        with out:
            wait_until(lambda: restored(w) == 1, "the rules are back")
            wire = w.gate.capture("client")
            out.sendall(b"late")
            check(is_reset(out), "what slipped out lives on")
            check(not wire.stop().holds("late"), "its bytes still leave")
        equal(said(w), b"hello", "a new connection")
        equal(service.peers[-1][0], PROXY, "who connected afterwards")


@promise("its own changes, another redirector's and other tables are no reason to put rules back, and a stop leaves none")
def own_changes():
    with World("ownchange") as w, Service(w.server, 7001, echo):
        before = w.ruleset()
        redirector = w.redirect("--capture", TARGET)
        first_admin = w.admin
        w.client.ip("link", "add", "late", "type", "veth", "peer", "name", "late-peer")
        wait_until(lambda: '"late"' in w.ruleset() or " late" in w.ruleset(), "the new device is in the guard")
        w.client.ip("link", "delete", "late")
        nft(w, "add table inet other; add chain inet other out { type filter hook output priority 0; }; delete table inet other")
        second = w.redirect("--capture", "10.2.0.99", "--listen-port", "15101", port=15101)
        second.stop()
        w.admin = first_admin
        # The last change of others: once it is put back, all before it has been read.
        nft(w, f"delete table inet {TABLE}")
        wait_until(lambda: restored(w) > 0, "the rules are back")
        equal(restored(w), 1, "restorations")
        redirector.stop()
        equal(redirector.code(), 0, "exit code")
        equal(w.ruleset(), before, "rules after the stop")
        check("fwmark" not in w.client.ip("rule", "list"), "a routing rule is left")


@promise("after a take-over the process that serves puts rules back, the one that drains does not, and a stop of it leaves none")
def take_over():
    with World("flushtake") as w, Service(w.server, 7001, echo):
        old = w.redirect("--capture", TARGET)
        with w.client.connect(TARGET, 7001) as kept:
            kept.sendall(b"kept")
            equal(read_all(kept, 4), b"kept", "echo")
            new = w.client.start(epif(), "redirect", "--proxy", PROXY + ":1080", "--capture", TARGET, "--take-over", "--state", w.lab.state,
                                 "--admin", f"unix:{w.admin}", name="successor")
            new.wait_for_log("captures")
            for number in (1, 2):
                nft(w, "flush ruleset")
                wait_until(lambda: restored(w) == number, "the rules are back", within=1.0)
            check("somebody else" not in old.output(), "the old process has put rules back")
            check(old.alive(), "the old process has ended")
            kept.sendall(b"on")
            equal(read_all(kept, 2), b"on", "echo of a flow that the old process carries")
            equal(said(w), b"hello", "a new connection")
            new.kill()
            nft(w, "flush ruleset")
            nft(w, "add table inet other")  # something to see, should anybody look
            equal(w.ruleset().strip(), "table inet other {\n}", "rules with the serving process dead")
            new = None
        w.client.run(epif(), "redirect", "--uninstall", "--state", w.lab.state)
        old.wait()


@promise("rules that cannot be put back are tried again, and meanwhile /healthz says that they are not in force")
def tried_again():
    with World("flushagain") as w, Service(w.server, 7001, echo):
        redirector = w.redirect("--capture", TARGET)
        # A table that belongs to a process: nobody else may delete it, and the kernel does when that process ends.
        owner = subprocess.Popen(w.client.enter("nft", "-i"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            owner.stdin.write(f"flush ruleset\nadd table inet {TABLE} {{ flags owner; }}\n")
            owner.stdin.flush()
            redirector.wait_for_log("another attempt")
            wait_until(lambda: health(w) == (503, "the rules are not in force\n"), "/healthz says so")
        finally:
            owner.stdin.close()
            owner.wait(10)
        wait_until(lambda: health(w) == (200, "ok\n"), "/healthz says that they are in force again")
        check(restored(w) >= 1, "not counted")
        equal(said(w), b"hello", "a connection afterwards")


run()
