#!/usr/bin/python3
"""How the benchmark goes through its steps: turns, worlds, failures, interrupts, folders. Nothing is measured: no root, no network."""
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import types

from lab import Failure, check, equal, promise, repository, run

sys.path.insert(0, str(repository / "bench"))
import campaign  # noqa: E402
import competitor  # noqa: E402
import measure  # noqa: E402
import preflight  # noqa: E402
import stage  # noqa: E402
import workload  # noqa: E402
from world import Unfit  # noqa: E402


@promise("every workload says how long a step takes, and what is announced of all steps is their sum with the worlds")
def lengths_of_steps():
    names = list(competitor.everyone())
    for kind, lengths in campaign.LENGTHS.items():
        planned = campaign.steps(lengths, workload.everyone(), [], names)
        turns = campaign.turns(planned, workload.everyone())
        equal([step for turn in turns for step in turn], planned, f"{kind}: steps of all turns")
        each = campaign.expected_s(lengths, turns, workload.everyone())
        check(len(each) == len(turns) and all(seconds > 0 for seconds in each), f"{kind}: seconds of each")
    step = campaign.Step("rate", "epif", "", 16, 0)
    full, rate = campaign.LENGTHS["full"], {"rate": workload.everyone()["rate"]}
    equal(campaign.expected_s(full, [[step], [step]], rate), [full.seconds + campaign.TURN_S + campaign.WORLD_S, full.seconds + campaign.TURN_S], "two steps in one world")
    equal(measure.announcement(3, 90, None), "3 measurements, about 90 s", "a short one")
    equal(measure.announcement(3, 9000, 6000), "3 measurements, about 150 minutes; what would start after 100 minutes is left out", "a long one")


def world_that_ends_in(ended):
    """A class for stage.World: nothing is built, and each that ends is in the list `ended`."""
    class World:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            ended.append(self)
    return World


@promise("a competitor is measured at once in several topologies only where its workload says so, and each then has its own result")
def at_once():
    begun, ended = [], []

    def begin(world, rival, step, lengths):
        begun.append(step.topology)
        if step.topology == "docker3":
            raise Unfit("it fell")
        return lambda: {"ms": float(step.topology[-1]), "others": len(begun)}
    apart = types.SimpleNamespace(once=lambda *_: {"ms": 0.0}, RIVALS={"one": competitor.Base})
    beside = types.SimpleNamespace(**vars(apart), begin=begin, BESIDE=3)
    planned = [campaign.Step(kind, "one", topology, 1, 0) for kind in ("beside", "apart") for topology in ("docker1", "docker2", "docker3", "docker4")]
    planned.insert(4, campaign.Step("beside", "one", "docker4", 1, 1))
    made = campaign.turns(planned, {"beside": beside, "apart": apart})
    equal([len(turn) for turn in made], [3, 1, 1, 1, 1, 1, 1], "steps of each turn")
    before = stage.World
    try:
        stage.World = world_that_ends_in(ended)
        on = stage.Stage(types.SimpleNamespace(kind="full", workloads={"beside": beside}, loss=0.0, rate=None), {("workload", "beside"): ""})
        equal(on.take(made[0]), [{"ms": 1.0, "others": 3}, {"ms": 2.0, "others": 3}, {"error": "it fell"}], "results")
        equal(on.take(made[1]), [{"ms": 4.0, "others": 4}], "another topology")
        equal(len(ended), 3, "worlds that are not needed any more")
        on.close()
        equal(len(ended), 4, "all worlds")
    finally:
        stage.World = before


@promise("the full campaign fits into two hours, and the quick one into five minutes, with a tenth to spare")
def in_time():
    everyone = competitor.everyone()
    names = [name for name, made in everyone.items() if made.offered()]
    for kind, most_s in (("full", 7200), ("quick", 300)):
        lengths = campaign.LENGTHS[kind]
        planned = campaign.steps(lengths, workload.everyone(), [], names, [name for name in names if everyone[name].once_only])
        seconds = sum(campaign.expected_s(lengths, campaign.turns(planned, workload.everyone()), workload.everyone()))
        check(seconds < 0.9 * most_s, f"{kind}: {seconds:.0f} s expected")


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
        preflight.note(parent, 10.2, 9.0, 0.5)
        equal(preflight.note(parent, 5.0, 4.0, 0.1), {"spent_s": 15, "expected_s": 13, "busy_before": 0.5}, "time and mood of both parts")
        preflight.describe(os.path.join(parent, "2026-02-02"), [], {"docker1, run 2": "the RTT is off"}, {})
        equal(chosen(), "2026-02-02", "the one that was refused something")
        preflight.describe(os.path.join(parent, "2026-02-02"), ["rate//epif/1/4"], {}, {})
        equal(chosen(), "2026-02-02", "the one that the time did not suffice for")
        preflight.describe(os.path.join(parent, "2026-02-02"), [], {}, {})
        equal(chosen(), "2026-02-03", "none, since all are complete")


@contextlib.contextmanager
def instead_of(owner, **those):
    """Within the block `owner` has `those` attributes."""
    before = {name: getattr(owner, name) for name in those}
    try:
        for name, one in those.items():
            setattr(owner, name, one)
        yield
    finally:
        for name, one in before.items():
            setattr(owner, name, one)


@promise("results name the commit of each part as it was when that part began, and commits that differ do not keep parts apart")
def commits():
    mine = preflight.conditions(kind="quick")
    with tempfile.TemporaryDirectory() as folder:
        for commit in ("abc", "abc", "def-dirty"):
            with instead_of(preflight, commit=lambda: commit):
                preflight.begin(folder, mine)
        equal(preflight.conditions_of(folder), mine, "conditions")
        preflight.describe(folder, [], {}, {})
        with open(os.path.join(folder, "machine.json"), encoding="ascii") as file:
            equal(json.load(file)["commit"], "abc and def-dirty", "commits")


@promise("without git and dpkg-query a campaign is described all the same")
def undescribed():
    with tempfile.TemporaryDirectory() as folder, instead_of(os, environ={**os.environ, "PATH": folder}):
        preflight.begin(folder, {"kind": "quick"})
        preflight.describe(folder, [], {}, {})
        with open(os.path.join(folder, "machine.json"), encoding="ascii") as file:
            machine = json.load(file)
    equal((machine["commit"], machine["versions"]), ("unknown", ["unknown, without dpkg-query"]), "what is known")


@promise("the authors' programs, and all that measures, are among the conditions")
def all_that_measures():
    with tempfile.TemporaryDirectory() as folder, instead_of(os, environ={**os.environ, "SOCKSX_DIR": folder}):
        def digest(text):
            for name in ("proxy", "redirector") if text else ():
                with open(os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o755), "w", encoding="ascii") as file:
                    file.write(text)
            return preflight.conditions()["socksx"]
        seen = [digest(text) for text in ("", "one", "two")]
        check(not seen[0] and len(set(seen)) == 3, f"digests: {seen}")
    names = {os.path.basename(path) for path in preflight._measuring()}
    check({"sink.py", "hold.py", "planner_bench", "socks_bench"} <= names, f"what measures: {sorted(names)}")


@promise("a missing tool is named before anything is tried with it")
def missing_tools():
    def tried():
        raise FileNotFoundError("ip")
    with instead_of(preflight, needs_root=lambda: None, TOOLS=("no-such-tool",)), instead_of(preflight.netem, known=tried):
        try:
            preflight.check({}, {}, [])
        except Unfit as refused:
            check("no-such-tool is missing" in str(refused), str(refused))
        else:
            check(False, "it was not missed")


@promise("words that mean nothing are refused in one line that names them, and results that cannot be written are as well")
def bad_words():
    for words, named in ((["--paper", "--quick"], "not allowed with argument --paper"), (["--rate", "nan"], "--rate nan"), (["--rate", "inf"], "--rate inf"),
                         (["--rate", "0.01"], "--rate 0.01"), (["--rate", "-1"], "--rate -1"), (["--loss", "nan"], "--loss nan"), (["--loss", "100"], "--loss 100")):
        done = subprocess.run([str(repository / "bench/run"), *words], capture_output=True, text=True)
        check(done.returncode == 2 and named in done.stderr and "Traceback" not in done.stderr, f"{words}: {done.returncode} {done.stderr}")
    with tempfile.NamedTemporaryFile() as file:
        for folder, why in ((file.name, "it is a file"), (file.name + "/below", "Not a directory"), ("/proc/bench", "")):
            try:
                preflight.begin(folder, {})
            except Unfit as refused:
                check(f"cannot write results to {folder}" in str(refused) and why in str(refused), str(refused))
            else:
                check(False, f"{folder} was taken")


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
    seen = [on.take([campaign.Step(name, "epif", "", setting, 0)])[0] for name, setting in (("alone", 1), ("absent", 2), ("alone", 3), ("alone", 2))]
    equal(seen, [{"error": "the port is taken"}, {"error": "not installed: podman"}, {"error": "KeyError: 3"}, {"ms": 2.0}], "results")


@promise("where a world is not what it says, nothing is measured and no row tells of a failure; it is named once, and the rest goes on")
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
            pass

    one = types.SimpleNamespace(once=lambda *_: {"ms": 1.0}, RIVALS={"stuck": competitor.Base}, TITLES={"stuck": "Stuck"})
    given = types.SimpleNamespace(kind="full", workloads={"one": one}, loss=0.0, rate=None)
    before = stage.World
    try:
        on = stage.Stage(given, {("workload", "one"): ""})
        stage.World = Broken
        outcome, out, said = measure.Outcome(), io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(said):
            for setting in (1, 2):
                measure.take(on, [campaign.Step("one", "stuck", "docker1", setting, 0)], out, outcome)
        equal((out.getvalue(), outcome.refused), ("", {"docker1, run 1": "the emulator is not ready"}), "rows, and what was refused")
        equal(said.getvalue().count("docker1, run 1: the emulator is not ready"), 1, "how often it is said")
        stage.World = Sound
        measure.take(on, [campaign.Step("one", "stuck", "docker1", 1, 1)], out, outcome)
        equal(json.loads(out.getvalue())["result"], {"ms": 1.0}, "in the next run, whose world is right")
    finally:
        stage.World = before


@promise("an interrupt in the middle of a measurement stays one, and the rival that ran is stopped")
def interrupted():
    stopped = []

    class Rival(competitor.Base):
        def stop(self, world):
            stopped.append(world)

    class Sound:
        def __init__(self, *_):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    def press(*_):
        raise KeyboardInterrupt
    one = types.SimpleNamespace(once=press, SHARES=True, RIVALS={"one": Rival})
    before = stage.World
    try:
        stage.World = Sound
        on = stage.Stage(types.SimpleNamespace(kind="quick", workloads={"one": one}, loss=0.0, rate=None), {("workload", "one"): ""})
        try:
            on.take([campaign.Step("one", "one", "", 1, 0)])
        except KeyboardInterrupt:
            equal(len(stopped), 1, "rivals stopped")
        else:
            check(False, "it went on")
    finally:
        stage.World = before


@promise("a rival that cannot be stopped is no end of the campaign, but of its world")
def stuck():
    gone, before = [], stage.World

    class Stuck(competitor.Base):
        def stop(self, world):
            raise KeyError("gone")
    one = types.SimpleNamespace(once=lambda *_: {"ms": 1.0}, RIVALS={"stuck": Stuck})
    try:
        stage.World = world_that_ends_in(gone)
        on = stage.Stage(types.SimpleNamespace(kind="full", workloads={"one": one}, loss=0.0, rate=None), {("workload", "one"): ""})
        step = campaign.Step("one", "stuck", "", 1, 1)
        with contextlib.redirect_stdout(io.StringIO()):
            equal([on.take([step]), on.take([step])], [[{"ms": 1.0}]] * 2, "results")
        equal(len(gone), 2, "worlds that ended with it")
    finally:
        stage.World = before


if __name__ == "__main__":
    run(needs_root=False)
