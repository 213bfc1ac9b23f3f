#!/usr/bin/python3
"""Every limit of src/base/limits.h that concerns the proxy stands in its metrics and in docs/proxy-limits.md, with its value."""
import pathlib
import re

from lab import check, equal, promise, run
from proxy_world import Proxy

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECTIONS = ("Data plane: handshakes", "Data plane: relay", "Data plane: UDP associations of the proxy")
OTHERS = {"routes_file_max_bytes", "chain_max_functions"}  # of other sections
# Flags, or counts of the process, under other names; the rest is the redirector's or the SDK's.
CHANGEABLE = {"max_connections": "connections", "max_connections_per_source": "connections_per_source", "max_handshakes": "handshakes",
              "max_handshakes_per_source": "handshakes_per_source", "connections_per_second": "rate",
              "connections_per_second_per_source": "rate_per_source", "handshake_memory_bytes": "memory",
              "handshake_memory_bytes_per_source": "memory_per_source", "bind_deadline_ms": "bind_deadline_ms",
              "warm_pool_connections_next": "warm_pool_connections_next", "sessions_max": "sessions",
              "sessions_per_owner": "sessions_per_owner", "udp_associations": "udp_associations",
              "udp_associations_per_source": "udp_associations_per_source", "udp_next_proxies_all": "udp_next_proxies",
              "udp_next_proxies_per_source": "udp_next_proxies_per_source", "udp_queued_bytes_all": "udp_queued_bytes",
              "udp_queued_bytes_per_source": "udp_queued_bytes_per_source"}
ELSEWHERE = {"first_bytes_wait_ms", "first_bytes_wait_max_ms", "bf_first_bytes_hold_ms", "warm_pool_connections",
             "capture_chain_devices", "mptcp_subflows", "mptcp_endpoints", "handover_look_ms", "handover_serving_ms",
             "trunk_large_bytes", "trunk_bulk_bytes", "trunk_ask_again_s", "connect_hook_destinations", "connect_hook_places_tried",
             "forwarded_source_percent", "forwarded_handshake_percent", "forwarded_percent", "excess_told_ms"}


def limits():
    """name -> value, of the sections that concern the proxy."""
    made, section = {}, ""
    for line in (ROOT / "src/base/limits.h").read_text(encoding="utf-8").splitlines():
        if line.startswith("// "):
            section = line[3:]
        found = re.match(r"inline constexpr \S+ (\w+) = ([^;]+);", line)
        if found and (section in SECTIONS or found[1] in OTHERS):
            made[found[1]] = eval(found[2].replace("'", "").replace("ull", ""))
    return made


@promise("every limit that concerns the proxy is in metrics with its value, and each that is there is documented")
def all_told():
    wanted = limits()
    check(len(wanted) > 70, f"only {len(wanted)} limits were found")
    with Proxy("--allow-all", "--max-connections", "9000") as proxy:
        metrics = proxy.get("/metrics")
    series = [line.rpartition(" ")[0] for line in metrics.splitlines() if line and not line.startswith("#")]
    equal(sorted({one for one in series if series.count(one) > 1}), [], "series that are there twice, which Prometheus refuses")
    told = {family: {name: float(value) for name, value in re.findall(family + r'\{limit="(\w+)"\} (\S+)', metrics)}
            for family in ("epif_proxy_limit", "epif_proxy_fixed_limit", "epif_proxy_held", "epif_proxy_shed_total")}
    for name, value in wanted.items():
        if name in CHANGEABLE:
            equal(told["epif_proxy_limit"].get(CHANGEABLE[name]), value, f"{name} in metrics")
        elif name not in ELSEWHERE:
            equal(told["epif_proxy_fixed_limit"].get(name), value, f"{name} in metrics")
    for family in ("epif_proxy_held", "epif_proxy_shed_total"):
        check(set(told[family]) <= set(told["epif_proxy_limit"]) | {"route"}, f"{family} tells of limits that have no value")
    page = (ROOT / "docs/proxy-limits.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    documented = {name: row[1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    equal(sorted((set(told["epif_proxy_limit"]) | set(told["epif_proxy_fixed_limit"])) - set(documented)), [], "limits that the page leaves out")
    for names, values in rows:
        names, values = re.findall(r"`(\w+)`", names), [value.replace(",", "") for value in re.findall(r"[\d,]*\d", values)]
        for name, value in zip(names, values * len(names) if len(values) == 1 else values):
            if name in told["epif_proxy_fixed_limit"] and name not in told["epif_proxy_limit"]:
                equal(float(value), told["epif_proxy_fixed_limit"][name], f"{name} on the page")


run(needs_root=False)
