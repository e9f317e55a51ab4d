"""Ctrl-C, and the SIGTERM of a machine that is taken away."""

import os
import signal
import socket
import sys
import threading

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """Within it, Ctrl-C and SIGTERM are requests, looked at between batches; a second Ctrl-C ends the process at once.

    A thread of its own listens, for the main one may be in a long step of the backend.

    Attributes:
        requested: bool, whether to end.
    """

    def __enter__(self):
        self.requested = False
        reader, self._writer = socket.socketpair()  # a pipe that does not block is no wakeup fd on Windows
        self._writer.setblocking(False)
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        self._wakeup = signal.set_wakeup_fd(self._writer.fileno())
        threading.Thread(target=self._listen, args=[reader], daemon=True).start()
        return self

    def __exit__(self, *_):
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._writer.close()  # ends the thread

    def _listen(self, reader):
        with reader:
            while number := reader.recv(1):
                if self.requested and number[0] == signal.SIGINT:
                    os._exit(130)
                if number[0] in SIGNALS:
                    self.requested = True
                    print("\nending after this batch; Ctrl-C again ends at once", file=sys.stderr, flush=True)
