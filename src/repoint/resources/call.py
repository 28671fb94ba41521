"""One API call: who asks, where and when, and what the server has to answer it with."""

import uuid
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from repoint.clock import Clock, iso8601
from repoint.db import Database
from repoint.resources.texts import SoundTexts
from repoint.sealing import Seal
from repoint.wire.exceptions import BadRequestException
from repoint.wire.paging import Page, read_page


@dataclass(frozen=True, slots=True)
class Server:
    """What every call shares; built once, in main."""

    db: Database
    seal: Seal
    clock: Clock
    account_id: str
    send_deadline_seconds: int = 14_400
    call_endpoints_max: int = 50
    texts: SoundTexts = field(default_factory=SoundTexts)


class Call(msgspec.Struct, frozen=True):
    """One signed request, as a handler sees it.

    `invocation_id` is what AWS's SDKs send with a call and with every retry of it; empty for other clients.
    """

    server: Server
    region: str
    access_key_name: str = "repoint"
    request_id: str = msgspec.field(default_factory=lambda: str(uuid.uuid4()))
    invocation_id: str = ""

    @property
    def db(self) -> Database:
        """The database."""
        return self.server.db

    def now(self) -> datetime:
        """The moment it is, by the injected clock."""
        return self.server.clock()

    def timestamp(self) -> str:
        """The moment it is, as Pinpoint writes it."""
        return iso8601(self.now())

    def arn(self, path: str) -> str:
        """The ARN of a resource of this account and region."""
        return f"arn:aws:mobiletargeting:{self.region}:{self.server.account_id}:{path}"


def new_id() -> str:
    """An id as Pinpoint makes them: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def page_of(page_size: str | None, token: str | None, of: str, *, member: str = "token") -> Page:
    """The page a caller asks for, of the list that `of` names: its kind, and whose it is.

    Raises:
        BadRequestException: for a size that is not a number within limits, or a token of no page of this list.
    """
    try:
        return read_page(page_size, token, of, member=member)
    except ValueError as error:
        raise BadRequestException(str(error)) from None
