#!/usr/bin/python3
"""client ── gate ── server and proxy: who is carried, and what is left alone."""
import os
import socket

from lab import check, epif, equal, promise, run, wait_until, write_json
from redirect_world import Datagrams, Service, World, ask, datagram_socket, echo, is_refused, is_reset, read_all

TARGET = "10.2.0.20"
ALICE, BOB = 64001, 64002


def cgroup_mount():
    with open("/proc/self/mounts", encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.split()[2] == "cgroup2")


class Cgroup:
    """A cgroup of this test; programs enter it before they start."""

    def __init__(self, w, name):
        self.name = f"epif-test-{os.getpid()}-{name}"
        self.path = f"{cgroup_mount()}/{self.name}"
        os.mkdir(self.path)
        w.lab.at_end(self.remove)

    def remove(self):
        if os.path.isdir(self.path):
            wait_until(self._gone, f"{self.path} is empty")

    def _gone(self):
        try:
            os.rmdir(self.path)
            return True
        except OSError:
            return False


def say(w, port, *, user=None, cgroup=None, address=TARGET, kind="tcp"):
    """What a program of that user and cgroup gets for "hello", empty if it is refused."""
    script = ("import socket,sys\n"
              "kind = socket.SOCK_STREAM if sys.argv[3] == 'tcp' else socket.SOCK_DGRAM\n"
              "out = socket.socket(socket.AF_INET, kind); out.settimeout(3.0 if kind == socket.SOCK_STREAM else 1.0)\n"
              "try:\n    out.connect((sys.argv[1], int(sys.argv[2]))); out.send(b'hello'); print(out.recv(100).decode(), end='')\n"
              "except OSError as error: print('refused', error, file=sys.stderr)\n")
    words = ["/usr/bin/python3", "-c", script, address, str(port), kind]
    if user is not None:
        words = ["setpriv", f"--reuid={user}", "--clear-groups", *words]
    if cgroup is not None:
        words = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup.path, *words]
    return w.client.run(*words).stdout


@promise("--user carries that user's connections and datagrams, and refuses all other")
def by_user():
    with World("byuser") as w, Service(w.server, 7001, echo) as service, Datagrams(w.server, 7001):
        w.redirect("--capture", TARGET, "--user", str(ALICE))
        wire = w.gate.capture("client", f"host {TARGET}")
        for kind in ("tcp", "udp"):
            equal(say(w, 7001, user=ALICE, kind=kind), "hello", f"{kind} of the user")
            equal(say(w, 7001, user=BOB, kind=kind), "", f"{kind} of another user")
            equal(say(w, 7001, kind=kind), "", f"{kind} of root")
        equal(len(service.peers), 1, "connections at the server")
        check("other programs" in w.flows()["refusals"][-1]["message"], w.flows()["refusals"][-1]["message"])
        equal(wire.stop().packets(), [], "packets that went straight to the target")


@promise("--cgroup carries what runs in it or below, and a cgroup that vanished fits nobody until it is made again")
def by_cgroup():
    with World("bycgroup") as w, Service(w.server, 7001, echo) as service:
        lab = Cgroup(w, "lab")
        os.mkdir(lab.path + "/job")
        inner = type("Inner", (), {"path": lab.path + "/job"})
        w.redirect("--capture", TARGET, "--cgroup", lab.path)
        equal(say(w, 7001, cgroup=lab), "hello", "in the cgroup")
        equal(say(w, 7001, cgroup=inner), "hello", "below it")
        equal(say(w, 7001), "", "outside of it")
        wait_until(lambda: not open(inner.path + "/cgroup.procs", encoding="ascii").read(), "the programs are gone")
        os.rmdir(inner.path)
        lab.remove()
        equal(say(w, 7001), "", "after the cgroup vanished")
        os.mkdir(lab.path)
        equal(say(w, 7001, cgroup=lab), "hello", "in the cgroup that was made again")
        equal(len(service.peers), 3, "connections at the server")


@promise("two routes with one destination and different selectors carry each its own program")
def two_routes():
    with World("tworoutes") as w, Service(w.server, 7001, echo) as service:
        other = w.start_proxy("--listen", "10.3.0.30:1090", "--allow-all", port=1090)
        one = {"id": "alice", "flow": "app/alice", "destination": TARGET + ":7001", "selector": {"users": [str(ALICE)]},
               "next": {"proxy": "10.3.0.30:1080"}}
        two = {"id": "bob", "flow": "app/bob", "destination": TARGET + ":7001", "selector": {"users": [str(BOB)]},
               "next": {"proxy": "10.3.0.30:1090"}}
        file = write_json(w.lab.path("routes.json"), {"generation": 1, "routes": [one, two]})
        w.redirect("--routes", file, proxy=None)
        equal((say(w, 7001, user=ALICE), say(w, 7001, user=BOB), say(w, 7001)), ("hello", "hello", ""), "alice, bob, root")
        other.kill()
        equal((say(w, 7001, user=ALICE), say(w, 7001, user=BOB)), ("hello", ""), "alice, and bob whose proxy is dead")
        equal(len(service.peers), 3, "connections at the server")


@promise("a host behind a gateway is no program of the node, even with a port that one of its programs holds")
def forwarded():
    with World("forwarded") as w, Service(w.server, 7001, echo) as service, Datagrams(w.server, 9) as datagrams:
        inside = w.lab.node("inside")
        w.lab.link(inside, "10.7.0.5/24", w.client, "10.7.0.1/24")
        inside.route("default", "10.7.0.1")
        w.client.sysctl("net.ipv4.ip_forward", 1)
        w.redirect("--gateway", "--capture", TARGET, "--user", "0")
        with datagram_socket(w.client, TARGET) as own, datagram_socket(inside, TARGET) as other, w.client.listen(5000):
            own.bind(("0.0.0.0", 5000))
            other.bind(("10.7.0.5", 5000))
            equal(ask(own, b"own", (TARGET, 9))[0], b"own", "answer to the node's own program")
            other.sendto(b"foreign", (TARGET, 9))
            wait_until(lambda: w.metric('datagrams_dropped_total{reason="no_route"}') == 1, "the foreign datagram is refused")
            with inside.inside():
                foreign = socket.socket()
            with foreign:
                foreign.settimeout(5)
                foreign.bind(("10.7.0.5", 5000))
                try:
                    foreign.connect((TARGET, 7001))
                    check(is_reset(foreign), "a foreign connection was carried")
                except ConnectionError:
                    pass
        equal((service.peers, len(datagrams.peers)), ([], 1), "what reached the server")


@promise("a user whom the node does not know is refused at the start, and in a route fits nobody")
def unknown_user():
    with World("unknown") as w, Service(w.server, 7001, echo):
        failed = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--user", "nobody-of-that-name",
                              "--state", w.lab.state, check=False)
        equal((failed.returncode, failed.stderr.count("\n")), (1, 1), failed.stderr)
        check("nobody-of-that-name" in failed.stderr, failed.stderr)
        route = {"id": "a", "flow": "app/a", "destination": TARGET, "selector": {"users": ["nobody-of-that-name"]},
                 "next": {"proxy": "10.3.0.30:1080"}}
        w.redirect("--routes", write_json(w.lab.path("routes.json"), {"routes": [route]}), proxy=None)
        equal(say(w, 7001), "", "root")


@promise("--exclude leaves addresses and ports alone in the midst of a captured block, and the rest is guarded")
def excluded():
    with World("excluded") as w, Service(w.server, 7001, echo) as one, Service(w.server, 7002, echo) as two, Datagrams(w.server, 53) as dns:
        w.server.ip("address", "add", "10.2.0.21/24", "dev", "gate")
        w.redirect("--capture", "10.2.0.0/16", "--exclude", "10.2.0.21", "--exclude", TARGET + ":7002", "--exclude", TARGET + ":50-60")
        equal(say(w, 7001), "hello", "captured")
        equal(say(w, 7002), "hello", "excluded by port")
        equal(say(w, 7001, address="10.2.0.21"), "hello", "excluded by address")
        equal([peer[0] for peer in one.peers], ["10.3.0.30", "10.1.0.10"], "who connected to 7001")
        equal([peer[0] for peer in two.peers], ["10.1.0.10"], "who connected to 7002")
        with datagram_socket(w.client, TARGET) as out:
            equal(ask(out, b"direct", (TARGET, 53))[0], b"direct", "an excluded datagram")
        equal([peer[0] for peer in dns.peers], ["10.1.0.10"], "who sent to 53")
        equal(w.client.run("ping", "-c", "1", "-W", "1", "10.2.0.21", check=False).returncode, 0, "ping of an excluded address")
        check(w.client.run("ping", "-c", "1", "-W", "1", TARGET, check=False).returncode != 0, "ping of a guarded one passed")
        w.proxy.kill()
        check(is_refused(w.client, TARGET, 7001), "without the proxy a captured connection got through")
        with w.client.connect(TARGET, 7002) as out:
            out.sendall(b"still")
            equal(read_all(out, 5), b"still", "an excluded connection needs no proxy")


run()
