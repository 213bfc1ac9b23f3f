"""The topology of the demo: three domains around a wide-area router, and the orchestrator beside them.

      umc  10.1.0.0/24                              research  10.2.0.0/24
   modality .10 ──┐                                   ┌── pacs .20
   proxy    .2  ──┴─ [umc] ───┐           ┌─ [research] ── proxy .2
                              wan (tcpdump, 200 Mbit/s)
   backup .30 ────── [vendor] ┘           └─ [control] ── orchestrator .7
      vendor  10.3.0.0/24                           control  10.9.0.0/24

[name] is the domain's switch. The wan router has .1 in each network; all have an IPv6 address fd0N::x, too."""
from lab import Lab

WAN_RATE = "200mbit"
NETWORKS = {"umc": 1, "research": 2, "vendor": 3, "control": 9}
# host: (domain, last part of its address)
HOSTS = {"modality": ("umc", 10), "umc-proxy": ("umc", 2), "pacs": ("research", 20), "research-proxy": ("research", 2),
         "backup": ("vendor", 30), "orchestrator": ("control", 7),
         # a second sender and pair of proxies, for the leg in clear
         "scanner": ("umc", 11), "umc-clear": ("umc", 3), "research-clear": ("research", 3)}


class World:
    """The lab with its hosts as attributes: world.modality, world.umc_proxy, world.wan ..."""

    def __init__(self, state, marker, keep=False):
        self.lab = Lab("demo", state=state, env={"EPIF_DEMO": marker}, keep=keep)
        self.state = self.lab.state
        self.hosts = {}

    def build(self):
        self.wan = self.lab.router("wan")
        switches = {}
        for domain, number in NETWORKS.items():
            switches[domain] = self.lab.switch(domain)
            self.lab.link(self.wan, f"10.{number}.0.1/24 fd0{number}::1/64", switches[domain])
        for name, (domain, last) in HOSTS.items():
            number = NETWORKS[domain]
            host = self.lab.node(name)
            self.lab.link(host, f"10.{number}.0.{last}/24 fd0{number}::{last}/64", switches[domain])
            host.route("default", f"10.{number}.0.1").route("default", f"fd0{number}::1")
            self.hosts[name] = host
            setattr(self, name.replace("-", "_"), host)
        return self

    def limit_wan(self):
        for domain in ("umc", "research", "vendor"):
            self.wan.rate(domain, WAN_RATE)
