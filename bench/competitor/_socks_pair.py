"""What redsocks + a SOCKS5 server share: the capture by nftables at the client, in namespaces of the benchmark only."""
from world import HTTP_PORT, SERVER

from . import Base

REDSOCKS = """base {{ log_debug = off; log_info = off; log = "stderr"; daemon = off; redirector = iptables; rlimit_nofile = 20000; }}
redsocks {{ local_ip = 127.0.0.1; local_port = 12345; ip = 10.71.0.2; port = {port}; type = socks5; listenq = 4096; }}
"""


def capture(world, port):
    """TCP to the server goes to `port` of loopback at the client."""
    world.client.run("nft", f"add table ip bench; add chain ip bench out {{ type nat hook output priority -100; }}; "
                     f"add rule ip bench out ip daddr {SERVER} tcp dport {HTTP_PORT} redirect to :{port}")


def release(world):
    world.client.run("nft", "delete table ip bench", check=False)


class SocksPair(Base):
    method = "socks5"
    port = 1090
    ports = {"proxy": (port,), "client": (12345,)}

    def start(self, world):
        super().start(world)
        self.serve(world)
        config = world.lab.path("redsocks.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(REDSOCKS.format(port=self.port))
        self.run(world.client, "redsocks", "-c", config, port=12345)
        capture(world, 12345)

    def stop(self, world):
        release(world)
        super().stop(world)
