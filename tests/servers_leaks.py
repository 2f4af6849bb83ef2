"""What a test must not leave in Redis: keys that nothing will ever remove."""

from typing import TYPE_CHECKING

from roadvault_common.events.kinds import DEAD_LETTERS, EVENTS

if TYPE_CHECKING:
    from redis import Redis

_STREAMS = {DEAD_LETTERS, *(event.stream for event in EVENTS)}


def lasting_keys(client: "Redis") -> list[str]:
    """Return the keys without a time to live, other than the known streams and what is RoadVault's own by name."""
    leaks = []
    for raw in client.scan_iter(count=1000):
        key = raw.decode(errors="replace")
        known = key.partition("@")[0] in _STREAMS or key.startswith("roadvault:")
        if not known and client.ttl(raw) == -1:
            leaks.append(key)
    return sorted(leaks)
