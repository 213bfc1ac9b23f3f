#!/usr/bin/python3
"""client ── gate ── server and proxy: programs of excluded users and cgroups, beside others that are captured."""
import contextlib
import os
import re
import socket
import sys
import threading

from lab import check, epif, equal, promise, run, wait_until
from redirect_guard_frames import frame_to
from redirect_programs import ALICE, BOB, TARGET, Cgroup, say, words_of
from redirect_questions import MAPPED, NAME, foreign
from redirect_world import Datagrams, Service, World, echo, read_all

TARGET6 = "fd02::20"
CLIENT, CLIENT6, PROXY, PROXY6 = "10.1.0.10", "fd01::10", "10.3.0.30", "fd03::30"
CAPTURE = ("--capture", "10.2.0.0/16", "--capture", "fd02::/16")
QUESTION = ("import socket,sys\nout = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); out.settimeout(2)\n"
            "out.sendto(bytes.fromhex(sys.argv[1]), (sys.argv[2], 53)); print(out.recv(512).hex())\n")
ECHO_REQUEST = ("import socket,sys\nout = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); out.settimeout(2)\n"
                "try:\n    out.sendto(bytes.fromhex('0800f7fe00000001'), (sys.argv[1], 0)); print('answer from', out.recvfrom(100)[1][0])\n"
                "except OSError: pass\n")


def python(w, script, *words, **program):
    return w.client.run(*words_of(["/usr/bin/python3", "-c", script, *words], **program)).stdout.strip()


@contextlib.contextmanager
def listeners(w):
    with Service(w.server, 7001, echo) as tcp, Service(w.server, 7001, echo, "::") as tcp6, Datagrams(w.server, 7001) as udp, \
            Datagrams(w.server, 7001, "::") as udp6, Datagrams(w.server, 53, answer=foreign) as dns:
        yield (("tcp", TARGET, tcp), ("tcp", TARGET6, tcp6), ("udp", TARGET, udp), ("udp", TARGET6, udp6)), dns


def all_ways(w, listening, who, other):
    """What `who` and the program beside it get, and by which way: TCP, UDP and DNS; IPv4 and IPv6."""
    services, dns = listening
    for program, senders in ((who, (CLIENT, CLIENT6)), (other, (PROXY, PROXY6))):
        for kind, address, service in services:
            for _ in range(2):  # the second connection may come by another way than the first
                before = len(service.peers)
                equal(say(w, 7001, address=address, kind=kind, **program), "hello", f"{kind} of {program} to {address}")
                equal(service.peers[before][0], senders[":" in address], f"who reached the server: {kind} of {program}")
    question, before = resolve_words(NAME), len(dns.peers)
    check(bytes(map(int, MAPPED.split("."))).hex() in python(w, QUESTION, question, TARGET, **other), "the other program's name is not ours")
    equal(len(dns.peers), before, "questions at the resolver")
    check("c0000201" in python(w, QUESTION, question, TARGET, **who), "the excluded program's question was answered here")
    equal(dns.peers[before][0], CLIENT, "who asked the resolver")


def resolve_words(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (b"\x42\x42\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1").hex()


@promise("--exclude-user leaves that user's programs alone, all protocols of IPv4 and IPv6, and carries and guards all other")
def by_user():
    with World("xuser") as w, listeners(w) as listening:
        w.redirect(*CAPTURE, "--map", f"{NAME}={MAPPED}", "--exclude-user", str(ALICE), "--exclude-user", "daemon")
        all_ways(w, listening, {"user": ALICE}, {"user": BOB})
        raw = ("setpriv", "--inh-caps=+net_raw", "--ambient-caps=+net_raw")
        ping = lambda user: w.client.run(raw[0], f"--reuid={user}", "--clear-groups", *raw[1:], "/usr/bin/python3", "-c", ECHO_REQUEST,
                                         TARGET).stdout
        equal(ping(ALICE).strip(), f"answer from {TARGET}", "a ping of the excluded user")
        equal(ping(BOB), "", "a ping of another user")
        w.proxy.kill()
        equal((say(w, 7001, user=ALICE), say(w, 7001, user=BOB)), ("hello", ""), "with the proxy dead")
        equal(say(w, 7001, user=1), "hello", "a user who is given by name")


@promise("--exclude-cgroup leaves what runs in it or below alone, also when it was made again, and carries all other")
def by_cgroup():
    with World("xcgroup") as w, listeners(w) as listening:
        lab = Cgroup(w, "excluded")
        os.mkdir(lab.path + "/job")
        inner = type("Inner", (), {"path": lab.path + "/job"})
        redirector = w.redirect(*CAPTURE, "--map", f"{NAME}={MAPPED}", "--exclude-cgroup", lab.path)
        all_ways(w, listening, {"cgroup": lab}, {})
        all_ways(w, listening, {"cgroup": inner}, {"user": BOB})
        equal(python(w, ECHO_REQUEST, TARGET, cgroup=lab), f"answer from {TARGET}", "a ping in the cgroup")
        equal(python(w, ECHO_REQUEST, TARGET), "", "a ping outside of it")
        wait_until(lambda: not open(inner.path + "/cgroup.procs", encoding="ascii").read(), "the programs are gone")
        os.rmdir(inner.path)
        lab.remove()
        redirector.wait_for_log("an excluded cgroup is gone")
        wait_until(lambda: "cgroupv2" not in w.ruleset(), "the rules do without the cgroup")
        w.client.run("nft", "flush ruleset")
        wait_until(lambda: w.metric("rules_restored_total") == 1, "rules are put back without the cgroup")
        service = listening[0][0][2]
        equal((say(w, 7001), service.peers[-1][0]), ("hello", PROXY), "a program without the cgroup")
        os.mkdir(lab.path)
        wait_until(lambda: "cgroupv2" in w.ruleset(), "the rules name the new cgroup")
        equal((say(w, 7001, cgroup=lab), service.peers[-1][0]), ("hello", CLIENT), "in the cgroup that was made again")


@promise("the connect hook passes over excluded programs, also towards destinations that it knows, and leads all other")
def hook():
    with World("xhook") as w, Service(w.server, 7001, echo) as service:
        lab = Cgroup(w, "hook")
        os.mkdir(lab.path + "/job")
        inner = type("Inner", (), {"path": lab.path + "/job"})
        w.redirect(*CAPTURE, "--exclude-user", str(ALICE), "--exclude-cgroup", lab.path)
        led = lambda: w.metric("connections_led_total")

        def reach(**program):
            equal(say(w, 7001, **program), "hello", f"echo for {program}")
            return service.peers[-1][0]
        for _ in range(2):
            equal(reach(user=BOB), PROXY, "who connected for another user")
        equal(led(), 1, "the second connection was led")
        for program in ({"user": ALICE}, {"cgroup": lab}, {"cgroup": inner}):
            equal(reach(**program), CLIENT, f"who connected for {program}")
        equal(led(), 1, "connections led, after those of excluded programs")
        equal((reach(user=BOB), led()), (PROXY, 2), "another user again, led")
        os.rmdir(inner.path)
        lab.remove()
        wait_until(lambda: "cgroupv2" not in w.ruleset(), "the rules do without the cgroup")
        os.mkdir(lab.path)
        wait_until(lambda: "cgroupv2" in w.ruleset(), "the rules name the new cgroup")
        for _ in range(2):
            equal(reach(user=BOB), PROXY, "who connected for another user")
        before = led()
        equal((reach(cgroup=lab), led()), (CLIENT, before), "in the cgroup that was made again")


@promise("what an excluded program has written before it ends arrives whole: its connection stays excluded although nobody holds it")
def orphans():
    size = 1_000_000
    script = ("import socket,sys\nout = socket.socket(); out.setsockopt(socket.SOL_SOCKET, 32, 2 * int(sys.argv[3]))\n"
              "out.connect((sys.argv[1], int(sys.argv[2]))); out.sendall(b'x' * int(sys.argv[3]))\n")
    with World("xorphan") as w:
        lab = Cgroup(w, "writes")
        arrived, ended = [], threading.Event()

        def late_reader(peer):
            ended.wait(10)
            count = 0
            try:
                while more := peer.recv(65536):
                    count += len(more)
            except ConnectionError:
                count = -count
            arrived.append(count)
        w.redirect(*CAPTURE, "--exclude-user", str(ALICE), "--exclude-cgroup", lab.path)
        with Service(w.server, 7001, late_reader) as service:
            for program in (["setpriv", f"--reuid={ALICE}", "--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin"], None):
                words = ["/usr/bin/python3", "-c", script, TARGET, "7001", str(size)]
                ended.clear()
                w.client.run(*(program + words if program else words_of(words, cgroup=lab)))
                ended.set()
                before = len(service.peers) - 1
                wait_until(lambda: len(arrived) > before, "the server has read to the end", within=10)
                equal((arrived[-1], service.peers[-1][0]), (size, CLIENT), f"bytes, and who connected ({program or 'cgroup'})")


@promise("an excluded program serves protected hosts, too: by its user and by its cgroup")
def servers():
    script = ("import socket\nlistener = socket.create_server(('0.0.0.0', 9000)); print('up', flush=True)\n"
              "while True:\n    peer, _ = listener.accept(); peer.sendall(peer.recv(100)); peer.close()\n")
    with World("xserver", proxy=False) as w:
        lab = Cgroup(w, "serves")
        w.redirect(*CAPTURE, "--exclude-user", str(ALICE), "--exclude-cgroup", lab.path)
        for program, answer in (({"user": ALICE}, b"word"), ({"cgroup": lab}, b"word"), ({"user": BOB}, b"")):
            process = w.client.start(*words_of(["/usr/bin/python3", "-c", script], **program))
            process.wait_for_log("up")
            got = b""
            with contextlib.suppress(OSError), w.server.connect(CLIENT, 9000, timeout=2) as out:
                out.sendall(b"word")
                got = read_all(out, 4)
            equal(got, answer, f"what a protected host gets of {program}")
            process.kill()


@promise("excluded programs' packets pass a bridge as they pass a plain device")
def bridge():
    with World("xbridge") as w, Service(w.server, 7001, echo) as service:
        lab = Cgroup(w, "bridge")
        w.client.ip("link", "add", "name", "bridge0", "type", "bridge")
        w.client.ip("address", "flush", "dev", "gate")
        w.client.ip("link", "set", "gate", "master", "bridge0")
        w.client.ip("link", "set", "bridge0", "up")
        w.client.ip("address", "add", CLIENT + "/24", "dev", "bridge0")
        w.client.ip("route", "replace", "default", "via", "10.1.0.1")
        w.redirect(*CAPTURE, "--exclude-user", str(ALICE), "--exclude-cgroup", lab.path)
        for program, sender in (({"user": ALICE}, CLIENT), ({"cgroup": lab}, CLIENT), ({}, PROXY)):
            equal((say(w, 7001, **program), service.peers[-1:][0][0]), ("hello", sender), f"over a bridge: {program}")


@promise("nobody else passes by the mark of excluded programs: neither by a socket's mark nor by a raw frame")
def mark():
    with World("xmark") as w:
        w.redirect(*CAPTURE, "--exclude-user", str(ALICE))
        found = {int(one, 16) for one in re.findall(r"meta mark set (0x[0-9a-f]+) accept", w.ruleset())}
        marks = {one for one in found if one >> 16 != 0xE920}
        equal(len(marks), 1, f"marks of excluded programs: {[hex(one) for one in found]}")
        value = marks.pop()
        capture = w.gate.capture("client")
        for to, word in ((TARGET, b"T-marked."), ("10.3.0.99", b"O-marked.")):
            with w.client.inside():
                out = socket.socket(socket.AF_INET, socket.SOCK_RAW, 253)  # a protocol that nobody captures
            with out:
                out.setsockopt(socket.SOL_SOCKET, 36, value.to_bytes(4, sys.byteorder))
                with contextlib.suppress(PermissionError):
                    out.sendto(word, (to, 0))
        capture.stop()
        check(capture.holds(b"O-marked."), "control: a marked packet to an open destination is not seen")
        check(not capture.holds(b"T-marked."), "a marked packet of another program got out")
        check(frame_to(w, "gate", "client", "10.3.0.99", value), "control: a marked frame to an open destination is not seen")
        check(not frame_to(w, "gate", "client", TARGET, value), "a marked frame got out")


@promise("a user or a cgroup that the node does not have is one clear message, and nothing is left behind")
def unknown():
    with World("xunknown", proxy=False) as w:
        before = w.ruleset()
        for flags, code, text in ((["--exclude-user", "nobody-of-that-name"], 1, "nobody-of-that-name"),
                                  (["--exclude-user", "4294967295"], 1, "4294967295"),
                                  (["--exclude-cgroup", "no/such/cgroup"], 1, "no/such/cgroup"),
                                  (["--exclude-cgroup", "a\"b"], 1, "nftables"),
                                  (["--exclude-cgroup", "/"], 2, "root cgroup")):
            done = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, *flags, "--state", w.lab.state,
                                check=False)
            equal((done.returncode, done.stderr.count("\n")), (code, 1), done.stderr)
            check(text in done.stderr, done.stderr)
        equal(w.ruleset(), before, "rules afterwards")
        left = [one for one in os.listdir(w.lab.state) if one.startswith("redirect-") and not one.endswith((".log", ".sock"))]
        equal(left, [], "files in the state folder")


run()
