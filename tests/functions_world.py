"""Bridging functions as plain processes, for tests of what passes through them; their containers have tests of their own."""
import contextlib
import os
import tempfile

from lab import Process, epif


class Functions:
    """Bridging functions as processes, each with its socket."""

    def __init__(self):
        self.stack, self.running = contextlib.ExitStack(), {}

    def __enter__(self):
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="epif-bf-"))
        return self

    def __exit__(self, *failure):
        self.stack.close()

    def start(self, instance, function):
        """The link of a chain, for routes."""
        path = os.path.join(self.folder, instance)
        program = os.path.join(os.path.dirname(epif()), "epif-bf")
        process = Process(instance, [program, function], path + ".log", env={"EPIF_BF_SOCKET": path})
        process.wait_for(lambda: os.path.exists(path), "its socket is there")
        self.stack.callback(process.stop)
        self.running[instance] = process
        return {"function": function, "instance": instance, "socket": path}
