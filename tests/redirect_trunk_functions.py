#!/usr/bin/python3
"""client ── gate ── server and proxy: routes of the proxy that get bridging functions while a trunk in clear carries their flows."""
from functions_world import Functions
from lab import check, equal, promise, run, wait_until, write_json
from redirect_trunk_world import NOISE, PROXY, TARGET, Trunked, drink, said
from redirect_world import Service, is_refused, is_reset, read_all


class Granted(Trunked):
    """The proxy follows a file; two ports of the target are granted, without functions at first."""

    def begin_proxy(self, *more):
        self.table = self.lab.path("proxy-routes.json")
        self.generation = 0
        self.allow()
        return self.start_proxy("--listen", PROXY, "--routes", self.table, "--admin", f"unix:{self.proxy_admin}", *more)

    def allow(self, *chain):
        self.generation += 1
        write_json(self.table, {"generation": self.generation, "routes": [
            {"id": f"to-{port}", "sources": ["10.1.0.10/32"], "destination": f"{TARGET}:{port}", "chain": list(chain)} for port in (7001, 7002)]})

    def in_force(self):
        wait_until(lambda: self.at_proxy("routes_generation") == self.generation, "the proxy follows the new table")


@promise("a route that gets functions cuts its flows on the trunk; those that come pass through the functions, whoever vouches for them")
def added():
    for trust in ({}, {"trusted": True}):
        with Granted("trunkadded") as w, Functions() as functions:
            before = w.metric("trunk_flows_total")
            with w.flow() as plain:
                equal(w.metric("trunk_flows_total"), before + 1, "flows on the trunk")
                w.allow({**functions.start("audit-1", "audit"), **trust})
                check(is_reset(plain, 2), "a flow without functions outlived the wish for them")
            w.in_force()
            with w.flow() as out:
                out.sendall(NOISE)
                equal(read_all(out, len(NOISE)), NOISE, "what came back through the function")
                functions.running["audit-1"].kill()
                check(is_reset(out), "the flow went on without its function")
            check(is_refused(w.client, TARGET, 7001), "a flow without its function")
            w.allow()
            w.in_force()
            with w.flow() as out:
                said(out, b"again")


@promise("a function that is added while bulk moves from the trunk to a connection of its own cuts it at both ends")
def added_to_bulk():
    with Granted("trunkbulk") as w, Functions() as functions, Service(w.server, 7002, drink), w.flow(7002, b"") as out:
        out.settimeout(20)
        w.until_moved(out, 1)
        w.allow(functions.start("audit-1", "audit"))
        check(is_reset(out, 20), "bulk without functions outlived the wish for them")
        w.in_force()
        with w.flow() as through:
            said(through, b"through the function")


run()
