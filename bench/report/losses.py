"""Where epif loses: whoever is ahead of it, in each table's first number. Pure."""
from .document import Bullets, Heading, Text
from .records import less_is_better
from .tables import BASE, counted

OURS = "epif"
MARGIN = 0.05  # less than that is no loss
TITLE = "Where epif as shipped is behind"


def ahead(measured, quantity, topology, setting):
    """[(title, how many times as good as epif)], best first; of all but no proxy and our own variants."""
    mine = measured.median(OURS, topology, setting, quantity)
    if not mine:
        return []
    found = []
    for name, title in measured.titles.items():
        value = measured.median(name, topology, setting, quantity)
        if name.startswith(OURS) or name == BASE or not value:
            continue
        times = mine / value if less_is_better(quantity) else value / mine
        if times > 1 + MARGIN:
            found.append((title, times))
    return sorted(found, key=lambda pair: -pair[1])


def section(found):
    """`found`: [(workload's module, Measured)]."""
    lines = []
    for module, measured in found:
        quantity = next(iter(module.COLUMNS))
        if OURS not in measured.titles:
            continue
        for topology in measured.topologies:
            for setting in measured.settings:
                rivals = ahead(measured, quantity, topology, setting)
                if rivals:
                    place = ", ".join(str(part) for part in (topology, counted(setting, module.SETTING) if len(measured.settings) > 1 or module.SETTING else "") if part)
                    lines.append(f"{module.TITLE} ({module.COLUMNS[quantity]}{'; ' + place if place else ''}): "
                                 + ", ".join(f"{title} {times:.2f} times as good" for title, times in rivals))
    return [Heading(TITLE), Text("By more than 5 %, among those that are not epif. Most of them carry in clear; epif as shipped encrypts and checks "
                                 "both certificates."), Bullets(lines or ["nowhere in what was measured"])]
