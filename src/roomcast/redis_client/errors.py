"""What can go wrong with a command.

Layer: redis_client.
"""

from __future__ import annotations


class RedisUnavailable(Exception):
    """Redis is out of reach, refused, or did not answer in time. Whether the command was carried out is not known."""
