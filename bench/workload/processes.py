"""CPU time of what a competitor started, with all its children."""
import os

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(processes):
    """{process's name: CPU seconds so far}. Each of them leads a session, so its children are found, too."""
    used = {process.pid: 0 for process in processes}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                    fields = stat.read().rpartition(")")[2].split()
            except OSError:
                continue
            session = int(fields[3])
            if session in used:
                used[session] += sum(map(int, fields[11:15]))  # its own and that of children that ended
    return {process.name: used[process.pid] / CLOCK_TICKS for process in processes}


def cpu_since(processes, before):
    return {name: used - before.get(name, 0.0) for name, used in cpu_s(processes).items()}
