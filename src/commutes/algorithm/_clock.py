"""A time limit for code that may never return."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TIME_LIMIT = (
    10.0  # seconds without progress: a mechanism is arithmetic on a few values, and takes microseconds
)


class OutOfTime(BaseException):
    """Raised inside the code that made no progress. Not an `Exception`: a mechanism must not swallow it."""


@contextmanager
def time_limit(progress: Callable[[], int]) -> Iterator[None]:
    """Raise `OutOfTime` where `progress()` stands still for `TIME_LIMIT` seconds (up to half as long again).

    Works in the main thread of systems with SIGALRM; elsewhere, and where somebody else's alarm is
    running, there is no limit.
    """
    here = threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGALRM")
    if not here or signal.getitimer(signal.ITIMER_REAL)[0] > 0:
        yield
        return
    seen, still = progress(), 0

    def tick(*_: object) -> None:
        nonlocal seen, still
        now = progress()
        seen, still = now, still + 1 if now == seen else 0
        if still >= 2:
            raise OutOfTime

    previous = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TIME_LIMIT / 2, TIME_LIMIT / 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if previous is None else previous)
