"""Settings looked over before anything is opened: what a process would otherwise stumble over later."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial

from repoint.bindings.storage import Storage
from repoint.config import SettingError, Settings
from repoint.delivery.providers.smtp.relay import RelaySettings
from repoint.gateway.rates import parse_limits
from repoint.operations import OPERATIONS
from repoint.resources.tracking import leads_somewhere

logger = logging.getLogger(__name__)
OTHERS = frozenset({"REPOINT_CONFIG", "REPOINT_BINDING_SECRET"})


def check(settings: Settings) -> None:
    """Refuse what cannot be used; of what nobody uses, warn.

    Raises:
        SettingError: for the first of it.
    """
    if settings.public_url and not leads_somewhere(settings.public_url):
        raise SettingError("public-url: must be https://HOST or http://HOST, with a port and a path if need be")
    for url in settings.smtp_url:
        _try("smtp-url", partial(RelaySettings.from_url, url))
    _try("bucket", lambda: Storage(settings.data_dir, settings.bucket))
    _try("rate-limit", lambda: parse_limits(settings.rate_limit, OPERATIONS))
    for name in unknown_variables():
        logger.warning("the environment has %s, and there is no such setting", name)


def unknown_variables() -> Iterator[str]:
    """What the environment has that looks like a setting and is none."""
    known = {f"REPOINT_{entry.name.upper()}" for entry in fields(Settings)} | OTHERS
    known |= {entry.metadata["also"] for entry in fields(Settings)}
    return (name for name in sorted(os.environ) if name.startswith("REPOINT_") and name not in known)


def _try(name: str, use: Callable[[], object]) -> None:
    try:
        use()
    except ValueError as error:
        raise SettingError(f"{name}: {error}") from None
