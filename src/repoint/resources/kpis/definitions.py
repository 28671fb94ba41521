"""Every KPI by its name: what it sums, and by what it may be grouped (developer guide, "Standard metrics")."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

Sums = Mapping[str, float]
Value = Callable[[Sums], float | None]


@dataclass(frozen=True, slots=True)
class Kpi:
    """One name. `measures` are read, `value` makes one number of their sums; None is no row.

    `distinct` measures are numbers of different endpoints; `column` is what is summed of the others.
    """

    measures: tuple[str, ...]
    value: Value
    group: str = ""
    distinct: bool = False
    column: str = "count"


DELIVERED: Final = ("email.sent", "email.hard_bounced", "email.soft_bounced")
ALL_SENT: Final = ("email.sent", "sms.sent", "push.sent", "push.failed")
ALL_DELIVERED: Final = (*DELIVERED, "sms.delivered", "push.sent")
GROUPS: Final = {
    "date": "Date",
    "campaign": "CampaignId",
    "campaign-activity": "CampaignActivityId",
    "journey-activity": "JourneyActivityId",
    "country": "Country",
}


def total(*names: str) -> Value:
    """The sum of measures; nothing when none of them happened."""

    def value(sums: Sums) -> float | None:
        found = [sums[name] for name in names if name in sums]
        return sum(found) if found else None

    return value


def email_delivered(sums: Sums) -> float | None:
    """Sent and not bounced. What was rejected was not sent: Repoint's rejections come before the wire."""
    if "email.sent" not in sums:
        return None
    return max(0.0, sums["email.sent"] - sums.get("email.hard_bounced", 0) - sums.get("email.soft_bounced", 0))


def delivered(sums: Sums) -> float | None:
    """Over all channels."""
    found = [email_delivered(sums), total("sms.delivered")(sums), total("push.sent")(sums)]
    known = [number for number in found if number is not None]
    return sum(known) if known else None


def sent_less_hard_bounces(sums: Sums) -> float | None:
    """What KPIs named successful-deliveries count."""
    sent = total(*ALL_SENT)(sums)
    return None if sent is None else max(0.0, sent - sums.get("email.hard_bounced", 0))


def ratio(part: Value, whole: Value) -> Value:
    """A fraction of one; nothing of nothing is no row."""

    def value(sums: Sums) -> float | None:
        divisor = whole(sums)
        return (part(sums) or 0.0) / divisor if divisor else None

    return value


def grouped(name: str, kpi: Kpi, *groups: str, alone: bool = True) -> dict[str, Kpi]:
    """A KPI under its name, and under its name for each way it is grouped."""
    found = {name: kpi} if alone else {}
    for group in groups:
        found[f"{name}-grouped-by-{group}"] = Kpi(kpi.measures, kpi.value, GROUPS[group], kpi.distinct, kpi.column)
    return found


DELIVERY_RATE: Final = Kpi(ALL_SENT + ALL_DELIVERED, ratio(delivered, total(*ALL_SENT)))
EMAIL_OPEN_RATE: Final = Kpi((*DELIVERED, "email.opened"), ratio(total("email.opened"), email_delivered))
PUSH_OPEN_RATE: Final = Kpi(("push.sent", "push.opened"), ratio(total("push.opened"), total("push.sent")))
UNIQUE_DELIVERIES: Final = Kpi(("email.reached", "sms.delivered", "push.sent"), total("distinct"), distinct=True)
SUCCESSFUL: Final = Kpi((*ALL_SENT, "email.hard_bounced"), sent_less_hard_bounces)


def one(measure: str, *, distinct: bool = False, column: str = "count") -> Kpi:
    """A measure itself."""
    return Kpi((measure,), total("distinct" if distinct else measure), distinct=distinct, column=column)


TXN_EMAIL: Final = {
    "txn-emails-sent": one("email.sent"),
    "txn-emails-delivered": Kpi(DELIVERED, email_delivered),
    "txn-emails-delivery-rate": Kpi(DELIVERED, ratio(email_delivered, total("email.sent"))),
    "txn-emails-opened": one("email.opened"),
    "txn-emails-clicked": one("email.clicked"),
    "txn-emails-unique-opens": one("email.opened", distinct=True),
    "txn-emails-unique-clicks": one("email.clicked", distinct=True),
    "txn-emails-hard-bounced": one("email.hard_bounced"),
    "txn-emails-soft-bounced": one("email.soft_bounced"),
    "txn-emails-with-complaints": one("email.complained"),
    "txn-emails-complaint-rate": Kpi(
        ("email.sent", "email.complained"), ratio(total("email.complained"), total("email.sent"))
    ),
}
SMS_RATE: Final = Kpi(("sms.sent", "sms.delivered"), ratio(total("sms.delivered"), total("sms.sent")))
SMS_PRICE: Final = one("sms.sent", column="millicents")


def _average(divisor: str) -> Kpi:
    """The price of an SMS, or of a part of one."""
    return Kpi(("sms.sent",), ratio(total("sms.sent"), total(divisor)), column="millicents")


APPLICATION_CAMPAIGNS: Final = {
    **grouped("successful-delivery-rate", DELIVERY_RATE, "date"),
    **grouped("email-open-rate", EMAIL_OPEN_RATE, "campaign"),
    **grouped("unique-deliveries", UNIQUE_DELIVERIES, "campaign", "date"),
    **grouped("successful-deliveries", SUCCESSFUL, "campaign", alone=False),
    **grouped("push-open-rate", PUSH_OPEN_RATE, "campaign"),
}
APPLICATION_TRANSACTIONAL: Final = {
    name: kpi for base, plain in TXN_EMAIL.items() for name, kpi in grouped(base, plain, "date").items()
} | {
    **grouped("txn-sms-sent", one("sms.sent"), "country", "date"),
    **grouped("txn-sms-delivered", one("sms.delivered"), "country", "date"),
    **grouped("txn-sms-delivery-rate", SMS_RATE, "date"),
    **grouped("txn-sms-sent-by-parts", one("sms.sent", column="parts"), "country"),
    **grouped("txn-sms-delivered-by-parts", one("sms.delivered", column="parts"), "country"),
    **grouped("txn-sms-average-price", _average("sms.sent:count"), "country", alone=False),
    **grouped("txn-sms-average-price-by-parts", _average("sms.sent:parts"), "country", alone=False),
    **grouped("txn-sms-total-price", SMS_PRICE, "country", alone=False),
    "txn-sms-error-distribution": Kpi(("sms.failed",), total("sms.failed"), "ErrorCode"),
}
CAMPAIGN: Final = {
    **grouped(
        "hard-bounce-rate",
        Kpi(("email.sent", "email.hard_bounced"), ratio(total("email.hard_bounced"), total("email.sent"))),
        "campaign-activity",
    ),
    **grouped("successful-delivery-rate", DELIVERY_RATE, "campaign-activity", "date"),
    **grouped("email-open-rate", EMAIL_OPEN_RATE, "campaign-activity"),
    **grouped("push-open-rate", PUSH_OPEN_RATE, "campaign-activity"),
    **grouped("unique-deliveries", UNIQUE_DELIVERIES, "campaign-activity", "date"),
    **grouped("attempted-deliveries", Kpi(ALL_SENT, total(*ALL_SENT)), "campaign-activity", alone=False),
    **grouped("successful-deliveries", SUCCESSFUL, "campaign-activity", alone=False),
    **grouped("direct-email-opens", one("email.opened"), "campaign-activity", alone=False),
    **grouped("direct-push-opens", one("push.opened"), "campaign-activity", alone=False),
    **grouped("clicks", one("email.clicked"), "campaign-activity", alone=False),
    "sms-spend": SMS_PRICE,
}
JOURNEY_EMAILS: Final = {
    "sent": one("email.sent"),
    "delivered": Kpi(DELIVERED, email_delivered),
    "opened": one("email.opened"),
    "clicked": one("email.clicked"),
    "hardbounced": one("email.hard_bounced"),
    "softbounced": one("email.soft_bounced"),
    "complained": one("email.complained"),
    "rejected": one("email.rejected"),
    "unsubscribed": one("email.unsubscribed"),
}
JOURNEY: Final = {f"journey-emails-{name}": kpi for name, kpi in JOURNEY_EMAILS.items()} | {
    found: grouped_kpi
    for name, kpi in JOURNEY_EMAILS.items()
    for found, grouped_kpi in grouped(f"emails-{name}", kpi, "journey-activity", alone=False).items()
}
