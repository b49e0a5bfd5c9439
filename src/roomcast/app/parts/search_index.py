"""Indexes the messages that a version of roomcast without search has written: while the process serves, or before.

Layer: app.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from roomcast.chat.errors import StoreBusy, StoreUnavailable
from roomcast.chat.ports import SearchStore

logger = logging.getLogger(__name__)

#: Seconds between two batches, in which other writes have the database.
_PAUSE_S: Final = 0.05
#: Seconds before the next attempt, after the database did not answer.
_RETRY_S: Final = 5.0


async def index_earlier_messages(index: SearchStore) -> None:
    """Index all messages in short transactions; then wait until cancelled, as other background tasks do."""
    batches = 0
    while True:
        try:
            if not await index.index_more():
                break
        except (StoreBusy, StoreUnavailable) as error:
            logger.info("earlier messages cannot be indexed yet", extra={"error": str(error)})
            await asyncio.sleep(_RETRY_S)
            continue
        batches += 1
        await asyncio.sleep(_PAUSE_S)
    if batches:
        logger.info("the search index is complete", extra={"batches": batches})
    await asyncio.Event().wait()
