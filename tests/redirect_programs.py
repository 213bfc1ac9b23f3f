"""Programs of other users and cgroups, for the redirect tests."""
import os

from lab import wait_until

TARGET = "10.2.0.20"
ALICE, BOB = 64001, 64002


def cgroup_mount():
    with open("/proc/self/mounts", encoding="ascii") as file:
        return next(line.split()[1] for line in file if line.split()[2] == "cgroup2")


class Cgroup:
    """A cgroup of this test; programs enter it before they start."""

    def __init__(self, w, name):
        self.name = f"epif-test-{os.getpid()}-{name}"
        self.path = f"{cgroup_mount()}/{self.name}"
        os.mkdir(self.path)
        w.lab.at_end(self.remove)

    def remove(self):
        if os.path.isdir(self.path):
            wait_until(self._gone, f"{self.path} is empty")

    def _gone(self):
        try:
            os.rmdir(self.path)
            return True
        except OSError:
            return False


def words_of(words, *, user=None, cgroup=None):
    """The command line that runs `words` as a program of that user and cgroup."""
    if user is not None:
        words = ["setpriv", f"--reuid={user}", "--clear-groups", *words]
    if cgroup is not None:
        words = ["sh", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', cgroup.path, *words]
    return words


def say(w, port, *, user=None, cgroup=None, address=TARGET, kind="tcp"):
    """What a program of that user and cgroup gets for "hello", empty if it is refused."""
    script = ("import socket,sys\n"
              "kind = socket.SOCK_STREAM if sys.argv[3] == 'tcp' else socket.SOCK_DGRAM\n"
              "out = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, kind)\n"
              "out.settimeout(3.0 if kind == socket.SOCK_STREAM else 1.0)\n"
              "try:\n    out.connect((sys.argv[1], int(sys.argv[2]))); out.send(b'hello'); print(out.recv(100).decode(), end='')\n"
              "except OSError as error: print('refused', error, file=sys.stderr)\n")
    return w.client.run(*words_of(["/usr/bin/python3", "-c", script, address, str(port), kind], user=user, cgroup=cgroup)).stdout
