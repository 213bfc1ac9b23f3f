#!/usr/bin/python3
"""client ── gate ── server and proxy: `epif leak-test` tells a guarded node from one that leaks."""
import json
import os
import re
import signal
import subprocess

from lab import check, epif, equal, promise, run, wait_until, write_json
from redirect_world import World

TARGET, CONTROL = "10.2.0.20", "10.3.0.30"
ROUND_ABOUT = 240.0


def leak_test(w, *words, code=None):
    """{way: (verdict, why)} of the node part, and the exit code."""
    done = w.client.run(epif(), "leak-test", "--state", w.lab.state, "-o", "json", *words, check=False, timeout=ROUND_ABOUT)
    check(done.returncode in (0, 1, 3) and done.stdout, f"leak-test ended with {done.returncode}: {done.stderr}")
    found = {f["way"]: (f["verdict"], f["why"]) for f in json.loads(done.stdout)["findings"]}
    if code is not None:
        bad = {way: f for way, f in found.items() if f[0] not in ("held", "not possible here")}
        equal(done.returncode, code, f"exit code; {bad}")
    return found


def rule_handle(w, chain, words):
    listing = w.client.run("nft", "-a", "list", "chain", "inet", "epif_redirect_15001", chain).stdout
    line = next(one for one in listing.splitlines() if words in one)
    return line.rpartition("# handle ")[2].strip()


# Frames of AF_XDP go from user memory to the driver; no rule of the kernel sees them, and leak-test says so.
PAST_ALL_RULES = {"af-xdp/v4", "af-xdp/v6"}


@promise("a guarded node: every way is held with its control seen; only AF_XDP, which no rule can see, may leak")
def held():
    with World("leakheld") as w:
        w.client.sysctl("net.ipv4.ping_group_range", "0 2147483647")
        w.redirect("--capture", TARGET, "--capture", "[fd02::20]")
        found = leak_test(w, "--only", "node")
        check(len(found) > 70, f"only {len(found)} ways: {sorted(found)}")
        for way, (verdict, why) in found.items():
            if way in PAST_ALL_RULES:
                check(verdict in ("leak", "not possible here"), f"{way}: {verdict}: {why}")
            else:
                check(verdict in ("held", "not possible here"), f"{way}: {verdict}: {why}")
        for way in ("tcp/v4", "tcp/v6", "udp/v4", "quic/v4", "dns-udp/v4", "dns-tcp/v6", "ping/v4", "raw-echo/v6", "frame/v4",
                    "frame-hidden-vlan/v6", "frame-unqueued/v4", "udp-source-route/v4", "raw-source-route/v6", "raw-fragments/v4"):
            equal(found[way][0], "held", f"{way} ({found[way][1]})")


@promise("a target with a port is shut to later and tiny fragments, too, in both families")
def ports():
    with World("leakports") as w:
        w.redirect("--capture", TARGET + ":80", "--capture", "[fd02::20]:80-90")
        found = leak_test(w, "--only", "node")
        for way, (verdict, why) in found.items():
            check(verdict in ("held", "not possible here") or way in PAST_ALL_RULES, f"{way}: {verdict}: {why}")
        for way in ("frame-later-fragment/v4", "frame-later-fragment/v6", "frame-tiny-fragments/v4", "frame-tiny-fragments/v6"):
            equal(found[way][0], "held", found[way][1])


@promise("a program that --exec guards holds all its ways: it cannot even open AF_XDP sockets")
def exec_guarded():
    with World("leakexec") as w:
        done = w.client.run(epif(), "redirect", "--proxy", "10.3.0.30:1080", "--capture", TARGET, "--state", w.lab.state, "--exec",
                            epif(), "leak-test", "--only", "node", "--state", w.lab.state, "-o", "json", check=False, timeout=ROUND_ABOUT)
        found = {f["way"]: (f["verdict"], f["why"]) for f in json.loads(done.stdout)["findings"]}
        equal(found["af-xdp/v4"][0], "not possible here", found["af-xdp/v4"][1])
        check("may not open" in found["af-xdp/v4"][1], found["af-xdp/v4"][1])
        equal(done.returncode, 0, {way: f for way, f in found.items() if f[0] not in ("held", "not possible here")})


@promise("a rule that somebody removed is a LEAK, of the ways that it guarded")
def planted():
    with World("leakplant") as w:
        w.redirect("--capture", TARGET).kill()  # it would put them back
        for chain in ("guard_output", "guard_postrouting", "capture", "reroute"):
            for _ in range(2):
                try:
                    handle = rule_handle(w, chain, TARGET)
                except StopIteration:
                    break
                w.client.run("nft", "delete", "rule", "inet", "epif_redirect_15001", chain, "handle", handle)
        w.client.run("nft", "delete", "table", "netdev", "epif_redirect_15001")
        found = leak_test(w, "--only", "node", "--control", CONTROL, code=3)
        for way in ("tcp/v4", "udp/v4", "raw-echo/v4", "frame/v4", "frame-unqueued/v4", "tcp-fast-open/v4"):
            equal(found[way][0], "leak", f"{way} ({found[way][1]})")
        check("10.2.0.20" in found["udp/v4"][1], found["udp/v4"][1])


@promise("a protected name is asked of no resolver outside, over UDP and TCP; where the rules for DNS are gone that is a LEAK")
def names():
    with World("leaknames") as w:
        file = write_json(w.lab.path("routes.json"), {"routes": [
            {"id": "one", "flow": "a/one", "destination": TARGET + ":80", "name": "pacs.example", "next": {"proxy": "10.3.0.30:1080"}}]})
        running = w.redirect("--routes", file, proxy=None)
        asked = ("dns-name-udp/v4", "dns-name-tcp/v4")
        found = leak_test(w, "--only", "node")
        for way in asked:
            equal(found[way][0], "held", f"{way} ({found[way][1]})")
            check("to 10.3.0.30 for pacs.example: " in found[way][1], found[way][1])
        equal(found["dns-udp/v4"][0], "not possible here", found["dns-udp/v4"][1])
        running.kill()  # it would put them back
        for chain in ("capture", "reroute"):
            w.client.run("nft", "delete", "rule", "inet", "epif_redirect_15001", chain, "handle", rule_handle(w, chain, " dport 53 "))
        found = leak_test(w, "--only", "node", code=3)
        for way in asked:
            equal(found[way][0], "leak", f"{way} ({found[way][1]})")
            check("10.3.0.30 port 53" in found[way][1], found[way][1])


@promise("more destinations than one run takes: how many were not tried is a line of its own, and the exit code is that of what is not proven")
def untried():
    with World("leakmany", proxy=False) as w:
        for number in range(33):
            w.client.run("ip", "route", "add", "unreachable", f"10.66.{number}.1")
        targets = [word for number in range(33) for word in ("--target", f"10.66.{number}.1")]
        found = leak_test(w, "--only", "node", *targets)
        equal(found["untried"][0], "not proven", found["untried"][1])
        check("1 of 33 protected destinations" in found["untried"][1], found["untried"][1])


@promise("without rules and with a target all ways are LEAKs; without a target there is nothing to test")
def unguarded():
    with World("leakopen", proxy=False) as w:
        found = leak_test(w, "--only", "node", "--target", TARGET, "--control", CONTROL, code=3)
        still = {way: f for way, f in found.items() if f[0] not in ("leak", "not possible here")}
        still.pop("other-traffic")
        check(not still, f"not seen although nothing guards: {still}")
        done = w.client.run(epif(), "leak-test", "--only", "node", check=False)
        equal((done.returncode, done.stdout), (1, ""), "exit code and output without anything protected")
        check("protects" in done.stderr, done.stderr)


@promise("where the control cannot be seen the verdict is not proven, never held")
def unproven():
    with World("leakblind", proxy=False) as w:
        w.redirect("--capture", TARGET)
        w.client.run("nft", "add table inet other; add chain inet other out { type filter hook output priority 0; }; "
                     f"add rule inet other out ip daddr {CONTROL} udp dport 9 drop")
        found = leak_test(w, "--only", "node", "--control", CONTROL)
        equal(found["udp/v4"][0], "not proven", found["udp/v4"][1])
        equal(found["tcp/v4"][0], "held", found["tcp/v4"][1])


@promise("the moments: start, swap, interface, crash, restart and stop hold, in a lab that leaves nothing behind")
def moments():
    done = subprocess.run([epif(), "leak-test", "--only", "moments", "-o", "json"], capture_output=True, text=True, timeout=120)
    found = {f["way"]: (f["verdict"], f["why"]) for f in json.loads(done.stdout)["findings"]}
    equal(set(found), {"start", "rule-swap", "interface-removed", "interface-returned", "crash", "restart-after-crash", "stop"}, "moments")
    for moment, (verdict, why) in found.items():
        equal(verdict, "held", f"{moment}: {why}")
    equal(done.returncode, 0, "exit code")
    left_behind()


def left_behind():
    equal([name for name in os.listdir("/run") if name.startswith("epif-leak-")], [], "folders left in /run")
    left = subprocess.run(["pgrep", "-af", "epif-leak-|--flood="], capture_output=True, text=True).stdout
    equal([line for line in left.splitlines() if "pgrep" not in line], [], "processes left")


def moments_with(chain):
    """({moment: (verdict, why)}, exit code) of a run in whose guarded namespace somebody adds an nftables chain after the first moment."""
    process = subprocess.Popen([epif(), "leak-test", "--only", "moments"], stdout=subprocess.PIPE, text=True)
    try:
        lines = [process.stdout.readline()]
        check(re.match(r"held +moment start", lines[0]), lines[0])
        process.send_signal(signal.SIGSTOP)  # it waits while we plant
        floods = [int(pid) for pid in subprocess.run(["pgrep", "-f", "--", "--flood="], capture_output=True, text=True).stdout.split()]
        spaces = {os.readlink(f"/proc/{pid}/ns/net"): pid for pid in floods if descends_from(pid, process.pid)}
        equal(len(spaces), 1, f"the lab's guarded namespace, of {floods}")
        inside = ["nsenter", f"--net=/proc/{list(spaces.values())[0]}/ns/net"]
        devices = subprocess.run([*inside, "ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
        check("uplink" in devices and "detour" in devices, f"too late to plant: {devices}")
        subprocess.run([*inside, "nft", "-f", "-"], input=f"table ip planted {{ chain out {{ {chain}; }}; }}\n", text=True, check=True)
        process.send_signal(signal.SIGCONT)
        lines += process.communicate(timeout=120)[0].splitlines()
    finally:
        process.kill()
        process.wait(20)
    found = [re.match(r"(LEAK|not proven|held) +moment ([a-z-]+) +(.*)", line) for line in lines]
    return {one[2]: (one[1], one[3]) for one in found}, process.returncode


def descends_from(pid, ancestor):
    while pid > 1 and pid != ancestor:
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return pid == ancestor


@promise("what leaves by a second interface once the first is gone is a LEAK of that moment, and of no earlier one")
def second_interface():
    found, code = moments_with("type route hook output priority -250; oifname detour udp dport 9 ip daddr set 198.18.0.4")
    equal(found["rule-swap"][0], "held", found["rule-swap"][1])
    equal(found["interface-removed"][0], "LEAK", found["interface-removed"][1])
    check("udp/v4" in found["interface-removed"][1], found["interface-removed"][1])
    equal(code, 3, "exit code")
    left_behind()


@promise("where the second interface lets no control through, the moments from its use on are not proven")
def second_control():
    found, code = moments_with("type filter hook output priority 0; oifname detour ip daddr 198.18.0.4 udp dport 9 drop")
    equal([found[moment][0] for moment in ("rule-swap", "interface-removed", "crash")], ["held", "not proven", "not proven"], found)
    check("udp/v4" in found["crash"][1] and "detour" in found["crash"][1], found["crash"][1])
    equal(code, 1, f"exit code; {found}")


@promise("Ctrl-C and a crash of the leak test leave no process and no folder behind")
def interrupted():
    for number in (signal.SIGINT, signal.SIGKILL):
        process = subprocess.Popen([epif(), "leak-test", "--only", "moments"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        first = process.stdout.readline()
        check(re.match(r"held +moment start", first), first)
        process.send_signal(number)
        process.wait(20)
        wait_until(lambda: not subprocess.run(["pgrep", "-f", "--", "--flood="], capture_output=True).stdout, "the flood has ended")
        process.stdout.close()
    done = subprocess.run([epif(), "leak-test", "--only", "moments"], capture_output=True, text=True, timeout=120)
    equal(done.returncode, 0, done.stdout + done.stderr)
    left_behind()


@promise("wrong use is one clear message")
def wrong_use():
    with World("leakwrong", proxy=False) as w:
        w.redirect("--capture", TARGET)
        for words, code, text in ((["--target", "10.2.0.1/24"], 2, "10.2.0.1/24"), (["--control", "x"], 2, "x"),
                                  (["--only", "node", "--control", TARGET], 2, "protected")):
            done = w.client.run(epif(), "leak-test", "--state", w.lab.state, *words, check=False)
            equal((done.returncode, done.stdout, done.stderr.count("\n")), (code, "", 1), f"{words}: {done.stderr}")
            check(text in done.stderr, done.stderr)


run()
