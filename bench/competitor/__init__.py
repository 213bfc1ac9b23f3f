"""One file a competitor: a class `Competitor` with

    title    for tables and figures
    method   whose equation of the article it follows (paper.topology.predicted_ms), or "" for none
    needs    programs that must be there
    ports    {node of the world: TCP ports that its programs listen on there}
    url      what the client asks for; the server itself unless the proxy has to be named
    start(world), which leaves it serving; all that it starts in world's nodes ends with it or by stop(world)
    note     what a reader of the report has to know about it
    once_only  True: a variant for which one run of each measurement is enough, unless it is named (--only)
    offered() False: it runs only where it is named (--only)

Each uses as many cores as it can, as it does where it is installed: epif has a thread a core at the proxy
and one for two cores at the redirector, NGINX a process a core, HAProxy a thread a core.
"""
import importlib
import pkgutil
import shutil

from world import Unfit


class Base:
    title = ""
    method = ""
    needs = ()
    ports = {}
    note = ""
    once_only = False
    url = "http://10.73.0.20/"

    def __init__(self):
        self.processes = []

    @staticmethod
    def offered():
        return True

    def missing(self):
        return [name for name in self.needs if not shutil.which(name)]

    def start(self, world):
        """Raises Unfit before anything starts if one of its ports is in use: what answers there would be measured in its place."""
        self.processes = []
        for name, ports in self.ports.items():
            node = getattr(world, name)
            for port in ports:
                if node.listens(port):
                    raise Unfit(f"port {port} of {name} is in use by {node.listener(port)}")

    def run(self, node, *words, port=None, name=None):
        assert port is None or port in self.ports.get(node.name, ()), f"{type(self).__module__}: ports lacks {port} of {node.name}"
        process = node.start(*words, name=name)
        self.processes.append(process)
        if port:
            node.wait_for_port(port, process=process)
        return process

    def stop(self, world):
        for process in reversed(self.processes):
            process.stop()
        self.processes = []


def everyone():
    """{name: Competitor}, in order of the files' `place`."""
    found = {}
    for module in pkgutil.iter_modules(__path__):
        loaded = importlib.import_module(f"{__name__}.{module.name}")
        if hasattr(loaded, "Competitor"):
            found[module.name] = loaded.Competitor
    return dict(sorted(found.items(), key=lambda item: (getattr(item[1], "place", 50), item[0])))
