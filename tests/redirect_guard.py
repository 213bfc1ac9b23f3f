#!/usr/bin/python3
"""client ── gate ── server and proxy: nothing reaches a protected destination but through the proxy.

Every claim of absence stands beside a positive control: the same sender, before the rules or towards a destination that is
not protected, is seen in the same capture."""
import errno
import re
import socket
import struct

from lab import check, epif, equal, promise, run, wait_until
from redirect_world import LISTEN, Service, World, echo, is_reset, own_mark, read_all

TARGET, OPEN = "10.2.0.20", "10.2.0.21"  # protected, and not


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip4(to, payload, protocol=17, options=b"", fragment=0):
    head = struct.pack(">BBHHHBBH4s4s", 0x40 | (5 + len(options) // 4), 0, 20 + len(options) + len(payload), 7, fragment, 64, protocol, 0,
                       socket.inet_aton("10.1.0.10"), socket.inet_aton(to)) + options
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def ip6(to, payload, protocol=17):
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + socket.inet_pton(socket.AF_INET6, "fd01::10") \
        + socket.inet_pton(socket.AF_INET6, to) + payload


def udp(mark, port=9):
    return struct.pack(">HHHH", 4000, port, 8 + len(mark), 0) + mark


class Frames:
    """Sends raw frames from the client's uplink."""

    def __init__(self, w):
        self.w = w
        self.destination, self.source = _mac(w.gate, "client"), _mac(w.client, "gate")

    def send(self, packet, ethertype, declared=None, tag=b"", bypass=False):
        with self.w.client.inside():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with wire:
            if bypass:
                wire.setsockopt(263, 20, 1)  # SOL_PACKET, PACKET_QDISC_BYPASS
            frame = self.destination + self.source + tag + struct.pack(">H", ethertype) + packet
            try:
                wire.sendto(frame, ("gate", ethertype if declared is None else declared))
            except OSError as error:
                check(error.errno in (errno.EPERM, errno.ENOBUFS), f"send: {error}")


def _mac(node, device):
    text = node.ip("-o", "link", "show", device)
    return bytes.fromhex(text.partition("link/ether ")[2].split()[0].replace(":", ""))


def everything(w, target, open_to):
    """All ways out that we know, each with a mark: towards `target` as T-..., towards `open_to` as O-..."""
    frames, own = Frames(w), own_mark(w.client)
    names = []
    for letter, to in (("T", target), ("O", open_to)):
        def mark(name, letter=letter):
            if letter == "T":
                names.append(name)
            return f"{letter}-{name}.".encode().ljust(16, b".")
        with w.client.inside():
            plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
            sctp = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
            marked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            marked.setsockopt(socket.SOL_SOCKET, 36, own)
        for out, data in ((plain, mark("udp")), (sctp, mark("sctp")), (marked, mark("marked"))):
            with out:
                _try(out, data, (to, 9))
        with raw:
            _try(raw, ip4(to, udp(mark("raw"))), (to, 0))
            _try(raw, ip4(to, mark("fragment"), fragment=100), (to, 0))
            _try(raw, ip4(to, mark("protocol"), protocol=253), (to, 0))
        frames.send(ip4(to, udp(mark("frame"))), 0x0800)
        frames.send(ip4(to, udp(mark("bypass"))), 0x0800, bypass=True)
        frames.send(ip4(to, udp(mark("disguised-a"))), 0x0800, declared=0x1234)
        frames.send(ip4(to, udp(mark("disguised-b"))), 0x0800, declared=0x86DD)
        frames.send(ip4(to, udp(mark("tagged"))), 0x0800, declared=0x8100, tag=bytes.fromhex("8100 0005"))
        frames.send(ip4(to, udp(mark("hidden-tag"))), 0x0800, declared=0x0800, tag=bytes.fromhex("8100 4005"))
        frames.send(ip4(to, udp(mark("raw-fragment")), fragment=0x2000), 0x0800)
    return names


def _try(out, data, to):
    try:
        out.sendto(data, to)
    except OSError as error:
        check(error.errno in (errno.EPERM, errno.ENOBUFS), f"sendto {to}: {error}")


@promise("before the rules every way out is seen, after them none reaches the target, others still pass")
def ways_out():
    with World("ways", proxy=False) as w:
        w.server.ip("address", "add", OPEN + "/24", "dev", "gate")
        before = w.gate.capture("client")
        names = everything(w, TARGET, OPEN)
        before.stop()
        for name in names:
            check(before.holds(f"T-{name}."), f"control: {name} is not seen even without rules")
        w.redirect("--capture", TARGET)
        after = w.gate.capture("client")
        everything(w, TARGET, OPEN)
        w.client.run("ping", "-c", "1", "-W", "1", TARGET, check=False)
        w.client.run("ping", "-c", "1", "-W", "1", OPEN)
        after.stop()
        for name in names:  # a lone later fragment waits for its first one in the kernel, wherever it wants to go
            check(name == "fragment" or after.holds(f"O-{name}."), f"control: {name} to an open destination is not seen")
            check(not after.holds(f"T-{name}."), f"{name} got out")
        to_target = [p for p in after.packets() if socket.inet_aton(TARGET) in p.data[30:34]]
        equal(len(to_target), 0, "packets to the target on the uplink")


@promise("source routes do not go around the guard")
def source_routes():
    with World("srcroute", proxy=False) as w:
        frames = Frames(w)

        def send(letter):
            loose = b"\x83\x07\x04" + socket.inet_aton(TARGET) + b"\x00"
            frames.send(ip4("10.1.0.1", udp(letter + b"-loose."), options=loose), 0x0800)
            segments = struct.pack(">BBBBI", 17, 2, 4, 0, 0) + socket.inet_pton(socket.AF_INET6, "fd02::20")
            frames.send(ip6("fd01::1", segments + udp(letter + b"-segment."), protocol=43), 0x86DD)
        capture = w.gate.capture("client")
        send(b"O")
        w.redirect("--capture", TARGET, "--capture", "[fd02::20]")
        send(b"T")
        capture.stop()
        for name in ("loose", "segment"):
            check(capture.holds(f"O-{name}."), f"control: {name} is not seen without rules")
            check(not capture.holds(f"T-{name}."), f"{name} got out")


@promise("a target with a port lets other TCP and UDP ports pass, and nothing else")
def ports():
    with World("ports", proxy=False) as w:
        w.redirect("--capture", TARGET + ":80-90", "--capture", "[fd02::20]:80")
        capture = w.gate.capture("client")
        with Service(w.server, 7001, echo), w.client.connect(TARGET, 7001) as out:
            out.sendall(b"other port")
            equal(read_all(out, 10), b"other port", "TCP to another port")
        with w.client.inside():
            plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        with plain, six:
            for port, word in ((91, b"open4."), (79, b"open4b."), (85, b"shut4.")):
                _try(plain, word, (TARGET, port))
            for port, word in ((81, b"open6."), (80, b"shut6.")):
                _try(six, word, ("fd02::20", port))
        pinged = w.client.run("ping", "-c", "1", "-W", "1", TARGET, check=False)
        check(pinged.returncode != 0, "ping of a protected block passed")
        capture.stop()
        for word in ("open4.", "open4b.", "open6."):
            check(capture.holds(word), f"{word} did not pass")
        for word in ("shut4.", "shut6."):
            check(not capture.holds(word), f"{word} got out")


@promise("kill -9 of the redirector: refused, and not one packet to the target")
def killed():
    with World("killed") as w:
        with Service(w.server, 80, echo) as service:
            control = w.gate.capture("client", f"host {TARGET}")
            w.client.connect(TARGET, 80).close()
            check(len(control.stop().packets()) > 0, "control: a direct connection is not seen")
            redirector = w.redirect("--capture", TARGET)
            wait_until(lambda: w.metric("pool_idle") > 0, "warm connections stand ready")
            capture = w.gate.capture("client", f"host {TARGET}")
            with w.client.connect(TARGET, 80) as out:
                out.sendall(b"alive")
                equal(read_all(out, 5), b"alive", "echo")
            redirector.kill()
            seen = len(service.peers)
            for _ in range(3):
                try:
                    w.client.connect(TARGET, 80).close()
                    check(False, "a connection was accepted although the redirector is dead")
                except ConnectionRefusedError:
                    pass
            w.client.run("ping", "-c", "1", "-W", "1", TARGET, check=False)
            equal(len(capture.stop().packets()), 0, "packets to or from the target")
            equal(len(service.peers), seen, "connections at the server")


@promise("after a crash the next start takes the rules over, and a stop leaves none")
def crash_and_restart():
    with World("restart") as w:
        w.client.run("nft", "add table inet mine; add chain inet mine out { type filter hook output priority 0; }")
        before = w.ruleset()
        redirector = w.redirect("--capture", TARGET, "--capture", "10.2.0.99")
        redirector.kill()
        redirector = w.redirect("--capture", TARGET)
        check("10.2.0.99" in w.ruleset(), "a destination that was captured before the crash is open now")
        with Service(w.server, 80, echo), w.client.connect(TARGET, 80) as out:
            out.sendall(b"again")
            equal(read_all(out, 5), b"again", "echo after the restart")
        redirector.stop()
        equal(redirector.code(), 0, "exit code of a clean stop")
        equal(w.ruleset(), before, "rules after a clean stop")
        w.redirect("--capture", TARGET).kill()
        check(w.ruleset() != before, "the rules went with the process")
        w.client.run(epif(), "redirect", "--uninstall", "--state", w.lab.state)
        equal(w.ruleset(), before, "rules after --uninstall")
        redirector = w.redirect("--capture", TARGET)
        w.client.run(epif(), "redirect", "--uninstall", "--state", w.lab.state)
        equal(redirector.wait(), 0, "the running redirector's exit code")
        equal(w.ruleset(), before, "rules after --uninstall of a running one")
        w.client.run(epif(), "redirect", "--uninstall", "--state", w.lab.state)


@promise("a second redirector on the port is told so, and the first goes on")
def second():
    with World("second") as w:
        w.redirect("--capture", TARGET)
        rules = w.ruleset()
        more = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", "10.9.9.9", "--state", w.lab.state, check=False)
        equal(more.returncode, 1, "exit code")
        check("another redirector runs" in more.stderr and "15001" in more.stderr, more.stderr)
        check("10.9.9.9" not in w.ruleset(), "the second one changed the rules")
        equal(_without_counters(w.ruleset()), _without_counters(rules), "rules of the first one")
        with w.client.listen(15002, "127.0.0.1"):
            busy = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", "10.9.9.9", "--listen-port", "15002",
                                "--state", w.lab.state, check=False)
        equal(busy.returncode, 1, "exit code with a taken port")
        check("15002" in busy.stderr and "epif_redirect_15002" not in w.ruleset(), busy.stderr)
        with Service(w.server, 80, echo), w.client.connect(TARGET, 80) as out:
            out.sendall(b"first")
            equal(read_all(out, 5), b"first", "echo through the first one")


def _without_counters(rules):
    return re.sub(r"packets \d+ bytes \d+", "", rules)


@promise("a connection older than the rules is cut, at this end with an error")
def older():
    with World("older", proxy=False) as w:
        with Service(w.server, 80, echo), w.client.connect(TARGET, 80) as out:
            out.sendall(b"early")
            equal(read_all(out, 5), b"early", "echo before the rules")
            w.redirect("--capture", TARGET)
            capture = w.gate.capture("client")
            out.sendall(b"late")
            check(is_reset(out), "the old connection lives on")
            check(not capture.stop().holds("late"), "bytes of the old connection got out")


@promise("a connection to the redirector itself is refused")
def direct_connect():
    with World("direct", proxy=False) as w:
        w.redirect("--capture", TARGET)
        for address in ("127.0.0.1", "::1"):
            try:
                w.client.connect(address, LISTEN).close()
                check(False, f"{address}:{LISTEN} accepted a direct connection")
            except ConnectionRefusedError:
                pass
        for address in ("10.1.0.10", "fd01::10"):
            try:
                w.gate.connect(address, LISTEN, timeout=2).close()
                check(False, f"{address}:{LISTEN} is open to the network")
            except ConnectionRefusedError:
                pass


@promise("a destination on this node itself is captured, too")
def local_target():
    with World("local") as w:
        for owner in (w.client, w.server):  # the same address, here and beyond the proxy
            owner.ip("address", "add", "10.9.0.9/32", "dev", "lo")
        w.gate.route("10.9.0.9/32", "10.2.0.20")
        with Service(w.server, 80, echo) as far, Service(w.client, 80, echo) as near:
            w.client.connect("10.9.0.9", 80).close()
            wait_until(lambda: len(near.peers) == 1, "control: without rules the node's own service answers")
            redirector = w.redirect("--capture", "10.9.0.9:80")
            with w.client.connect("10.9.0.9", 80) as out:
                out.sendall(b"whose?")
                equal(read_all(out, 6), b"whose?", "echo")
            equal((len(near.peers), len(far.peers)), (1, 1), "connections here and beyond the proxy")
            redirector.stop()
            w.redirect("--capture", "10.9.0.9")
            with w.client.connect("10.9.0.9", 80) as out:
                out.sendall(b"whose?")
                equal(read_all(out, 6), b"whose?", "echo with all ports captured")
            equal((len(near.peers), len(far.peers)), (1, 2), "connections here and beyond the proxy")


@promise("a device that comes later is guarded, too")
def new_device():
    with World("device", proxy=False) as w:
        w.redirect("--capture", TARGET)
        w.client.ip("link", "add", "late", "type", "veth", "peer", "name", "late-peer", "netns", w.gate.netns)
        w.client.ip("link", "set", "late", "up")
        w.gate.ip("link", "set", "late-peer", "up")
        wait_until(lambda: '"late"' in w.ruleset() or " late" in w.ruleset(), "the new device is in the guard")
        capture = w.gate.capture("late-peer")
        with w.client.inside():
            wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with wire:
            for to, word in ((OPEN, b"O-late."), (TARGET, b"T-late.")):
                _try(wire, b"\xff" * 6 + b"\x02" * 6 + b"\x08\x00" + ip4(to, udp(word)), ("late", 0x0800))
        capture.stop()
        check(capture.holds("O-late."), "control: a frame on the new device is not seen")
        check(not capture.holds("T-late."), "a frame to the target left by the new device")


@promise("--exec guards the command from its first packet, gives its exit code and removes the rules")
def exec_command():
    with World("exec") as w:
        before = w.ruleset()
        base = [epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.state, "--exec"]
        with Service(w.server, 80, echo) as service:
            script = f"exec 3<>/dev/tcp/{TARGET}/80; echo through >&3; head -n 1 <&3; exit 7"
            done = w.client.run(*base, "bash", "-c", script, check=False)
            equal((done.returncode, done.stdout), (7, "through\n"), "exit code and output")
            equal(service.peers[0][0], "10.3.0.30", "who connected to the server")
        equal(w.client.run(*base, "no-such-program", check=False).returncode, 127, "exit code of a program that is not there")
        equal(w.client.run(*base, "bash", "-c", "kill -9 $$", check=False).returncode, 137, "exit code of a killed program")
        equal(w.ruleset(), before, "rules after the command")


@promise("wrong use and no root are one clear message each")
def wrong_use():
    with World("wrong", proxy=False) as w:
        before = w.ruleset()
        for words, code, text in ((["--capture", TARGET], 2, "--proxy"),
                                  (["--proxy", "10.3.0.30:1080"], 2, "--capture"),
                                  (["--proxy", "10.3.0.30", "--capture", TARGET], 2, "10.3.0.30"),
                                  (["--proxy", "10.3.0.30:1080", "--capture", "10.2.0.1/24"], 2, "10.2.0.1/24"),
                                  (["--proxy", "10.3.0.30:1080", "--capture", TARGET, "--cert", "x"], 2, "--ca"),
                                  (["--proxy", "10.3.0.30:1080", "--capture", TARGET, "--exec"], 2, "--exec"),
                                  (["--routes", "/no/such/file"], 1, "/no/such/file")):
            done = w.client.run(epif(), "redirect", *words, check=False)
            equal(done.returncode, code, f"exit code of {words}: {done.stderr}")
            check(text in done.stderr and done.stderr.count("\n") == 1, f"{words}: {done.stderr}")
        nobody = w.client.run("setpriv", "--reuid=65534", "--clear-groups", epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET,
                              check=False)
        check(nobody.returncode == 1 and "root" in nobody.stderr, f"no root: {nobody.returncode} {nobody.stderr}")
        equal(w.ruleset(), before, "rules after refusals")


run()
