"""What our own variants share: `epif redirect` at the client, `epif proxy` at the proxy."""
import os

from world import HTTP_PORT, PROXY, SERVER, epif

from . import Base


# Words that switch off what saves round trips or copies; see paper/ideas.py.
PLAIN = ("--warm", "0", "--no-false-start", "--first-bytes-wait", "0", "--splice", "off", "--trunk", "off", "--connect-hook", "off", "--turns", "usual", "--threads", str(os.cpu_count()))
PLAIN_PROXY = ("--splice", "off", "--trunk", "off", "--turns", "usual")
# As the authors' programs, which are written for tokio's pool: a thread a core.
PLAIN_NOTE = ("SOCKS5 plain and SOCKS6 plain are epif with every accelerator off but threads: the authors' own programs have a thread for each core as well, "
              "and with one thread they would be slower than the article's method. \"A gain per idea\" has threads off, too.")


class Ours(Base):
    proxy_flags = ()
    redirect_flags = ()
    rules = ("--allow-all",)
    tls = False

    @property
    def ports(self):
        return {"proxy": (1083 if self.tls else 1080,), "client": (15001,)}

    def start(self, world):
        super().start(world)
        port, = self.ports["proxy"]
        near, far = [], []
        if self.tls:
            files = world.certificates("client/node", "proxy/node")
            near, far = ([word for pair in zip(("--cert", "--key", "--ca"), files[name]) for word in pair]
                         for name in ("client/node", "proxy/node"))
        self.run(world.proxy, epif(), "proxy", "--tls-listen" if self.tls else "--listen", f"{PROXY}:{port}", *self.rules,
                 *far, *self.proxy_flags, port=port, name="epif-proxy")
        redirect = self.run(world.client, epif(), "redirect", "--proxy", f"{PROXY}:{port}", "--capture", f"{SERVER}:{HTTP_PORT}",
                            "--state", world.lab.state, *near, *self.redirect_flags, name="epif-redirect")
        redirect.wait_for_log("captures")
