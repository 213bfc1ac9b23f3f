#!/usr/bin/python3
"""The benchmark's workloads do what their tables say: what they count has really happened. No number is judged."""
import contextlib
import glob
import os
import re
import signal
import subprocess
import sys

from lab import Lab, check, epif, equal, promise, remove_leftovers, repository, run, wait_until
from lab.names import start_time

sys.path.insert(0, str(repository / "bench"))
import world as benchmark  # noqa: E402
from campaign import LENGTHS, Step  # noqa: E402
from competitor import direct, epif_clear, epif_preconnect, nginx_http  # noqa: E402
from workload import chain, comparison, scale, steady, streams, throughput  # noqa: E402
from workload.dialogue import dialogue  # noqa: E402

QUICK = LENGTHS["quick"]


@contextlib.contextmanager
def rival(world, made):
    try:
        yield made
    finally:
        made.stop(world)


@promise("streams: every message reaches the subscriber, each of the rival's processes is in the count of CPU, and NGINX is back after it")
def published():
    with benchmark.World() as world, rival(world, epif_clear.Competitor()) as ours:
        seen = streams.once(world, ours, Step("streams", "epif_clear", "", 4, 0), QUICK)
        check(seen["messages"] > 100 and seen["messages_s"] > 0 and seen["cpu_us"] is not None, seen)
        check(0 < seen["p50_ms"] <= seen["p95_ms"] <= seen["p99_ms"] <= seen["max_ms"], seen)
        equal(sorted(process.name for process in ours.processes), ["client/epif-redirect", "proxy/epif-proxy"], "processes")
        equal(world.client.run("curl", "-sS", f"http://{benchmark.SERVER}/").stdout, "the server's answer\n", "who serves then")


@promise("streams: a rival that does not carry MQTT is refused with the reason")
def http_alone():
    with benchmark.World() as world, rival(world, nginx_http.Competitor()) as other:
        try:
            streams.once(world, other, Step("streams", "nginx_http", "", 4, 0), QUICK)
        except benchmark.Unfit as refused:
            check("HTTP" in str(refused), refused)
        else:
            check(False, "it was measured")


@promise("throughput: of an upload the server has read what is counted, through NGINX http as well, and NGINX serves again after it")
def uploaded():
    for made in (direct, nginx_http, epif_preconnect):
        with benchmark.World() as world, rival(world, made.Competitor()) as other:
            other.start(world)
            seen = throughput.once(world, other, Step("throughput", made.__name__, "", "2 streams up", 0), QUICK)
            check(seen["mbit_s"] > 0 and 0.9 <= seen["arrived"] <= 1 and "cpu_s_gib of server/sink" in seen, f"{made.__name__}: {seen}")
            equal(world.client.run("curl", "-sS", other.url).stdout, "the server's answer\n", f"{made.__name__}: who serves then")


@promise("throughput: a whole file that comes to the server is answered and counted to the byte")
def whole_files():
    with benchmark.World() as world:
        seen = throughput.curl(world, direct.Competitor(), 16, 2, up=True)
        equal(seen["arrived"], 1, "share that came")


@promise("throughput: an upload that a proxy answers by itself is refused with the reason")
def swallowed():
    config = nginx_http.CONFIG.replace("location / ", "location = /sink {{ return 200; }} location / ")
    with benchmark.World() as world, rival(world, nginx_http.Competitor()) as other:
        before, nginx_http.CONFIG = nginx_http.CONFIG, config
        try:
            other.start(world)
            throughput.once(world, other, Step("throughput", "nginx_http", "", "2 streams up", 0), QUICK)
        except benchmark.Unfit as refused:
            check("the upload ended at the proxy" in str(refused), refused)
        else:
            check(False, "it was measured")
        finally:
            nginx_http.CONFIG = before


@promise("steady: the parts of a run are told in requests a second, of new connections and of kept ones, and fit what wrk counted in all")
def steady_parts():
    for setting in ("new, 4", "kept, 4"):
        with benchmark.World() as world, rival(world, epif_clear.Competitor()) as ours:
            ours.start(world)
            seen = steady.minute(world, ours, setting, 3, 1)
            check(seen["first"] > 100 and seen["last"] > 100 and 0.2 < seen["ratio"] < 5, f"{setting}: {seen}")
            equal(seen["errors"], 0, f"{setting}: errors")


@promise("scale: memory is told for each side, and connections that are dead at the end void the row")
def held():
    with benchmark.World() as world:
        with rival(world, epif_clear.Competitor()) as ours:
            seen = scale.once(world, ours, Step("scale", "epif_clear", "", 200, 0), QUICK)
            check(seen["held"] == 200 and seen["client_kib"] is not None and seen["proxy_kib"] is not None, seen)
        with rival(world, epif_clear.Competitor()) as ours:
            ours.start(world)
            with scale.instead(world, lambda: scale.echo(world, 4096)), dialogue(world, world.client, *scale.holder(ours), 20) as (opened, ask):
                equal(opened["held"], 20, f"connections held, {opened}")
                ours.processes[0].kill()
                again = ask("again", 60)
                check(again["alive"] < 20 and again["why"], f"with its proxy dead: {again}")


@promise("comparison: over TLS whoever has a certificate is answered by the proxy, and a stranger is not, though it speaks TLS as well")
def strangers():
    with benchmark.World() as world:
        ours = comparison.RIVALS["epif"]()
        with comparison.running(ours, world, ours.serve_known):
            cert, key, _ = world.certificates("client/node", "proxy/node")["client/node"]
            check(comparison.speaks_socks(world, (cert, key)), "one with a certificate was refused, so that a refusal says nothing")
            check(not ours.stranger(world), "a stranger was served")


@promise("chain: a connection passes as many functions as the table says, in containers of their own")
def chained():
    size = chain.Size({"audit": (2,)}, 3, 0.01, 1, 0.5, 1)
    with benchmark.World() as world, rival(world, chain.Audit()) as ours:
        ours.start(world, 2, size)
        pids = [process.pid for process in ours.processes if isinstance(process, chain.Contained)]
        equal(len(set(pids)), 2, "processes of functions")
        equal(world.client.run("curl", "-sS", f"http://{benchmark.SERVER}/").stdout, "the server's answer\n", "what passes the chain")
        proxy = next(process for process in ours.processes if process.name == "proxy/epif-proxy")
        for instance in ("audit-0", "audit-1"):
            proxy.wait_for_log(f"instance={instance}")


@promise("of a benchmark that is killed at once with its containers' monitors nothing is left after the next start: process, mount, folder, group")
def killed():
    if os.environ.get("VICTIM"):
        lab = Lab("killed")
        program, folder = os.path.join(os.path.dirname(epif()), "bf_containers"), lab.path("functions", "x")[:-2]
        process = lab.node("proxy").start(program, folder, "audit-0=audit")
        process.wait_for_log('{"ready": true}', within=60)
        print(lab.state, process.pid, re.search(r'"peer_pid": (\d+)', process.output())[1], flush=True)
        signal.pause()
    victim = subprocess.Popen([sys.executable, __file__, "killed"], stdout=subprocess.PIPE, text=True, env={**os.environ, "VICTIM": "1"})
    state, containers, function = victim.stdout.readline().split()
    groups = {f"libpod-{name}" for name in os.listdir(f"{state}/functions/engine/storage/overlay-containers")}
    check(any(group in path for path in control_groups() for group in groups), "control: the container has a control group")
    for pid in (int(containers), victim.pid, *monitors(state)):  # who could still take down, first
        os.kill(pid, signal.SIGKILL)
    victim.wait()
    check(start_time(function), "control: the function outlives them all")
    wait_until(lambda: state in remove_leftovers() or not os.path.exists(state), "its folder is removed", within=60)
    wait_until(lambda: not start_time(function), "the function is gone")
    wait_until(lambda: not [pid for pid in os.listdir("/proc") if pid.isdigit() and state in command_of(pid)], "no process of it runs")
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        equal([line for line in mounts if state in line], [], "mounts")
    equal([path for path in control_groups() if any(group in path for group in groups)], [], "control groups")


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def monitors(state):
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and "conmon" in command_of(pid).partition("\0")[0] and state in command_of(pid)]


def control_groups():
    return glob.glob("/sys/fs/cgroup/libpod_parent/*") + glob.glob("/sys/fs/cgroup/*/libpod_parent/*")


if __name__ == "__main__":
    run()
