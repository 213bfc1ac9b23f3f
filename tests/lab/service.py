"""A TCP service of a node, in this process."""
import socket
import threading


class Service:
    """Each connection to the socket `listener` gets `serve(socket)` on a thread of its own, and is closed after it. `peers`: to
    this list the address of each who connects is added. close() ends the listening, not the connections."""

    def __init__(self, listener, serve, peers=None):
        self.listener, self.peers, self._serve = listener, [] if peers is None else peers, serve
        listener.settimeout(None)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with self.listener:
            while True:
                try:
                    peer, address = self.listener.accept()
                except OSError:
                    return
                self.peers.append(address)
                threading.Thread(target=self._one, args=(peer,), daemon=True).start()

    def _one(self, peer):
        with peer:
            try:
                self._serve(peer)
            except OSError:
                pass  # whoever is at the other end sees it

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts; it closes
        except OSError:
            pass  # closed already

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.close()


def echo(peer):
    """Sends back what it reads, and the end after it."""
    while data := peer.recv(65536):
        peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
