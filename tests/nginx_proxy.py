#!/usr/bin/python3
"""Real NGINX on the proxy node: reload without loss, revocation with an error at both ends, failures that keep closed.
Topology in nginx_world.py; the clients connect to the proxy's ports themselves, as a captured connection does."""
import hashlib
import http.client
import http.server
import itertools
import os
import signal
import threading
import time

from lab import check, epif, equal, promise, run, wait_until
from nginx_world import Ends, PORT, PORT6, World, how_it_ends, refused, route, route6


@promise("bytes pass whole over IPv4 and IPv6, and a half-closed connection still carries the answer")
def carries():
    with World("nginx-carries") as world:
        world.write(route(), route6())
        world.start()
        data = os.urandom(1 << 20)
        for family, proxy, port, server in ((4, "10.3.0.30", PORT, "0.0.0.0"), (6, "fd03::30", PORT6, "fd02::20")):
            listener = world.server.listen(4242, server)
            with world.client.connect(proxy, port) as out:
                sender = threading.Thread(target=lambda: (out.sendall(data), out.shutdown(1)))
                sender.start()
                peer, address = listener.accept()
                check(address[0] in ("10.3.0.30", "fd03::30"), f"the server sees {address}")
                with peer:
                    got = b"".join(iter(lambda: peer.recv(65536), b""))
                    peer.sendall(hashlib.sha256(got).hexdigest().encode())
                sender.join()
                answer = b"".join(iter(lambda: out.recv(65536), b"")).decode()
            equal(answer, hashlib.sha256(data).hexdigest(), f"hash over IPv{family}")
            listener.close()
        check(not [f for f in os.listdir("/var/lib/nginx") if "epif" in f] if os.path.isdir("/var/lib/nginx") else True, "temp files elsewhere")


@promise("a foreign client is refused at the port, before NGINX and before the server hear of it")
def foreign():
    with World("nginx-foreign") as world:
        ends = Ends(world.server, 4242)
        world.write(route(), route6())
        world.start()
        equal(refused(world.other, "10.3.0.30", PORT), "ConnectionRefusedError", "a foreign client over IPv4")
        equal(refused(world.other, "fd03::30", PORT6), "ConnectionRefusedError", "a foreign client over IPv6")
        equal(len(ends.seen), 0, "connections that the server saw")


@promise("a reload under load loses no request and touches no running transfer; renewing a permit reloads nothing")
def reload_without_loss():
    with World("nginx-reload") as world:
        def serve(peer):
            with peer:
                data = peer.recv(65536)
                peer.sendall(data)
        listener = world.server.listen(4242)
        listener.settimeout(None)

        def accept():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(peer,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        bulk = Ends(world.server, 4243)
        held_route = route("bulk", listen=f"10.3.0.30:{PORT + 5}", destination="10.2.0.20:4243")
        world.write(route(), held_route)
        world.start()
        before = world.workers()
        world.write(route(expires="2099-01-01", policy="other"), held_route)
        world.settled()
        equal(world.workers(), before, "workers after a renewal")

        stop, done, lost = threading.Event(), [0] * 8, []

        def load(number):
            while not stop.is_set():
                try:
                    with world.client.connect("10.3.0.30", PORT, 3) as out:
                        out.sendall(b"request")
                        check(out.recv(100) == b"request", "a wrong or no answer")
                    done[number] += 1
                except Exception as error:  # noqa: BLE001 - every kind of loss counts
                    lost.append(repr(error))
        threads = [threading.Thread(target=load, args=(n,)) for n in range(8)]
        held = world.client.connect("10.3.0.30", PORT + 5)
        held.sendall(b"first")
        for thread in threads:
            thread.start()
        for turn in range(6):
            extra = [route(f"extra{turn}", listen=f"10.3.0.30:{PORT + 10 + turn}", destination="10.2.0.20:9999")]
            world.write(route(), held_route, *(extra if turn % 2 == 0 else []))
            world.settled()
            held.sendall(b"more")
        stop.set()
        for thread in threads:
            thread.join()
        equal(lost, [], f"lost among {sum(done)} requests")
        check(sum(done) > 100 and world.metric("epif_nginx_reloads_total") >= 6, f"{sum(done)} requests, too little to say something")
        held.shutdown(1)
        bulk.wait(lambda seen: seen and seen[0]["how"], "the held transfer ends")
        equal(bulk.seen[0], {"from": "10.3.0.30", "bytes": 5 + 6 * 4, "how": "end"}, "the held transfer")
        held.close()
        print(f"      {sum(done)} requests over {world.metric('epif_nginx_reloads_total')} reloads, none lost")


@promise("a withdrawn route is cut at both ends with an error within a second, in both directions of the data; others go on")
def revoked():
    with World("nginx-revoked") as world:
        pushed, pulled = Ends(world.server, 4242), Ends(world.server, 4243, flood=True)
        other = Ends(world.server, 4242, "fd02::20")
        mine, pull = route("push"), route("pull", listen=f"10.3.0.30:{PORT + 1}", destination="10.2.0.20:4243")
        # The same server, asked by another client: its NGINX has the same server's address on its sockets.
        neighbour = route("neighbour", listen=f"10.3.0.30:{PORT + 2}", clients=("10.4.0.11",), peer="umc/other")
        six = route6(listen=f"[fd03::30]:{PORT + 3}")
        world.write(mine, pull, neighbour, six)
        world.start()
        with world.client.connect("10.3.0.30", PORT) as push, world.client.connect("10.3.0.30", PORT + 1) as take, \
                world.other.connect("10.3.0.30", PORT + 2) as spared, world.client.connect("fd03::30", PORT + 3) as spared6:
            push.sendall(b"half of it")
            spared.sendall(b"half")
            spared6.sendall(b"half")
            pushed.wait(lambda seen: sum(one["bytes"] for one in seen) == 14, "both pushed")
            pulled.wait(lambda seen: seen and seen[0]["bytes"] > 0, "the server floods")
            began = time.monotonic()
            world.write(neighbour, six)
            equal(how_it_ends(push), "reset", "the pushing client's end")
            equal(how_it_ends(take), "reset", "the pulling client's end")
            pulled.wait(lambda seen: seen[0]["how"], "the flooding server's end")
            pushed.wait(lambda seen: [one["how"] for one in seen].count("reset") == 1, "the receiving server's end is a reset")
            took = time.monotonic() - began
            check(took < 1.0, f"cut after {took:.3f} s")
            spared.sendall(b" more")
            spared6.sendall(b" more")
            pushed.wait(lambda seen: sum(one["bytes"] for one in seen) == 19, "the neighbour's flow goes on")
            other.wait(lambda seen: seen and seen[0]["bytes"] == 9, "the IPv6 flow goes on")
            world.settled()
            equal(refused(world.client, "10.3.0.30", PORT), "ConnectionRefusedError", "a new connection")
            print(f"      all four ends had their error {took * 1000:.0f} ms after the routes file was written")


@promise("when NGINX refuses its configuration, the withdrawn route is closed and cut, the rest is served, and the generation stays behind")
def refused_configuration():
    with World("nginx-refused") as world:
        ends, kept = Ends(world.server, 4242), Ends(world.server, 4243)
        stays = route("stays", listen=f"10.3.0.30:{PORT + 1}", destination="10.2.0.20:4243")
        # An NGINX that fails its test as soon as a file says so: the place where a full disk or a bad module would bite.
        verdict, wrapper = world.lab.path("refuse"), world.lab.path("nginx-that-may-refuse")
        with open(wrapper, "w", encoding="ascii") as file:
            file.write(f'#!/bin/sh\nif [ -e {verdict} ] && [ "$1" = -t ]; then echo "emerg: no"; exit 1; fi\nexec /usr/sbin/nginx "$@"\n')
        os.chmod(wrapper, 0o755)
        world.write(route(), stays)
        world.start("--nginx", wrapper)
        before = world.generation
        with world.client.connect("10.3.0.30", PORT) as out, world.client.connect("10.3.0.30", PORT + 1) as other:
            out.sendall(b"x")
            other.sendall(b"x")
            ends.wait(lambda seen: seen and seen[0]["bytes"] == 1, "a byte arrived")
            open(verdict, "w", encoding="ascii").close()
            world.write(stays)
            equal(how_it_ends(out), "reset", "the withdrawn flow")
            ends.wait(lambda seen: seen[0]["how"] == "reset", "the server's end is a reset")
            world.nginx.wait_for_log("NGINX refuses its configuration")
            check(world.proxy.listens(PORT), "the old configuration is still in force, as this test wants it")
            equal(refused(world.client, "10.3.0.30", PORT), "ConnectionRefusedError", "a new connection to what was withdrawn")
            other.sendall(b"y")
            kept.wait(lambda seen: seen and seen[0]["bytes"] == 2, "what is still permitted goes on")
            equal(world.metric("epif_nginx_routes_generation"), before, "generation")
            equal(world.metric("epif_nginx_unsettled"), 1, "unsettled")
            os.unlink(verdict)
            world.settled()
            check(not world.proxy.listens(PORT), "the withdrawn port is still open")


@promise("a port that another program holds keeps its route closed and the generation behind, until it is free")
def taken_port():
    with World("nginx-taken") as world:
        Ends(world.server, 4242)
        second = route("second", listen=f"10.3.0.30:{PORT + 1}")
        world.write(route())
        world.start()
        before = world.generation
        thief = world.proxy.listen(PORT + 1, "10.3.0.30")
        world.write(route(), second)
        world.nginx.wait_for_log("NGINX does not take its configuration", 15)
        equal(world.metric("epif_nginx_routes_generation"), before, "generation")
        thief.close()
        wait_until(lambda: world.metric("epif_nginx_routes_generation") == world.generation, "the port is taken over", 15)


@promise("killed, the command ends no flow and its next run adopts NGINX; what was withdrawn meanwhile is cut at once")
def adopted():
    with World("nginx-adopted") as world:
        ends, gone = Ends(world.server, 4242), Ends(world.server, 4243)
        second = route("second", listen=f"10.3.0.30:{PORT + 1}", destination="10.2.0.20:4243")
        world.write(route(), second)
        world.start()
        masters = {p for p, parent in world.processes().items() if parent not in world.processes()}
        with world.client.connect("10.3.0.30", PORT) as held, world.client.connect("10.3.0.30", PORT + 1) as lost:
            held.sendall(b"one")
            lost.sendall(b"one")
            gone.wait(lambda seen: seen and seen[0]["bytes"] == 3, "both flow")
            world.nginx.kill()
            held.sendall(b"two")
            ends.wait(lambda seen: seen and seen[0]["bytes"] == 6, "the flow goes on without the command")
            world.write(route())
            world.start()
            equal(how_it_ends(lost), "reset", "the flow that was withdrawn meanwhile")
            gone.wait(lambda seen: seen[0]["how"] == "reset", "its server's end")
            held.sendall(b"three")
            ends.wait(lambda seen: seen[0]["bytes"] == 11, "the flow goes on after the restart")
            equal({p for p, parent in world.processes().items() if parent not in world.processes()}, masters, "masters")


@promise("a killed master takes its workers and flows along, with errors, and is replaced")
def master_killed():
    with World("nginx-master") as world:
        ends = Ends(world.server, 4242)
        world.write(route())
        world.start()
        running = world.processes()
        master = next(p for p, parent in running.items() if parent not in running)
        with world.client.connect("10.3.0.30", PORT) as out:
            out.sendall(b"half")
            ends.wait(lambda seen: seen and seen[0]["bytes"] == 4, "bytes arrived")
            os.kill(master, signal.SIGKILL)
            equal(how_it_ends(out), "reset", "the client's end")
            ends.wait(lambda seen: seen[0]["how"] == "reset", "the server's end is a reset")

        wait_until(lambda: not set(running) & set(world.processes()), "all processes of the old NGINX have ended")

        def carries():  # a listening port alone says nothing: `nginx -t` opens it, too, and closes it again
            try:
                with world.client.connect("10.3.0.30", PORT, 2) as again:
                    again.sendall(b"again")
                    return how_it_ends(again, 0.2) == "still open"
            except ConnectionError:
                return False
        wait_until(carries, "NGINX runs again and carries")


@promise("an expired route is cut and closed with the control plane gone")
def expiry():
    with World("nginx-expiry") as world:
        ends = Ends(world.server, 4242)
        end = time.time() + 3
        world.write(route(expires=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end))))
        world.start()
        with world.client.connect("10.3.0.30", PORT) as out:
            out.sendall(b"x")
            equal(how_it_ends(out, 6), "reset", "the client's end")
            late = time.time() - int(end)
            check(late < 2.0, f"{late:.1f} s after its end")
        ends.wait(lambda seen: seen[0]["how"] == "reset", "the server's end")
        equal(refused(world.client, "10.3.0.30", PORT), "ConnectionRefusedError", "a new connection")


@promise("a flow that pushes is cut when the other direction carries more than its limit")
def reverse_limit():
    with World("nginx-reverse") as world:
        ends = Ends(world.server, 4242, flood=True)
        world.write(route(data="push"))
        world.start()
        with world.client.connect("10.3.0.30", PORT) as out:
            out.settimeout(5)
            got, how = 0, "end"
            try:
                while data := out.recv(1 << 16):
                    got += len(data)
            except ConnectionError:
                how = "reset"
            equal(how, "reset", "the client's end")
            check(1 << 20 <= got < 10 << 20, f"{got} bytes came back")
        ends.wait(lambda seen: seen[0]["how"] == "reset", "the server's end")
        world.nginx.wait_for_log("the direction without data carried too much")
        print(f"      cut after {got} bytes; the limit is {1 << 20}")


@promise("HTTP goes request by request, unchanged, streamed both ways, and a reload loses no request")
def http_streamed():
    with World("nginx-http") as world:
        script = world.lab.path("server.py")
        with open(script, "w", encoding="ascii") as file:
            file.write("""
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        said = (self.requestline + "|" + (self.headers.get("Host") or "") + "|" + (self.headers.get("a_b") or "") + "|" + str(len(body))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_GET = do_POST
    def log_message(self, *words):
        pass
http.server.ThreadingHTTPServer(("10.2.0.20", 8080), Handler).serve_forever()
""")
        world.server.start("/usr/bin/python3", script, name="http")
        world.server.wait_for_port(8080)
        web = route("web", destination="10.2.0.20:8080", carries="http")
        world.write(web)
        world.start()
        body = world.lab.path("body")
        with open(body, "wb") as file:
            file.write(bytes(30 << 20))
        said = world.client.run("curl", "-sS", "-H", "Host: pacs.example", "-H", "a_b: c", "--data-binary", f"@{body}", "--path-as-is",
                                f"http://10.3.0.30:{PORT}/x//y/../z?q=%2f").stdout
        equal(said, f"POST /x//y/../z?q=%2f HTTP/1.1|pacs.example|c|{30 << 20}", "what the server was asked")
        sizes = [os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(world.state) for f in files]
        check(max(sizes) < 1 << 20, "NGINX wrote the body to its folder")
        stop, done, lost = threading.Event(), [0] * 4, []

        def load(number):
            while not stop.is_set():
                try:
                    with world.client.connect("10.3.0.30", PORT, 3) as out:
                        out.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                        answer = b"".join(iter(lambda: out.recv(65536), b""))
                        check(answer.startswith(b"HTTP/1.1 200"), repr(answer[:80]))
                    done[number] += 1
                except Exception as error:  # noqa: BLE001
                    lost.append(repr(error))
        threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for turn in range(4):
            world.write(web, *([route("b", listen=f"10.3.0.30:{PORT + 1}")] if turn % 2 == 0 else []))
            world.settled()
        stop.set()
        for thread in threads:
            thread.join()
        equal(lost, [], f"lost among {sum(done)} requests")
        print(f"      {sum(done)} requests over {world.metric('epif_nginx_reloads_total')} reloads, none lost")


class Named(http.server.BaseHTTPRequestHandler):
    """Answers with the name of the request; one whose name begins with "slow" waits until it is let go."""
    protocol_version = "HTTP/1.1"
    seen, let_go = [], threading.Event()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.seen.append(self.path[1:])
        if self.path.startswith("/slow"):
            self.let_go.wait(20)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path) - 1))
        self.end_headers()
        self.wfile.write(self.path[1:].encode())

    def log_message(self, *words):
        pass


class KeptAlive:
    """An HTTP client that uses its connection again until the other side ends it."""

    def __init__(self, node):
        self.node, self.out, self.connections, self.answered, self.unanswered = node, None, 0, [], []

    def post(self, name):
        if self.out is None:
            self.out, self.connections = http.client.HTTPConnection("10.3.0.30", PORT), self.connections + 1
            self.out.auto_open, self.out.sock = 0, self.node.connect("10.3.0.30", PORT, 10)
        try:
            self.out.request("POST", "/" + name, body=bytes(2000))
            answer = self.out.getresponse()
            equal(answer.read(), name.encode(), "the answer")
            self.answered.append(name)
            if not answer.will_close:
                return
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            self.unanswered.append(name)
        self.out.close()
        self.out = None


@promise("a client that keeps its HTTP connection over reloads has each request answered once; one that its end crossed never reached the server, and can be repeated")
def kept_alive():
    with World("nginx-alive") as world:
        server = http.server.ThreadingHTTPServer(("", 0), Named, bind_and_activate=False)
        server.socket = world.server.listen(8080)
        server.socket.settimeout(None)
        server.handle_error = lambda *_: None  # the last connections are cut when the world ends
        threading.Thread(target=server.serve_forever, daemon=True).start()
        web = route("web", destination="10.2.0.20:8080", carries="http")
        world.write(web)
        world.start()
        clients, stop, wrong = [KeptAlive(world.client) for _ in range(4)], threading.Event(), []

        def load(number):
            try:
                for turn in itertools.count():
                    if stop.is_set():
                        return
                    clients[number].post(f"{number}-{turn}")
            except Exception as error:  # noqa: BLE001
                wrong.append(repr(error))
        threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
        slow, idle = KeptAlive(world.client), KeptAlive(world.client)
        idle.post("idle-before")
        held = threading.Thread(target=slow.post, args=("slow",))
        for thread in (held, *threads):
            thread.start()
        wait_until(lambda: "slow" in Named.seen, "the slow request is with the server")
        for turn in range(6):
            before = sum(len(client.answered) for client in clients)
            world.write(web, *([route("b", listen=f"10.3.0.30:{PORT + 1}")] if turn % 2 == 0 else []))
            world.settled()
            wait_until(lambda: sum(len(client.answered) for client in clients) > before + 40, "requests after the reload")
        stop.set()
        Named.let_go.set()
        for thread in (held, *threads):
            thread.join(20)
        equal(wrong, [], "troubles")
        equal((slow.answered, slow.unanswered), (["slow"], []), "the request that lasted over six reloads")
        equal(how_it_ends(idle.out.sock), "end", "an idle connection")
        answered = [name for client in clients for name in client.answered]
        unanswered = [name for client in clients for name in client.unanswered]
        equal([name for name in unanswered if name in Named.seen], [], "requests without an answer that the server saw")
        equal(sorted(answered), sorted(set(Named.seen) - {"slow", "idle-before"}), "requests that the server saw")
        equal(len(Named.seen), len(set(Named.seen)), "requests, each once")
        made = sum(client.connections for client in clients)
        check(4 < made < len(answered) / 4, f"{made} connections for {len(answered)} requests: none was used again, or none ended")
        print(f"      {len(answered)} requests by {made} connections over {world.metric('epif_nginx_reloads_total')} reloads; "
              f"{len(unanswered)} crossed the end of their connection")


@promise("a stop cuts all flows with errors and leaves nothing; what a crash left, --cleanup removes")
def clean_end():
    with World("nginx-end") as world:
        ends = Ends(world.server, 4242)
        world.write(route())
        world.start()
        with world.client.connect("10.3.0.30", PORT) as out:
            out.sendall(b"x")
            ends.wait(lambda seen: seen and seen[0]["bytes"] == 1, "a byte arrived")
            equal(world.nginx.stop(), 0, "exit code")
            equal(how_it_ends(out), "reset", "the client's end")
        ends.wait(lambda seen: seen[0]["how"] == "reset", "the server's end")

        def nothing_left():
            equal(world.processes(), {}, "processes")
            check(not os.path.exists(world.state), "the state folder is left")
            rules = world.proxy.run("nft", "list", "ruleset").stdout
            check("epif" not in rules, rules)
        nothing_left()
        world.start()
        world.nginx.kill()
        check(world.processes(), "NGINX should have outlived the command")
        with open(os.path.join(world.state, "umc_client", "nginx.conf"), "a", encoding="ascii") as file:
            file.write("broken")
        world.proxy.run(epif(), "nginx", "--cleanup", "--state", world.state)
        nothing_left()


@promise("without NGINX, or without routes that can be read, it says so and leaves nothing")
def wrong_use():
    with World("nginx-wrong") as world:
        world.write(route())
        done = world.proxy.run(epif(), "nginx", "--routes", world.routes_file, "--state", world.state, "--nginx", "/no/nginx", check=False)
        check(done.returncode == 1 and "there is no NGINX" in done.stderr and "/no/nginx" in done.stderr, done.stderr)
        done = world.proxy.run(epif(), "nginx", "--routes", "/no/file", "--state", world.state, check=False)
        check(done.returncode != 0 and "/no/file" in done.stderr, done.stderr)
        check("epif" not in world.proxy.run("nft", "list", "ruleset").stdout, "rules are left")


if __name__ == "__main__":
    run()
