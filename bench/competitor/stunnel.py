"""stunnel to stunnel with mutual TLS 1.3: two hops, a destination fixed in the configuration."""
from . import Base

CONFIG = """foreground = yes
pid =
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
debug = 3
[bench]
client = {client}
accept = {accept}
connect = {connect}
cert = {cert}
key = {key}
CAfile = {ca}
verifyChain = yes
sslVersionMin = TLSv1.3
"""


class Competitor(Base):
    title = "stunnel + stunnel"
    needs = ("stunnel4",)
    ports = {"proxy": (8443,), "client": (12347,)}
    url = "http://127.0.0.1:12347/"
    place = 43

    def start(self, world):
        super().start(world)
        files = world.certificates("client/node", "proxy/node")
        for node, name, client, accept, connect, port in (
                (world.proxy, "proxy/node", "no", "10.71.0.2:8443", "10.73.0.20:80", 8443),
                (world.client, "client/node", "yes", "127.0.0.1:12347", "10.71.0.2:8443", 12347)):
            cert, key, ca = files[name]
            config = world.lab.path(f"stunnel-{client}.conf")
            with open(config, "w", encoding="ascii") as file:
                file.write(CONFIG.format(client=client, accept=accept, connect=connect, cert=cert, key=key, ca=ca))
            self.run(node, "stunnel4", config, port=port)
