#!/usr/bin/python3
"""through_python_socks.py FLAVOUR socks4|socks4a|socks5|socks5h PROXY PORT HOST PORT [USER PASSWORD]
stdin and stdout through python-socks; FLAVOUR is sync, sync.v2, asyncio or asyncio.v2, four implementations of the handshake."""
import asyncio
import importlib
import sys

from python_socks import ProxyConnectionError, ProxyError, ProxyTimeoutError, ProxyType

from pump import pump

flavour, scheme, proxy, proxy_port, host, port, *login = sys.argv[1:]
asynchronous = flavour.startswith("asyncio")
library = importlib.import_module("python_socks." + ("async_." if asynchronous else "") + flavour)
wanted = {"proxy_type": ProxyType.SOCKS4 if scheme.startswith("socks4") else ProxyType.SOCKS5, "host": proxy, "port": int(proxy_port),
          "rdns": scheme in ("socks4a", "socks5h")}
if login:
    wanted |= {"username": login[0], "password": login[1]}


async def open_later():
    made = await library.Proxy.create(**wanted).connect(host, int(port), timeout=15)
    if not flavour.endswith("v2"):
        return made
    return made.writer.get_extra_info("socket").dup()  # a transport's socket may not be used beside its transport


try:
    made = asyncio.run(open_later()) if asynchronous else library.Proxy.create(**wanted).connect(host, int(port), timeout=15)
except (ProxyError, ProxyConnectionError, ProxyTimeoutError, OSError) as error:
    sys.exit(f"{type(error).__name__}: {error}")
pump(made.socket if hasattr(made, "socket") else made)
