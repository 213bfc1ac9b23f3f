"""Figures in the article's form, as SVG and PNG. Each function draws one and returns True, or False without data."""
import math
import os

import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plot  # noqa: E402 - the backend must be chosen first

from paper.topology import named  # noqa: E402

from . import latency  # noqa: E402
from .records import deviation, made_on  # noqa: E402
from .tables import BASE, counted  # noqa: E402

plot.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
                      "axes.axisbelow": True, "svg.hashsalt": "epif", "svg.fonttype": "path"})
# One colour a family, so that figures can be compared; what is in none of them gets a grey.
COLOURS = {"direct": "#111111", "nginx_http": "#2e7d32", "nginx_stream": "#66bb6a", "haproxy_tcp": "#a5d6a7", "socks5_plain": "#ef6c00",
           "socks6_plain": "#ffb74d", "socksx5": "#b71c1c", "socksx6": "#e57373", "epif": "#0d47a1", "epif_fast_open": "#1976d2",
           "epif_trunk": "#42a5f5", "epif_clear": "#64b5f6", "epif_preconnect": "#90caf9", "redsocks_dante": "#6a1b9a", "redsocks_microsocks": "#ab47bc",
           "shadowsocks": "#795548", "stunnel": "#bcaaa4"}
GAIN_COLOURS = ("#0d47a1", "#2e7d32", "#a5d6a7", "#ef6c00")  # of ablation.METRICS
MARKERS = "osD^v<>P*Xhd"


def colour(name):
    return COLOURS.get(name, "#78909c")


class Paper:
    """Where figures are drawn: a folder, and in the corner of each figure on what it was measured (`machine`: of machine.json)."""

    def __init__(self, folder, machine):
        self.folder, self.corner, self.versions = folder, made_on(machine), ", ".join(machine["versions"])

    def save(self, name):
        plot.figtext(0.0, -0.01, self.corner, fontsize=6, color="#777777", va="top")
        about = {"svg": {"Date": None, "Description": f"{self.corner}. {self.versions}"}, "png": {"Comment": f"{self.corner}. {self.versions}"}}
        for kind, metadata in about.items():
            plot.savefig(os.path.join(self.folder, f"{name}.{kind}"), bbox_inches="tight", dpi=130, metadata=metadata)
        plot.close()
        return True


def or_nan(value):
    return math.nan if value is None else value


def whiskers(runs):
    """Their deviations as the plotting package wants them, a list for each place; nothing where no place has several runs."""
    found = [or_nan(deviation(values)) for values in runs]
    return None if all(map(math.isnan, found)) else found


WHISKERS = {"elinewidth": 0.8, "ecolor": "#333333"}  # of deviations


def grouped_bars(axes, groups, names, value, runs, titles):
    """A group of bars for each of `groups`, one bar for each of `names`; whiskers: the deviation of `runs`, a list."""
    width = 0.86 / max(len(names), 1)
    for i, name in enumerate(names):
        at = [x - 0.43 + (i + 0.5) * width for x in range(len(groups))]
        axes.bar(at, [or_nan(value(name, group)) for group in groups], width, label=titles[name], color=colour(name),
                 yerr=whiskers(runs(name, group) for group in groups), error_kw=WHISKERS)
    axes.set_xticks(range(len(groups)))


def latency_figure(measured, paper, name, in_between):
    """(a) the time of a request, (b) Δt, as Fig. 11 and 12."""
    places = [t for t in measured.topologies if t and named(t).in_between == in_between
              and any(latency.means(measured, n, t) is not None for n in measured.titles)]
    if not places:
        return False
    figure, (above, below) = plot.subplots(2, 1, figsize=(10, 7.5), sharex=True)
    names = list(measured.titles)
    grouped_bars(above, places, names, lambda n, t: latency.means(measured, n, t), lambda n, t: measured.values(n, t, 1, latency.QUANTITY),
                 measured.titles)
    for x, place in enumerate(places):
        above.hlines(named(place).floor, x - 0.46, x + 0.46, color="#d50000", linestyle="--", linewidth=1, label="floor of any proxy" if x == 0 else None)
    above.set_ylabel("(a) time of a request, ms")
    grouped_bars(below, places, [n for n in names if n != BASE], lambda n, t: latency.delta(measured, n, t),
                 lambda n, t: list(latency.deltas(measured, n, t).values()), measured.titles)
    below.axhline(0, color="black", linewidth=0.8)
    below.set_ylabel("(b) Δt, ms")
    below.set_xticklabels([f"{named(t).name.upper()}\n{named(t).cp:g}/{named(t).ps:g}/{named(t).cs:g}" for t in places])
    above.legend(fontsize=7, ncol=1, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return paper.save(name)


def rate_figure(measured, paper, name, quantity="rate"):
    """(a) requests a second over connections, (b) the reduction compared with no proxy, as Fig. 13."""
    topology = measured.topologies[0]
    if not any(measured.median(n, topology, s, quantity) for n in measured.titles for s in measured.settings):
        return False
    figure, (left, right) = plot.subplots(1, 2, figsize=(12, 4.8))
    for at, (rival, title) in enumerate(measured.titles.items()):
        values = [measured.median(rival, topology, s, quantity) for s in measured.settings]
        style = {"marker": MARKERS[at % len(MARKERS)], "markersize": 4, "color": colour(rival), "linewidth": 2.2 if rival == "epif" else 1.2}
        spread = whiskers(measured.values(rival, topology, s, quantity) for s in measured.settings)
        left.errorbar(measured.settings, list(map(or_nan, values)), spread, label=title, capsize=2, elinewidth=0.8, **style)
        base = [measured.median(BASE, topology, s, quantity) for s in measured.settings]
        if rival != BASE and any(base):
            right.plot(measured.settings, [b - v if b is not None and v is not None else math.nan for v, b in zip(values, base)], **style)
    for axes, label in ((left, "(a) requests a second"), (right, "(b) fewer than without a proxy")):
        axes.set_xscale("log", base=2)
        axes.set_xticks(measured.settings, [str(s) for s in measured.settings])
        axes.set_xlabel("connections at once")
        axes.set_ylabel(label)
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
    left.legend(fontsize=7, loc="upper left", bbox_to_anchor=(2.2, 1.0))
    return paper.save(name)


def bars_figure(measured, paper, name, quantity, heading, settings, setting_name, topology):
    """Horizontal bars of one quantity, longest above; with several `settings` each bar says which."""
    found = [(n, s, measured.median(n, topology, s, quantity)) for n in measured.titles for s in settings]
    found = sorted(((n, s, value) for n, s, value in found if value is not None), key=lambda each: each[2])
    if not found:
        return False
    plot.figure(figsize=(8, 0.32 * len(found) + 1))
    labels = [measured.titles[n] + (f", {counted(s, setting_name)}" if len(settings) > 1 else "") for n, s, _ in found]
    bars = plot.barh(labels, [value for _, _, value in found], color=[colour(n) for n, _, _ in found])
    plot.bar_label(bars, fmt="%.4g", padding=3, fontsize=7)
    plot.xlabel(heading)
    return paper.save(name)


def lines_figure(measured, paper, name, quantity, heading, over, topology):
    """One quantity over numeric settings, a line for each method; logarithmic where it spans more than two decades."""
    rows = {n: [(s, measured.median(n, topology, s, quantity)) for s in measured.settings] for n in measured.titles}
    rows = {n: [(s, v) for s, v in row if v is not None] for n, row in rows.items()}
    values = [v for row in rows.values() for _, v in row]
    if len(values) < 2:
        return False
    plot.figure(figsize=(8, 4.5))
    for at, (rival, row) in enumerate(rows.items()):
        plot.plot([s for s, _ in row], [v for _, v in row], marker=MARKERS[at % len(MARKERS)], markersize=4,
                  color=colour(rival) if rival in COLOURS else None, label=measured.titles[rival])
    if min(values) > 0 and max(values) > 100 * min(values):
        plot.yscale("log")
    numbers = [s for s in measured.settings if s > 0]
    if numbers and max(numbers) >= 100 * min(numbers) and len(numbers) == len(measured.settings):
        plot.xscale("log")
    if plot.gca().get_yscale() == "linear":
        plot.ylim(bottom=0)
    plot.xlabel(over)
    plot.ylabel(heading)
    plot.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return paper.save(name)


def generic_figure(measured, paper, name, module):
    """Of the quantity that was measured most often: lines over numeric settings, else bars."""
    topology = measured.topologies[0]

    def points(quantity):
        return [[s for s in measured.settings if measured.median(n, topology, s, quantity) is not None] for n in measured.titles]
    quantity = max(module.COLUMNS, key=lambda q: sum(map(len, points(q))))  # the first of equals
    heading = module.COLUMNS[quantity]
    if all(isinstance(s, (int, float)) for s in measured.settings) and max(map(len, points(quantity)), default=0) > 1:
        return lines_figure(measured, paper, name, quantity, heading, module.SETTING, topology)
    if any(isinstance(s, str) for s in measured.settings) and len(measured.settings) > 1:
        setting = max(measured.settings, key=lambda s: sum(s in row for row in points(quantity)))
        return bars_figure(measured, paper, name, quantity, f"{heading}, {counted(setting, module.SETTING)}", [setting], module.SETTING, topology)
    return bars_figure(measured, paper, name, quantity, heading, measured.settings, module.SETTING, topology)


def gains_figure(measured, paper, name, gain, metrics):
    """For each idea how many times as good as all off, a bar for each of `metrics` ((quantity, setting, label), ...)."""
    names = [n for n in measured.titles if not n.endswith("-off") and any(gain(measured, n, q, s) for q, s, _ in metrics)]
    if not names:
        return False
    figure, axes = plot.subplots(figsize=(9, 0.5 * len(names) + 1))
    height = 0.8 / len(metrics)
    for i, (quantity, setting, label) in enumerate(metrics):
        axes.barh([y + (i - (len(metrics) - 1) / 2) * height for y in range(len(names))],
                  [or_nan(gain(measured, n, quantity, setting)) for n in names], height, label=label, color=GAIN_COLOURS[i])
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(range(len(names)), [measured.titles[n] for n in names])
    axes.invert_yaxis()
    axes.set_xlabel("times as good as with all ideas off")
    axes.legend(fontsize=7)
    return paper.save(name)
