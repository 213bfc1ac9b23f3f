"""Where a campaign's steps are taken: the world of a topology stands from one step to the next, a competitor runs for its turn."""
import subprocess

from world import Unfit, World  # first: it puts the tests' lab on the path
import campaign
import competitor
from lab.promise import Failure
from paper.topology import named


class Stage:
    """What the steps need around them, and what is kept from one step to the next: the world of a topology."""

    def __init__(self, given, lacking):
        """`given`: of the command line (kind, workloads, loss, rate); `lacking`: what preflight.check said."""
        self.given, self.workloads, self.lacking = given, given.workloads, lacking
        self.lengths, self.everyone = campaign.LENGTHS[given.kind], competitor.everyone()
        self.world, self.place, self.running, self.unfit = None, None, None, {}

    def end_rival(self):
        running, self.running = self.running, None
        if running:
            running[1].stop(self.world)

    def close(self):
        self.end_rival()
        world, self.world, self.place = self.world, None, None
        if world:
            world.__exit__(None, None, None)

    def world_of(self, step):
        """The world of step's topology, made and checked by ping when the one before it was another. Raises Unfit, and again
        without another try in the same round."""
        if self.world is None or self.place != (step.topology, step.round):
            self.close()
            if (step.topology, step.round) in self.unfit:
                raise self.unfit[step.topology, step.round]
            world = World(named(step.topology) if step.topology else None, self.given.loss / 100, self.given.rate)
            try:
                world.__enter__()
            except Unfit as why:
                self.unfit[step.topology, step.round] = why
                raise
            self.world, self.place = world, (step.topology, step.round)
        return self.world

    def take(self, step):
        """One result; what fails is a row with its error, and the rest goes on."""
        module = self.workloads[step.workload]
        missing = self.lacking["workload", step.workload] or self.lacking.get(("competitor", step.competitor))
        if missing:
            return {"error": missing}
        shares = self.lengths.kind == "quick" and getattr(module, "SHARES", False)
        if self.running and not (shares and self.running[0] == (step.competitor, step.topology, step.round)):
            self.end_rival()
        if getattr(module, "ALONE", False):
            return self.guarded(lambda: module.once(None, None, step, self.lengths))
        try:
            world = self.world_of(step)
        except Unfit as why:
            return {"error": f"not measured: {why}"}
        if self.running:
            return self.guarded(lambda: module.once(world, self.running[1], step, self.lengths))
        rival = (getattr(module, "RIVALS", None) or self.everyone)[step.competitor]()
        started = False

        def with_rival():
            nonlocal started
            if not getattr(module, "STARTS", False):
                rival.start(world)
            started = True
            return module.once(world, rival, step, self.lengths)
        try:
            return self.guarded(with_rival)
        finally:
            if shares and started:
                self.running = ((step.competitor, step.topology, step.round), rival)
            else:
                rival.stop(world)

    @staticmethod
    def guarded(measure):
        try:
            return measure()
        except (Unfit, Failure, subprocess.SubprocessError, OSError, ValueError) as failure:
            return {"error": " ".join(str(failure).split())[:400]}
