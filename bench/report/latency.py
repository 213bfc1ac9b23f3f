"""The latency section: Fig. 11 and 12, each value beside Eq. 6 to 9 and the floor."""
from paper.published import DELTA_MS
from paper.topology import named, predicted_ms

from .document import Bullets, Figure, Heading, Table, Text
from .records import deviation, median, number, off_equation, spread
from .tables import BASE, cell, failures
from world import RTT_TOLERANCE, RTT_TOLERANCE_MS

QUANTITY = "mean_ms"


def means(measured, name, topology):
    return measured.median(name, topology, 1, QUANTITY)


def delta(measured, name, topology):
    """Δt: what a method adds to no proxy, ms; None where either was not measured."""
    value, base = means(measured, name, topology), means(measured, BASE, topology)
    return value - base if value is not None and base is not None else None


def deltas(measured, name, topology):
    """{number of the run: Δt in it}."""
    with_it, without = (measured.by_run(which, topology, 1, QUANTITY) for which in (name, BASE))
    return {run: with_it[run] - without[run] for run in with_it if run in without}


def floor_row(measured):
    return ["floor of any proxy, RTT_CP + RTT_PS", *[number(named(t).floor) for t in measured.topologies]]


def beside_equation(measured, methods, name, topology):
    predicted = predicted_ms(methods.get(name, ""), named(topology))
    return cell(measured, name, topology, 1, QUANTITY) + (f" [{number(predicted)}]" if predicted is not None else "")


def overhead_rows(measured):
    return [[title, *[number(delta(measured, name, t), 2) + around(deltas(measured, name, t)) for t in measured.topologies]]
            for name, title in measured.titles.items() if name != BASE]


def around(by_run):
    return f" ± {number(deviation(list(by_run.values())), 2)}" if len(by_run) > 1 else ""


def against_equations(measured, methods):
    """(lines of "method, topology, equation, predicted, measured, difference", those of them that are off)."""
    equations = {"none": "Eq. 6", "nginx": "Eq. 7", "socks5": "Eq. 8, 4 RTT_CP", "socks6": "Eq. 9"}
    lines, off = [], []
    for name, title in measured.titles.items():
        method = methods.get(name)
        if method not in equations:
            continue
        for topology in measured.topologies:
            value = means(measured, name, topology)
            if value is not None:
                wanted = predicted_ms(method, named(topology))
                bad = off_equation(value, wanted)
                seen = spread(measured.values(name, topology, 1, QUANTITY), 2)
                line = [title, equations[method], named(topology).text(), number(wanted), seen, f"{value - wanted:+.2f}", "no" if bad else "yes"]
                lines.append(line)
                off += [line] if bad else []
    return lines, off


def below_no_proxy(measured):
    """Sentences: who is faster than no proxy where, and who never."""
    out = []
    for name, title in measured.titles.items():
        gains = {t: delta(measured, name, t) for t in measured.topologies if delta(measured, name, t) is not None}
        faster = [t for t, value in gains.items() if value <= 0]
        if name != BASE and faster:
            out.append(f"{title}: not slower than no proxy in {len(faster)} of {len(gains)} topologies "
                       f"(median Δt {number(median(list(gains.values())), 2)} ms).")
    return out


def section(measured, module, methods, drawn):
    out = [Heading(module.TITLE), Text("Mean of the requests of a run, in ms; median of the runs ± their standard deviation. In brackets: what "
                                       f"Eq. 6 to 9 predict for the method. Each link was checked by ping before each run: within {RTT_TOLERANCE:.0%} "
                                       f"of its RTT (at least {RTT_TOLERANCE_MS:g} ms), or nothing is measured. " + module.NOTE)]
    head = ["method", *[named(t).text() for t in measured.topologies]]
    rows = [floor_row(measured)]
    rows += [[title, *[beside_equation(measured, methods, name, t) for t in measured.topologies]] for name, title in measured.titles.items()]
    out += [Table(head, rows)]
    out += [Figure(name, caption) for name, caption in FIGURES.items() if name in drawn]
    out += [Text("Δt: what each method adds to no proxy, ms. Below zero: faster than no proxy."), Table(head, overhead_rows(measured))]
    out += [Text("The article's own Δt, for comparison: " + "; ".join(DELTA_MS) + ".")]
    faster = below_no_proxy(measured)
    out += [Bullets(faster)] if faster else []
    lines, off = against_equations(measured, methods)
    if lines:
        out += [Heading("Against the article's equations", 3),
                Text("A method that follows an equation must agree with it within 1.5 ms plus 5 %. "
                     + (f"{len(lines) - len(off)} of {len(lines)} do." if off else f"All {len(lines)} do.")),
                Table(["method", "equation", "topology", "predicted", "measured", "difference", "agrees"], off or lines)]
    return out + failures(measured)


FIGURES = {"fig11": "Fig. 11: proxy in between. Time of a request, and what each method adds to no proxy (Δt). Whiskers: deviation of the runs.",
           "fig12": "Fig. 12: triangle. Time of a request, and what each method adds to no proxy (Δt). Whiskers: deviation of the runs."}
