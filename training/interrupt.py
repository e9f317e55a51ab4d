"""Ctrl-C, and the SIGTERM of a machine that is taken away."""

import os
import signal


class Interruption:
    """Within it, Ctrl-C and SIGTERM are requests, looked at between batches; a second Ctrl-C ends the process at once.

    Attributes:
        requested: bool, whether to end.
    """

    def __enter__(self):
        self.requested = False
        self._before = {number: signal.signal(number, self._request) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _request(self, number, frame):
        self.requested = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.write(2, b"\nending after this batch; Ctrl-C again ends at once\n")  # print may be what was interrupted
