"""What is measured: one Step for each measurement, in the order in which competitors take turns. Pure."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Step:
    workload: str
    competitor: str
    topology: str       # name of Table I, or CP/PS/CS, or "" for links without delay
    setting: int | str  # connections, streams, ...: what the workload's SETTING says
    round: int

    @property
    def key(self):
        return f"{self.workload}/{self.topology}/{self.competitor}/{self.setting}/{self.round}"


@dataclasses.dataclass(frozen=True)
class Lengths:
    """How long and how often. `paper`: the article's own; `full`: within two hours; `quick`: within five minutes."""
    kind: str
    rounds: int
    requests: int        # of httping
    pause_s: float
    seconds: int         # of wrk with Connection: Close
    kept_seconds: int    # of wrk on connections that stay
    connections: tuple   # of wrk with Connection: Close
    article_connections: tuple  # the article's beside them: one run of its own methods and epif
    kept_connections: tuple
    rate_rounds: int
    rate_links: str      # topology of wrk with Connection: Close, unless one is given; "": no delay
    file_mib: int
    transfer_s: float    # a large file takes at most so long
    budget_s: float | None  # what would start later is left out, and the report says so


LENGTHS = {"paper": Lengths("paper", 5, 120, 1.0, 60, 60, (1, 2, 4, 8, 16), (), (1, 2, 4, 8, 16), 5, "1/1/2", 4096, 30, None),
           "full": Lengths("full", 5, 120, 0.05, 6, 4, (1, 16, 64), (2, 4, 8), (16, 64), 5, "", 4096, 3, 6900),
           "quick": Lengths("quick", 1, 12, 0.01, 1, 1, (1, 8, 64), (), (16,), 1, "", 1024, 0.7, 270)}


WORLD_S, PINGED_S = 0.5, 1.9  # to make a world without, and with delays that are checked, and to take it down
TURN_S = 0.3                  # to start and stop a competitor, or to take a step at all


def turns(planned, workloads):
    """The steps in the lists in which they are taken: mostly one; a competitor's in several topologies where they go at once."""
    out = []
    for step in planned:
        last = out[-1] if out else []
        beside = getattr(workloads[step.workload], "BESIDE", 1)
        if last and len(last) < beside and all((s.workload, s.competitor, s.round) == (step.workload, step.competitor, step.round)
                                               and s.topology != step.topology for s in last):
            last.append(step)
        else:
            out.append([step])
    return out


def expected_s(lengths, all_turns, workloads):
    """[seconds that each turn should take], with the worlds that are made for it. What a step takes is its workload's to say; the
    report puts the sum beside what it took."""
    out, standing = [], set()
    for turn in all_turns:
        module, places = workloads[turn[0].workload], {(step.topology, step.round) for step in turn}
        made = set() if getattr(module, "ALONE", False) else places - standing
        standing = standing if getattr(module, "ALONE", False) else places
        shares = lengths.kind == "quick" and getattr(module, "SHARES", False)
        out.append(max(module.seconds(step, lengths) for step in turn) + (0 if shares else TURN_S * len(turn))
                   + sum(PINGED_S if topology else WORLD_S for topology, _ in made))
    return out


# Their runs come first: the second run of all else stands behind their fifth.
MAIN = ("latency", "rate")


def steps(lengths, workloads, topologies, competitors, once_only=()):
    """`workloads`: {name: module}; `once_only`: competitors that one run of each measurement is enough for. By rounds:
    competitors take turns in each (A B C A B C), so that a slow minute of the machine meets all of them, and what a short
    time leaves out are the last rounds. A quick run has one round; there a turn is all that a competitor does under one
    start (workloads that say SHARES)."""
    made = [step for module in workloads.values() for step in module.steps(lengths, topologies, competitors)
            if step.round == 0 or step.competitor not in once_only]
    if lengths.kind == "quick":
        made = _by_turns(made, workloads, competitors)
    return sorted(made, key=lambda step: step.round * (1 if step.workload in MAIN else lengths.rounds))


def _by_turns(made, workloads, competitors):
    shared = [name for name, module in workloads.items() if getattr(module, "SHARES", False)]
    turns = {name: at for at, name in enumerate(competitors)}
    first = next((at for at, step in enumerate(made) if step.workload in shared), 0)
    together = sorted((s for s in made if s.workload in shared), key=lambda s: (s.round, turns[s.competitor]))
    rest = [s for s in made if s.workload not in shared]
    return rest[:first] + together + rest[first:]
