"""Which provider an email goes by: its sender's identity says so."""

from collections.abc import Sequence

from repoint.delivery.mime import domain_of
from repoint.delivery.provider import Email, EmailProvider, Outcome

EVERYTHING = "*"


class EmailRouter:
    """Email of the given identities by one provider, all other by another.

    An identity is an SES ARN as in the email channel, a domain (which has its subdomains), an address, or `*`.
    """

    def __init__(self, identities: Sequence[str], theirs: EmailProvider, others: EmailProvider) -> None:
        self._identities = frozenset(identity.lower() for identity in identities)
        self._theirs = theirs
        self._others = others

    async def send(self, emails: Sequence[Email]) -> list[Outcome]:
        """An outcome for each, in order."""
        outcomes: list[Outcome | None] = [None] * len(emails)
        for provider, is_theirs in ((self._theirs, True), (self._others, False)):
            indices = [index for index, email in enumerate(emails) if self.is_theirs(email) is is_theirs]
            if indices:
                sent = await provider.send([emails[index] for index in indices])
                for index, outcome in zip(indices, sent, strict=True):
                    outcomes[index] = outcome
        return [outcome for outcome in outcomes if outcome is not None]

    def is_theirs(self, email: Email) -> bool:
        """Whether any of the identities is this email's."""
        if EVERYTHING in self._identities or email.identity.lower() in self._identities:
            return True
        sender = email.sender.lower()
        labels = domain_of(sender).split(".")
        domains = {".".join(labels[start:]) for start in range(len(labels))}
        return sender in self._identities or not domains.isdisjoint(self._identities)

    async def close(self) -> None:
        """Close both."""
        await self._theirs.close()
        await self._others.close()
