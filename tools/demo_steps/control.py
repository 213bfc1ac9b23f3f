"""The control plane of the demo: the orchestrator, an agent on each host, and epif's own client."""
import contextlib
import json
import os
import re
import signal

from lab import Failure, epif, wait_until

API_PORT = 7443
MEMBERS = {"umc/modality": "modality", "umc/umc-proxy": "umc-proxy", "research/pacs": "pacs",
           "research/research-proxy": "research-proxy"}  # node: host. The vendor takes no part.


class Control:
    def __init__(self, world):
        self.world, self.lab = world, world.lab
        self.folder = self.lab.path("orchestrator", "x")[:-2]
        self.url = f"https://{world.orchestrator.address}:{API_PORT}"
        self.env = {"EPIF_SERVER": self.url, "EPIF_TOKEN_FILE": f"{self.folder}/admin.token", "EPIF_CA": f"{self.folder}/ca.crt"}
        with open(self.lab.path("client.env"), "w", encoding="ascii") as out:
            out.writelines(f"export {name}={value}\n" for name, value in self.env.items())
        self.process, self.agents = None, {}

    # Starting and stopping

    def init(self):
        """Makes the authority; keeps the join token in a file, since arguments are seen by all users of a host."""
        done = self.world.orchestrator.run(epif(), "orchestrator", "init", "--dir", self.folder, "--listen",
                                           f"{self.world.orchestrator.address}:{API_PORT}")
        token = re.search(r"--token (\S+)", done.stdout)
        if not token:
            raise Failure(f"init prints no join token: {done.stdout}")
        self.token_file = self.lab.path("join.token")
        with open(os.open(self.token_file, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as out:
            out.write(token[1] + "\n")

    def start_orchestrator(self):
        host = self.world.orchestrator
        self.process = host.start(epif(), "orchestrator", "run", "--dir", self.folder, "--listen", f"{host.address}:{API_PORT}",
                                  name="orchestrator")
        host.wait_for_port(API_PORT, within=15, process=self.process)

    def start_agents(self):
        for node, name in MEMBERS.items():
            self.agents[node] = self.world.hosts[name].start(
                epif(), "agent", "--orchestrator", self.url, "--node", node, "--token-file", self.token_file,
                "--state", self.state_of(node), name="agent")
        for agent in self.agents.values():
            agent.wait_for_log("connected to the orchestrator", within=20)

    def state_of(self, node):
        return self.lab.path("agents", MEMBERS[node], "x")[:-2]

    def kill_all(self):
        """kill -9 of the orchestrator and of every agent. Returns how many."""
        victims = [self.process, *self.agents.values()]
        for victim in victims:
            victim.kill()
        return len(victims)

    def start_again(self):
        self.start_orchestrator()
        self.start_agents()

    def stop(self):
        """A clean stop: agents take down what they put up, then the orchestrator ends."""
        for process in [*self.agents.values(), self.process]:
            process.ask_to_stop()
        return {name: process.wait(within=30) for name, process in [*self.agents.items(), ("orchestrator", self.process)]}

    @contextlib.contextmanager
    def agent_paused(self, node):
        self.agents[node].signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.agents[node].signal(signal.SIGCONT)

    # The client's words

    def client(self, *words, check=True, timeout=60):
        return self.world.orchestrator.run(epif(), *words, env=self.env, check=check, timeout=timeout)

    def apply(self, *paths):
        return self.client("apply", *(word for path in paths for word in ("-f", str(path)))).stdout

    def delete(self, kind, name):
        self.client("delete", kind, name)

    def get(self, kind, name):
        return json.loads(self.client("get", kind, name, "-o", "json").stdout)

    def status(self, application):
        return self.get("application", application)["status"]

    def explain(self, application, flow):
        done = self.client("explain", application, flow, check=False)
        return done.stdout + done.stderr

    @staticmethod
    def reason(explained):
        """The line of `epif explain` that says why, shortened to its first sentence."""
        for text in explained.splitlines():
            if text.strip().startswith("reason"):
                return text.strip()[len("reason"):].strip().split("; domain")[0]
        return explained.strip()

    def wait_phase(self, application, phase, within=60):
        def reached():
            status = self.status(application)
            return status if status.get("phase") == phase else None
        return wait_until(reached, lambda: f"{application} is {phase}; `epif status` says\n" +
                          self.client("status", application, check=False).stdout, within)

    def wait_running(self, application):
        return self.wait_phase(application, "Running")

    # What stands where

    def _report(self, node):
        return self.get("assignment", node).get("status", {})

    def function_process(self, proxy, function):
        """(name, pid) of a running bridging function's container."""
        for instance in self._report(proxy).get("instances", []):
            if instance["name"].startswith(function) and instance.get("pid"):
                return instance["name"], instance["pid"]
        raise Failure(f"{proxy} reports no running {function}: {self._report(proxy)}")

    def redirector_process(self, node):
        for process in self._report(node).get("processes", []):
            if process["name"] == "redirect" and process.get("pid"):
                return process["pid"]
        raise Failure(f"{node} reports no redirector: {self._report(node)}")

    def picture(self):
        """What must be the same after a restart: phases and verdicts of all applications, routes of all hosts."""
        facts = {}
        for application in ("stroke-imaging", "reports", "advertising", "cloud-backup"):
            status = self.status(application)
            facts[application] = status["phase"]
            for flow in status.get("flows", []):
                facts[f"{application}/{flow['name']}"] = (flow["verdict"], tuple(flow["chain"]))
        for node in MEMBERS:
            try:
                with open(f"{self.state_of(node)}/routes.json", encoding="utf-8") as file:
                    for route in json.load(file)["routes"]:
                        facts[f"{node}: {route['id']}"] = json.dumps({k: v for k, v in route.items() if k != "expires"}, sort_keys=True)
            except FileNotFoundError:
                facts[node] = "no routes"
        return facts
