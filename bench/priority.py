"""What is measured goes before the other programs of the machine, or a busy machine is what is measured."""
import contextlib
import os
import threading

from lab.names import processes_inside

NICE = -15
LOOK_S = 0.1


def first_in_line(pid):
    """Raises the priority of a process and of its session, which Linux schedules as a group of its own (sched_autogroup)."""
    with contextlib.suppress(OSError):  # without the right, or the group: it is measured as it is
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    with contextlib.suppress(OSError), open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as group:
        group.write(str(NICE))


def starts_first_in_line(node):
    """All that `node` (lab.Node) starts from now on, too: each of its processes leads a session."""
    usual = node.start

    def start(*words, **more):
        process = usual(*words, **more)
        first_in_line(process.pid)
        return process
    node.start = start


@contextlib.contextmanager
def new_ones_first_in_line(nodes):
    """Within the block, what starts in the nodes by itself as well: an agent's proxy, a container engine, each in a new session."""
    over, seen = threading.Event(), set()

    def look():
        while True:
            for pid in set(processes_inside([node.netns for node in nodes])) - seen:
                seen.add(pid)
                first_in_line(pid)
            if over.wait(LOOK_S):
                return

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
