"""What a program that systemd starts has to do: keep time, and say how it is."""

import os
import socket
import time
from collections.abc import Callable


def notify(state: str) -> None:
    """Tell systemd, if it is there (sd_notify(3): READY=1, STATUS=…)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # A name that begins with @ is one of the abstract namespace.
    place = "\0" + address[1:] if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.sendto(state.encode(), place)


def pace(
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Callable[[], None]:
    """A function that returns once every so many seconds. Time that was lost is not made up for."""
    due = clock()

    def wait() -> None:
        nonlocal due
        now = clock()
        if now < due:
            sleep(due - now)
        due = max(due, now) + seconds

    return wait
