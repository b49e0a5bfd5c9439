"""The gateway's admission in the process that has the database: a direct call.

Layer: app.
"""

from __future__ import annotations

from roomcast.chat.admission import Admissions
from roomcast.chat.errors import ChatNotFound, NotAMember, StoreUnavailable
from roomcast.chat.ports import Head
from roomcast.contract.cursor import Cursor
from roomcast.gateway.ports import Admission, AdmissionDenied, ApiUnavailable


class LocalAdmission:
    """`roomcast.gateway.ports.ChatAdmission` over the use cases.

    Args:
        admissions: The use cases.
    """

    def __init__(self, admissions: Admissions) -> None:
        self._admissions = admissions

    async def admit(self, chat_id: str, user_id: str | None, since: Cursor | None) -> Admission:
        """See the port."""
        try:
            admitted = await self._admissions.admit(chat_id, user_id, since)
        except (ChatNotFound, NotAMember) as error:
            raise AdmissionDenied(str(error)) from None
        except StoreUnavailable as error:
            raise ApiUnavailable(str(error)) from error
        return Admission(Head(admitted.epoch, admitted.seq), admitted.reset)

    async def request_publish(self, chat_id: str) -> None:
        """See the port."""
        await self._admissions.request_publish(chat_id)
