"""The network between a browser and Sidestream, which a test can cut."""

import socket
import struct
import threading


class Relay:
    """Passes TCP connections on to a port of this machine. Cut, it resets all of them and refuses new ones until mended."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._whole = True
        self.refused = 0  # connections that came while it was cut
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Relay":
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """Resets every connection; from now on each new one is reset as well."""
        with self._lock:
            self._whole = False
            for connection in self._open:
                _reset(connection)
            self._open.clear()

    def mend(self) -> None:
        """Lets new connections through again."""
        with self._lock:
            self._whole = True

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if not self._whole:
                    self.refused += 1
                    _reset(client)
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._target), timeout=60)
                except OSError:  # nobody listens there just now
                    _reset(client)
                    continue
                server.settimeout(None)
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._drop(source, sink)

    def _drop(self, *connections: socket.socket) -> None:
        with self._lock:
            for connection in connections:
                _reset(connection)
                self._open.discard(connection)


def _reset(connection: socket.socket) -> None:
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads it; close alone would not
    except OSError:
        pass
    connection.close()
