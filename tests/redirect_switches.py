#!/usr/bin/python3
"""client ── gate ── server and proxy: what makes set-up fast can be switched off, each alone."""
import os
import threading

from lab import check, epif, equal, promise, run, wait_until
from redirect_world import Service, World, certificates, echo, read_all

TARGET = "10.2.0.20"


def ask_five_times(w):
    for _ in range(5):
        with w.client.connect(TARGET, 7001) as out:
            out.sendall(b"hello")
            equal(read_all(out, 5), b"hello", "echo")


@promise("TLS sessions with the proxy are resumed, and are not if either side says so")
def resumption():
    with World("resume", proxy=False) as w, Service(w.server, 7001, echo):
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        words = {name: ["--cert", cert, "--key", key, "--ca", ca] for name, (cert, key) in made.items()}
        for at_proxy, at_redirector in (([], []), (["--no-resumption"], []), ([], ["--no-resumption"])):
            proxy = w.start_proxy("--tls-listen", "10.3.0.30:1083", "--allow-all", *words["umc/proxy"], *at_proxy, port=1083)
            redirector = w.redirect("--capture", TARGET, "--warm", "0", "--trunk", "off", "--threads", "1", *words["umc/node"], *at_redirector, proxy="10.3.0.30:1083")
            ask_five_times(w)
            counts = [w.metric(f'tls_handshakes_total{{resumed="{word}"}}') for word in ("no", "yes")]
            equal(counts, [5, 0] if at_proxy or at_redirector else [1, 4], f"handshakes anew and resumed with {at_proxy + at_redirector}")
            redirector.stop()
            proxy.stop()


@promise("without a warm pool no connection stands ready")
def warm():
    with World("warm") as w, Service(w.server, 7001, echo):
        redirector = w.redirect("--capture", TARGET)
        wait_until(lambda: w.metric("pool_idle") > 0, "connections stand ready")
        ask_five_times(w)
        check(w.metric('pool_total{result="hit"}') > 0, "no connection was warm")
        redirector.stop()
        w.redirect("--capture", TARGET, "--warm", "0")
        ask_five_times(w)
        equal((w.metric("pool_idle"), w.metric('pool_total{result="hit"}')), (0, 0), "warm connections with --warm 0")


@promise("a trunk stays without a warm pool, and is made at the first flow; a pool that is asked for stands beside Fast Open")
def alone():
    with World("alone", proxy=False) as w, Service(w.server, 7001, echo):
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        words = {name: ["--cert", cert, "--key", key, "--ca", ca] for name, (cert, key) in made.items()}
        w.start_proxy("--listen", "10.3.0.30:1080", "--tls-listen", "10.3.0.30:1083", "--allow-all", *words["umc/proxy"])
        secure = [*words["umc/node"], "--proxy-identity", "umc/proxy"]
        for flags, proxy in (([], "10.3.0.30:1080"), (secure, "10.3.0.30:1083")):
            redirector = w.redirect("--capture", TARGET, "--warm", "0", "--threads", "1", *flags, proxy=proxy)
            equal((w.metric("trunks"), w.metric("tls_handshakes_total{resumed=\"no\"}")), (0, 0), "trunks and handshakes before the first flow")
            ask_five_times(w)
            wait_until(lambda: w.metric("trunks") == 1, "a trunk stands")
            before = w.metric("trunk_flows_total")
            ask_five_times(w)
            equal((w.metric("trunk_flows_total") - before, w.metric("pool_idle"), w.metric('pool_total{result="hit"}')), (5, 0, 0),
                  f"flows on the trunk, warm connections and those used, by {proxy}")
            redirector.stop()
        w.redirect("--capture", TARGET, "--fast-open", "--warm", "3", "--threads", "1")
        wait_until(lambda: w.metric("pool_idle") == 3, "connections stand ready beside Fast Open")
        ask_five_times(w)
        equal((w.metric("trunks"), w.metric('pool_total{result="hit"}') > 0), (0, True), "trunks, and whether flows took what stood ready")


@promise("the program's first bytes go with the request if they come within the wait, and 0 waits for none")
def first_bytes():
    with World("firstbytes", proxy=False) as w:
        requests, spoken = [], threading.Event()

        def proxy(peer):
            requests.append(peer.recv(65536))
            spoken.wait(5)
        with Service(w.proxy_node, 1080, proxy):
            for flags, together in ((["--first-bytes-wait", "1000"], True), (["--first-bytes-wait", "0"], False)):
                redirector = w.redirect("--capture", TARGET, "--warm", "0", *flags)
                spoken.clear()
                with w.client.connect(TARGET, 7001) as out:
                    if not together:
                        wait_until(lambda: len(requests) == 1, "a request without data has come")
                    out.sendall(b"first bytes")
                    wait_until(lambda: len(requests) == 1, "the request has come")
                spoken.set()
                equal(requests.pop().endswith(b"first bytes"), together, f"the first bytes are in the request with {flags}")
                redirector.stop()


def policies(process):
    """Scheduling policies of a program's threads, the main one first."""
    return [os.sched_getscheduler(int(thread)) for thread in sorted(os.listdir(f"/proc/{process.pid}/task"), key=int)]


@promise("threads that carry take turns in batch, or as usual; what somebody has chosen stays, and a command under capture gets none of it")
def turns():
    usual, batch, idle = os.SCHED_OTHER, os.SCHED_BATCH, os.SCHED_IDLE
    with World("turns", proxy=False) as w:
        for flags, prefix, main, carries in (([], [], usual, batch), (["--turns", "usual"], [], usual, usual), ([], ["chrt", "-i", "0"], idle, idle)):
            proxy = w.proxy_node.start(*prefix, epif(), "proxy", "--listen", "10.3.0.30:1080", "--allow-all", "--threads", "2", *flags)
            w.proxy_node.wait_for_port(1080, process=proxy)
            redirector = w.redirect("--capture", TARGET, "--threads", "2", *flags, prefix=prefix)
            for process in (proxy, redirector):
                wait_until(lambda: carries in policies(process)[1:], "its threads run")  # noqa: B023
                found = policies(process)
                equal((found[0], found.count(carries) - (main == carries) >= 2), (main, True), f"policies {found} with {flags} {prefix}")
            redirector.stop()
            proxy.stop()
        told = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.state, "--exec",
                            "python3", "-c", "import os; print(os.sched_getscheduler(0))").stdout
        equal(told.strip().splitlines()[-1:], [str(usual)], "the policy of a command under capture")


if __name__ == "__main__":
    run()
