#!/usr/bin/python3
"""client ── gate ── server and proxy: the redirector follows its routes.json."""
import contextlib
import datetime
import time

from lab import Again, LongFlow, check, digest_of_all, equal, promise, run, wait_until, write_json
from redirect_world import Service, World, echo, is_refused, is_reset, read_all

TARGET = "10.2.0.20"
PROXY = {"proxy": "10.3.0.30:1080"}


def route(name, destination, **more):
    return {"id": name, "flow": f"app/{name}", "destination": destination, "next": PROXY, **more}


class Managed(World):
    def write(self, *routes, refusals=()):
        self.generation = getattr(self, "generation", 0) + 1
        write_json(self.file, {"node": "umc/node", "generation": self.generation, "routes": list(routes), "refusals": list(refusals)})

    def begin(self, *routes, **more):
        self.file = self.lab.path("routes.json")
        self.write(*routes, **more)
        self.redirector = self.redirect("--routes", self.file, proxy=None)

    def applied(self, *routes, **more):
        """Writes a new table and waits until the redirector says that it is in force."""
        self.write(*routes, **more)
        self.in_force()

    def in_force(self):
        wait_until(lambda: self.metric("routes_generation") == self.generation, "the new table is in force")

    @contextlib.contextmanager
    def talk(self, port):
        with self.client.connect(TARGET, port) as out:
            out.sendall(b"hello")
            equal(read_all(out, 5), b"hello", f"echo on {port}")
            yield out


def still_open(out):
    out.sendall(b"more!")
    return read_all(out, 5) == b"more!"


@promise("a route that vanishes cuts its flows within a second, and no other")
def vanishes():
    with Managed("vanish") as w, Service(w.server, 81, echo), Service(w.server, 82, echo):
        one, two = route("one", TARGET + ":81"), route("two", TARGET + ":82")
        w.begin(one, two)
        with w.talk(81) as first, w.talk(82) as second:
            equal({f["route"] for f in w.flows()["flows"]}, {"one", "two"}, "flows")
            capture = w.gate.capture("client", f"host {TARGET}")
            started = time.monotonic()
            w.write(two, refusals=[{"destination": TARGET + ":81", "flow": "app/one", "reason": "consent revoked"}])
            check(is_reset(first, within=1.0), "the revoked flow ended as if complete")
            check(time.monotonic() - started < 1.0, "the cut took more than a second")
            check(still_open(second), "the other flow was cut, too")
            w.in_force()  # of several threads one may still follow the old table for a moment, and cut what it then gets
            check(is_refused(w.client, TARGET, 81), "a new connection of the revoked flow was carried")
            refusal = w.flows()["refusals"][-1]
            equal(refusal["reason"], "no_route", "reason")
            check("consent revoked" in refusal["message"], refusal["message"])
            equal(w.metric('cut_total{reason="revoked"}'), 1, "cut flows")
            equal(len(capture.stop().packets()), 0, "packets that went straight to the target")


@promise("what lost its route stays captured: refused, never passed straight through")
def stays_captured():
    with Managed("stays") as w, Service(w.server, 81, echo) as service:
        w.begin(route("one", TARGET + ":81"))
        w.applied()
        check(is_refused(w.client, TARGET, 81), "the connection went through")
        equal(service.peers, [], "connections at the server")


@promise("an unchanged, renewed or bad file cuts nothing; a changed route does")
def reloads():
    with Managed("reloads") as w, Service(w.server, 81, echo):
        later = (datetime.datetime.utcnow() + datetime.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        w.begin(route("one", TARGET + ":81"))
        with w.talk(81) as out:
            w.applied(route("one", TARGET + ":81"))
            w.applied(route("one", TARGET + ":81", expires=later, policy="p", policy_version="2"))
            check(still_open(out), "a renewed permit cut the flow")
            with open(w.file, "w", encoding="ascii") as file:
                file.write('{"routes": [\n{"id": 5}]}')
            w.redirector.wait_for_log("routes[0].id")
            check(still_open(out), "a bad file cut the flow")
            w.applied(route("one", TARGET + ":81", purpose="another"))
            check(is_reset(out), "a changed route left the flow alone")


@promise("a blocked or expired route refuses with its reason; expiry cuts")
def blocked():
    with Managed("blocked") as w, Service(w.server, 81, echo), Service(w.server, 82, echo):
        soon = (datetime.datetime.utcnow() + datetime.timedelta(seconds=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
        w.begin(route("one", TARGET + ":81", blocked="encrypt is being replaced"), route("two", TARGET + ":82", expires=soon))
        with w.talk(82) as out:
            check(is_refused(w.client, TARGET, 81), "a blocked route carried the connection")
            check("being replaced" in w.flows()["refusals"][-1]["message"], "the reason is lost")
            check(is_reset(out), "the expired flow ended as if complete")
        equal(w.metric('cut_total{reason="expired"}'), 1, "cut by expiry")


@promise("new routes are captured and old proxies forgotten without a restart")
def grows():
    with Managed("grows") as w, Service(w.server, 81, echo), Service(w.server, 82, echo) as service:
        w.begin(route("one", TARGET + ":81"))
        with w.talk(81) as out:
            w.applied(route("one", TARGET + ":81"), route("two", TARGET + ":82"))
            with w.talk(82):
                equal(service.peers[0][0], "10.3.0.30", "who connected to the server")
            check(still_open(out), "a route more cut another flow")
        w.start_proxy("--listen", "10.3.0.30:1090", "--allow-all", port=1090)
        w.applied({**route("one", TARGET + ":81"), "next": {"proxy": "10.3.0.30:1090"}})
        with w.talk(81):
            equal(w.flows()["flows"][0]["proxy"], "10.3.0.30:1090", "proxy")
        check("dport 1080" not in w.ruleset(), "the rules still let marked traffic out to the old proxy")


@promise("the narrowest route wins, and a route without a proxy goes directly")
def choice():
    with Managed("choice") as w, Service(w.server, 81, echo) as direct, Service(w.server, 82, echo) as proxied:
        straight = {"id": "straight", "flow": "app/straight", "destination": TARGET + ":81"}
        w.begin(route("wide", "10.2.0.0/24"), straight)
        with w.talk(81), w.talk(82):
            pass
        equal(direct.peers[0][0], "10.1.0.10", "who connected for the route without a proxy")
        equal(proxied.peers[0][0], "10.3.0.30", "who connected for the wide route")


@promise("twenty tables in a row under load: no connection of a granted route is lost, long flows arrive whole, what a table withdraws is cut within a second, and nothing goes past")
def swapped_under_load():
    with Managed("swapped") as w, Service(w.server, 81, echo), Service(w.server, 82, digest_of_all), Service(w.server, 83, echo), \
            contextlib.ExitStack() as stack:
        stay = [route("echo", TARGET + ":81"), route("sink", TARGET + ":82")]
        w.begin(*stay, route("victim", TARGET + ":83"))
        capture = w.gate.capture("client", f"host {TARGET}")

        def once():
            with w.talk(81):
                pass

        for _ in range(2):
            stack.enter_context(LongFlow(stack.enter_context(w.client.connect(TARGET, 82))))
        slowest = 0.0
        with Again(once, "connections", threads=2) as again:
            for number in range(10):
                doomed = stack.enter_context(w.client.connect(TARGET, 83))
                doomed.sendall(b"hello")
                equal(read_all(doomed, 5), b"hello", "echo of what is to be withdrawn")
                others = [route(f"other-{n}", f"10.2.1.{n}:443") for n in range(1, 3 + number)]
                began = time.monotonic()
                w.write(*others, *stay, refusals=[{"destination": TARGET + ":83", "flow": "app/victim", "reason": "consent revoked"}])
                check(is_reset(doomed), "a withdrawn flow ended cleanly")
                slowest = max(slowest, time.monotonic() - began)
                w.in_force()
                check(is_refused(w.client, TARGET, 83), "a new connection by the withdrawn route")
                again.until_more(5)
                w.applied(*stay, route("victim", TARGET + ":83"), *others[1:])
                again.until_more(5)
        check(slowest < 1.0, f"a cut took {slowest:.2f} s")
        equal(len(capture.stop().packets()), 0, "packets that went past the proxy")
        print(f"      {again.count} connections, the slowest cut after {slowest * 1000:.0f} ms")


run()
