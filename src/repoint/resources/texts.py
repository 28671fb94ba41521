"""Texts that are Handlebars: whether they compile, remembered by digest, as the same ones are sent again and again."""

import hashlib
from collections import OrderedDict

from repoint import handlebars

DIGESTS_MAX = 10_000


class SoundTexts:
    """Knows the digests of the texts that have compiled; the least used are forgotten, the texts are not kept."""

    def __init__(self) -> None:
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def mistake(self, source: str) -> str | None:
        """What is wrong with a text, with its line and column; None when it compiles."""
        if "{{" not in source:
            return None
        digest = hashlib.sha256(source.encode()).digest()
        if digest in self._digests:
            self._digests.move_to_end(digest)
            return None
        try:
            handlebars.compile(source)
        except handlebars.TemplateError as error:
            return str(error)
        self._digests[digest] = None
        if len(self._digests) > DIGESTS_MAX:
            self._digests.popitem(last=False)
        return None
