"""CPU time and memory of what a competitor started, with all its children."""
import os
import resource

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def _each(processes):
    """(which of `processes`, id, fields of /proc/ID/stat after the name) of each process of theirs that lives: each of them leads a
    session, so its children, which lead none, are found, too."""
    leaders = {process.pid: process for process in processes}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            if leader := leaders.get(int(fields[3])):
                yield leader, entry, fields


def cpu_s(processes):
    """{process's name: CPU seconds so far}."""
    used = {process.name: 0 for process in processes}
    for leader, _, fields in _each(processes):
        used[leader.name] += sum(map(int, fields[11:15]))  # its own and that of children that ended
    return {name: ticks / CLOCK_TICKS for name, ticks in used.items()}


def cpu_since(processes, before):
    return {name: used - before.get(name, 0.0) for name, used in cpu_s(processes).items()}


def children_s():
    """CPU seconds of all that this process started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def private_kib(processes):
    """{process's name: KiB of private pages}."""
    found = {process.name: 0 for process in processes}
    for leader, pid, _ in _each(processes):
        try:
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
                found[leader.name] += sum(int(line.split()[1]) for line in file if line.startswith("Private_"))
        except OSError:
            continue  # gone meanwhile
    return found
