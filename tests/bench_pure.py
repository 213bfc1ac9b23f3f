#!/usr/bin/python3
"""What the benchmark computes, without measuring anything: equations, records, turns, tables, one plot. No root, no network."""
import contextlib
import json
import os
import sys
import tempfile
import types

from lab import check, equal, promise, repository, run

sys.path.insert(0, str(repository / "bench"))
import campaign  # noqa: E402
import competitor  # noqa: E402
import netem  # noqa: E402
import report  # noqa: E402
import workload  # noqa: E402
from paper import ideas  # noqa: E402
from paper.published import TABLE_II  # noqa: E402
from paper.topology import PAPER, named, predicted_ms  # noqa: E402
from report import ablation, latency, losses, table2, tables  # noqa: E402
from report.document import Bullets, Heading, Table, Text, markdown, page  # noqa: E402
from report.records import Measured, deviation, end_half_line, median, number, off_equation, ratio, read, starved  # noqa: E402
from report.sound import sound  # noqa: E402


def row(name, value, topology="docker1", setting=1, number_of_round=0, kind="latency", **more):
    result = value if isinstance(value, dict) else {"mean_ms": value}
    return {"key": f"{kind}/{topology}/{name}/{setting}/{number_of_round}", "workload": kind, "topology": topology, "competitor": name,
            "title": name, "setting": setting, "round": number_of_round, "result": result, **more}


@promise("Eq. 6 to 9 and the floor give the article's numbers for each setting of Table I")
def equations():
    wanted = {"docker1": (20, 20, 30, 25, 10), "docker2": (30, 30, 40, 35, 15), "docker3": (30, 30, 50, 40, 15),
              "docker4": (2, 4, 6, 5, 2), "docker5": (10, 20, 30, 25, 10), "docker6": (20, 40, 60, 50, 20)}
    for topology in PAPER:
        seen = tuple(predicted_ms(method, topology) for method in ("none", "nginx", "socks5", "socks6", "floor"))
        equal(seen, wanted[topology.name], topology.text())
    equal([t.in_between for t in PAPER], [True] * 3 + [False] * 3, "which are in between")
    equal(predicted_ms("", PAPER[0]), None, "a method without an equation")


@promise("a topology is one of Table I or CP/PS/CS in ms; anything else is named")
def topologies():
    own = named("3/4/7.5")
    equal((own.cp, own.ps, own.cs, own.floor), (3, 4, 7.5, 7), "3/4/7.5")
    for wrong in ("docker7", "1/2", "1/2/x", "-1/2/3", "nan/1/1", "inf/1/1"):
        try:
            named(wrong)
        except SystemExit as refused:
            check(wrong in str(refused), f"{wrong}: {refused}")
        else:
            check(False, f"{wrong} was taken")


@promise("records survive a stop in the middle of a line, and a later attempt takes the place of an earlier one")
def records():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "results.jsonl")
        equal(read(path), [], "no file")
        with open(path, "w", encoding="utf-8") as file:
            for one in (row("a", {"error": "it fell"}), row("b", 2.0), row("a", 1.0)):
                file.write(json.dumps(one) + "\n")
            file.write('{"key": "latency/docker1/c')
        with open(path, "a+", encoding="utf-8") as file:
            end_half_line(file)
            end_half_line(file)
            file.write(json.dumps(row("d", 4.0)) + "\n")
        equal({r["competitor"]: r["result"] for r in read(path)}, {"a": {"mean_ms": 1.0}, "b": {"mean_ms": 2.0}, "d": {"mean_ms": 4.0}}, "rows")


@promise("medians, spread, ratios and the verdicts on them are right, and nothing measured is no number")
def numbers():
    measured = Measured([row("direct", v, number_of_round=i) for i, v in enumerate((20.0, 21.0, 25.0))] + [row("epif", {"error": "x"})], "latency")
    equal(measured.median("direct", "docker1", 1, "mean_ms"), 21.0, "median")
    equal(measured.median("epif", "docker1", 1, "mean_ms"), None, "median of a failure")
    equal(measured.error("epif", "docker1", 1), "x", "its reason")
    equal((median([]), deviation([1.0]), round(deviation([1.0, 3.0]), 3), ratio(1.0, None), ratio(None, 2.0), ratio(1.0, 4.0)),
          (None, None, 1.414, None, None, 0.25), "small cases")
    equal([off_equation(m, 20.0) for m in (17.4, 17.6, 22.4, 22.6)], [True, False, False, True], "1.5 ms plus 5 % around 20 ms")
    equal([starved(v) for v in ([100.0], [100.0, 60.0], [100.0, 40.0])], [False, False, True], "starved baselines")
    equal([number(v) for v in (None, 0.123, 12.34, 12345.6, 5, "x")], ["–", "0.12", "12.3", "12,346", "5", "x"], "for people")


@promise("topologies stand in the order of Table I, settings in the order of their numbers")
def order():
    measured = Measured([row("a", {"rate": 1.0}, t, s, kind="rate") for t in ("docker2", "1/2/3", "docker1") for s in (64, 1, 8)], "rate")
    equal((measured.topologies, measured.settings), (["docker1", "docker2", "1/2/3"], [1, 8, 64]), "order")


@promise("--paper has the article's own lengths: 1 s apart, 1 minute, 1 to 16 connections, 5 runs, links of 1/1/2 ms")
def own_lengths():
    paper = campaign.LENGTHS["paper"]
    equal((paper.requests, paper.pause_s, paper.rounds, paper.seconds, paper.rate_rounds, paper.connections, paper.rate_links),
          (120, 1.0, 5, 60, 5, (1, 2, 4, 8, 16), "1/1/2"), "lengths")
    made = [step for step in workload.everyone()["rate"].steps(paper, [], ["epif"])]
    equal({step.topology for step in made}, {"1/1/2"}, "links of Fig. 13")
    equal({step.topology for step in workload.everyone()["rate"].steps(paper, ["docker1"], ["epif"])}, {"docker1"}, "those asked for")


@promise("netem delays each end of a link by half of its RTT, and has the loss and the rate that were asked for")
def delayed():
    equal(" ".join(netem.tc("n", "cp", 5.0)), "tc -n n qdisc replace dev cp root netem limit 100000 delay 2.5ms", "a delay alone")
    check(" ".join(netem.tc("n", "cp", 10.0, 0.005, 200)).endswith("delay 5ms loss 0.5% rate 200mbit"), "with loss and rate")


@promise("every workload makes steps with keys of their own, in rounds in which competitors take turns")
def turns():
    names = list(competitor.everyone())
    for kind, lengths in campaign.LENGTHS.items():
        equal(lengths.kind, kind, "kind")
        planned = campaign.steps(lengths, workload.everyone(), [], names)
        keys = [step.key for step in planned]
        equal(len(set(keys)), len(keys), f"{kind}: keys that differ")
        for name in campaign.MAIN:
            rounds = [s.round for s in planned if s.workload == name]
            equal(rounds, sorted(rounds), f"{kind}: rounds of {name} in order")
        without = {"steady"} if kind == "quick" else set()  # a minute is not quick
        equal({s.workload for s in planned}, set(workload.everyone()) - without, f"{kind}: workloads")
        first = [s.competitor for s in planned if s.workload == "latency" and s.topology == "docker1" and s.round == 0]
        equal(first, names, f"{kind}: a turn each")
        ones = campaign.steps(lengths, workload.everyone(), [], names, ["epif"])
        equal({s.round for s in ones if s.competitor == "epif"}, {0}, f"{kind}: rounds of what is measured once")
        equal({s.topology for s in planned if s.workload == "latency"}, {t.name for t in PAPER}, f"{kind}: topologies")
    for module in workload.everyone().values():
        check(module.TITLE and module.COLUMNS and module.__doc__, f"{module.__name__} says what it is")


@promise("narrowed steps stay inside of what was asked for")
def narrowed():
    chosen = {"latency": workload.everyone()["latency"]}
    planned = campaign.steps(campaign.LENGTHS["quick"], chosen, ["docker3", "1/2/3"], ["direct", "epif"])
    equal({(s.workload, s.topology, s.competitor) for s in planned},
          {("latency", t, c) for t in ("docker3", "1/2/3") for c in ("direct", "epif")}, "steps")


@promise("without epif no step is of epif's own parts")
def others_alone():
    for kind, lengths in campaign.LENGTHS.items():
        planned = campaign.steps(lengths, workload.everyone(), [], ["nginx_http", "direct"])
        equal({step.competitor for step in planned}, {"nginx_http", "direct"}, f"{kind}: who is measured")


@promise("the article's own methods and epif are measured with its numbers of connections; what was not, or by few, stands in the report")
def numbers_of_connections():
    rate = workload.everyone()["rate"]
    made = campaign.steps(campaign.LENGTHS["full"], {"rate": rate}, [], ["direct", "epif", "stunnel"])
    equal({s.setting for s in made if s.competitor == "epif"}, {1, 2, 4, 8, 16, 64}, "epif's")
    equal({s.setting for s in made if s.competitor == "stunnel"}, {1, 16, 64}, "a peer's")
    equal({s.round for s in made if s.setting == 4}, {0}, "runs of what is the article's alone")
    rows = [row(s.competitor, {"rate": 1.0}, "", s.setting, s.round, "rate") for s in made]
    equal(rate.remarks(Measured(rows, "rate")), ["The article's methods and epif alone were measured with 2, 4, 8 connections, in one run."], "all of them")
    said = rate.remarks(Measured([r for r in rows if r["setting"] in (1, 16, 64)], "rate"))
    equal(said, ["Of the article's numbers of connections these were not measured: 2, 4, 8."], "some of them")


@promise("a minute's first and last ten seconds are compared for epif with 16 and 64 connections, new and kept, in full campaigns alone")
def for_a_minute():
    module = workload.everyone()["steady"]
    equal(campaign.steps(campaign.LENGTHS["quick"], {"steady": module}, [], ["epif"]), [], "in a quick one")
    made = campaign.steps(campaign.LENGTHS["full"], {"steady": module}, [], ["direct", "epif"])
    equal([(s.competitor, s.setting) for s in made], [("epif", word) for word in ("new, 16", "new, 64", "kept, 16", "kept, 64")], "its steps")
    equal([module.seconds(s, campaign.LENGTHS["full"]) for s in made], [60] * 4, "what each should take")
    seen = module.shares([(0.0, 1000), (10.0, 3000), (50.0, 9000), (60.0, 10_000)], 11_000, 100)
    equal((seen["first"], seen["last"], seen["ratio"]), (2.0, 1.0, 0.5), "100 requests of 100 bytes each")
    told = markdown(tables.section(Measured([row("epif", seen, "", "new, 16", kind="steady")], "steady"), module))
    check("last / first" in told and "0.50" in told, told)


@promise("a function that is not built in is named in the report")
def not_built_in():
    chain = workload.everyone()["chain"]
    check("DPI" in markdown(tables.section(Measured([row("audit", {"rate": 1.0}, "", 1, kind="chain")], "chain"), chain)), "it is not named")
    equal(chain.remarks(Measured([row("dpi", {"rate": 1.0}, "", 1, kind="chain")], "chain")), [], "where it is there")


@promise("what was measured beside a starved baseline is void in that place and run alone, and an upload that no server read is an error")
def no_sense():
    def rate(name, value, setting=1, run=0):
        return row(name, value, "", setting, run, "rate")
    starved_rows = [rate("direct", {"error": "void: its ports were used up"}), rate("epif", {"rate": 9.0}), rate("epif", {"rate": 5.0}, run=1),
                    rate("direct", {"rate": 6.0}, run=1), rate("nginx_http", {"error": "it fell"}), rate("epif", {"rate": 7.0}, setting=8)]
    found = Measured(sound(starved_rows), "rate")
    equal((found.values("epif", "", 1, "rate"), found.values("epif", "", 8, "rate")), ([5.0], [7.0]), "what counts")
    equal((found.error("epif", "", 1), found.error("nginx_http", "", 1)), ("void: its ports were used up", "it fell"), "reasons")
    held_up = [rate(name, {"rate": value}, run=run) for run, factor in enumerate((0.25, 1.0, 1.25)) for name, value in (("direct", 100 * factor), ("epif", 50 * factor))]
    found = Measured(sound(held_up), "rate")
    equal((found.values("direct", "", 1, "rate"), found.values("epif", "", 1, "rate")), ([100.0, 125.0], [50.0, 62.5]), "runs in which nothing held no proxy up")
    check("void" in found.error("epif", "", 1), "why the other run does not count")
    large = [row(name, {"mbit_s": 1.0, "cpu_s_gib of client/curl": 1.0, "cpu_s_gib of server/nginx": cpu, **more}, "", way, kind="throughput")
             for name, way, cpu, more in (("a", "2 streams up", 0.0, {}), ("b", "2 streams up", 0.1, {}), ("c", "2 streams down", 0.0, {}),
                                          ("d", "2 streams up", 0.0, {"arrived": 1.0}))]
    equal([r["result"].get("error", "") for r in sound(large)], ["the upload ended at the proxy: the server used no CPU", "", "", ""], "uploads")


@promise("no ratio to a baseline whose runs differ by more than a factor of two is given")
def starved_ratio():
    rows = [row(n, {"rate": v}, "", 8, i, "rate") for n, runs in {"direct": (100.0, 30.0), "epif": (50.0, 50.0)}.items() for i, v in enumerate(runs)]
    equal(tables.cell(Measured(rows, "rate"), "epif", "", 8, "rate", with_ratio=True), "50 ± 0", "cell")


@promise("whoever is ahead of epif is named for each number, by its own better direction, and so is what epif failed at")
def behind():
    module = types.SimpleNamespace(TITLE="Title", SETTING="connections", COLUMNS={"rate": "/s", "cpu_us": "µs", "reached": "of 8"})
    rows = [row(n, result, "", 8, kind="rate") for n, result in {
        "direct": {"rate": 90.0}, "epif": {"rate": 10.0, "cpu_us": 20.0, "reached": 0}, "a": {"rate": 20.0, "cpu_us": 30.0, "reached": 0},
        "b": {"rate": 10.2, "cpu_us": 5.0, "reached": 8}, "epif_clear": {"rate": 99.0}}.items()]
    equal(losses.lines(module, Measured(rows, "rate")), ["Title (/s): 8 connections: a 2.00", "Title (µs): 8 connections: b 4.00",
                                                         "Title (of 8): 8 connections: b inf"], "losses")
    rows = [row("epif", {"error": why}, "", s, kind="rate") for s, why in ((8, "it fell"), (16, "it fell"), (32, "void: ports"))] + rows[2:3]
    equal(losses.lines(module, Measured(rows, "rate")), ["Title: epif failed at 8 connections; 16 connections: it fell"], "failures")


@promise("a line switches one idea: on for it alone, off for all others; a switch that the program lacks is named")
def switches():
    known = frozenset(s for idea in ideas.IDEAS for words in (idea.redirect_on, idea.redirect_off, idea.proxy_on, idea.proxy_off)
                      for s in words if s.startswith("--"))
    off, _, route = ideas.words((), "tls", known, known)
    check("--no-false-start" in off and off[off.index("--warm") + 1] == "0" and not route, f"all off: {off} {route}")
    warm, _, _ = ideas.words(("warm-pool",), "tls", known, known)
    equal(warm[warm.index("--warm") + 1], "8", "the warm pool alone")
    check("--no-false-start" in warm, "and nothing else")
    _, _, route = ideas.words(("pre-connect",), "tls", known, known)
    equal(route, {"preconnect": 8}, "a field of the route")
    splice = next(idea for idea in ideas.IDEAS if idea.name == "splice")
    equal(ideas.unknown(splice, known, known), [], "all known")
    check("--splice" in " ".join(ideas.unknown(splice, frozenset(), frozenset())), "an unknown switch")
    equal(ideas.words((), "clear", frozenset(), frozenset()), ([], [], {}), "nothing that the program would refuse")


@promise("all together holds no idea that takes the place of others, and says so")
def together():
    made = workload.everyone()["ablation"].RIVALS["clear-all"]
    check("warm-pool" in made.on and "trunk" in made.on and "fast-open" not in made.on, f"all on: {made.on}")
    equal(made.title, "clear: all on but Fast Open", "title")
    equal(workload.everyone()["ablation"].RIVALS["tls-all"].title, "TLS: all on", "title where nothing is left out")


@promise("what lies off its equation stands in the report, and so does what is not slower than no proxy")
def verdicts():
    rows = [row(n, v) for n, v in (("direct", 20.5), ("socks6_plain", 21.0), ("nginx_http", 20.9), ("epif", 10.6))]
    measured = Measured(rows, "latency")
    lines, off = latency.against_equations(measured, {"direct": "none", "socks6_plain": "socks6", "nginx_http": "nginx", "epif": ""})
    equal((len(lines), [line[0] for line in off]), (3, ["socks6_plain"]), "rows of the check")
    equal(len(latency.below_no_proxy(measured)), 1, "who is not slower")
    check(abs(latency.delta(measured, "epif", "docker1") + 9.9) < 1e-9, "its difference")


@promise("Table II ticks the best and those as good, and nobody where all are equal")
def ticks():
    equal(table2.winners({"NGINX": 1.0, "SOCKS5": 9.0, "SOCKS6": 5.0}, True, list(TABLE_II["dynamicity"]) + ["NGINX"]), ["NGINX"], "less is better")
    equal(set(table2.winners({"a": 8, "b": 8, "c": 1}, False, ("a", "b", "c"))), {"a", "b"}, "two as good")
    equal(table2.winners({"a": 8, "b": 8}, False, ("a", "b")), [], "all equal")
    equal(table2.winners({"a": None}, False, ("a",)), [], "nothing measured")


@promise("where more comes through a proxy than without any, the page says that the ratios there are worth nothing")
def doubts():
    def said(quantity, ours):
        rows = [row(n, {quantity: v}, "", 8, kind="rate") for n, v in (("direct", 100.0), ("epif", ours))]
        return " ".join(block.text for block in tables.doubtful(Measured(rows, "rate"), quantity))
    check("Doubtful" in said("rate", 150.0) and "epif" in said("rate", 150.0), said("rate", 150.0))
    equal((said("rate", 110.0), said("mean_ms", 150.0)), ("", ""), "no reason for doubt")


@promise("an error is a row and a reason, and tables of every shape come out")
def shapes():
    class Module:
        TITLE, SETTING, COLUMNS = "Title", "connections", {"rate": "requests/s", "cpu_us": "CPU"}
    rows = [row(n, {"rate": 10.0 * s, "cpu_us": None if n == "direct" else 5.0}, "", s, kind="rate") for n in ("direct", "epif") for s in (1, 8)]
    rows.append(row("broken", {"error": "no | port"}, "", 1, kind="rate"))
    for chosen in (rows, [r for r in rows if r["setting"] == 1], [r for r in rows if r["competitor"] == "epif"], rows[-1:]):
        text = markdown(tables.section(Measured(chosen, "rate"), Module))
        check("## Title" in text and "|" in text, text)
        check("broken" not in str(chosen) or "failed" in text and "no | port" in text, text)


def titled(**tables_of):
    return types.SimpleNamespace(TITLE="Title", NOTE="", SETTING="", **tables_of)


@promise("every table of a report with several runs says how far they differ: also what is added, each idea, and Table II")
def spreads():
    latencies = Measured([row(n, v, number_of_round=i) for n, values in {"direct": (20.0, 22.0), "epif": (25.0, 26.0), "socks6_plain": (26.0, 28.0),
                                                                         "socks5_plain": (31.0, 32.0), "nginx_http": (22.0, 22.4)}.items()
                          for i, v in enumerate(values)], "latency")
    equal(latency.overhead_rows(latencies)[0], ["epif", "4.50 ± 0.71"], "Δt of two runs, each against no proxy of the same run")
    lines, _ = latency.against_equations(latencies, {"socks6_plain": "socks6"})
    equal(lines[0][4], "27.00 ± 1.41", "beside the equations")
    rates = Measured([row(n, {"rate": v}, "", 8, i, "rate") for n in ("direct", "epif", "nginx_http", "socks5_plain", "socks6_plain")
                      for i, v in enumerate((100.0, 120.0))], "rate")
    tried = Measured([row(n, {"ports": 1, "reconfigure_ms": v, "reached": 8, "stranger_refused": 1, "unchanged_passes": 1}, "", 1, i, "comparison")
                      for n in ("nginx", "socks5", "socks6", "epif") for i, v in enumerate((10.0, 30.0))], "comparison")
    text = markdown(table2.section(latencies, rates, tried))
    check("110 ± 14.1 /s" in text.replace("/s", " /s").replace("  ", " ") and "20 ± 14.1 ms" in text and "4.50 ± 0.71 ms" in text, text)
    ideas_seen = Measured([row(n, {"mean_ms": v}, "docker5", "latency", i, "ablation") for n in ("tls-off", "tls-warm-pool")
                           for i, v in enumerate((30.0, 32.0))], "ablation")
    text = markdown(ablation.section(ideas_seen, titled(COLUMNS={"mean_ms": "ms", "rate": "/s", "cpu_us": "µs", "mbit_s": "Mbit/s"})))
    check("31 ± 1.41 |" in text, text)


@promise("figures are drawn of a single run, too, which has no spread")
def single_runs():
    from report import figures  # the plotting package takes its time: only here
    once = Measured([row(n, v) for n, v in {"direct": 20.0, "epif": 11.0}.items()], "latency")
    with tempfile.TemporaryDirectory() as folder:
        paper = figures.Paper(folder, {"processor": "a CPU", "cores": 2, "memory": "4 GiB", "kernel": "6.1", "libc": "glibc", "commit": "abc",
                                       "kind": "quick", "versions": []})
        check(figures.latency_figure(once, paper, "fig11", True), "nothing was drawn")
        rates = Measured([row(n, {"rate": v}, "", 8, kind="rate") for n, v in {"direct": 20.0, "epif": 11.0}.items()], "rate")
        check(figures.rate_figure(rates, paper, "fig13"), "nothing was drawn of rates")
        equal(sorted(os.listdir(folder)), ["fig11.png", "fig11.svg", "fig13.png", "fig13.svg"], "files")


@promise("the CPU and memory of each process stand in a table of their own, a row for each process of each method")
def processes():
    rows = [row(n, {"mbit_s": 10.0, **{f"cpu_s_gib of {p}": 0.5 * (i + 1) for i, p in enumerate(found)}}, "", way, kind="throughput")
            for n, found in {"direct": ("client/curl",), "epif": ("client/curl", "proxy/epif-proxy")}.items() for way in ("down", "up")]
    text = markdown(tables.section(Measured(rows, "throughput"), titled(COLUMNS={"mbit_s": "Mbit/s"}, PARTS={"cpu_s_gib of ": "Of each"})))
    for line in ("| method | process | down | up |", "| direct | client/curl | 0.50 | 0.50 |", "| epif | client/curl | 0.50 | 0.50 |",
                 "| epif | proxy/epif-proxy | 1 | 1 |"):
        check(line in text, f"{line}: {text}")


@promise("a report says on what it was measured, how long it took and should have, what was refused, and why SOCKS plain has threads")
def prefaces():
    machine = {"processor": "a CPU", "cores": 2, "memory": "4 GiB", "kernel": "6.1", "libc": "glibc", "commit": "abc", "kind": "quick", "spent_s": 100,
               "expected_s": 90, "socksx": False, "left_out": [], "delay": "tc netem", "refused": {"docker1, run 1": "the RTT is 9 ms, not 5 ms"}, "versions": ["wrk 4"]}
    text = markdown(report.preface(machine, {"SOCKS5 plain"}))
    for words in ("a CPU, 2 cores, 4 GiB, kernel 6.1, glibc; commit abc; lengths: quick", "took 100 s, and was expected to take 90 s",
                  "docker1, run 1: the RTT is 9 ms, not 5 ms", "a thread for each core as well", "no spread"):
        check(words in text, f"{words}: {text}")
    check("SOCKSX_DIR" in text and "SOCKSX_DIR" not in markdown(report.preface(machine, {"SOCKS6, authors' socksx"})), "whether the authors' were measured")
    check("not among what was asked for" in markdown(report.preface({**machine, "socksx": "abc"}, {"epif"})), "why they were not")
    check("a thread for each core" not in markdown(report.preface({**machine, "kind": "full"}, {"epif"})), "a note on who was not measured")


@promise("a run that failed among others that went well is told beside their median")
def some_runs():
    rows = [row("epif", {"rate": 10.0}, "", 8, 0, kind="rate"), row("epif", {"error": "it fell"}, "", 8, 1, kind="rate")]
    said = markdown(tables.failures(Measured(rows, "rate")))
    check("epif: failed in some runs at 8: it fell" in said, said)


@promise("a report is one page that needs nothing beside itself, and no name in it becomes markup")
def rendering():
    with tempfile.TemporaryDirectory() as folder:
        made = page([Heading("A & B", 1), Text("<script>"), Bullets(["x<y"]), Table(["a|b"], [["1"], ["<i>"]])], folder)
    check("<script>" not in made and "&lt;script&gt;" in made and "x&lt;y" in made and "&lt;i&gt;" in made, made)
    check("src=" not in made and "href=" not in made, "it needs nothing")
    check("a\\|b" in markdown([Table(["a|b"], [["1"]])]), "a bar inside of a cell")


@promise("the authors' programs are offered when their folder is given, and what is missing in it is named")
def authors():
    made = competitor.everyone()["socksx6"]
    before = os.environ.pop("SOCKSX_DIR", None)
    try:
        check(not made.offered() and "SOCKSX_DIR" in made().missing()[0], "without the folder")
        with tempfile.TemporaryDirectory() as folder:
            os.environ["SOCKSX_DIR"] = folder
            check(made.offered() and len(made().missing()) == 2, "an empty folder")
            for name in ("proxy", "redirector"):
                with open(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT, 0o755), "w", encoding="ascii") as file:
                    file.write("#!/bin/sh\n")
            equal(made().missing(), [], "both are there")
    finally:
        with contextlib.suppress(KeyError):
            del os.environ["SOCKSX_DIR"]
        if before is not None:
            os.environ["SOCKSX_DIR"] = before


if __name__ == "__main__":
    run(needs_root=False)
