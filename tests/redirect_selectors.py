#!/usr/bin/python3
"""client ── gate ── server and proxy: who is carried, and what is left alone."""
import os
import re
import socket

from lab import check, epif, equal, promise, run, wait_until, write_json
from redirect_programs import ALICE, BOB, TARGET, Cgroup, say
from redirect_world import Datagrams, Service, World, ask, datagram_socket, echo, is_refused, is_reset, read_all


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

@promise("an answer is for the program that asked: who takes its port afterwards reads nothing")
def late_answers():
    with World("lateanswers") as w:
        server = datagram_socket(w.server, TARGET)
        server.settimeout(10)
        server.bind(("0.0.0.0", 7001))
        w.redirect("--capture", TARGET, "--user", str(ALICE))
        python = ("import socket,sys\nout = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nout.bind(('0.0.0.0', 40000))\n"
                  "out.settimeout(5)\nsys.stdout.write('bound\\n'); sys.stdout.flush()\n")
        as_user = lambda user, rest: w.client.start("setpriv", f"--reuid={user}", "--clear-groups", "/usr/bin/python3", "-c", python + rest)
        alice = as_user(ALICE, f"out.sendto(b'ask', ('{TARGET}', 7001)); print(out.recv(100).decode(), flush=True)\n")
        _, peer = server.recvfrom(100)
        server.sendto(b"for alice", peer)
        alice.wait_for_log("for alice")
        equal(alice.wait(), 0, "alice's program has ended")
        bob = as_user(BOB, "print('bob read', out.recv(100).decode(), flush=True)\n")
        bob.wait_for_log("bound")
        server.sendto(b"patient", peer)
        wait_until(lambda: w.metric('datagrams_dropped_total{reason="revoked"}') == 1, "the answer is dropped")
        check("bob read" not in bob.output(), bob.output())
        server.close()


@promise("a route for one user and a blocked one decide before NGINX's for the whole node, to which then nobody is sent unasked")
def nginx_beside_selectors():
    with World("nginxbeside") as w, Service(w.server, 7001, echo) as service, Service(w.proxy_node, 21000, echo) as nginx:
        common = {"destination": TARGET + ":7001", "next": {"proxy": "10.3.0.30:1080"}}
        alice = {"id": "alice", "flow": "app/alice", "selector": {"users": [str(ALICE)]}, **common}
        bob = {"id": "bob", "flow": "app/bob", "selector": {"users": [str(BOB)]}, "blocked": "consent withdrawn", **common}
        all_of_it = {"id": "ng", "flow": "app/ng", "destination": TARGET + ":7001",
                     "nginx": {"listen": "10.3.0.30:21000", "clients": ["10.1.0.10"]}}
        w.redirect("--routes", write_json(w.lab.path("routes.json"), {"routes": [alice, bob, all_of_it]}), proxy=None)
        equal((say(w, 7001, user=ALICE), say(w, 7001, user=BOB)), ("hello", ""), "alice, and bob who is blocked")
        equal((len(nginx.peers), [peer[0] for peer in service.peers]), (0, ["10.3.0.30"]), "NGINX, and who reached the server")


@promise("a program with the right to mark its packets reaches no direct destination: neither an expired one nor one of another user")
def marked():
    with World("marked") as w, Service(w.server, 7001, echo) as service:
        expired = {"id": "old", "flow": "app/old", "destination": TARGET + ":7001", "expires": "2026-01-01T00:00:00Z"}
        alice = {"id": "alice", "flow": "app/alice", "destination": TARGET + ":7002", "selector": {"users": [str(ALICE)]}}
        with Service(w.server, 7002, echo) as other:
            w.redirect("--routes", write_json(w.lab.path("routes.json"), {"routes": [expired, alice]}), proxy=None)
            equal(say(w, 7002, user=ALICE), "hello", "alice")
            rules = w.ruleset()
            found = {int(one, 16) for one in re.findall(r"meta mark (0x[0-9a-f]+) ip daddr 10.2.0.20 tcp dport 7002", rules)}
            equal(len(found), 1, f"marks of the redirector: {found}")
            check(0xE91F not in found, "the mark is a public constant")
            script = ("import socket,sys\nfor port in (7001, 7002):\n    out = socket.socket(); out.settimeout(2)\n"
                      "    out.setsockopt(socket.SOL_SOCKET, 36, int(sys.argv[1]).to_bytes(4, sys.byteorder))\n"
                      f"    try: out.connect(('{TARGET}', port)); out.send(b'hello'); print(port, out.recv(10))\n"
                      "    except OSError: pass\n")
            as_bob = lambda mark: w.client.run("setpriv", f"--reuid={BOB}", "--clear-groups", "--inh-caps=+net_raw", "--ambient-caps=+net_raw",
                                               "--bounding-set=-net_admin", "/usr/bin/python3", "-c", script, str(mark)).stdout
            equal(as_bob(0xE91F), "", "what bob reads with the mark of the source")
            check("7001" not in as_bob(found.pop()), "the expired destination was reached by the very mark")
            equal(service.peers, [], "connections to the expired destination")
            files = [one for one in os.listdir(w.lab.state) if one.endswith((".names", ".targets"))]
            equal({os.stat(os.path.join(w.lab.state, one)).st_mode & 0o077 for one in files}, {0}, "who may read the mark")



run()
