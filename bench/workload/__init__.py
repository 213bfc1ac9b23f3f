"""One file a workload: a module with

    TITLE    heading of its table in the report
    PLACE    order in the campaign and in the report
    SETTING  what a step's `setting` counts ("connections"), for the tables; "" if there is only one
    COLUMNS  {quantity of a result: heading with its unit}; what else a result holds goes to JSON and CSV alone
    steps(lengths, topologies, competitors) -> [campaign.Step]; topologies: names, or [] for "as always"
    seconds(step, lengths) -> what once() should take, from the lengths of what it runs: for the estimate before a campaign
    once(world, rival, step, lengths) -> {quantity: number or None}; raises world.Unfit with a reason for the row
and, where they fit:
    PARTS    {prefix of quantities: heading}: those of each process, PREFIX + NODE/PROCESS, which get a table of their own
    NOTE     a sentence for below the heading
    remarks(measured) -> sentences for below it that depend on what was measured (report.records.Measured)
    NEEDS    programs that must be there
    STARTS   True: it starts (and stops) its rival itself; rival is then the competitor, made but not started
    SHARES   True: in a quick run a competitor that runs already is taken as it is
    FIGURE   False: the table says it all
    BESIDE   number of topologies in which a competitor is measured at once, since that leaves the cores idle most of the time. Then
             begin(world, rival, step, lengths) -> a function that waits for the result of once()
    RIVALS   {step.competitor: class}: competitors of its own, in place of those of bench/competitor
    ALONE    True: it needs neither world nor rival (both None), and step.competitor is a name of its own
    TITLES   {step.competitor: title} for rows that are no competitors
A new file here is a new workload: nothing else has to be changed. `lengths.kind` is "quick", "full" or "paper"."""
import importlib
import pkgutil


def everyone():
    """{name: module}, in order of PLACE."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        if hasattr(loaded, "once") and hasattr(loaded, "steps"):
            found[module.name] = loaded
    return dict(sorted(found.items(), key=lambda item: (item[1].PLACE, item[0])))
