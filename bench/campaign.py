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
    seconds: int         # of wrk
    connections: tuple   # of wrk with Connection: Close
    kept_connections: tuple
    rate_rounds: int
    file_mib: int
    transfer_s: float    # a large file takes at most so long
    budget_s: float | None  # what would start later is left out, and the report says so


LENGTHS = {"paper": Lengths("paper", 5, 120, 1.0, 60, (1, 2, 4, 8, 16), (1, 2, 4, 8, 16), 5, 4096, 30, None),
           "full": Lengths("full", 5, 120, 0.05, 10, (1, 16, 128), (64,), 5, 4096, 4, 6900),
           "quick": Lengths("quick", 1, 12, 0.01, 1, (1, 8, 64), (16,), 1, 1024, 0.7, 270)}


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
