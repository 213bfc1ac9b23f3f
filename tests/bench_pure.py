#!/usr/bin/python3
"""What the benchmark computes, without measuring anything: equations, records, turns, tables. No root, no network, no plots."""
import contextlib
import json
import os
import sys
import tempfile
import types

from lab import Failure, check, equal, promise, repository, run

sys.path.insert(0, str(repository / "bench"))
import campaign  # noqa: E402
import competitor  # noqa: E402
import preflight  # noqa: E402
import stage  # noqa: E402
import workload  # noqa: E402
from paper import ideas  # noqa: E402
from paper.published import TABLE_II  # noqa: E402
from paper.topology import PAPER, named, predicted_ms  # noqa: E402
from report import latency, table2, tables  # noqa: E402
from report.document import Bullets, Heading, Table, Text, markdown, page  # noqa: E402
from report.records import Measured, deviation, end_half_line, median, number, off_equation, ratio, read, starved  # noqa: E402
from world import Unfit  # noqa: E402


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
    equal((median([]), deviation([1.0]), deviation([1.0, 3.0]), ratio(1.0, None), ratio(None, 2.0), ratio(1.0, 4.0)),
          (None, None, 1.0, None, None, 0.25), "small cases")
    equal([off_equation(m, 20.0) for m in (17.4, 17.6, 22.4, 22.6)], [True, False, False, True], "1.5 ms plus 5 % around 20 ms")
    equal([starved(v) for v in ([100.0], [100.0, 60.0], [100.0, 40.0])], [False, False, True], "starved baselines")
    equal([number(v) for v in (None, 0.123, 12.34, 12345.6, 5, "x")], ["–", "0.12", "12.3", "12,346", "5", "x"], "for people")


@promise("topologies stand in the order of Table I, settings in the order of their numbers")
def order():
    measured = Measured([row("a", {"rate": 1.0}, t, s, kind="rate") for t in ("docker2", "1/2/3", "docker1") for s in (64, 1, 8)], "rate")
    equal((measured.topologies, measured.settings), (["docker1", "docker2", "1/2/3"], [1, 8, 64]), "order")


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
        equal({s.workload for s in planned}, set(workload.everyone()), f"{kind}: workloads")
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


@promise("an interrupted campaign goes on in its folder, and results of another program or other conditions are never mixed in")
def resumed():
    mine, other = preflight.conditions(kind="quick", loss=0.0), preflight.conditions(kind="quick", loss=1.0)
    with tempfile.TemporaryDirectory() as parent:
        def begun(name, conditions, finished):
            folder = os.path.join(parent, name)
            os.mkdir(folder)
            preflight.begin(folder, conditions)
            if finished:
                with open(os.path.join(folder, "machine.json"), "w", encoding="ascii") as out:
                    out.write("{}")

        def chosen(kind="full", today="2026-02-03"):
            return os.path.basename(preflight.results_folder(parent, kind, today, mine))
        equal(chosen(), "2026-02-03", "the first")
        begun("2026-01-01", mine, True)
        begun("2026-02-01", other, False)
        equal(chosen(), "2026-02-03", "none was interrupted under these conditions")
        begun("2026-01-30-quick", mine, False)
        begun("2026-02-02", mine, False)
        equal(chosen(), "2026-02-02", "the interrupted one")
        equal(chosen("quick"), "2026-01-30-quick", "the interrupted quick one")
        equal(chosen("paper"), "2026-02-03-paper", "another kind")
        begun("2026-02-03-paper", other, True)
        equal(chosen("paper"), "2026-02-03-paper.2", "beside results under other conditions")
        preflight.begin(os.path.join(parent, "2026-02-02"), mine)
        try:
            preflight.begin(os.path.join(parent, "2026-02-02"), other)
        except Unfit as refused:
            check("another loss" in str(refused), str(refused))
        else:
            check(False, "results with another loss were taken")
        check({"program", "benchmark", "socksx"} <= set(mine), f"what must be the same: {sorted(mine)}")
        preflight.note(parent, 10.2, 0.5)
        equal(preflight.note(parent, 5.0, 0.1), {"spent_s": 15, "busy_before": 0.5}, "time and mood of both parts")


@promise("what fails is a row with its reason, what is not there as well, and the rest goes on")
def rows_of_failures():
    class Alone:
        ALONE = True

        @staticmethod
        def once(world, rival, step, lengths):
            if step.setting == 1:
                raise Unfit("the port\n is taken")
            return {"ms": {2: 2.0}[step.setting]}
    given = types.SimpleNamespace(kind="quick", workloads={"alone": Alone, "absent": Alone}, loss=0.0, rate=None)
    lacking = {("workload", "alone"): "", ("workload", "absent"): "not installed: podman"}
    on = stage.Stage(given, lacking)
    seen = [on.take(campaign.Step(name, "epif", "", setting, 0)) for name, setting in (("alone", 1), ("absent", 2), ("alone", 3), ("alone", 2))]
    equal(seen, [{"error": "the port is taken"}, {"error": "not installed: podman"}, {"error": "KeyError: 3"}, {"ms": 2.0}], "results")


@promise("a world that cannot be made, and a rival that cannot be stopped, are no end of the campaign")
def broken_worlds():
    class Broken:
        def __init__(self, *_):
            pass

        def __enter__(self):
            raise Failure("the emulator is not ready")

    class Sound(Broken):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            gone.append(self)

    class Stuck(competitor.Base):
        def stop(self, world):
            raise KeyError("gone")

    one = types.SimpleNamespace(once=lambda *_: {"ms": 1.0}, RIVALS={"stuck": Stuck})
    given = types.SimpleNamespace(kind="full", workloads={"one": one}, loss=0.0, rate=None)
    gone, before = [], stage.World
    try:
        on = stage.Stage(given, {("workload", "one"): ""})
        stage.World = Broken
        equal(on.take(campaign.Step("one", "stuck", "", 1, 0)), {"error": "not measured: the emulator is not ready"}, "without a world")
        stage.World = Sound
        step = campaign.Step("one", "stuck", "", 1, 1)
        equal([on.take(step), on.take(step)], [{"ms": 1.0}] * 2, "with a rival that stays")
        equal(len(gone), 2, "worlds that ended with it")
    finally:
        stage.World = before


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
