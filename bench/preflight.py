"""What must be there before anything starts, and what the measurements were made on."""
import hashlib
import importlib.util
import itertools
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

from world import HTTP_PORT, Unfit, epif  # first: it puts the tests' lab on the path
import netem
from competitor import _socksx
from lab.names import owned
from paper.topology import named
from workload import google_benchmark

HERE = os.path.dirname(os.path.abspath(__file__))
TOOLS = ("ip", "tc", "ss", "nft", "ping", "nsenter", "httping", "wrk", "curl", "nginx", "openssl")
PACKAGES = ("nginx", "haproxy", "redsocks", "dante-server", "microsocks", "shadowsocks-libev", "stunnel4", "wrk", "httping",
            "mosquitto", "podman", "runc", "openssl", "libboost1.81-dev", "curl", "iproute2",
            "python3-matplotlib")
LEAST_FREE_BYTES = 2 << 30
BUSY = 0.1
TRY_PORTS = """import socket, sys
taken = []
for port in map(int, sys.argv[1:]):
    try:
        socket.create_server(("0.0.0.0", port)).close()
    except (OSError, OverflowError) as why:
        taken.append(f"{port} ({why})")
sys.exit("not these: " + ", ".join(taken) if taken else 0)"""
BEGUN, PARTS, MACHINE = "begun.json", "parts.json", "machine.json"
COMMITS = "commits"  # in BEGUN; no condition


def check(workloads, competitors, topologies):
    """Raises Unfit with all that is missing here. Returns {("workload" or "competitor", name): what it misses, or ""}: those
    become rows with that error."""
    needs_root()
    wrong = [f"the program {tool} is missing (tools/setup bench installs it)" for tool in TOOLS if not shutil.which(tool)]
    if not wrong and not netem.known() and not os.access(os.path.join(os.path.dirname(epif()), "link_emulator"), os.X_OK):
        wrong.append("link_emulator is not built beside epif (`make bench` builds it)")
    if not importlib.util.find_spec("matplotlib"):
        wrong.append("the Python package matplotlib is missing (tools/setup bench installs it)")
    for topology in topologies:
        named(topology)
    if not wrong:
        wrong += kernel_lacks(sorted({port for made in competitors.values() for ports in made().ports.values() for port in ports} | {HTTP_PORT}))
    if shutil.disk_usage(HERE).free < LEAST_FREE_BYTES:
        wrong.append(f"less than {LEAST_FREE_BYTES >> 30} GiB are free in {HERE}")
    if wrong:
        raise Unfit("cannot measure here:\n  " + "\n  ".join(wrong))
    lacking = {}
    for name, module in workloads.items():
        missing = [tool for tool in getattr(module, "NEEDS", ()) if not shutil.which(tool)]
        lacking["workload", name] = "not installed: " + ", ".join(missing) if missing else ""
    for name, made in competitors.items():
        missing = made().missing()
        lacking["competitor", name] = "not there: " + ", ".join(missing) if missing else ""
    for (kind, name), why in lacking.items():
        if why:
            print(f"bench: {kind} {name} will be a row with its error: {why}")
    return lacking


def needs_root():
    if os.geteuid() != 0:
        raise Unfit("network namespaces need root")


def kernel_lacks(ports):
    """Tries, in a namespace of its own, what the worlds are made of; names what this kernel has not, and which of `ports` cannot be
    had there: nobody listens in a new namespace, but the machine may keep them for something else."""
    netns = owned("benchcheck")

    def tried(what, *words):
        done = subprocess.run(words, capture_output=True, text=True)
        return [] if done.returncode == 0 else [f"this kernel has no {what}: {' '.join((done.stderr or done.stdout).split())[-200:]}"]

    wrong = tried("network namespaces", "ip", "netns", "add", netns)
    if wrong:
        return wrong
    try:
        wrong += tried("veth devices", "ip", "-n", netns, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        wrong += tried("nftables with nat", "ip", "netns", "exec", netns, "nft",
                       "add table ip b; add chain ip b o { type nat hook output priority -100; }; add rule ip b o tcp dport 80 redirect to :81")
        wrong += tried("TCP Fast Open", "ip", "netns", "exec", netns, "sh", "-c", "echo 3 > /proc/sys/net/ipv4/tcp_fastopen")
        if not netem.known():
            wrong += tried("netem, and no TUN/TAP devices (/dev/net/tun) for the emulator", "ip", "-n", netns, "tuntap", "add", "dev", "t0", "mode", "tap")
        wrong += tried("ports", "ip", "netns", "exec", netns, sys.executable, "-c", TRY_PORTS, *map(str, ports))
    finally:
        subprocess.run(["ip", "netns", "delete", netns], capture_output=True)
    return wrong


def results_folder(parent, kind, today, mine):
    """That of an unfinished campaign under the conditions `mine`, the last one: it was interrupted (no machine.json yet), or lacks
    what the time did not suffice for or was refused. Else today's, with a number behind it where today's holds results under other
    conditions."""
    ending = "" if kind == "full" else f"-{kind}"
    names = sorted(n for n in (os.listdir(parent) if os.path.isdir(parent) else []) if re.fullmatch(rf"\d{{4}}-\d\d-\d\d{ending}(\.\d+)?", n))
    unfinished = [n for n in names if conditions_of(os.path.join(parent, n)) == mine and lacks_some(os.path.join(parent, n))]
    if unfinished:
        return os.path.join(parent, unfinished[-1])
    for number in itertools.count(1):
        folder = os.path.join(parent, f"{today}{ending}{f'.{number}' if number > 1 else ''}")
        if conditions_of(folder) in (None, mine):
            return folder


def lacks_some(folder):
    path = os.path.join(folder, MACHINE)
    if not os.path.exists(path):
        return True
    with open(path, encoding="utf-8") as file:
        machine = json.load(file)
    return bool(machine.get("left_out") or machine.get("refused"))


def conditions(**more):
    """What results must have in common to stand in one report: the program, the benchmark's own, and what else is given."""
    return {"program": _digest([epif()]), "benchmark": _digest(_measuring()), "socksx": _digest(theirs) if (theirs := _socksx.programs()) else "",
            "delay": "tc netem" if netem.known() else "bench/link, since the kernel has no netem", **more}


def _measuring():
    """All that makes the numbers beside the program itself: the benchmark's scripts, but for those that only report, and its tools."""
    scripts = [os.path.join(folder, name) for folder, _, names in os.walk(HERE) for name in names if name.endswith(".py")]
    reporting = (os.path.join(HERE, "report"), os.path.join(HERE, "results"))
    tools = [os.path.join(os.path.dirname(epif()), name) for name in ("epif-bf", "link_emulator", "mqtt_load", "bf_containers")]
    tools += [google_benchmark.path(folder, name) for folder, name in (("planner", "planner_bench"), ("socks", "socks_bench"))]
    return sorted(path for path in scripts if not path.startswith(reporting)) + [path for path in tools if os.path.exists(path)]


def _digest(paths):
    whole = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def conditions_of(folder):
    """Those of the results in `folder`; None if it has none."""
    noted = begun(folder)
    return {name: value for name, value in noted.items() if name != COMMITS} if noted else None


def begun(folder):
    """What begin() noted in `folder`: the conditions, and the commits of all parts; {} if it has no results."""
    path = os.path.join(folder, BEGUN)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def begin(folder, mine):
    """Makes the folder, and notes under which conditions and from which commits its results are made. Raises Unfit if it cannot be
    written, or has results under other conditions: they must not mix. Commits may differ, by what measures nothing."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as why:
        raise Unfit(f"cannot write results to {folder}: {'it is a file' if os.path.isfile(folder) else why.strerror}; give --out another folder") from None
    theirs = conditions_of(folder)
    other = [name for name, value in mine.items() if theirs and theirs.get(name) != value]
    if other:
        raise Unfit(f"{folder} holds results with another {' and another '.join(other)}; remove it, or give --out another folder")
    commits = list(dict.fromkeys([*begun(folder).get(COMMITS, []), commit()]))
    with open(os.path.join(folder, BEGUN), "w", encoding="utf-8") as file:
        json.dump({**mine, COMMITS: commits}, file, indent=2)


def commit():
    """Of the tree as it is now, "-dirty" behind it if it has changes."""
    return _said("git", "-C", HERE, "describe", "--always", "--dirty", "--exclude", "*").strip() or "unknown"


def _said(*words):
    """Standard output; "" if there is no such program."""
    try:
        return subprocess.run(words, capture_output=True, text=True).stdout
    except OSError:
        return ""


def busy(seconds=1.0):
    """Share of the cores that others use now, 0 to 1; says so where it is much."""
    def times():
        with open("/proc/stat", encoding="ascii") as file:
            fields = list(map(int, file.readline().split()[1:9]))
        return sum(fields), fields[3] + fields[4]
    (all_before, idle_before), _ = times(), time.sleep(seconds)
    all_after, idle_after = times()
    share = 1 - (idle_after - idle_before) / max(1, all_after - all_before)
    if share > BUSY:
        print(f"bench: other programs use {share:.0%} of the cores: they come after what is measured, but disturb it")
    return share


def note(folder, spent_s, expected_s, busy_before):
    """Notes how long this part of the campaign took and should have taken, and how busy the machine was before it; {} of all parts
    together."""
    path, before = os.path.join(folder, PARTS), {}
    if os.path.exists(path):  # a campaign that goes on
        with open(path, encoding="utf-8") as file:
            before = json.load(file)
    all_parts = {"spent_s": round(spent_s + before.get("spent_s", 0)), "expected_s": round(expected_s + before.get("expected_s", 0)),
                 "busy_before": round(max(busy_before, before.get("busy_before", 0)), 3)}
    with open(path, "w", encoding="utf-8") as file:
        json.dump(all_parts, file)
    return all_parts


def describe(folder, left_out, refused, parts):
    """machine.json: on what, under which conditions, what the time did not suffice for, and where measuring was refused. `parts`:
    what note() said."""

    def first(path, prefix):
        with open(path, encoding="utf-8") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(prefix)), "unknown")

    listed = _said("dpkg-query", "-W", "-f", "${Package} ${Version}\n", *PACKAGES) or "unknown, without dpkg-query\n"
    with open(os.path.join(folder, MACHINE), "w", encoding="utf-8") as file:
        json.dump({"processor": first("/proc/cpuinfo", "model name"), "cores": os.cpu_count(), "kernel": platform.release(),
                   "memory": f"{int(first('/proc/meminfo', 'MemTotal').split()[0]) / (1 << 20):.0f} GiB", "commit": " and ".join(begun(folder)[COMMITS]), "libc": " ".join(platform.libc_ver()),
                   "versions": sorted(listed.split("\n")[:-1]), **conditions_of(folder), "left_out": left_out, "refused": refused, **parts}, file, indent=2)


__all__ = ["begin", "busy", "check", "conditions", "describe", "note", "results_folder"]
