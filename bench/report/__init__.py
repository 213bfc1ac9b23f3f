"""report.md, report.html, the figures, results.csv and results.json of a folder with results.jsonl and machine.json.

No number is typed by hand: all of them come from those two files."""
import csv
import json
import os

import campaign
import competitor
import workload
from competitor._socksx import Socksx

from . import ablation, latency, losses, table2, tables
from .document import Figure, Heading, Text, markdown, page
from .records import Measured, end_half_line, made_on, read
from .sound import sound

RESULTS, MACHINE = "results.jsonl", "machine.json"


RUNS = {"one": "Each number is of one run, so there is no spread of runs; full lengths have several.",
        "several": "Numbers are medians of the runs, ± their standard deviation; one without it was measured in one run."}


def preface(machine, titles):
    """`titles`: of the competitors that were measured."""
    cores = machine["cores"]
    out = [Heading("Measured", 1),
           Text(f"{made_on(machine)}; it took {machine['spent_s']} s, and was expected to take {machine['expected_s']} s."),
           Text(RUNS["one" if campaign.LENGTHS[machine["kind"]].rounds == 1 else "several"]),
           Text(f"Client, proxy and server share these {cores} cores. So a rate says as well how much of the cores client and server "
                "leave to the proxy; the CPU that a method's own programs need for a request stands beside it.")]
    out.append(Text(f"Links are delayed by {machine['delay']}."))
    if machine.get("loss") or machine.get("rate"):
        rate = f"{machine['rate']:g} Mbit/s" if machine["rate"] else "no limit of their rate"
        out.append(Text(f"Links with a delay lose {machine['loss']:g} % of their packets and have {rate}."))
    if machine.get("busy_before", 0) > 0.1:
        out.append(Text(f"Other programs used {machine['busy_before']:.0%} of the cores when it began. What is measured goes before them (nice), "
                        "but numbers are worse than on a quiet machine, and differ more."))
    out += [Text(f"{where}: {why}. Nothing was measured there.") for where, why in machine["refused"].items()]
    out += [Text(note) for note in dict.fromkeys(made.note for made in competitor.everyone().values() if made.note and made.title in titles)]
    if not titles & {made.title for made in competitor.everyone().values() if issubclass(made, Socksx)}:
        out.append(Text("The authors' own programs (socksx) were not measured: "
                        + ("they were not among what was asked for." if machine["socksx"] else
                           "SOCKSX_DIR, the folder with their `proxy` and `redirector`, was not given.")))
    if machine["left_out"]:
        out.append(Text(f"{len(machine['left_out'])} measurements were left out, since the time was over: the last rounds of "
                        + ", ".join(sorted({key.partition('/')[0] for key in machine["left_out"]})) + ". The same command goes on with them."))
    return out


def blocks(rows, machine, folder, meaning=None):
    """The whole report; draws the figures on the way. `meaning`: {workload: what it means}, each below its heading."""
    from . import figures  # needs a plotting package, which whoever only reads records does not
    methods = {name: made.method for name, made in competitor.everyone().items()}
    out = preface(machine, {row["title"] for row in rows})
    found, paper = [], figures.Paper(folder, machine)
    for name, module in workload.everyone().items():
        measured = Measured(rows, name)
        if not measured:
            continue
        found.append((module, measured))
        made = figured(name, module, measured, methods, paper, figures)
        out += made[:1] + ([Text(meaning[name])] if meaning and meaning.get(name) else []) + made[1:]
    latencies, rates, compared = (Measured(rows, name) for name in ("latency", "rate", "comparison"))
    if latencies and rates and compared:
        out += table2.section(latencies, rates, compared)
    if found:
        out += losses.section(found)
    out += [Heading("Versions"), Text(", ".join(machine["versions"]))]
    return out


def figured(name, module, measured, methods, paper, figures):
    """A workload's section with its figure, drawn on `paper`."""
    if name == "latency":
        drawn = [figure for figure, in_between in (("fig11", True), ("fig12", False)) if figures.latency_figure(measured, paper, figure, in_between)]
        return latency.section(measured, module, methods, drawn)
    if name == "rate":
        return with_figure(tables.section(measured, module), figures.rate_figure(measured, paper, "fig13"), "fig13",
                           "Fig. 13: requests a second over connections (whiskers: deviation of the runs), and the reduction compared with no proxy.")
    if name == "ablation":
        return with_figure(ablation.section(measured, module), figures.gains_figure(measured, paper, name, ablation.gain, ablation.METRICS), name,
                           "What each idea is worth, alone and with all others.")
    drawn = getattr(module, "FIGURE", True) and figures.generic_figure(measured, paper, name, module)
    return with_figure(tables.section(measured, module), drawn, name, module.TITLE + ".")


def with_figure(section, drawn, name, caption):
    return section[:1] + ([Figure(name, caption)] if drawn else []) + section[1:]


def write_csv(rows, path):
    with open(path, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["workload", "topology", "competitor", "setting", "round", "quantity", "value"])
        for row in rows:
            for quantity, value in row["result"].items():
                out.writerow([row["workload"], row["topology"], row["competitor"], row["setting"], row["round"], quantity, value])


def results(path):
    """Rows of the file `path`; those that mean nothing have an error for a result."""
    return sound(read(path))


def write(folder):
    """Writes all and returns the path of report.html."""
    rows = results(os.path.join(folder, RESULTS))
    with open(os.path.join(folder, MACHINE), encoding="utf-8") as file:
        machine = json.load(file)
    write_csv(rows, os.path.join(folder, "results.csv"))
    with open(os.path.join(folder, "results.json"), "w", encoding="utf-8") as file:
        json.dump({"machine": machine, "results": rows}, file, indent=1)
    made = blocks(rows, machine, folder)
    with open(os.path.join(folder, "report.md"), "w", encoding="utf-8") as file:
        file.write(markdown(made))
    path = os.path.join(folder, "report.html")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page(made, folder))
    return path


__all__ = ["end_half_line", "results", "write"]
