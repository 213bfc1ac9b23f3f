#!/usr/bin/python3
"""client ── gate ── server and proxy: a redirector that is full, one without descriptors, and what an idle connection costs."""
import contextlib
import os
import resource
import select
import threading
import time

from lab import check, equal, promise, run, wait_until
from redirect_world import Service, World, certificates, echo, is_refused, read_all

TARGET, PORT = "10.2.0.20", 7001


class Crowd(contextlib.ExitStack):
    """Connections of the client that begin with the same bytes, closed at the end."""

    def __init__(self, first=b"ping"):
        super().__init__()
        self.first = first

    def waiting(self, w):
        out = self.enter_context(w.client.connect(TARGET, PORT, timeout=15.0))
        out.sendall(self.first)
        return out

    def served(self, w, count):
        """So many whose bytes came back."""
        made = [self.waiting(w) for _ in range(count)]
        for out in made:
            check(read_all(out, len(self.first)) == self.first, "other bytes came back")
        return made


def still_served(flows):
    for flow in flows:
        flow.sendall(b"still")
        equal(read_all(flow, 5), b"still", "echo to one that was carried before")


@promise("beyond its most connections a redirector resets each at once; those within go on, and places that come free are given again")
def full():
    with World("limitsfull") as w, Service(w.server, PORT, echo), Crowd() as crowd:
        w.redirect("--capture", TARGET, "--threads", "1", prefix=("prlimit", "--nofile=192:192"))
        most = w.metric('limit{limit="connections"}')
        equal(most, 64, "connections for 192 descriptors")
        inside = crowd.served(w, most)
        for _ in range(20):
            began = time.monotonic()
            check(is_refused(w.client, TARGET, PORT), "one too many was served")
            check(time.monotonic() - began < 1.0, f"its reset took {time.monotonic() - began:.1f} s")
        still_served(inside)
        equal((w.metric('refused_total{reason="limit"}'), w.metric('shed_total{limit="connections"}')), (20, 20), "refusals counted")
        equal(w.metric("connections_active"), most, "connections held")
        for out in inside[:10]:
            out.close()
        wait_until(lambda: w.metric("connections_active") == most - 10, "ten places are free")
        crowd.served(w, 10)
        check(is_refused(w.client, TARGET, PORT), "one too many was served afterwards")
        still_served(inside[10:])


def cpu_s(process):
    with open(f"/proc/{process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@promise("without descriptors a redirector's accept pauses and does not spin, what runs goes on, and who waits is served when some are free")
def no_descriptors():
    with World("limitsnone") as w, Service(w.server, PORT, echo), Crowd() as running:
        redirector = w.redirect("--capture", TARGET, "--threads", "1")
        running.served(w, 1)
        wait_until(lambda: w.metric("trunks") == 1, "a trunk stands, so that a flow takes one descriptor")
        flows = running.served(w, 5)
        last = max(int(number) for number in os.listdir(f"/proc/{redirector.pid}/fd"))
        resource.prlimit(redirector.pid, resource.RLIMIT_NOFILE, (last + 9, last + 9))
        with Crowd() as crowd:
            more = [crowd.waiting(w) for _ in range(80)]
            redirector.wait_for_log("accept pauses")
            before, began = cpu_s(redirector), time.monotonic()
            while time.monotonic() - began < 1:
                still_served(flows)
                select.select([], [], [], 0.01)
            check(cpu_s(redirector) - before < 0.3, f"{cpu_s(redirector) - before:.2f} s of CPU in one second without descriptors")
            served = [out for out in more if select.select([out], [], [], 0)[0]]
            check(0 < len(served) < len(more), f"{len(served)} of {len(more)} were served, so descriptors were not short")
            for out in served:
                equal(read_all(out, 4), b"ping", "echo to one that was taken before descriptors ran out")
                out.close()
                more.remove(out)
            equal(read_all(more[0], 4), b"ping", "echo to the first that waited")
        wait_until(lambda: w.metric("connections_active") == 6, "the crowd is gone")
        check(w.metric("accept_pauses_total") > 0, "the pauses are not counted")
        running.served(w, 5)
        still_served(flows)


class Echoes:
    """An echo service with one thread for any number of connections."""

    def __init__(self, listener):
        self.listener, self.poll, self.peers = listener, select.epoll(), {}
        self.poll.register(listener, select.EPOLLIN)
        self.end, self.wake = os.pipe()
        self.poll.register(self.end, select.EPOLLIN)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            for number, _ in self.poll.poll():
                if number == self.end:
                    return
                if number == self.listener.fileno():
                    peer = self.listener.accept()[0]
                    self.peers[peer.fileno()] = peer
                    self.poll.register(peer, select.EPOLLIN)
                    continue
                data = self._read(number)
                if data:
                    self.peers[number].sendall(data)
                else:
                    self.poll.unregister(number)
                    self.peers.pop(number).close()

    def _read(self, number):
        try:
            return self.peers[number].recv(65536)
        except OSError:
            return b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.wake)
        self.thread.join()
        for peer in [*self.peers.values(), self.listener, self.poll]:
            peer.close()
        os.close(self.end)


def pss_kib(process):
    with open(f"/proc/{process.pid}/smaps_rollup", encoding="ascii") as rollup:
        return next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))


def held_by_each(w, processes, crowd, count, warm_up=300):
    """KiB of memory that each of `processes` holds for one connection of a crowd that idles."""
    for _ in range(warm_up // 50):
        crowd.served(w, 50)
    before = [pss_kib(process) for process in processes]
    for _ in range(count // 50):
        crowd.served(w, 50)
    after = [pss_kib(process) for process in processes]
    equal(w.metric("connections_active"), count + warm_up, "connections held")
    return [(late - early) / count for early, late in zip(before, after)]


@contextlib.contextmanager
def all_descriptors():
    """Of this process and of those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@promise("2,000 idle connections in clear that began with 16 KB hold less than 4 KiB each of a redirector's and of a proxy's memory, in a trunk or not")
def idle_memory():
    with all_descriptors():
        for flags in ([], ["--trunk", "off"]):
            with World("limitsidle") as w, Echoes(w.server.listen(PORT)), Crowd(os.urandom(16_000)) as crowd:
                redirector = w.redirect("--capture", TARGET, *flags)
                each = held_by_each(w, (redirector, w.proxy), crowd, 2_000)
                print(f"      {' '.join(flags) or 'in a trunk'}: redirector {each[0]:.2f} KiB, proxy {each[1]:.2f} KiB", flush=True)
                check(max(each) < 4, f"redirector {each[0]:.2f} KiB, proxy {each[1]:.2f} KiB for each connection with {flags}")


@promise("1,000 idle connections with TLS of their own to the proxy hold less than 32 KiB each of a redirector's and of a proxy's memory")
def idle_memory_tls():
    with all_descriptors(), World("limitstls", proxy=False) as w:
        made, ca = certificates(w.lab, "umc/node", "umc/proxy")
        words = {name: ("--cert", cert, "--key", key, "--ca", ca) for name, (cert, key) in made.items()}
        proxy = w.start_proxy("--tls-listen", "10.3.0.30:1083", "--allow-all", *words["umc/proxy"], port=1083)
        with Echoes(w.server.listen(PORT)), Crowd(os.urandom(16_000)) as crowd:
            redirector = w.redirect("--capture", TARGET, "--trunk", "off", *words["umc/node"], "--proxy-identity", "umc/proxy",
                                    proxy="10.3.0.30:1083")
            handshakes = sum(w.metric(f'tls_handshakes_total{{resumed="{resumed}"}}') for resumed in ("yes", "no"))
            each = held_by_each(w, (redirector, proxy), crowd, 1_000)
            more = sum(w.metric(f'tls_handshakes_total{{resumed="{resumed}"}}') for resumed in ("yes", "no")) - handshakes
            check(more >= 1_000, f"{more} handshakes: not each has TLS of its own")
            equal(w.metric("trunks"), 0, "trunks")
            print(f"      redirector {each[0]:.2f} KiB, proxy {each[1]:.2f} KiB", flush=True)
            check(max(each) < 32, f"redirector {each[0]:.2f} KiB, proxy {each[1]:.2f} KiB for each connection")
            check(min(each) > 1, "so little that it was not measured")


run()
