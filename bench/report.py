"""Tables and figures from results.jsonl: report.md, figures (SVG and PNG), results.csv. No number is typed by hand."""
import collections
import csv
import json
import os
import statistics

from paper.topology import PAPER, named, predicted_ms


def read(folder):
    with open(os.path.join(folder, "results.jsonl"), encoding="utf-8") as file:
        rows = {row["key"]: row for row in map(json.loads, file)}  # a later attempt takes the place of an earlier one
    return list(rows.values())


def gathered(rows, workload, value):
    """{(topology, setting): {competitor: [values of the rounds]}} and {competitor: title}, {competitor: error}."""
    found, titles, errors = collections.defaultdict(dict), {}, {}
    for row in rows:
        if row["workload"] != workload:
            continue
        titles[row["competitor"]] = row["title"]
        if "error" in row["result"]:
            errors[row["competitor"]] = row["result"]["error"]
        else:
            found[(row["topology"], row["setting"])].setdefault(row["competitor"], []).append(row["result"][value])
    return found, titles, errors


def table(head, lines):
    return ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)] + ["| " + " | ".join(line) + " |" for line in lines] + [""]


def spread(values):
    return f" ± {statistics.pstdev(values):.2f}" if len(values) > 1 else ""


def latency(rows, competitors):
    found, titles, errors = gathered(rows, "latency", "mean_ms")
    if not titles:
        return []
    order = [t for t in dict.fromkeys([p.name for p in PAPER] + [key[0] for key in found]) if (t, 1) in found]
    out = ["## Latency of one HTTP request on a new connection, ms (Fig. 11 and 12)", "",
           "Mean of the requests of a run; median of the runs ± their standard deviation. Floor: RTT_CP + RTT_PS.", ""]
    head = ["method", *[named(t).text() for t in order]]
    lines = [["*floor*", *[f"{named(t).floor:g}" for t in order]]]
    for name, title in titles.items():
        cells = []
        for topology in order:
            values = found[(topology, 1)].get(name)
            cells.append(f"{statistics.median(values):.2f}{spread(values)}" if values else "failed")
        lines.append([title, *cells])
    out += table(head, lines)
    lines = []
    for name, title in titles.items():
        method = competitors[name].method if name in competitors else ""
        if not method:
            continue
        for topology in order:
            values, wanted = found[(topology, 1)].get(name), predicted_ms(method, named(topology))
            if values and abs(statistics.median(values) - wanted) > 1.5 + 0.05 * wanted:
                lines.append([title, named(topology).text(), f"{wanted:.1f}", f"{statistics.median(values):.2f}"])
    out += ["Against Eq. 6 to 9, outside of 1.5 ms plus 5 %:", ""]
    out += table(["method", "topology", "predicted", "measured"], lines) if lines else ["none.", ""]
    return out + failures(errors)


def rates(rows, workload, heading):
    found, titles, errors = gathered(rows, workload, "rate")
    if not titles:
        return []
    settings = sorted(key[1] for key in found)
    lines = []
    for name, title in titles.items():
        cells = []
        for setting in settings:
            values, base = found[("", setting)].get(name), found[("", setting)].get("direct")
            ratio = f" ({statistics.median(values) / statistics.median(base):.2f})" if values and base else ""
            cells.append(f"{statistics.median(values):,.0f}{ratio}" if values else "failed")
        lines.append([title, *cells])
    return [f"## {heading}", "", "Median of the runs; in brackets the ratio to no proxy in the same rounds.", ""] + \
        table(["method", *[f"{s} connections" for s in settings]], lines) + failures(errors)


def throughput(rows):
    found, titles, errors = gathered(rows, "throughput", "mbit_s")
    cpu, _, _ = gathered(rows, "throughput", "cpu_s_per_gib")
    if not titles:
        return []
    lines = []
    for name, title in titles.items():
        for key, of in found.items():
            if name in of:
                used = [sum(one.values()) for one in cpu[key][name]]
                lines.append([title, f"{statistics.median(of[name]):,.0f}", f"{statistics.median(used):.2f}"])
    return ["## Throughput of large files, two streams", ""] + table(["method", "Mbit/s", "CPU s per GiB, proxies"], lines) + failures(errors)


def failures(errors):
    return [f"- {name}: {why}" for name, why in errors.items()] + ([""] if errors else [])


def figures(rows, folder):
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plot
    made = []

    def save(name):
        for kind in ("svg", "png"):
            plot.savefig(os.path.join(folder, f"{name}.{kind}"), bbox_inches="tight")
        plot.close()
        made.append(name)

    found, titles, _ = gathered(rows, "latency", "mean_ms")
    for name, chosen in (("fig11", [t for t in PAPER if t.in_between]), ("fig12", [t for t in PAPER if not t.in_between])):
        chosen = [t for t in chosen if found.get((t.name, 1), {}).get("direct")]
        rivals = [c for c in titles if c != "direct"]
        if not chosen:
            continue
        plot.figure(figsize=(10, 4.5))
        width = 0.8 / max(len(rivals), 1)
        for i, rival in enumerate(rivals):
            heights = [statistics.median(found[(t.name, 1)].get(rival, [float("nan")])) - statistics.median(found[(t.name, 1)]["direct"]) for t in chosen]
            plot.bar([x + i * width for x in range(len(chosen))], heights, width, label=titles[rival])
        plot.axhline(0, color="black", linewidth=0.8)
        plot.xticks([x + 0.4 for x in range(len(chosen))], [t.text() for t in chosen])
        plot.ylabel("added to no proxy, ms")
        plot.legend(fontsize=7, ncol=3)
        save(name)
    for name, workload in (("fig13", "rate"), ("keepalive", "keepalive")):
        found, titles, _ = gathered(rows, workload, "rate")
        settings = sorted(key[1] for key in found)
        if not settings:
            continue
        plot.figure(figsize=(8, 5))
        for rival, title in titles.items():
            plot.plot(settings, [statistics.median(found[("", s)].get(rival, [float("nan")])) for s in settings], marker="o", label=title)
        plot.xlabel("connections")
        plot.ylabel("requests a second")
        plot.legend(fontsize=7)
        save(name)
    return made


def write(folder):
    """Writes all and returns the report's path."""
    import competitor
    rows = read(folder)
    with open(os.path.join(folder, "machine.json"), encoding="utf-8") as file:
        machine = json.load(file)
    with open(os.path.join(folder, "results.csv"), "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["workload", "topology", "competitor", "setting", "round", "quantity", "value"])
        for row in rows:
            for quantity, value in row["result"].items():
                out.writerow([row["workload"], row["topology"], row["competitor"], row["setting"], row["round"], quantity, value])
    drawn = figures(rows, folder)
    lines = ["# Measured", "", f"{machine['processor']}, {machine['cores']} cores, kernel {machine['kernel']}, commit {machine['commit']}, "
             f"lengths: {machine['kind']}.", "", f"Client, proxy and server share these {machine['cores']} cores: a rate is also a measure of the "
             "CPU that client and server leave.", ""]
    lines += latency(rows, competitor.everyone())
    lines += rates(rows, "rate", "New connections: requests a second with `Connection: Close` (Fig. 13)")
    lines += rates(rows, "keepalive", "Kept alive: requests a second")
    lines += throughput(rows)
    lines += [f"![{name}]({name}.svg)\n" for name in drawn]
    if not os.environ.get("SOCKSX_DIR"):
        lines += ["The authors' own programs (socksx) were not measured: SOCKSX_DIR is not set.", ""]
    lines += ["Versions: " + ", ".join(machine["versions"]), ""]
    path = os.path.join(folder, "report.md")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return path
