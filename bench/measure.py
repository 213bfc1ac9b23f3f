"""Takes a campaign's steps, writes each result as it comes, and says how far it is."""
import dataclasses
import json
import sys
import time

import campaign
import competitor
import report
from stage import Refused


@dataclasses.dataclass
class Outcome:
    """Filled as it goes on, so that an interrupted part counts as well."""
    expected_s: float = 0.0                             # what the steps that were taken should have taken
    left_out: list = dataclasses.field(default_factory=list)  # keys that the time did not suffice for
    refused: dict = dataclasses.field(default_factory=dict)   # {"docker1, run 2": why nothing is measured there}


def measure(on, planned, path, outcome):
    """Takes those of the steps `planned` on the stage `on` that the file `path` does not have yet."""
    done = {row["key"] for row in report.results(path) if "error" not in row["result"]}
    left, started = [step for step in planned if step.key not in done], time.monotonic()
    if done and left:
        print(f"{len(planned) - len(left)} of {len(planned)} are there already; the rest follows")
    turns = campaign.turns(left, on.workloads)
    each = campaign.expected_s(on.lengths, turns, on.workloads)
    print(announcement(len(left), sum(each), on.lengths.budget_s), flush=True)
    with open(path, "a+", encoding="utf-8") as out:
        report.end_half_line(out)
        try:
            for number, (turn, expected) in enumerate(zip(turns, each)):
                spent = time.monotonic() - started
                if on.lengths.budget_s and spent > on.lengths.budget_s:
                    outcome.left_out += [step.key for later in turns[number:] for step in later]
                    break
                take(on, turn, out, outcome)
                outcome.expected_s += expected
                if sys.stdout.isatty() or number % 10 == 0:
                    print(f"{number + 1}/{len(turns)} {spent:.0f} of about {sum(each):.0f} s  {', '.join(step.key for step in turn)}", flush=True)
        finally:
            on.close()


def take(on, turn, out, outcome):
    for step, result in zip(turn, on.take(turn)):
        if isinstance(result, Refused):
            refuse(f"{step.topology or 'without delay'}, run {step.round + 1}", str(result), outcome)
        else:
            write(out, on, step, result)


def refuse(place, why, outcome):
    if place not in outcome.refused:
        outcome.refused[place] = why
        print(f"bench: refused to measure {place}: {why}", flush=True)


def write(out, on, step, result):
    out.write(json.dumps({"key": step.key, "workload": step.workload, "topology": step.topology, "competitor": step.competitor,
                          "title": title(on.workloads[step.workload], step.competitor), "setting": step.setting, "round": step.round,
                          "result": result}) + "\n")
    out.flush()


def title(module, name):
    rows = getattr(module, "TITLES", {})
    return rows[name] if name in rows else competitor.everyone()[name].title


def announcement(steps, seconds, budget_s):
    """What is ahead, for whoever has just started it."""
    if not steps:
        return "all measurements are there"
    long = f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} s"
    over = budget_s is not None and seconds > budget_s
    return f"{steps} measurement{'s' if steps > 1 else ''}, about {long}" + (f"; what would start after {budget_s / 60:.0f} minutes is left out" if over else "")
