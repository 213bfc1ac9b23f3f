"""The table of gains: each idea against all of them off, on the same leg."""
from paper import ideas

from .document import FAILED, Heading, Table, Text
from .records import less_is_better, median, ratio, spread
from .tables import failures

METRICS = (("mean_ms", "latency", "latency"), ("rate", "load", "rate"), ("cpu_us", "load", "CPU of a connection"),
           ("mbit_s", "load", "throughput"))  # quantity, setting, label


def values(measured, name, quantity, setting):
    """Those of all runs, from the topology in which it was measured."""
    return next((found for topology in measured.topologies if (found := measured.values(name, topology, setting, quantity))), [])


def value(measured, name, quantity, setting):
    return median(values(measured, name, quantity, setting))


def base_of(name):
    return name.partition("-")[0] + "-off"


def gain(measured, name, quantity, setting):
    """How many times as good as all off: above 1 is better. None where either is missing."""
    mine, base = value(measured, name, quantity, setting), value(measured, base_of(name), quantity, setting)
    share = ratio(mine, base)
    return None if not share else 1 / share if less_is_better(quantity) else share


def section(measured, module):
    why = {f"{leg}-{idea.name}": idea.why for idea in ideas.IDEAS for leg in ideas.legs(idea)}
    head = ["idea", *[heading for quantity, _, _ in METRICS for heading in (module.COLUMNS[quantity], "times as good")], "why"]
    rows = []
    for name, title in measured.titles.items():
        row = [title]
        for quantity, setting, _ in METRICS:
            seen, better = values(measured, name, quantity, setting), gain(measured, name, quantity, setting)
            row += [spread(seen) if seen else FAILED, f"{better:.2f}" if better is not None else "–"]
        rows.append([*row, why.get(name, "")])
    return [Heading(module.TITLE), Text(module.NOTE), Table(head, rows)] + failures(measured)
