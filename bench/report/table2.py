"""Table II of the article, filled from measurement: six parameters, the article's three methods, and epif beside them."""
from paper.published import METHODS, TABLE_II

from .document import Heading, Table, Text
from .latency import deltas
from .records import median, spread

TITLE = "Table II, from measurement"
EQUAL = 0.05  # a value this close to the best shares its tick;
EQUAL_FOR = {"reconfiguration": 1.0}  # of milliseconds that depend on the moment: twice as long is as good
COLUMNS = {"NGINX": ("nginx_http", "nginx"), "SOCKS5": ("socks5_plain", "socks5"), "SOCKS6": ("socks6_plain", "socks6"), "epif": ("epif", "epif")}


def parameters(latency, rate, comparison):
    """{parameter: (what is compared, unit, True if less is better, {method: [value of each run]})}; latency ...: records.Measured."""
    def of(measure):
        return {method: measure(*names) for method, names in COLUMNS.items()}

    def try_of(*quantities):
        def measure(_, tried):
            runs = [comparison.by_run(tried, "", 1, quantity) for quantity in quantities]
            return [min(by_run[run] for by_run in runs) for run in runs[0] if all(run in by_run for by_run in runs)]
        return of(measure)

    def added(name, _):
        by_topology = [deltas(latency, name, t) for t in latency.topologies]
        return [median([by_run[run] for by_run in by_topology if run in by_run]) for run in sorted(set().union(*by_topology))]

    def fastest(name, _):
        runs = [rate.values(name, rate.topologies[0], setting, "rate") for setting in rate.settings]
        return max((values for values in runs if values), key=median, default=[])

    return {"Δt": ("added to no proxy, median of the topologies", "ms", True, of(added)),
            "processing rate": ("new connections a second, at the best number of connections", "/s", False, of(fastest)),
            "port scalability": ("ports at the proxy for 8 servers", "", True, try_of("ports")),
            "reconfiguration": ("until one more server answers", "ms", True, try_of("reconfigure_ms")),
            "dynamicity": ("of 8 servers reached with the proxy as set up for one", "", False, try_of("reached")),
            "security": ("stranger refused and unchanged program served (1: both)", "", False, try_of("stranger_refused", "unchanged_passes"))}


def winners(values, less_is_better, among, equal=EQUAL):
    """Those of `among` whose value is the best, or as good within the share `equal`; none if all of them are."""
    known = {name: values[name] for name in among if values[name] is not None}
    if not known:
        return []
    best = min(known.values()) if less_is_better else max(known.values())
    won = [name for name, value in known.items() if abs(value - best) <= equal * abs(best)]
    return won if len(won) < len(known) else []


def section(latency, rate, comparison):
    rows, differs = [], []
    for parameter, (what, unit, less, runs) in parameters(latency, rate, comparison).items():
        values = {method: median(seen) for method, seen in runs.items()}
        won = winners(values, less, METHODS, EQUAL_FOR.get(parameter, EQUAL))
        known = [values[m] for m in METHODS if values[m] is not None]
        beats = bool(known) and values["epif"] is not None and "epif" in winners(values, less, (*METHODS, "epif"), EQUAL_FOR.get(parameter, EQUAL))
        cells = [f"{spread(runs[m])}{' ' + unit if values[m] is not None and unit != '/s' and unit else unit if values[m] is not None else ''}"
                 f"{' ✓' if m in won or m == 'epif' and beats else ''}" for m in COLUMNS]
        rows.append([parameter, what, *cells, ", ".join(TABLE_II[parameter])])
        if known and set(won) != set(TABLE_II[parameter]):
            differs.append(f"{parameter} ({', '.join(won) or 'no one alone'} here, {', '.join(TABLE_II[parameter])} there)")
    out = [Heading(TITLE), Text("A tick: the best of the article's three methods, or within 5 % of it (reconfiguration: within a factor of two, since these "
                                    "milliseconds depend on the moment). epif has one where it would have it among the four."),
           Table(["parameter", "what is compared", *COLUMNS, "the article's ticks"], rows)]
    return out + [Text("Other than the article: " + "; ".join(differs) + "." if differs else "The ticks are the article's.")]
