"""The check of a server's clock.

Layer: app.
"""

from __future__ import annotations

from typing import Final

from roomcast.app.doctor.findings import Finding, fault, ok

#: A token of a user is accepted with this leeway, in seconds.
_CLOCK_S: Final = 5.0


def check_clock(server: str, difference_s: float) -> Finding:
    """The finding for the difference between the clock of a server and this machine's."""
    summary = f"{abs(difference_s):.1f} s between {server} and this machine"
    if abs(difference_s) > _CLOCK_S:
        return fault("clock", summary, "synchronise both clocks (NTP): tokens and leases depend on them")
    return ok("clock", summary)
