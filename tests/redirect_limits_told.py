#!/usr/bin/python3
"""client ── gate ── proxy: every limit of src/base/limits.h that a redirector uses stands in its metrics and on the pages about limits."""
from lab import check, equal, promise, run
from limits_page import limits, numbers, rows, told, twice, used_in
from redirect_world import World

MODULES = ("redirect", "net", "socks")
CHANGEABLE = {"max_connections": "connections", "connections_per_second_per_source": "rate_per_source",
              "datagram_associations_per_source": "datagram_associations_per_source",
              "warm_pool_connections": "warm_pool_connections", "first_bytes_wait_ms": "first_bytes_wait_ms"}
PARTS = {"forwarded_source_percent", "forwarded_handshake_percent", "forwarded_percent"}  # told as the numbers that they give
NOT_ITS = {  # of the modules that it shares with the proxy, for what only a proxy does
    "max_handshakes", "max_handshakes_per_source", "connections_per_second", "handshake_memory_bytes", "handshake_memory_bytes_per_source",
    "names_asked", "names_asked_per_source", "name_threads", "name_thread_idle_s",
    "udp_batch", "socks4_user_max_bytes", "chain_max_functions"}


@promise("every limit that a redirector uses is in its metrics with its value, and each that is there is documented with it")
def all_told():
    values = {name: value for _, name, value in limits()}
    used = used_in(*MODULES)
    check(len(used) > 60, f"only {len(used)} limits were found")
    check(PARTS | NOT_ITS <= used, f"the code uses no {sorted((PARTS | NOT_ITS) - used)}")
    with World("limitstold") as w:
        w.redirect("--capture", "10.2.0.20", "--gateway")
        metrics = w.ask("/metrics")
    equal(twice(metrics), [], "series that are there twice, which Prometheus refuses")
    changeable, fixed = told(metrics, "epif_redirect_limit"), told(metrics, "epif_redirect_fixed_limit")
    for name in sorted(used - PARTS - NOT_ITS):
        if name in CHANGEABLE:
            check(CHANGEABLE[name] in changeable, f"{name} is not in metrics")
        else:
            equal(fixed.get(name), values[name], f"{name} in metrics")
    for name in ("warm_pool_connections", "first_bytes_wait_ms"):
        equal(changeable[name], values[name], f"{name} in metrics")
    for name, value in fixed.items():
        equal(value, values[name], f"{name} in metrics")
    equal(sorted(set(changeable) - {name for names, _ in rows("redirect.md") for name in names}), [], "limits that the page leaves out")
    pages = dict([*numbers("proxy-limits.md"), *numbers("redirect.md")])
    for name, value in fixed.items():
        equal(pages.get(name), value, f"{name} on redirect.md or proxy-limits.md")
    check(all(name in fixed for name, _ in numbers("redirect.md") if name in values and name not in CHANGEABLE),
          "redirect.md has limits that metrics do not tell")


@promise("a redirector's metrics tell the numbers that its flags gave")
def flags_told():
    with World("limitsflags") as w:
        w.redirect("--capture", "10.2.0.20", "--warm", "3", "--first-bytes-wait", "7", "--threads", "2")
        made = told(w.ask("/metrics"), "epif_redirect_limit")
        equal((made["warm_pool_connections"], made["first_bytes_wait_ms"]), (3, 7), "--warm and --first-bytes-wait in metrics")


run()
