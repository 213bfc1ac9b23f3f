#!/usr/bin/python3
"""client ── gate ── server and proxy: `epif trace` says what would happen to a connection from the client, and why."""
import json
import os
import subprocess

import control_world
from lab import check, epif, equal, promise, run, wait_until, write_json
from redirect_world import Service, World, echo, is_refused

TARGET = "10.2.0.20"


def trace(w, *words, code):
    done = w.client.run(epif(), "trace", *words, "--state", w.lab.state, "-o", "json", check=False)
    equal(done.returncode, code, f"exit code of {words}: {done.stdout}{done.stderr}")
    return json.loads(done.stdout)


def says(answer, hop):
    return " ".join(h["says"] for h in answer["hops"] if h["hop"] == hop)


def begin(w):
    w.file = w.lab.path("routes.json")
    routes = [{"id": "one", "flow": "stroke/send", "destination": TARGET + ":80", "name": "pacs.example", "next": {"proxy": "10.3.0.30:1080"},
               "purpose": "research", "policy": "consent", "policy_version": "v7", "expires": "2099-01-01T00:00:00Z"},
              {"id": "dead", "flow": "stroke/dead", "destination": TARGET + ":83", "next": {"proxy": "10.3.0.30:1099"}},
              {"id": "held", "flow": "stroke/held", "destination": TARGET + ":84", "next": {"proxy": "10.3.0.30:1080"}, "blocked": "encrypt is replaced"}]
    write_json(w.file, {"node": "umc/node", "generation": 1, "routes": routes,
                        "refusals": [{"destination": TARGET + ":81", "flow": "stroke/other", "reason": "consent is missing"}]})
    return w.redirect("--routes", w.file, proxy=None)


@promise("granted: capture, route, policy, purpose and proxy are named, and what is said comes true")
def granted():
    with World("tracegrant") as w, Service(w.server, 80, echo):
        begin(w)
        answer = trace(w, f"{TARGET}:80", "--routes", w.file, "--admin", f"unix:{w.admin}", code=0)
        equal(answer["verdict"], "would pass", "verdict")
        check("15001" in says(answer, "capture"), answer)
        for word in ("one", "stroke/send", "consent", "v7", "2099-01-01"):
            check(word in says(answer, "route"), f"{word} is not in {says(answer, 'route')}")
        facts = next(h["facts"] for h in answer["hops"] if h["hop"] == "route")
        equal((facts["purpose"], facts["policy"], facts["policy_version"]), ("research", "consent", "v7"), "facts")
        by_name = trace(w, "pacs.example", "--routes", w.file, "--connect", code=0)
        equal(by_name["destination"], TARGET + ":80", "the name's address and port")
        check("10.3.0.30:1080 answers" in says(by_name, "proxy"), by_name)
        w.client.connect(TARGET, 80).close()
        text = w.client.run(epif(), "trace", TARGET + ":80", "--routes", w.file, "--state", w.lab.state).stdout
        check(text.splitlines()[-1].startswith("would pass"), text)


@promise("refused: the reason of the control plane, a blocked route, a dead proxy, a dead redirector, and earlier refusals")
def refused():
    with World("tracerefuse") as w:
        redirector = begin(w)
        check(is_refused(w.client, TARGET, 81), "control: the redirector refuses it, too")
        answer = trace(w, f"{TARGET}:81", "--routes", w.file, "--admin", f"unix:{w.admin}", code=3)
        check("consent is missing" in says(answer, "route"), answer)
        check(len(answer["refusals"]) == 1 and "no_route" in answer["refusals"][0], f"earlier refusals: {answer['refusals']}")
        check("encrypt is replaced" in says(trace(w, f"{TARGET}:84", "--routes", w.file, code=3), "route"), "blocked")
        equal(trace(w, f"{TARGET}:83", "--routes", w.file, code=0)["verdict"], "would pass", "without --connect nobody is asked")
        check("1099" in says(trace(w, f"{TARGET}:83", "--routes", w.file, "--connect", code=3), "proxy"), "dead proxy")
        redirector.kill()
        check("does not run" in says(trace(w, f"{TARGET}:80", "--routes", w.file, code=3), "capture"), "dead redirector")


@promise("a file that the redirector refuses, or that is malformed, is told apart from what is in force")
def in_force():
    with World("traceforce") as w, Service(w.server, 80, echo):
        begin(w)
        both = ["--routes", w.file, "--admin", f"unix:{w.admin}"]
        with open(w.file) as file:
            good = json.load(file)
        equal([h["state"] for h in trace(w, f"{TARGET}:80", *both, code=0)["hops"]], ["passes", "passes", "unknown"], "states while both are one")
        tls = {**good["routes"][0], "next": {"proxy": "10.3.0.30:1083", "identity": "umc/proxy"}}
        write_json(w.file, {**good, "generation": 2, "routes": [tls]})
        answer = trace(w, f"{TARGET}:80", *both, code=0)
        check("generation 2, but the redirector has generation 1" in says(answer, "route"), answer)
        with open(w.file, "w") as file:
            file.write('{"generation": 3,')
        w.client.connect(TARGET, 80).close()  # it goes on
        answer = trace(w, f"{TARGET}:80", *both, code=0)
        check("malformed" in says(answer, "route") and "goes on with generation 1" in says(answer, "route"), answer)
        done = w.client.run(epif(), "trace", f"{TARGET}:80", "--routes", w.file, "--state", w.lab.state, check=False)
        equal((done.returncode, done.stdout), (1, ""), "a malformed file that no process is known for")


@promise("routes for a user or a cgroup are traced as their program, as a program below the cgroup, and as others")
def programs():
    with World("tracewho") as w:
        w.file = write_json(w.lab.path("routes.json"), {"routes": [
            {"id": "lab", "flow": "app/lab", "destination": TARGET + ":80", "selector": {"cgroups": ["/lab.slice"]}, "next": {"proxy": "10.3.0.30:1080"}},
            {"id": "ann", "flow": "app/ann", "destination": TARGET + ":81", "selector": {"users": ["64001"]}, "next": {"proxy": "10.3.0.30:1080"}}]})
        w.redirect("--routes", w.file, proxy=None)
        for port, words, code in ((80, ("--cgroup", "/lab.slice"), 0), (80, ("--cgroup", "lab.slice/job"), 0), (80, ("--cgroup", "/other"), 3),
                                  (80, ("--user", "64001"), 3), (81, ("--user", "64001"), 0), (81, ("--user", "64001", "--cgroup", "/x"), 0),
                                  (81, ("--cgroup", "/lab.slice"), 3)):
            trace(w, f"{TARGET}:{port}", "--routes", w.file, *words, code=code)


@promise("unknown: what no rule covers leaves directly, and trace says so; a name that no route has is an error")
def unknown():
    with World("traceunknown") as w:
        begin(w)
        answer = trace(w, "10.2.0.99:80", "--routes", w.file, code=0)
        equal(answer["verdict"], "not captured", "verdict")
        check("directly" in says(answer, "capture"), answer)
        for words, code, text in ((["nobody.example:80"], 1, "nobody.example"), ([TARGET], 2, "80, 81, 83, 84"), (["10.2.0.20:x"], 2, "10.2.0.20:x"),
                                  ([TARGET + ":80", "--routes", "/no/such"], 1, "/no/such"), ([TARGET + ":80", "--admin", "x"], 2, "unix:")):
            done = w.client.run(epif(), "trace", "--routes", w.file, *words, check=False)
            equal((done.returncode, done.stdout, done.stderr.count("\n")), (code, "", 1), f"{words}: {done.stderr}")
            check(text in done.stderr, done.stderr)


@promise("a proxy on this node is asked, too: its own refusal, its functions' sockets, the server")
def own_proxy():
    with World("traceproxy", proxy=False) as w, Service(w.server, 80, echo):
        address = "10.1.0.10"
        begin(w)
        near = {"id": "one", "flow": "stroke/send", "destination": TARGET + ":80", "next": {"proxy": f"{address}:1080"}}
        write_json(w.file, {"node": "umc/node", "generation": 2, "routes": [near]})
        file, admin = w.lab.path("proxy.json"), w.lab.path("proxy.sock")
        far = {"id": "one", "flow": "stroke/send", "destination": TARGET + ":80", "sources": [address + "/32"]}
        write_json(file, {"node": "umc/proxy", "generation": 1, "routes": [far]})
        proxy = w.client.start(epif(), "proxy", "--listen", f"{address}:1080", "--routes", file, "--admin", f"unix:{admin}")
        w.client.wait_for_port(1080, process=proxy)
        wait_until(lambda: w.metric("routes_generation") == 2, "the new table is in force")
        both = ["--routes", w.file, "--admin", f"unix:{w.admin}", "--routes", file, "--admin", f"unix:{admin}"]
        answer = trace(w, f"{TARGET}:80", *both, code=0)
        equal([h["hop"] for h in answer["hops"]], ["capture", "route", "proxy", "upstream"], "hops")
        write_json(file, {"node": "umc/proxy", "generation": 2, "routes": [{**far, "chain": [{"function": "firewall", "socket": "/no/such/bf.sock"}]}]})
        check("/no/such/bf.sock" in says(trace(w, f"{TARGET}:80", *both, code=3), "function"), "a dead function")
        write_json(file, {"node": "umc/proxy", "generation": 3, "routes": [{**far, "sources": ["10.1.0.99/32"]}]})
        check("refuses" in says(trace(w, f"{TARGET}:80", *both, code=3), "proxy"), "a proxy that admits another only")
        wait_until(lambda: is_refused(w.client, TARGET, 80), "the proxy has the table that admits another only")
        remembered = trace(w, f"{TARGET}:80", *both, code=3)["refusals"]
        check(any(f"no route from {address}" in one and f"(from {address}" in one for one in remembered), f"the proxy's own refusal: {remembered}")
        proxy.kill()
        check("does not run" in says(trace(w, f"{TARGET}:80", *both, code=3), "proxy"), "a dead proxy")


@promise("agents' state folders are found by themselves or by --agent")
def agents():
    with World("traceagent") as w, Service(w.server, 80, echo):
        begin(w)
        folder = w.lab.path("agent", "x").rpartition("/")[0]
        os.rename(w.file, f"{folder}/routes.json")
        os.symlink(w.admin, f"{folder}/admin.sock")
        answer = trace(w, f"{TARGET}:80", "--agent", folder, code=0)
        check("stroke/send" in says(answer, "route"), answer)


def functions(image):
    for name, provides, more in (("audit", "audit", ""), ("encrypt", "encryption", ", pair: decrypt"), ("decrypt", "", "")):
        yield f"""
apiVersion: epif/v1
kind: BridgingFunction
metadata: {{name: {name}}}
spec: {{provides: [{provides}], image: "{image}", trust: platform, cost: {{setup: 3ms}}{more}}}
"""


@promise("under the control plane: route, both proxies, each function and the server stand in their order, and a refusal has its reason")
def managed():
    with control_world.World("trace-managed") as world:
        image = subprocess.run([epif(), "bf", "image"], capture_output=True, text=True, check=True).stdout.strip()
        world.start()
        modality = "addresses: [10.1.0.10]"
        world.apply("---".join([control_world.DOMAINS.replace(modality, modality + ", attributes: [audit, encryption]"), *functions(image),
                                control_world.application("imaging", "treatment", 4242).replace("both", "push")]))
        world.wait_phase("imaging", "Running", within=60)
        host = world.host("umc/modality")
        folders = [word for node in ("umc/modality", "umc/proxy", "research/proxy") for word in ("--agent", world.state_of(node))]
        done = host.run(epif(), "trace", "10.2.0.10", *folders, "-o", "json")
        answer = json.loads(done.stdout)
        equal([h["hop"] for h in answer["hops"]], ["capture", "route", "proxy", "function", "function", "proxy", "function", "upstream"], "hops")
        names = [h["facts"]["function"] for h in answer["hops"] if h["hop"] == "function"]
        equal(names, world.status("imaging")["flows"][0]["chain"], "functions")
        # On the proxy's own host, where the client's trace sends its reader: no guard, and the proxy's table alone.
        near, own = world.host("umc/proxy"), ("--agent", world.state_of("umc/proxy"))
        for who in ((), ("--from", "umc/modality")):
            there = json.loads(near.run(epif(), "trace", "10.2.0.10", *own, *who, "-o", "json").stdout)
            equal([h["hop"] for h in there["hops"]], ["proxy", "function", "function", "proxy"], f"hops on the proxy's host, asked {who}")
            check("asked by umc/modality" in says(there, "proxy") and "--from umc/proxy" in says(there, "proxy"), there)
        last = world.host("research/proxy").run(epif(), "trace", "10.2.0.10", "--agent", world.state_of("research/proxy"), "--from", "umc/proxy",
                                                "--connect", "-o", "json", check=False)
        equal([h["hop"] for h in json.loads(last.stdout)["hops"]][:2], ["proxy", "function"], "hops on the last proxy's host")
        equal(near.run(epif(), "trace", "10.2.0.10", *own, "--from", "research/pacs", check=False).returncode, 3, "a node without a route")
        done = host.run(epif(), "trace", "10.2.0.10:4243", *folders, check=False)
        equal(done.returncode, 3, done.stdout)
        check("no application was granted" in done.stdout, done.stdout)


@promise("a flow by NGINX is followed through NGINX's port to the server where the proxy's table is seen, and ends at that port where it is not")
def by_nginx():
    with control_world.World("trace-nginx") as world:
        world.start()
        text = control_world.application("imaging", "treatment", 4242)
        fast = text.replace("data: both", "profile: time-critical")
        check(fast != text, f"the application is written in another way: {text}")
        world.apply(control_world.DOMAINS + "---" + fast)
        world.wait_phase("imaging", "Running", within=60)
        control_world.Echo(world.host("research/pacs"), 4242)
        listen = world.get("assignment", "umc/proxy")["spec"]["routes"]["routes"][0]["nginx"]["listen"]
        host = world.host("umc/modality")

        def asked(*nodes, more=()):
            folders = [word for node in nodes for word in ("--agent", world.state_of(node))]
            return json.loads(host.run(epif(), "trace", "10.2.0.10:4242", *folders, *more, "-o", "json").stdout)
        alone = asked("umc/modality")
        equal([(h["hop"], h["state"]) for h in alone["hops"]], [("capture", "passes"), ("route", "passes"), ("proxy", "unknown")], "hops seen by the client alone")
        answer = asked("umc/modality", "umc/proxy", more=["--connect"])
        equal([(h["hop"], h["state"]) for h in answer["hops"]],
              [("capture", "passes"), ("route", "passes"), ("proxy", "passes"), ("upstream", "passes")], "hops")
        for hop, words in (("capture", f"NGINX at {listen}"), ("proxy", f"NGINX at {listen} has route"), ("proxy", "It lets in 10.1.0.10 and carries bytes"),
                           ("upstream", "connects to 10.2.0.10:4242 (whether it answers cannot be known from here")):
            check(words in says(answer, hop), f"{words!r} is not in {says(answer, hop)}")
        facts = next(h["facts"] for h in answer["hops"] if h["hop"] == "proxy")
        equal((facts["nginx"], facts["upstream"]), (listen, "10.2.0.10:4242"), "facts")


run()
