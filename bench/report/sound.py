"""Rows that were measured and mean nothing: they become errors, before a table or a figure is made of them. Pure."""
from .tables import BASE

VOID = "void"  # the error of no proxy begins with it where ports ran out: whoever was measured beside it met the same
AT_THE_PROXY = "the upload ended at the proxy: the server used no CPU"


def sound(rows):
    """`rows` with the error in place of the result where no proxy was starved in the same place and run, and where an upload never
    reached the server."""
    starved = {_place(row): row["result"]["error"] for row in rows
               if row["competitor"] == BASE and row["result"].get("error", "").startswith(VOID)}
    return [_with_error(row, starved.get(_place(row)) or (AT_THE_PROXY if _swallowed(row) else "")) for row in rows]


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
