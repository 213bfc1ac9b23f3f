"""Where epif loses: whoever is ahead of it, in each number of each table. Pure."""
from .document import Bullets, Heading, Text
from .records import less_is_better
from .sound import VOID
from .tables import BASE, counted

OURS = "epif"
MARGIN = 0.05  # less than that is no loss
TITLE = "Where epif as shipped is behind"


def times_as_good(value, mine, less):
    """How many times as good as `mine` a value is; infinite against nothing at all, None where a share has no sense."""
    better, worse = (mine, value) if less else (value, mine)
    if worse > 0:
        return better / worse
    return float("inf") if better > 0 and not less else None


def ahead(measured, quantity, topology, setting):
    """[(title, how many times as good as epif)], best first; of all but no proxy and our own variants."""
    mine = measured.median(OURS, topology, setting, quantity)
    if mine is None:
        return []
    found = []
    for name, title in measured.titles.items():
        value = measured.median(name, topology, setting, quantity)
        if name.startswith(OURS) or name == BASE or value is None:
            continue
        times = times_as_good(value, mine, less_is_better(quantity))
        if times and times > 1 + MARGIN:
            found.append((title, times))
    return sorted(found, key=lambda pair: -pair[1])


def place(measured, module, topology, setting):
    told = counted(setting, module.SETTING) if len(measured.settings) > 1 or module.SETTING else ""
    return ", ".join(part for part in (topology, told) if part)


def lines(module, measured):
    """One for each of the module's numbers in which somebody is ahead, and one for each failure of epif's own."""
    places = [(topology, setting) for topology in measured.topologies for setting in measured.settings]
    out = []
    for quantity, heading in module.COLUMNS.items():
        told = []
        for where in places:
            rivals = ", ".join(f"{title} {times:.2f}" for title, times in ahead(measured, quantity, *where))
            at = place(measured, module, *where)
            told += [f"{at}: {rivals}" if at else rivals] if rivals else []
        out += [f"{module.TITLE} ({heading}): {'; '.join(told)}"] if told else []
    failed = {}
    for where, why in measured.errors.get(OURS, {}).items():
        if not why.startswith(VOID):
            failed.setdefault(why, []).append(place(measured, module, *where))
    return out + [f"{module.TITLE}: epif failed{' at ' if any(at) else ''}{'; '.join(filter(None, at))}: {why}" for why, at in failed.items()]


def section(found):
    """`found`: [(workload's module, Measured)]."""
    told = [line for module, measured in found for line in lines(module, measured)]
    return [Heading(TITLE), Text("Behind a name: how many times as good as epif, where that is by more than 5 %; among those that are not epif. Most of "
                                 "them carry in clear; epif as shipped encrypts and checks both certificates."), Bullets(told or ["nowhere in what was measured"])]
