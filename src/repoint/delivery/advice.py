"""Who is asked before messages are made: campaign hooks first, then recommenders for whom the hooks have left in."""

from collections.abc import Sequence

from repoint.bindings.functions import Functions
from repoint.bindings.models import Models
from repoint.delivery import hooks
from repoint.delivery.asking import Asker
from repoint.delivery.pipeline import Delivery
from repoint.delivery.recommending import Recommending


class Advice:
    """Has functions, webhooks and models advise deliveries."""

    def __init__(self, functions: Functions, models: Models, *, endpoints_max: int) -> None:
        self._asker = Asker(functions, endpoints_max=endpoints_max)
        self._recommending = Recommending(self._asker, models)

    async def take(self, deliveries: Sequence[Delivery]) -> None:
        """Ask for these deliveries; whom it is decided for gets an outcome.

        Nothing of an answer is kept: a message that is tried again is asked for again.
        """
        hooked = [delivery for delivery in deliveries if delivery.plan.hook]
        if hooked:
            await hooks.consult(self._asker, hooked)
        rest = [one for one in deliveries if one.outcome is None and one.plan.recommender_id]
        if rest:
            await self._recommending.recommend(rest)
