#!/usr/bin/python3
"""Every limit of src/base/limits.h that concerns the proxy stands in its metrics and in docs/proxy-limits.md, with its value."""
from lab import check, equal, promise, run
from limits_page import limits, numbers, rows, told, twice
from proxy_world import Proxy

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
             "capture_chain_devices", "mptcp_subflows", "mptcp_endpoints", "handover_serving_ms",
             "trunk_large_bytes", "trunk_bulk_bytes", "trunk_ask_again_s", "connect_hook_destinations", "connect_hook_places_tried",
             "forwarded_source_percent", "forwarded_handshake_percent", "forwarded_percent", "excess_told_ms"}


def of_the_proxy():
    """name -> value, of the sections that concern the proxy."""
    return {name: value for section, name, value in limits() if section in SECTIONS or name in OTHERS}


@promise("every limit that concerns the proxy is in metrics with its value, and each that is there is documented")
def all_told():
    wanted = of_the_proxy()
    check(len(wanted) > 70, f"only {len(wanted)} limits were found")
    with Proxy("--allow-all", "--max-connections", "9000") as proxy:
        metrics = proxy.get("/metrics")
    equal(twice(metrics), [], "series that are there twice, which Prometheus refuses")
    changeable, fixed = told(metrics, "epif_proxy_limit"), told(metrics, "epif_proxy_fixed_limit")
    for name, value in wanted.items():
        if name in CHANGEABLE:
            equal(changeable.get(CHANGEABLE[name]), value, f"{name} in metrics")
        elif name not in ELSEWHERE:
            equal(fixed.get(name), value, f"{name} in metrics")
    for family in ("epif_proxy_held", "epif_proxy_shed_total"):
        check(set(told(metrics, family)) <= set(changeable) | {"route"}, f"{family} tells of limits that have no value")
    documented = {name for names, _ in rows("proxy-limits.md") for name in names}
    equal(sorted((set(changeable) | set(fixed)) - documented), [], "limits that the page leaves out")
    for name, value in numbers("proxy-limits.md"):
        if name in fixed and name not in changeable:
            equal(value, fixed[name], f"{name} on the page")


run(needs_root=False)
