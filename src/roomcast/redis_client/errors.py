"""The error of this package.

Layer: redis_client.
"""

from __future__ import annotations


class RedisUnavailable(Exception):
    """Redis is unreachable, refused the command, or did not answer in time; it may have executed the command."""
