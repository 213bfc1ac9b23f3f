"""ss-redir at the client, ss-server at the proxy: encrypted, one round trip on the client's leg."""
from . import Base
from ._socks_pair import capture, release

SETTINGS = ("-k", "bench", "-m", "aes-128-gcm")


class Competitor(Base):
    title = "ss-redir + ss-server"
    needs = ("ss-redir", "ss-server")
    ports = {"proxy": (8388,), "client": (12346,)}
    place = 42

    def start(self, world):
        super().start(world)
        self.run(world.proxy, "ss-server", "-s", "10.71.0.2", "-p", "8388", *SETTINGS, port=8388)
        self.run(world.client, "ss-redir", "-s", "10.71.0.2", "-p", "8388", "-b", "127.0.0.1", "-l", "12346", *SETTINGS, port=12346)
        capture(world, 12346)

    def stop(self, world):
        release(world)
        super().stop(world)
