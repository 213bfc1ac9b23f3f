"""Where a campaign's steps are taken: the world of a topology stands from one step to the next, a competitor runs for its turn."""
import functools

from world import Unfit, World  # first: it puts the tests' lab on the path
import campaign
import competitor
from lab.promise import Failure
from paper.topology import named


def reason(failure):
    """What stands in a row; of a failure that nobody thought of its kind as well."""
    text = " ".join(str(failure).split())[:400]
    return text if text and isinstance(failure, (Unfit, Failure, OSError, ValueError)) else f"{type(failure).__name__}: {text}"


class Refused(Exception):
    """The world of a step is not what it says (an RTT is off), or cannot be made: nothing is measured there in this round."""


class Stage:
    """What the steps need around them, and what is kept from one turn to the next: worlds, and in a quick run a competitor."""

    def __init__(self, given, lacking):
        """`given`: of the command line (kind, workloads, loss, rate); `lacking`: what preflight.check said."""
        self.given, self.workloads, self.lacking = given, given.workloads, lacking
        self.lengths, self.everyone = campaign.LENGTHS[given.kind], competitor.everyone()
        self.worlds = {}    # {(topology, round): world}
        self.running = None  # (what it serves, rival, its world's place)
        self.refused = {}   # {(topology, round): why}

    def end_rival(self):
        running, self.running = self.running, None
        if running:
            self.stop(*running[1:])

    def stop(self, rival, place):
        """One that cannot be stopped must not disturb the next: its world ends with it."""
        try:
            rival.stop(self.worlds[place])
        except Exception as failure:  # noqa: BLE001
            print(f"bench: {rival.title or type(rival).__name__} cannot be stopped, so its world is taken down: {reason(failure)}")
            self.leave(place)

    def leave(self, place):
        self.worlds.pop(place).__exit__(None, None, None)

    def close(self):
        self.end_rival()
        for place in list(self.worlds):
            self.leave(place)

    def world_at(self, place):
        """The world of (topology, round), made and checked by ping if it does not stand. Raises Refused, and again without another
        try in the same round."""
        if place not in self.worlds:
            if place in self.refused:
                raise Refused(self.refused[place])
            world = World(named(place[0]) if place[0] else None, self.given.loss / 100, self.given.rate)
            try:
                world.__enter__()
            except Exception as why:  # noqa: BLE001 - whatever broke, the other worlds are made
                self.refused[place] = reason(why)
                raise Refused(reason(why)) from why
            self.worlds[place] = world
        return self.worlds[place]

    def take(self, turn):
        """[result of each step]; all are of one competitor and workload, and go on at once. What fails is a row with its error, and
        the rest goes on; a Refused stands where there is no world to measure in: a row would say that the competitor failed."""
        first = turn[0]
        module = self.workloads[first.workload]
        missing = self.lacking["workload", first.workload] or self.lacking.get(("competitor", first.competitor))
        if missing:
            return [{"error": missing} for _ in turn]
        shares = self.lengths.kind == "quick" and getattr(module, "SHARES", False)
        serves = (first.competitor, first.topology, first.round)
        if self.running and not (shares and self.running[0] == serves):
            self.end_rival()
        if getattr(module, "ALONE", False):
            return [self.guarded(lambda: module.once(None, None, first, self.lengths))]
        places = [(step.topology, step.round) for step in turn]
        for place in [place for place in self.worlds if place not in places]:
            self.leave(place)
        if self.running:
            return [self.guarded(lambda: module.once(self.worlds[places[0]], self.running[1], first, self.lengths))]
        begun = [self.begin(module, step, place) for step, place in zip(turn, places)]
        results = []
        try:
            results = [self.guarded(finish) for _, finish in begun]
        finally:
            if shares and results and begun[0][0] and "error" not in results[0]:
                self.running = (serves, begun[0][0], places[0])
            else:
                for (rival, _), place in zip(begun, places):
                    if rival:
                        self.stop(rival, place)
        return results

    def begin(self, module, step, place):
        """(the rival, started; what gives the result). A rival that was not even made is None."""
        try:
            world = self.world_at(place)
        except Refused as why:
            return None, functools.partial(lambda refused: refused, why)
        rival = (getattr(module, "RIVALS", None) or self.everyone)[step.competitor]()

        def begin():
            if not getattr(module, "STARTS", False):
                rival.start(world)
            if hasattr(module, "begin"):
                return module.begin(world, rival, step, self.lengths)
            return lambda: module.once(world, rival, step, self.lengths)
        begun = self.guarded(begin)
        return rival, (lambda: begun) if isinstance(begun, dict) else begun

    @staticmethod
    def guarded(measure):
        try:
            return measure()
        except Exception as failure:  # noqa: BLE001 - whatever broke is a row
            return {"error": reason(failure)}
