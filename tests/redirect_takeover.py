#!/usr/bin/python3
"""client ── gate ── server and proxy: a new redirector takes the place of the one that runs."""
import contextlib
import itertools
import json
import os
import signal
import socket
import time

from lab import Again, Failure, check, epif, equal, promise, run, wait_until, write_json
from redirect_world import Datagrams, Gateway, Service, World, ask, datagram_socket, echo, is_refused, is_reset, read_all

TARGET, ALIAS = "10.2.0.20", "10.2.0.99"
FLOWS = 300


def said(out, word):
    out.sendall(word)
    equal(read_all(out, len(word)), word, "echo")


def successor(w, *flags, admin=None, **more):
    """A redirector that has taken over when this returns; by default with the admin socket of the one before."""
    admin = admin or w.admin
    process = w.client.start(epif(), "redirect", "--proxy", more.get("proxy", "10.3.0.30:1080"), *flags, "--take-over",
                             "--state", w.lab.state, "--admin", f"unix:{admin}", name=f"successor-{len(w.lab.processes)}")
    process.wait_for_log("captures")
    return process


def outlives(process, seconds):
    try:
        process.wait(within=seconds)
    except Failure:
        return True
    return False


@promise("hundreds of flows, and connections, datagrams and names that are asked for meanwhile, live through three hand-overs, and no packet goes past")
def nothing_lost():
    with World("takeover") as w, Service(w.server, 7001, echo), Datagrams(w.server, 7002), contextlib.ExitStack() as stack:
        flags = ["--capture", "10.2.0.0/24", "--map", f"pacs.research={ALIAS}"]
        first = w.redirect(*flags)
        capture = w.gate.capture("client", "net 10.2.0.0/24")
        flows = [stack.enter_context(w.client.connect(TARGET, 7001)) for _ in range(FLOWS)]
        for number, out in enumerate(flows):
            said(out, b"flow %d" % number)
        def connection():
            with w.client.connect(TARGET, 7001) as out:
                said(out, b"new")

        talker = stack.enter_context(datagram_socket(w.client, TARGET))

        numbers = itertools.count()

        def datagram():
            word = b"%d" % next(numbers)
            equal(ask(talker, word, (TARGET, 7002))[0], word, "datagram")

        def name():
            with datagram_socket(w.client, "10.1.0.1") as out:
                question = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x04pacs\x08research\x00\x00\x01\x00\x01"
                check(socket.inet_aton(ALIAS) in ask(out, question, ("10.1.0.1", 53))[0], "no address for the name")

        processes = [first]
        with Again(connection, "connections", threads=2) as connections, Again(datagram, "datagrams") as datagrams, Again(name, "names") as names:
            for _ in range(3):
                processes.append(successor(w, *flags))
                for one in (connections, datagrams, names):
                    one.until_more(20)
                for number, out in enumerate(flows):
                    said(out, b"still %d" % number)
        check(first.alive(), "the first process ended under its flows")
        for out in flows:
            out.close()
        # Of the two in between nothing is left to carry but associations of datagrams, which end when nobody uses them.
        wait_until(lambda: w.metric("connections_active") == 0, "the flows have ended")
        capture.stop()
        equal(len(capture.packets()), 0, "packets to or from the protected network")
        equal(processes[-1].stop(), 0, "exit code of the last")
        for process in processes[:-1]:
            equal(process.wait(within=10), 0, "exit code of one before, which the stop meant as well")
        check("epif_redirect" not in w.ruleset(), "rules are left after the stop")


@promise("the old process ends with its last flow, and cuts what is left at its deadline")
def drained():
    with World("drained") as w, Service(w.server, 7001, echo):
        first = w.redirect("--capture", TARGET)
        with w.client.connect(TARGET, 7001) as out:
            said(out, b"first")
            second = successor(w, "--capture", TARGET)
            said(out, b"still")
            check(first.alive(), "the first process ended under its flow")
        equal(first.wait(within=10), 0, "exit code of the first")
        with w.client.connect(TARGET, 7001) as out:
            said(out, b"second")
            third = successor(w, "--capture", TARGET, "--drain", "1")
            check(is_reset(out, 10), "the flow outlived the deadline")
            equal(second.wait(within=10), 0, "exit code of the second")
            with w.client.connect(TARGET, 7001) as new:
                said(new, b"third")
                check(os.path.exists(w.admin), "an old process removed the admin socket")
                equal(w.metric("connections_active"), 1, "flows of the third")
        equal(third.stop(), 0, "exit code of the third")


@promise("a successor that cannot serve changes nothing, and each reason is told")
def failed():
    with World("unfit") as w, Service(w.server, 7001, echo):
        base = [epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--capture", "10.2.0.99", "--take-over", "--state", w.lab.state]

        def refused(flags, code, text):
            done = w.client.run(*base, *flags, check=False)
            equal(done.returncode, code, f"exit code with {flags}: {done.stderr}")
            check(text in done.stderr, f"{flags}: {done.stderr}")
        refused([], 1, "--take-over wants a running redirector")
        first = w.redirect("--capture", TARGET, "--threads", "2")
        with w.client.connect(TARGET, 7001) as out:
            said(out, b"before")
            refused(["--threads", "3"], 1, "has 2 threads, this one 3")
            refused(["--dns-port", "0"], 1, "start with --dns-port 15053")
            refused(["--admin", "unix:/no/such/folder/socket"], 1, "/no/such/folder")
            refused(["--exec", "true"], 2, "exclude each other")
            said(out, b"after")
            with w.client.connect(TARGET, 7001) as new:
                said(new, b"new")
            # Its rules were in force for a moment; what was captured once stays so.
            check(is_refused(w.client, "10.2.0.99", 80), "a destination of the successor that failed is open")
        equal(first.stop(), 0, "exit code")
        check("epif_redirect" not in w.ruleset(), "rules are left after the stop")
        with contextlib.suppress(OSError):
            os.remove(w.admin)
        command = w.client.start(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.state, "--exec", "sleep", "60")
        wait_until(lambda: "epif_redirect" in w.ruleset(), "the rules of --exec")
        refused([], 1, "without --exec")
        command.stop()


@promise("a successor that is killed leaves the rules; the old flows go on, all new ones are refused, and the next start takes over the rules")
def killed():
    with World("killednew") as w, Service(w.server, 7001, echo) as service:
        w.redirect("--capture", TARGET)
        capture = w.gate.capture("client", f"host {TARGET}")
        with w.client.connect(TARGET, 7001) as out:
            said(out, b"first")
            successor(w, "--capture", TARGET).kill()
            said(out, b"goes on")
            seen = len(service.peers)
            check(is_refused(w.client, TARGET, 7001), "a connection was carried by nobody")
            equal(len(service.peers), seen, "connections at the server")
            w.redirect("--capture", TARGET)
            said(out, b"and on")
            with w.client.connect(TARGET, 7001) as new:
                said(new, b"new")
        capture.stop()
        equal(len(capture.packets()), 0, "packets to or from the target")


@promise("a successor with another proxy: old flows go on by the old proxy, though it is in a protected block, until the last has ended; new ones use the new")
def another_proxy():
    with World("another") as w, Service(w.server, 7001, echo):
        w.start_proxy("--listen", "10.3.0.30:1081", "--allow-all", port=1081)
        flags = ["--capture", TARGET, "--capture", "10.3.0.0/24"]
        first = w.redirect(*flags)
        with w.client.connect(TARGET, 7001) as out:
            said(out, b"first")
            second = successor(w, *flags, proxy="10.3.0.30:1081")
            said(out, b"by the old proxy")
            with w.client.connect(TARGET, 7001) as new:
                said(new, b"by the new proxy")
                equal(w.flows()["flows"][0]["proxy"], "10.3.0.30:1081", "the new flow's proxy")
            third = successor(w, *flags, proxy="10.3.0.30:1081")
            said(out, b"by the old proxy, two later")
            check(outlives(second, 2), "the second ended before the first, whose way it keeps open")
            said(out, b"and still")
            check("dport 1080" in w.ruleset(), "the way to the old proxy is shut under its flow")
        equal(second.wait(within=10), 0, "exit code of the second")
        equal(third.alive(), True, "the third serves")
        equal(first.wait(within=10), 0, "exit code of the first")
        wait_until(lambda: "dport 1080" not in w.ruleset(), "the way to the old proxy is shut")


@promise("routes that are withdrawn cut the flows of a process that only drains, too")
def revoked():
    with World("revoked") as w, Service(w.server, 7001, echo):
        path = w.lab.path("routes.json")

        def write(generation, routes):
            with open(path + ".new", "w", encoding="ascii") as file:
                json.dump({"generation": generation, "routes": routes}, file)
            os.replace(path + ".new", path)
        write(1, [{"id": "a", "destination": f"{TARGET}:7001", "next": {"proxy": "10.3.0.30:1080"}}])
        w.redirect("--routes", path, proxy=None)
        with w.client.connect(TARGET, 7001) as out:
            said(out, b"granted")
            process = w.client.start(epif(), "redirect", "--routes", path, "--take-over", "--state", w.lab.state, "--admin", f"unix:{w.admin}")
            process.wait_for_log("captures")
            said(out, b"granted still")
            write(2, [])
            check(is_reset(out), "the flow outlived its route")
            check(is_refused(w.client, TARGET, 7001), "a connection without a route")


def stays_open(out, seconds):
    try:
        is_reset(out, seconds)
    except TimeoutError:
        return True
    return False


@promise("a process that only drains and cannot read a newer table cuts what it carries within seconds, also if that came before its successor; one that serves goes on")
def unread():
    with World("unread") as w, Service(w.server, 7001, echo):
        first, second = w.lab.path("first.json"), w.lab.path("second.json")
        granted = {"id": "a", "destination": f"{TARGET}:7001", "next": {"proxy": "10.3.0.30:1080"}}

        def take_over(file):
            process = w.client.start(epif(), "redirect", "--routes", file, "--take-over", "--state", w.lab.state, "--admin", f"unix:{w.admin}",
                                     name=f"successor-{len(w.lab.processes)}")
            process.wait_for_log("captures")
            return process

        def write_both(generation, **more):
            for file in (first, second):
                write_json(file, {"generation": generation, "routes": [{**granted, **more}]})
        write_both(1)
        old = w.redirect("--routes", first, proxy=None)
        with w.client.connect(TARGET, 7001) as drains:
            said(drains, b"granted")
            serving = take_over(first)
            with w.client.connect(TARGET, 7001) as served:
                said(served, b"granted by the new one")
                # What is put right in time costs nothing.
                write_json(first, {"generation": 2, "routes": [{**granted, "not_on_holidays": True}]})
                old.wait_for_log("not_on_holidays")
                write_both(3)
                wait_until(lambda: w.metric("routes_generation") == 3, "the good table serves")
                check(stays_open(drains, 7), "a flow was cut under a table that permits it")
                said(drains, b"granted still")
                began = time.monotonic()
                write_both(4, not_on_holidays=True)
                check(is_reset(drains, within=10), "the flow of a process that cannot know what is permitted goes on")
                print(f"      cut {time.monotonic() - began:.1f} s after the table that cannot be read")
                equal(old.wait(within=10), 0, "exit code of the one that drained")
                said(served, b"granted by the one that serves")
                check(serving.alive(), "the one that serves has ended")
                # It comes to drain with a table that it could not read before.
                write_json(second, {"generation": 5, "routes": [granted]})
                take_over(second)
                check(is_reset(served, within=10), "an old table that was unreadable before goes on")
                equal(serving.wait(within=10), 0, "exit code of the next one that drained")


def uninstall(w):
    return w.client.start(epif(), "redirect", "--uninstall", "--state", w.lab.state, name=f"uninstall-{len(w.lab.processes)}")


@contextlib.contextmanager
def two_that_drain(name):
    """Two processes that drain, each with a flow, and a third that serves."""
    with World(name) as w, Service(w.server, 7001, echo), contextlib.ExitStack() as stack:
        processes, flows = [w.redirect("--capture", TARGET)], []
        for number in range(2):
            flows.append(stack.enter_context(w.client.connect(TARGET, 7001)))
            said(flows[-1], b"flow %d" % number)
            processes.append(successor(w, "--capture", TARGET))
        yield w, processes, flows


@promise("--uninstall stops the serving process and those that drain")
def uninstalled():
    with two_that_drain("uninstall2") as (w, processes, flows):
        equal(uninstall(w).wait(within=20), 0, "exit code of --uninstall")
        equal([process.wait(within=10) for process in processes], [0, 0, 0], "exit codes")
        check(all(is_reset(out) for out in flows), "a flow outlived the stop")
        check("epif_redirect" not in w.ruleset(), "rules are left")


@promise("a stop keeps the rules until the last that drains has reset its flows, however late that is")
def slow_to_end():
    for stop in (lambda w, serving: uninstall(w), lambda w, serving: serving.ask_to_stop() or serving):
        with two_that_drain("slowend") as (w, processes, flows):
            for process in processes[:2]:
                process.signal(signal.SIGSTOP)
            stopping = stop(w, processes[2])
            wait_until(lambda: not w.client.listens(15001), "the serving process hears nobody any more")
            check("epif_redirect" in w.ruleset(), "the rules went before those that drain")
            for process in processes[:2]:
                process.signal(signal.SIGCONT)
            equal(stopping.wait(within=20), 0, "exit code of the stop")
            equal([process.wait(within=10) for process in processes], [0, 0, 0], "exit codes")
            check(all(is_reset(out) for out in flows), "a flow outlived the stop")
            check("epif_redirect" not in w.ruleset(), "rules are left")


@promise("a stop kills one that drains and hangs, and then removes the rules")
def hung():
    with two_that_drain("hung") as (w, processes, flows):
        processes[0].signal(signal.SIGSTOP)
        equal(processes[2].stop(within=20), 0, "exit code of the one that served")
        equal([process.wait(within=10) for process in processes[:2]], [-signal.SIGKILL, 0], "exit codes of those that drained")
        check(is_reset(flows[1]), "the flow of the one that was well outlived the stop")
        flows[0].settimeout(5)
        with contextlib.suppress(ConnectionError):
            equal(flows[0].recv(1), b"", "what the flow of the hung one still carries")
        check("epif_redirect" not in w.ruleset(), "rules are left")


@promise("--uninstall finds those that drain although the serving process was killed; so does the stop of one that started anew")
def orphaned():
    for anew in (False, True):
        with two_that_drain("orphaned") as (w, processes, flows):
            processes[2].kill()
            serving = w.redirect("--capture", TARGET) if anew else None
            for number, out in enumerate(flows):
                said(out, b"flow %d goes on" % number)
            stopping = serving or uninstall(w)
            if serving:
                serving.ask_to_stop()
            equal(stopping.wait(within=20), 0, "exit code of the stop")
            equal([process.wait(within=10) for process in processes[:2]], [0, 0], "exit codes")
            check(all(is_reset(out) for out in flows), "a flow outlived the stop")
            check("epif_redirect" not in w.ruleset(), "rules are left")


@promise("wherever a successor fails for want of descriptors, the old process goes on, answers under its admin name, and hands over to the next")
def failed_late():
    with World("late") as w, Service(w.server, 7001, echo):
        first = w.redirect("--capture", TARGET, "--threads", "1")
        with w.client.connect(TARGET, 7001) as out:
            said(out, b"first")
            failures = []
            for most in range(16, 64, 3):
                new = w.client.start("prlimit", f"--nofile={most}", epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--warm", "0", "--trunk", "off",
                                     "--take-over", "--state", w.lab.state, "--admin", f"unix:{w.admin}", name=f"short-{most}")
                wait_until(lambda: not new.alive() or "captures" in new.output(), f"the successor with {most} descriptors serves or ends", 20)
                if new.alive():
                    break
                check("epif:" in new.output() and first.alive(), f"with {most} descriptors: {new.tail()}")
                failures.append(most)
                equal(w.metric("connections_active"), 1, f"flows after the failure with {most} descriptors")
                said(out, b"goes on")
            check(len(failures) >= 3 and new.alive(), f"failed with {failures} descriptors")
            said(out, b"to the end")
            equal(w.metric("connections_active"), 0, "flows of the successor")
        equal(first.wait(within=10), 0, "exit code of the first")
        equal(new.stop(), 0, "exit code of the successor")


def is_served(w, node=None):
    """True if a new connection, by default of the host behind the gateway, gets its bytes back; it has left when this returns."""
    before = w.metric("connections_active")
    try:
        with (node or w.inside).connect(TARGET, 7001) as out:
            out.sendall(b"ping")
            served = read_all(out, 4) == b"ping"
    except ConnectionError:
        served = False
    wait_until(lambda: w.metric("connections_active") == before, "it has left")
    return served


@promise("what a host behind a gateway holds in processes that drain counts in their successors, also in the next but one, until it ends there; the gateway itself is served, and an end without a word ends it, too")
def limits_by_source():
    with Gateway("takeshare") as w, Service(w.server, 7001, echo), contextlib.ExitStack() as stack:
        flags = ["--gateway", "--capture", TARGET, "--threads", "1", "--max-connections-per-source", "4"]

        def flow():
            made = stack.enter_context(w.inside.connect(TARGET, 7001))
            said(made, b"flow")
            return made
        oldest = w.redirect(*flags)
        first = [flow(), flow()]
        for name in ("second", "third"):
            successor(w, *flags)
            check(is_served(w), f"a place that is left is not given by the {name} process")
            last = flow()
            equal(is_served(w), name == "second", f"one more than four in all, to the {name} process")
        equal(w.metric('shed_total{limit="connections_per_source"}'), 1, "refusals counted")
        equal(w.metric('forwarded_active{what="connections"}'), 1, "what the third process itself holds")
        check(is_served(w, w.client), "the gateway's own program is turned away")
        first.pop().close()
        wait_until(lambda: is_served(w), "a place comes back from the first process by way of the second")
        flow()
        check(not is_served(w), "two places came back for one")
        check(oldest.alive(), "the first process ended under its flow")
        oldest.kill()
        wait_until(lambda: is_served(w), "a process that is no more holds nothing")
        said(last, b"still")


@promise("a host behind a gateway that has its share of datagram associations is answered at every socket after a take-over, while the old process keeps its own")
def datagrams_by_source():
    with Gateway("takedgrams") as w, Datagrams(w.server, 7002), contextlib.ExitStack() as stack:
        flags = ["--gateway", "--capture", TARGET, "--threads", "1"]
        old = w.redirect(*flags)
        sockets = [stack.enter_context(datagram_socket(w.inside, TARGET)) for _ in range(w.metric('limit{limit="datagram_associations_per_source"}'))]
        for process in ("old", "new"):
            for number, out in enumerate(sockets):
                word = b"%d" % number
                equal(ask(out, word, (TARGET, 7002))[0], word, f"answer by the {process} process")
            equal(w.metric('forwarded_active{what="datagram_associations"}'), len(sockets), f"associations of the {process} process")
            if process == "old":
                successor(w, *flags)
        check(old.alive(), "the old process has ended its associations before their time")


@promise("how fast a host behind a gateway comes is remembered across a take-over, also by a process that ends with it: no second burst")
def rates_by_source():
    rate = 5
    with Gateway("takerate") as w, Service(w.server, 7001, echo):
        flags = ["--gateway", "--capture", TARGET, "--threads", "1", "--max-rate-per-source", str(rate)]
        w.redirect(*flags)
        wait_until(lambda: not is_served(w), "the burst is used up")
        began = time.monotonic()
        successor(w, *flags)
        count = 0
        while is_served(w):
            count += 1
        # What time has brought meanwhile; a bucket that begins full has `rate` more.
        passed = time.monotonic() - began
        check(count <= rate * passed + 1, f"{count} connections in {passed:.2f} s at {rate} a second")


if __name__ == "__main__":
    run()
