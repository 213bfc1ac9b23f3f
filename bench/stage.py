"""Where a campaign's steps are taken: the world of a topology stands from one step to the next, a competitor runs for its turn."""
from world import Unfit, World  # first: it puts the tests' lab on the path
import campaign
import competitor
from lab.promise import Failure
from paper.topology import named


def reason(failure):
    """What stands in a row; of a failure that nobody thought of its kind as well."""
    text = " ".join(str(failure).split())[:400]
    return text if text and isinstance(failure, (Unfit, Failure, OSError, ValueError)) else f"{type(failure).__name__}: {text}"


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
            self.stop(running[1])

    def stop(self, rival):
        """One that cannot be stopped must not disturb the next: its world ends with it."""
        try:
            rival.stop(self.world)
        except Exception as failure:  # noqa: BLE001
            print(f"bench: {rival.title or type(rival).__name__} cannot be stopped, so its world is taken down: {reason(failure)}")
            self.close()

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
            except Exception as why:  # noqa: BLE001 - whatever broke, the other worlds are made
                self.unfit[step.topology, step.round] = Unfit(reason(why))
                raise self.unfit[step.topology, step.round] from why
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
                self.stop(rival)

    @staticmethod
    def guarded(measure):
        try:
            return measure()
        except Exception as failure:  # noqa: BLE001 - whatever broke is a row
            return {"error": reason(failure)}
