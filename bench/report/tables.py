"""Tables of a workload that has no section of its own, and what they share with those that have."""
from .document import FAILED, Bullets, Heading, Table, Text
from .records import less_is_better, median, number, ratio, spread, starved

BASE = "direct"
AHEAD_OF_NONE = 1.25  # no proxy adds so much to what comes through


def cell(measured, name, topology, setting, quantity, with_ratio=False):
    values = measured.values(name, topology, setting, quantity)
    if not values:
        counts = any(measured.values(name, topology, setting, other) for other in measured.quantities)
        return FAILED if measured.error(name, topology, setting) and not counts else "–"
    text = spread(values)
    without = measured.values(BASE, topology, setting, quantity)
    base = ratio(median(values), None if starved(without) else median(without))
    return f"{text} ({base:.2f})" if with_ratio and base is not None else text


def failures(measured):
    """One line for each competitor and reason, so that no row's error is lost; also of one run among others that went well."""
    lines = {}
    for name, found in measured.errors.items():
        for (topology, setting), why in found.items():
            others = any(measured.values(name, topology, setting, q) for q in measured.quantities)
            lines.setdefault((measured.titles[name], why, " in some runs" if others else ""), []).append(topology or str(setting))
    return [Bullets([f"{title}: failed{when} at {', '.join(dict.fromkeys(where))}: {why}" for (title, why, when), where in lines.items()])] if lines else []


def errors(measured):
    """One line for each competitor whose rates hide requests that failed."""
    lines = []
    for name, title in measured.titles.items():
        seen = [f"{number(count)} with {setting}" for topology in measured.topologies for setting in measured.settings
                if (count := measured.median(name, topology, setting, "errors"))]
        lines += [f"{title}: requests that failed in a run: {', '.join(seen)}"] if seen else []
    return [Bullets(lines)] if lines else []


def void(measured, quantity):
    """A warning for each place where no proxy itself was starved."""
    places = [f"{topology or 'no delay'}, {setting}" for topology in measured.topologies for setting in measured.settings
              if starved(measured.values(BASE, topology, setting, quantity))]
    return [Text(f"Void: no proxy itself differed by more than a factor of two between the runs of {'; '.join(places)}. Its ports or the "
                 "cores ran out, so no ratios are given there.")] if places else []


def doubtful(measured, quantity):
    """A warning for each place where no proxy was held up by something else: more came through a proxy."""
    if less_is_better(quantity):
        return []
    places = []
    for topology in measured.topologies:
        for setting in measured.settings:
            base = measured.median(BASE, topology, setting, quantity)
            ahead = [title for name, title in measured.titles.items()
                     if base and (measured.median(name, topology, setting, quantity) or 0) > AHEAD_OF_NONE * base]
            places += [f"{topology or 'no delay'}, {setting}: {', '.join(ahead)}"] if ahead else []
    return [Text(f"Doubtful: more came through a proxy than without any ({'; '.join(places)}). Something else held no proxy up then, so the "
                 "ratios to it there are too high, for everybody.")] if places else []


def counted(setting, name):
    """"1 stream", "2 streams"."""
    return f"{setting} {name[:-1] if setting == 1 and name.endswith('s') else name}".strip()


def matrix(measured, topology, quantity, heading, setting_name, with_ratio):
    head = ["method", *[counted(setting, setting_name) for setting in measured.settings]]
    rows = [[title, *[cell(measured, name, topology, setting, quantity, with_ratio) for setting in measured.settings]]
            for name, title in measured.titles.items()]
    return [Text((heading[0].upper() + heading[1:] if len(heading) > 3 else heading) + (". In brackets: the ratio to no proxy." if with_ratio else ".")), Table(head, rows)]


def each_process(measured, topology, prefix, heading, setting_name):
    """A table of the quantities PREFIX + NODE/PROCESS, a row for each process of each method; [] without any."""
    names = [quantity for quantity in measured.quantities if quantity.startswith(prefix)]
    rows = [[title, name.removeprefix(prefix), *[cell(measured, method, topology, setting, name) for setting in measured.settings]]
            for method, title in measured.titles.items() for name in names
            if any(measured.values(method, topology, setting, name) for setting in measured.settings)]
    head = ["method", "process", *[counted(setting, setting_name) for setting in measured.settings]]
    return [Text(heading + "."), Table(head, rows)] if rows else []


def section(measured, module):
    """One heading, the tables that fit the shape of what was measured, the errors."""
    quantities = [q for q in module.COLUMNS if any(measured.values(n, t, s, q) for n in measured.titles for t in measured.topologies
                                                   for s in measured.settings)]
    out = [Heading(module.TITLE)]
    if getattr(module, "NOTE", ""):
        out.append(Text(module.NOTE))
    out += [Text(sentence) for sentence in getattr(module, "remarks", lambda _: [])(measured)]
    if quantities:
        out += void(measured, quantities[0]) + doubtful(measured, quantities[0]) if BASE in measured.titles else []
    for topology in measured.topologies:
        if len(measured.topologies) > 1:
            out.append(Heading(topology or "no delay", 3))
        if len(measured.settings) == len(measured.titles) == 1 and len(quantities) > 1:
            name, setting = next(iter(measured.titles)), measured.settings[0]
            out.append(Table(["", measured.titles[name]], [[module.COLUMNS[q], cell(measured, name, topology, setting, q)] for q in quantities]))
        elif len(measured.settings) == 1 or len(measured.titles) > 1 and not quantities:
            setting = measured.settings[0]
            rows = [[title, *([cell(measured, name, topology, setting, q) for q in quantities] or [FAILED])] for name, title in measured.titles.items()]
            out.append(Table(["method", *([module.COLUMNS[q] for q in quantities] or [""])], rows))
        elif len(measured.titles) == 1:
            name = next(iter(measured.titles))
            rows = [[str(setting), *([cell(measured, name, topology, setting, q) for q in quantities] or [FAILED])] for setting in measured.settings]
            out.append(Table([module.SETTING or "", *([module.COLUMNS[q] for q in quantities] or [""])], rows))
        else:
            for at, quantity in enumerate(quantities):
                out += matrix(measured, topology, quantity, module.COLUMNS[quantity], module.SETTING, at == 0 and BASE in measured.titles)
        for prefix, heading in getattr(module, "PARTS", {}).items():
            out += each_process(measured, topology, prefix, heading, module.SETTING)
    return out + errors(measured) + failures(measured)
