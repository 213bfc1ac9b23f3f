#!/usr/bin/python3
"""epif proxy starts, bears pressure and stops properly. On loopback."""
import os
import signal
import stat
import subprocess
import tempfile

from lab import check, epif, equal, promise, run, wait_until
from proxy_world import Proxy, Server, echo, is_reset, open_v5, read_all, read_exactly, v5_request


def fails(*words):
    """Exit code and message of a start that must fail."""
    done = subprocess.run([epif(), "proxy", *words], capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr


@promise("a port in use is one clear message and exit 1, even if the holder is another epif proxy")
def port_in_use():
    with Proxy("--allow-all") as proxy:
        code, message = fails("--listen", f"127.0.0.1:{proxy.port}", "--allow-all")
        equal(code, 1, "exit code")
        check(f"127.0.0.1:{proxy.port}" in message and "ddress already in use" in message, message)


@promise("wrong use is exit 2 with advice; a bad or missing file is exit 1 and names it")
def wrong_use():
    for words in ((), ("--listen", "127.0.0.1:0"), ("--listen", "nonsense", "--allow-all"), ("--allow-all",),
                  ("--listen", "127.0.0.1:0", "--allow-all", "--user", "nocolon"),
                  ("--listen", "127.0.0.1:0", "--allow-all", "--admin", "/tmp/x"),
                  ("--tls-listen", "127.0.0.1:0", "--allow-all"), ("--listen", "127.0.0.1:0", "--allow-all", "--bogus")):
        code, message = fails(*words)
        equal(code, 2, f"exit code of {words}: {message}")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as bad:
        bad.write('{"routes": [}')
        bad.flush()
        code, message = fails("--listen", "127.0.0.1:0", "--routes", bad.name)
        equal(code, 1, "exit code")
        check(bad.name + ":1:" in message, message)
    code, message = fails("--listen", "127.0.0.1:0", "--routes", "/nonexistent/routes.json")
    check(code == 1 and "/nonexistent" in message, message)


@promise("a password file that others may read is refused; a private one works")
def user_file():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "users")
        with open(path, "w", encoding="ascii") as file:
            file.write("# people\nann:secret\n")
        os.chmod(path, 0o644)
        check(fails("--listen", "127.0.0.1:0", "--allow-all", "--user-file", path)[0] == 1, "it was taken")
        os.chmod(path, 0o600)
        with Server(echo) as server, Proxy("--allow-all", "--user-file", path) as proxy, proxy.connect() as client:
            client.sendall(b"\x05\x01\x02\x01\x03ann\x06secret" + v5_request(server.port))
            equal(read_exactly(client, 5)[:4], b"\x05\x02\x01\0", "the answers")


@promise("SIGTERM: new connections are refused, a running flow may end, and the proxy exits 0 with its socket gone")
def drain():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        client, silent = open_v5(proxy, server.port), proxy.connect()
        proxy.process.signal(signal.SIGTERM)
        proxy.process.wait_for_log("stopping")
        silent.settimeout(3)
        check(is_reset(silent), "a client without a request was kept")
        client.sendall(b"last words")
        equal(read_exactly(client, 10), b"last words", "the running flow")
        client.close()
        equal(proxy.process.wait(), 0, "exit code")
        check(not os.path.exists(proxy.admin_path), "the admin socket is left behind")


@promise("a second signal ends at once, with an error at the client")
def second_signal():
    with Server(echo) as server, Proxy("--allow-all") as proxy:
        client = open_v5(proxy, server.port)
        proxy.process.signal(signal.SIGTERM)
        proxy.process.wait_for_log("stopping")
        proxy.process.signal(signal.SIGTERM)
        check(is_reset(client), "the client saw a clean end")
        equal(proxy.process.wait(within=3), 0, "exit code")


@promise("beyond the connection limits a client gets a quick refusal, and those inside go on")
def limits():
    with Server(echo) as server, Proxy("--allow-all", "--max-connections", "3") as proxy:
        inside = [open_v5(proxy, server.port) for _ in range(3)]
        with proxy.connect() as late:
            late.sendall(b"\x05\x01\0")
            equal(read_all(late), b"\x05\xff", "the refusal")
        for client in inside:
            client.sendall(b"ping")
            equal(read_exactly(client, 4), b"ping", "a client inside")
        inside.pop().close()
        wait_until(lambda: proxy.metric("epif_proxy_connections") == 2, "the place is free")
        open_v5(proxy, server.port).close()
        check(proxy.metric('epif_proxy_refused_total{reason="limit"}') >= 1, "the refusal is not counted")


@promise("out of descriptors: no spin, what runs goes on, and it recovers")
def descriptors():
    with Server(echo) as server:
        with Proxy("--allow-all", "--max-connections", "1000", prefix=("prlimit", "--nofile=64")) as proxy:
            first = open_v5(proxy, server.port)
            crowd = []
            for _ in range(80):
                client = proxy.connect()
                client.settimeout(15)
                crowd.append(client)
            proxy.process.wait_for_log("accept pauses")

            def ticks():
                with open(f"/proc/{proxy.process.pid}/stat", encoding="ascii") as stat_file:
                    fields = stat_file.read().rsplit(")", 1)[1].split()
                return int(fields[11]) + int(fields[12])
            before = ticks()
            for _ in range(20):
                first.sendall(b"ping")
                equal(read_exactly(first, 4), b"ping", "the running flow")
            for client in crowd:
                client.close()
            wait_until(lambda: proxy.metric("epif_proxy_connections") == 1, "the crowd is gone")
            check(ticks() - before < 100, f"{ticks() - before} ticks of CPU were burnt")
            open_v5(proxy, server.port).close()


@promise("the admin socket is for root alone, answers GET only, and shows flows without secrets")
def admin():
    with Server(echo) as server, Proxy("--allow-all", "--user", "ann:topsecret") as proxy:
        equal(stat.S_IMODE(os.stat(proxy.admin_path).st_mode), 0o600, "mode")
        equal(proxy.get("/healthz"), "ok\n", "health")
        with proxy.connect() as client:
            client.sendall(b"\x05\x01\x02\x01\x03ann\x09topsecret" + v5_request(server.port))
            read_exactly(client, 14)
            shown = proxy.get("/flows")
            check(f"127.0.0.1:{server.port}" in shown, shown)
        check("topsecret" not in shown + proxy.process.output() + proxy.get("/metrics"), "a password was shown")


run(needs_root=False)
