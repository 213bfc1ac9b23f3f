"""Rows that were measured and mean nothing: they become errors, before a table or a figure is made of them. Pure."""
import statistics

from .tables import BASE

VOID = "void"  # the error of no proxy begins with it where ports ran out: whoever was measured beside it met the same
HALF = 0.5
RATES = ("rate", "mbit_s", "messages_s")  # of the workloads that load the cores
AT_THE_PROXY = "the upload ended at the proxy: the server used no CPU"


def sound(rows):
    """`rows` with the error in place of the result where no proxy was starved in the same place and run, and where an upload never
    reached the server."""
    starved = {_place(row): row["result"]["error"] for row in rows
               if row["competitor"] == BASE and row["result"].get("error", "").startswith(VOID)}
    starved |= {place: f"{VOID}: no proxy itself made less than half of what it made in most other runs" for place in _held_up(rows)}
    return [_with_error(row, starved.get(_place(row)) or (AT_THE_PROXY if _swallowed(row) else "")) for row in rows]


def _held_up(rows):
    """Places and runs in which something else than the methods had the cores: without any proxy much less came through than usual."""
    runs = {}
    for row in rows:
        rate = next((row["result"][name] for name in RATES if name in row["result"]), None)
        if row["competitor"] == BASE and rate is not None:
            runs.setdefault(_place(row)[:-1], []).append((rate, _place(row)))
    return [place for found in runs.values() if len(found) > 2 for rate, place in found
            if rate < HALF * statistics.median(each for each, _ in found)]


def _place(row):
    return row["workload"], row["topology"], row["setting"], row["round"]


def _with_error(row, why):
    return {**row, "result": {"error": why}} if why and "error" not in row["result"] else row


def _swallowed(row):
    """True for an upload that nobody counted at the server ("arrived"), which had nothing to do."""
    result = row["result"]
    if row["workload"] != "throughput" or not str(row["setting"]).endswith("up") or "arrived" in result:
        return False
    server = [cpu for quantity, cpu in result.items() if quantity.startswith("cpu_s_gib of server/")]
    return bool(server) and not any(server)
