"""redsocks at the client, dante at the proxy: what people build from packages today."""
from ._socks_pair import SocksPair

CONFIG = """logoutput: stderr
internal: 10.71.0.2 port = 1090
external: 10.72.0.2
clientmethod: none
socksmethod: none
user.privileged: root
user.unprivileged: nobody
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
"""


class Competitor(SocksPair):
    title = "redsocks + dante"
    needs = ("redsocks", "danted")
    place = 40

    def serve(self, world):
        config = world.lab.path("danted.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(CONFIG)
        self.run(world.proxy, "danted", "-f", config, "-p", world.lab.path("danted.pid"), port=self.port)
