#!/usr/bin/python3
"""client ── gate ── server and proxy: connections that the connect hook leads, beside those that nftables brings."""
import contextlib
import errno
import itertools
import os
import select
import socket
import struct

from lab import check, epif, equal, promise, run, wait_until, write_json
from redirect_world import LISTEN, Service, World, echo, is_refused, is_reset, read_all

TARGET = "10.2.0.20"
CLIENT = "10.1.0.10"


def said(out, word=b"hello"):
    out.sendall(word)
    equal(read_all(out, len(word)), word, "echo")


def new_socket(w, kind=socket.SOCK_STREAM):
    with w.client.inside():
        made = socket.socket(socket.AF_INET, kind)
    made.settimeout(5)
    return made


def led(w):
    return w.metric("connections_led_total")


def learn(w, port=7001, address=TARGET):
    """One connection that the rules bring; from here on the hook knows the destination."""
    before = led(w)
    with w.client.connect(address, port) as out:
        said(out)
    with w.client.connect(address, port) as out:
        said(out)
        equal(led(w), before + 1, "the second connection was led")


def stand_in(w, address=TARGET, port=7001):
    """The kernel's view of an open connection's far end: what ss sees and the program does not."""
    with w.client.connect(address, port) as out:
        said(out)
        own = out.getsockname()[1]
        lines = w.client.run("ss", "-tnH", "state", "established", f"sport = :{own}").stdout.split()
        return lines[3].rpartition(":")[0]


@promise("from the second connection on the hook leads, the program sees the same two addresses as before, and connection tracking nothing")
def same_view():
    with World("hookview") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        wire = w.gate.capture("client", f"host {TARGET}")
        with w.client.connect(TARGET, 7001) as first:
            said(first)
            views = [(first.getsockname()[0], first.getpeername())]
        equal((w.metric("connections_total"), led(w)), (1, 0), "connections, led ones")
        with w.client.connect(TARGET, 7001) as second:
            said(second)
            views.append((second.getsockname()[0], second.getpeername()))
            equal((w.metric("connections_total"), led(w)), (2, 1), "connections, led ones")
            flow = w.flows()["flows"][0]
            equal((flow["client"], flow["destination"]), (f"{CLIENT}:{second.getsockname()[1]}", f"{TARGET}:7001"), "the flow as shown")
        equal(views, [(CLIENT, (TARGET, 7001))] * 2, "own address, and the peer's")
        check(stand_in(w).startswith("127.119."), stand_in(w))
        tracked = int(w.client.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count").stdout)
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                said(stack.enter_context(w.client.connect(TARGET, 7001)))
            now = int(w.client.run("cat", "/proc/sys/net/netfilter/nf_conntrack_count").stdout)
        check(1 <= tracked and now < tracked + 10, f"{tracked} tracked connections, {now} with 20 led ones besides")
        equal(wire.stop().packets(), [], "packets that went straight to the target")


@promise("a program keeps the address and the port that it has bound, and a socket bound to a device goes by the rules")
def bound():
    with World("hookbound") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        before = led(w)
        with new_socket(w) as out:
            out.bind((CLIENT, 0))
            out.connect((TARGET, 7001))
            said(out)
            equal(out.getsockname()[0], CLIENT, "own address, bound")
        with new_socket(w) as out:
            out.bind(("0.0.0.0", 33333))
            out.connect((TARGET, 7001))
            said(out)
            equal(out.getsockname(), (CLIENT, 33333), "own address, port bound")
        equal(led(w), before + 2, "led")
        device = w.client.ip("-o", "address", "show", "to", CLIENT).split()[1]
        with new_socket(w) as out:
            out.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            try:
                out.connect((TARGET, 7001))
                said(out)
            except OSError:
                pass  # address translation cannot turn it round to loopback either
        equal(led(w), before + 2, "led, with one bound to a device")


@promise("a socket for both families sees IPv4 servers as before; IPv6 goes by the rules")
def mapped():
    with World("hookmapped") as w, Service(w.server, 7001, echo), Service(w.server, 7001, echo, "::"):
        w.redirect("--capture", TARGET, "--capture", "fd02::20")
        views = []
        for _ in range(3):
            with w.client.inside():
                out = socket.socket(socket.AF_INET6)
            with out:
                out.settimeout(5)
                out.connect(("::ffff:" + TARGET, 7001))
                said(out)
                views.append((out.getsockname()[0], out.getpeername()[:2]))
        equal(views, [("::ffff:" + CLIENT, ("::ffff:" + TARGET, 7001))] * 3, "own address, and the peer's")
        equal((w.metric("connections_total"), led(w)), (3, 2), "connections, led ones")
        for _ in range(2):
            with w.client.connect("fd02::20", 7001) as out:
                said(out)
                equal((out.getsockname()[0], out.getpeername()[0]), ("fd01::10", "fd02::20"), "addresses of IPv6")
        equal((w.metric("connections_total"), led(w)), (5, 2), "connections, led ones")


@promise("data in the first segment, a refusal and a half-close come over the hook as over the rules")
def behaves():
    with World("hookbehaves") as w, Service(w.server, 7001, echo), Service(w.server, 7003, lambda peer: peer.sendall(read_to_end(peer))):
        w.redirect("--capture", "10.2.0.0/24")
        learn(w)
        learn_half_close(w)
        before = led(w)
        with new_socket(w) as out:
            out.settimeout(None)  # with one Python makes the socket non-blocking, and this call says so
            out.sendto(b"first", socket.MSG_FASTOPEN, (TARGET, 7001))
            equal(read_all(out, 5), b"first", "echo of what came with the SYN")
        text = os.urandom(300_000)
        with w.client.connect(TARGET, 7003) as out:
            out.sendall(text)
            out.shutdown(socket.SHUT_WR)
            equal(read_all(out, len(text) + 1), text, "all that was sent, after the end of it")
        equal(led(w), before + 2, "led")
        with new_socket(w) as out:
            out.setblocking(False)
            equal(out.connect_ex((TARGET, 7001)), errno.EINPROGRESS, "connect() that does not wait")
            select.select([], [out], [], 5)
            equal((out.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), out.getpeername()), (0, (TARGET, 7001)), "how it ended, and the peer")
            out.settimeout(5)
            said(out)
        equal(led(w), before + 3, "led")


@promise("what the server refuses is refused over the hook as well, and the socket may be used for another try")
def refused_upstream():
    with World("hookrefused") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        with Service(w.server, 7002, echo):
            learn(w, 7002)
        before = led(w)
        with new_socket(w) as out:
            try:
                out.connect((TARGET, 7002))
                check(is_reset(out), "a connection to a port that nobody holds ended in order")
            except ConnectionError:
                pass
        equal(led(w), before + 1, "led, and refused")
        with new_socket(w) as out:
            out.settimeout(None)  # with one, Linux tells of the first failure once more
            try:
                out.connect(("127.0.0.1", 9))
                raise AssertionError("somebody listens at port 9")
            except ConnectionError:
                pass
            out.connect((TARGET, 7001))
            said(out)
            equal((out.getsockname()[0], out.getpeername()), (CLIENT, (TARGET, 7001)), "addresses after a failed attempt elsewhere")


@promise("a program that speaks MPTCP sees the server as its peer; one bound to loopback does not get out")
def others():
    with World("hookothers") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        with w.client.inside():
            out = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP)
        with out:
            out.settimeout(5)
            out.connect((TARGET, 7001))
            said(out)
            equal((out.getsockname()[0], out.getpeername()), (CLIENT, (TARGET, 7001)), "addresses of MPTCP")
        before = w.metric("connections_total")
        with new_socket(w) as out:
            out.bind(("127.0.0.1", 0))
            try:
                out.connect((TARGET, 7001))
                raise AssertionError("a connection from loopback reached the target")
            except OSError as failure:
                check(failure.errno in (errno.EINVAL, errno.ENETUNREACH, errno.ECONNREFUSED), repr(failure))
        equal(w.metric("connections_total"), before, "connections")


def read_to_end(peer):
    return b"".join(iter(lambda: peer.recv(65536), b""))


def learn_half_close(w):
    with w.client.connect(TARGET, 7003) as out:
        out.sendall(b"x")
        out.shutdown(socket.SHUT_WR)
        equal(read_all(out, 2), b"x", "what was sent")


@promise("with the redirector killed nothing is led, nothing gets out, and the next one learns anew")
def killed():
    with World("hookkilled") as w, Service(w.server, 7001, echo):
        redirector = w.redirect("--capture", TARGET)
        learn(w)
        wire = w.gate.capture("client", f"host {TARGET}")
        with w.client.connect(TARGET, 7001) as out:
            said(out)
            redirector.kill()
            check(is_reset(out), "the flow ended in order")
        for _ in range(5):
            check(is_refused(w.client, TARGET, 7001), "a connection with no redirector")
        w.redirect("--capture", TARGET)
        equal(led(w), 0, "led by the new one")
        learn(w)
        equal(wire.stop().packets(), [], "packets that went straight to the target")


@promise("after a stop programs reach the server themselves, with no trace of the hook")
def stopped():
    with World("hookstop") as w, Service(w.server, 7001, echo) as service:
        redirector = w.redirect("--capture", TARGET)
        learn(w)
        equal(redirector.stop(), 0, "exit code")
        with w.client.connect(TARGET, 7001) as out:
            said(out)
            equal((out.getpeername(), service.peers[-1][0]), ((TARGET, 7001), CLIENT), "the peer, and the server's")
        check("127.119." not in w.ruleset(), "rules are left")


@promise("who connects to a stand-in that stands for nothing is refused, and from outside none can be reached")
def strangers():
    with World("hookstrangers") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        place = stand_in(w)
        refused = w.metric('refused_total{reason="denied"}')
        check(is_refused(w.client, "127.119.255.254" if place != "127.119.255.254" else "127.119.255.253", LISTEN), "no stand-in")
        check(is_refused(w.client, CLIENT, LISTEN), "the node's own address")
        check(is_refused(w.client, "127.0.0.1", LISTEN), "the listener itself")
        equal(w.metric('refused_total{reason="denied"}'), refused + 1, "refused by the redirector, not by the rules")
        check(is_refused(w.gate, CLIENT, LISTEN), "from outside")
        listeners = [line.split()[3] for line in w.client.run("ss", "-tlnH", f"sport = :{LISTEN}").stdout.splitlines()]
        check(f"0.0.0.0%lo:{LISTEN}" in listeners, f"bound to loopback alone: {listeners}")
        with w.client.connect(place, LISTEN) as out:
            said(out)  # whoever knows the stand-in gets what it stands for, by the same routes


@promise("no other program of the node can take a stand-in's place")
def squatters():
    with World("hooksquat") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        place = stand_in(w)
        for options, where, device in itertools.product(((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,), (socket.SO_REUSEADDR, socket.SO_REUSEPORT)),
                                                        (place, "0.0.0.0", "::", "::ffff:" + place), (b"", b"lo")):
            script = (f"import socket,sys\ns = socket.socket({'socket.AF_INET6' if ':' in where else 'socket.AF_INET'})\n"
                      f"for option in {options!r}: s.setsockopt(socket.SOL_SOCKET, option, 1)\n"
                      f"if {device!r}: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, {device!r})\n"
                      f"try:\n    s.bind(('{where}', {LISTEN})); s.listen(); print('took it')\n"
                      "except OSError as error: print(error)\n")
            words = w.client.run("setpriv", "--reuid=64001", "--clear-groups", "/usr/bin/python3", "-c", script).stdout
            check("took it" not in words, f"{options} at {where} {device!r}: {words}")


@promise("routes for users hold for led connections")
def users():
    with World("hookusers") as w, Service(w.server, 7001, echo) as service:
        w.redirect("--capture", TARGET, "--user", "64001")
        say = ("import socket,sys\nout = socket.socket(); out.settimeout(3)\n"
               f"try:\n    out.connect(('{TARGET}', 7001)); out.send(b'hello'); print(out.recv(100).decode(), end='')\n"
               "except OSError: print('refused', end='')\n")
        results = [w.client.run("setpriv", f"--reuid={user}", "--clear-groups", "/usr/bin/python3", "-c", say).stdout
                   for user in (64001, 64001, 64002, 64001, 0)]
        equal(results, ["hello", "hello", "refused", "hello", "refused"], "alice twice, bob, alice, root")
        check(led(w) >= 3, f"{led(w)} connections were led")
        equal(len(service.peers), 3, "connections at the server")


@promise("with new routes nothing is led that was not reached under them")
def rules_change():
    with World("hookrules") as w, Service(w.server, 7001, echo), Service(w.server, 7002, echo):
        file = w.lab.path("routes.json")
        route = {"id": "a", "flow": "app/a", "destination": TARGET + ":7001", "next": {"proxy": "10.3.0.30:1080"}}
        other = {"id": "b", "flow": "app/b", "destination": TARGET + ":7002", "next": {"proxy": "10.3.0.30:1080"}}
        write_json(file, {"generation": 1, "routes": [route]})
        w.redirect("--routes", file, proxy=None)
        learn(w)
        write_json(file, {"generation": 2, "routes": [other]})
        wait_until(lambda: w.metric("routes_generation") == 2, "the second table is in force")
        wire = w.gate.capture("client", f"host {TARGET}")
        before = led(w)
        check(is_refused(w.client, TARGET, 7001), "a destination without a route")
        equal(led(w), before, "led to be refused")
        learn(w, 7002)
        write_json(file, {"generation": 3, "routes": [route, other]})
        wait_until(lambda: w.metric("routes_generation") == 3, "the third table is in force")
        learn(w)
        equal(wire.stop().packets(), [], "packets that went straight to the target")


@promise("DNS over TCP keeps to its own listener, also to a resolver that is protected")
def names():
    with World("hookdns") as w, Service(w.server, 53, lambda peer: peer.sendall(read_all(peer, 14))):
        w.redirect("--capture", TARGET, "--dns")
        question = struct.pack(">H", 12) + b"\x12\x34\x01\x00" + bytes(8)
        for _ in range(3):
            with w.client.connect(TARGET, 53) as out:
                out.sendall(question)
                equal(read_all(out, 14), question, "answer of the resolver")
        equal(led(w), 0, "led")


@promise("two redirectors of one network namespace each lead to themselves")
def two():
    with World("hooktwo") as w, Service(w.server, 7001, echo), Service(w.server, 7002, echo):
        w.redirect("--capture", TARGET + ":7001")
        first = w.admin
        w.redirect("--capture", TARGET + ":7002", "--listen-port", "15101")
        second = w.admin
        for port, admin in ((7001, first), (7002, second)):
            w.admin = admin
            learn(w, port)
        for admin in (first, second):
            w.admin = admin
            equal((w.metric("connections_total"), led(w)), (2, 1), "connections, led ones")


@promise("where the kernel or its rights do not let, or with --connect-hook off, the rules bring all")
def without():
    with World("hookless") as w, Service(w.server, 7001, echo):
        for flags, wrapper in ((("--connect-hook", "off"), ()), ((), ("setpriv", "--bounding-set", "-bpf,-sys_admin"))):
            admin = w.lab.path("less.sock")
            process = w.client.start(*wrapper, epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, *flags,
                                     "--state", w.lab.state, "--admin", f"unix:{admin}", name=f"less-{len(w.lab.processes)}")
            process.wait_for_log("captures")
            w.admin = admin
            for _ in range(3):
                with w.client.connect(TARGET, 7001) as out:
                    said(out)
            equal((w.metric("connections_total"), led(w)), (3, 0), "connections, led ones")
            if wrapper:
                process.wait_for_log("address translation alone")
            equal(process.stop(), 0, "exit code")


@promise("led connections live through hand-overs, to one with the hook, to one without, and back")
def handed_over():
    with World("hookover") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        open_flows = []
        for flags in ((), ("--connect-hook", "off"), ()):
            out = w.client.connect(TARGET, 7001)
            said(out)
            open_flows.append(out)
            admin = w.lab.path(f"next-{len(open_flows)}.sock")
            process = w.client.start(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, *flags, "--take-over",
                                     "--state", w.lab.state, "--admin", f"unix:{admin}", name=f"next-{len(open_flows)}")
            process.wait_for_log("captures")
            w.admin = admin
            for old in open_flows:
                said(old, b"still there")
                equal(old.getpeername(), (TARGET, 7001), "peer of an old flow")
            if not flags:
                learn(w)
            else:
                for _ in range(2):
                    with w.client.connect(TARGET, 7001) as new:
                        said(new)
                equal(led(w), 0, "led by one without the hook")
        for out in open_flows:
            out.close()


@promise("what a successor's rules leave out is not led any more, though the predecessor had learned it")
def left_out():
    with World("hookleftout") as w, Service(w.server, 7001, echo) as service, Service(w.server, 7002, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        learn(w, 7002)
        admin = w.lab.path("next.sock")
        process = w.client.start(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--exclude", TARGET + ":7001", "--take-over",
                                 "--state", w.lab.state, "--admin", f"unix:{admin}", name="next")
        process.wait_for_log("captures")
        w.admin = admin
        for _ in range(3):
            with w.client.connect(TARGET, 7001) as out:
                said(out)
                equal(service.peers[-1][0], CLIENT, "whom the server sees: the client itself")
        equal((w.metric("connections_total"), led(w)), (0, 0), "connections, led ones")
        learn(w, 7002)


@promise("a gateway leads its own programs and takes what it forwards by the rules")
def gateway():
    with World("hookgateway") as w, Service(w.server, 7001, echo):
        inside = w.lab.node("inside")
        w.lab.link(inside, "10.7.0.5/24", w.client, "10.7.0.1/24")
        inside.route("default", "10.7.0.1")
        w.client.sysctl("net.ipv4.ip_forward", 1)
        w.redirect("--gateway", "--capture", TARGET)
        learn(w)
        before = led(w)
        for _ in range(2):
            with inside.connect(TARGET, 7001) as out:
                said(out)
        equal((w.metric("connections_total"), led(w)), (4, before), "connections, led ones")
        check(is_refused(inside, "10.7.0.1", LISTEN), "the gateway's listener from outside")


@promise("a node that loses its address shows programs the new one")
def address_changes():
    with World("hookaddress") as w, Service(w.server, 7001, echo):
        w.redirect("--capture", TARGET)
        learn(w)
        device = w.client.ip("-o", "address", "show", "to", CLIENT).split()[1]
        w.client.ip("address", "del", "10.1.0.10/24", "dev", device)
        w.client.ip("address", "add", "10.1.0.11/24", "dev", device)
        w.client.ip("route", "replace", "default", "via", "10.1.0.1")

        def new_address():
            try:
                with w.client.connect(TARGET, 7001) as out:
                    said(out)
                    return out.getsockname()[0] == "10.1.0.11" and led(w) >= 3
            except OSError:
                return False
        wait_until(new_address, "led connections with the new address", 40)  # the proxy must give up the old one first


if __name__ == "__main__":
    run()
