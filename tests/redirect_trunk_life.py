#!/usr/bin/python3
"""client ── gate ── server and proxy: trunks while processes start, stop, die and take over from each other."""
import contextlib
import json
import signal
import socket
import threading
import time

from lab import Again, check, epif, equal, promise, run, wait_until
from redirect_trunk_world import PROXY, TARGET, Trunked, both_ways, exchange, said
from redirect_world import Service, World, certificates, echo, is_refused, is_reset, read_all


@promise("a proxy that is killed resets all its flows, and new ones come by themselves when it is back, by a new trunk")
def killed_proxy():
    with Trunked("trunkkill") as w, contextlib.ExitStack() as stack:
        flows = [stack.enter_context(w.flow()) for _ in range(50)]
        w.proxy.kill()
        check(all(is_reset(out) for out in flows), "a flow of the killed proxy ended in order, or stands")
        check(is_refused(w.client, TARGET, 7001), "a flow without a proxy")
        w.proxy = w.begin_proxy()

        def works():
            try:
                with w.flow():
                    return True
            except (OSError, AssertionError):
                return False
        wait_until(works, "flows go again", 20)


@promise("a proxy that falls silent costs the flows that wait for its answer, and later ones do not wait on the same trunk")
def silent_proxy():
    with Trunked("trunksilent") as w, w.flow() as stands:
        before = w.at_proxy("trunk_flows_total")
        w.proxy.signal(signal.SIGSTOP)
        out = w.client.connect(TARGET, 7001)
        with out:
            out.sendall(b"nobody answers")
            check(is_reset(out, 25), "a flow without an answer came to an end in order")
        equal(w.metric("trunks"), 0, "trunks for new flows, while the old one carries its own")
        w.proxy.signal(signal.SIGCONT)
        said(stands, b"goes on")
        w.until_trunk()
        check(w.at_proxy("trunk_flows_total") > before, "flows come on trunks again")


@promise("a redirector that is killed or stopped resets its flows at the server, the moved one too")
def killed_redirector():
    for how in ("kill", "stop"):
        seen = []

        def note(peer):
            peer.sendall(b"go")
            seen.append(is_reset(peer, 20))
        with Trunked("trunkdead") as w, Service(w.server, 7002, note), contextlib.ExitStack() as stack:
            flows = [stack.enter_context(w.flow(7002, b"")) for _ in range(10)]
            for out in flows:
                equal(read_all(out, 2), b"go", "greeting")
            w.until_moved(flows[0], 1)
            getattr(w.redirector, how)()
            wait_until(lambda: len(seen) == 10, "all of them are over at the server", 20)
            check(all(seen), f"{seen.count(False)} looked complete after the {how}")
            check(all(is_reset(out) for out in flows), "a flow looked complete to the client")


@promise("a proxy that takes over loses no flow of a trunk, nor one that is moving, and the old process ends with its last")
def proxy_takes_over():
    heard = []
    size = 30_000_000
    with Trunked("trunkover", proxy_flags=("--threads", "2")) as w, Service(w.server, 7002, both_ways(heard, size)), contextlib.ExitStack() as stack:
        flows = [stack.enter_context(w.flow()) for _ in range(50)]
        old = w.proxy

        def new_flow():
            with w.flow():
                pass
        with Again(new_flow, "flows", threads=2) as again:
            out = stack.enter_context(w.flow(7002, b""))
            problems = []

            def move():
                try:
                    exchange(out, heard, size)
                except BaseException as failure:  # noqa: BLE001 - told below
                    problems.append(failure)
            moving = threading.Thread(target=move)
            moving.start()
            w.proxy = w.begin_proxy("--take-over")
            again.until_more(30)
            moving.join(60)
            equal(problems, [], "what went wrong with the bulk")
        for number, one in enumerate(flows):
            said(one, b"still %d" % number)
        check(old.alive(), "the old process ended under its flows")
        for one in [*flows, out]:
            one.close()
        equal(old.wait(within=20), 0, "exit code of the old process")
        w.until_trunk()


@promise("a redirector that takes over loses no flow of a trunk; the old process and its trunk end with the last")
def redirector_takes_over():
    with Trunked("trunkheir") as w, contextlib.ExitStack() as stack:
        flows = [stack.enter_context(w.flow()) for _ in range(50)]
        heir = w.client.start(epif(), "redirect", "--proxy", PROXY, "--capture", TARGET, "--threads", "1", "--take-over",
                              "--state", w.lab.state, "--admin", f"unix:{w.admin}", name="heir")
        heir.wait_for_log("captures")
        for number, out in enumerate(flows):
            said(out, b"still %d" % number)
        w.until_trunk()
        equal(w.at_proxy("trunks"), 2, "trunks at the proxy, one of each process")
        check(w.redirector.alive(), "the old process ended under its flows")
        for out in flows:
            out.close()
        equal(w.redirector.wait(within=20), 0, "exit code of the old process")
        wait_until(lambda: w.at_proxy("trunks") == 1, "its trunk is gone")
        equal(heir.stop(), 0, "exit code of the heir")
        wait_until(lambda: w.at_proxy("trunks") == 0, "the heir's trunk is gone")


@promise("a stop of the proxy ends an idle trunk at once and leaves the flows of a busy one their time")
def stopped_proxy():
    with Trunked("trunkstop") as w:
        began = time.monotonic()
        equal(w.proxy.stop(), 0, "exit code")
        check(time.monotonic() - began < 4, "an idle trunk held the stop")
        w.proxy = w.begin_proxy()
        w.redirector.stop()
        w.redirect("--capture", TARGET, "--threads", "1")
        w.until_trunk()
        with w.flow() as out:
            w.proxy.ask_to_stop()
            said(out, b"goes on")
            out.shutdown(socket.SHUT_WR)
            equal(out.recv(1), b"", "the end")
        equal(w.proxy.wait(within=10), 0, "exit code")


@promise("once the certificate is renewed new flows show the new one, by a trunk of their own, and old ones go on")
def renewed():
    with World("trunkrenew", proxy=False) as w, Service(w.server, 7001, echo), contextlib.ExitStack() as stack:
        made, ca = certificates(w.lab, "umc/old", "umc/new", "umc/proxy")
        admin = w.lab.path("proxy.sock")
        w.start_proxy("--listen", "127.0.0.1:1080", "--tls-listen", "10.3.0.30:1083", "--cert", made["umc/proxy"][0], "--key",
                      made["umc/proxy"][1], "--ca", ca, "--allow-all", "--admin", f"unix:{admin}", port=1083)
        cert, key = w.lab.path("own.pem"), w.lab.path("own.key")

        def use(name):
            for source, to in zip(made[name], (cert, key)):
                w.client.run("install", "-m", "600", source, to + ".new")
                w.client.run("mv", to + ".new", to)
        use("umc/old")
        w.redirect("--capture", TARGET, "--threads", "1", "--cert", cert, "--key", key, "--ca", ca, "--proxy-identity", "umc/proxy", proxy="10.3.0.30:1083")

        def flow():
            out = stack.enter_context(w.client.connect(TARGET, 7001))
            said(out, b"hello")
            return out
        wait_until(lambda: flow() and w.metric("trunks") > 0, "a trunk stands", 20)
        old = flow()
        use("umc/new")

        def sources():
            flow()
            open_ones = [one for one in json.loads(w.ask("/flows", admin))["flows"] if one["destination"]]
            return sum(one["source"] == "umc/new" for one in open_ones)
        wait_until(lambda: sources() > 0, "a new flow shows the new certificate", 20)
        wait_until(lambda: flow() and w.metric("trunk_flows_total") > 0 and w.metric("trunks") == 1, "the new trunk carries", 20)
        seen = sources()
        for _ in range(10):
            equal(sources(), seen + 1, "flows under the new certificate, each time one more")
            seen += 1
        said(old, b"goes on")


if __name__ == "__main__":
    run()
