"""Speed and memory of this very run: reported, not judged, since the machine may be busy with other things."""
import re

from lab import Failure, check, wait_until

CONNECTIONS, SECONDS, IDLE = 16, 2, 400


def _rate(world):
    """Requests a second of wrk, kept alive, to nginx at the research centre."""
    done = world.modality.run("wrk", f"-c{CONNECTIONS}", f"-d{SECONDS}s", f"http://{world.pacs.address}/", timeout=30)
    found = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    check(found, f"wrk says: {done.stdout}{done.stderr}")
    return float(found.group(1))


def direct(report, world):
    """Before anything is captured."""
    with report.shows("wrk measures nginx without epif, for the ratio at the end") as line:
        world.direct_rate = _rate(world)
        line.say(f"{world.direct_rate:,.0f} requests/s")


def _private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        return sum(int(text.split()[1]) for text in file if text.startswith("Private_"))


def act(report, world, control):
    report.section("Speed and memory of this run")
    with report.shows("the first bridging function of each proxy node, from the wish to an answering socket") as line:
        for proxy in ("umc/umc-proxy", "research/research-proxy"):
            log = control.agents[proxy].output()
            found = re.findall(r"bridging function runs instance=(\S+) pid=\d+ took_ms=(\d+)", log)
            check(found, f"the agent of {proxy} says of no function when it ran")
            line.say(f"{found[0][0]} {found[0][1]} ms")
    with report.shows("keep-alive through redirector and proxy, against the rate without epif") as line:
        rate = _rate(world)
        line.say(f"{rate:,.0f} requests/s", f"ratio {rate / world.direct_rate:.2f}")
    with report.shows("user-space memory of an idle relayed connection, leg to the proxy under TLS") as line:
        pid = control.redirector_process("umc/modality")
        before = _private_kib(pid)
        held = [world.modality.connect(world.pacs.address, 80) for _ in range(IDLE)]
        try:
            wait_until(lambda: _relayed(world, held), "all idle connections have been answered once", 20)
            line.say(f"{(_private_kib(pid) - before) / IDLE:.1f} KiB in the redirector")
        finally:
            for one in held:
                one.close()


def _relayed(world, held):
    """Each has asked once and read its answer: from here on it is idle, and relayed for sure."""
    for one in held:
        one.settimeout(10)
        one.sendall(f"GET / HTTP/1.1\r\nHost: {world.pacs.address}\r\n\r\n".encode())
    for one in held:
        if not one.recv(4096):
            raise Failure("an idle connection was closed")
    return True
