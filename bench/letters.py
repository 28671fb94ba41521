"""An email's steps before the wire, in CPU time: a letter filled in, against the same email made from its parts."""

import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from bench.campaign_email import CITIES, CONTENT, FIRST_NAMES, HTML, PARAGRAPH, TEXT
from repoint.delivery import pipeline
from repoint.delivery.mime import DateLine
from repoint.delivery.pipeline import Delivery, Workshop
from repoint.delivery.plan import EMAILS_BEFORE_LETTER, Plan, make_plan
from repoint.delivery.render import Templates
from repoint.delivery.returns import ReturnPaths
from repoint.delivery.tokens import Tokens
from repoint.resources.apps import App
from repoint.resources.endpoints.store import Endpoint
from repoint.resources.tracking import Tracking
from repoint.sealing import Seal
from repoint.work.outbox import Leased

APP = "b" * 32
MESSAGES = 1_000
ROUNDS = 12
NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
GERMAN = "Die Herbstkollektion ist da, mit allem, was Sie wärmt und trocken hält, wenn das Wetter es nicht gut meint. "
JAPANESE = "秋の新作コレクションが届きました。雨の日も寒い日も、あたたかく快適にお過ごしいただけるアイテムばかりです。"
LANGUAGES = {
    "English": (PARAGRAPH, "autumn is here", FIRST_NAMES),
    "German": (GERMAN, "der Herbst ist da: für Sie", ("Jörg", "Anna", "Käthe", "Emil", "Zoë")),
    "Japanese": (JAPANESE, "様、秋の新作のご案内です", ("花子", "太郎", "さくら", "健", "美咲")),
}


def plan_of(paths: ReturnPaths, paragraph: str, subject: str) -> Plan:
    """The plan of the bench's campaign, in another language."""
    simple = {
        "Subject": {"Data": f"{{{{User.UserAttributes.FirstName}}}}, {subject}"},
        "TextPart": {"Data": TEXT.replace(PARAGRAPH, paragraph)},
        "HtmlPart": {"Data": HTML.replace(PARAGRAPH, paragraph)},
    }
    email = {"FromAddress": "Shop <shop@example.com>", "SimpleEmail": simple}
    shared: Mapping[str, Any] = {**CONTENT, "Message": {"EmailMessage": email}}
    plan = make_plan("EMAIL", shared, App(APP, "us-east-1", "B", NOW, {}, NOW), None, None)
    plan.returns = paths.plan(APP, Tracking(), plan.content, shared)
    plan.content = plan.returns.tracked(plan.content)
    return plan


def delivery_of(plan: Plan, number: int, names: tuple[str, ...]) -> Delivery:
    """One recipient's."""
    key, address = f"endpoint{number:07}", f"person{number}@example.com"
    row = Leased(
        None, APP, "activity", key, f"{number:040x}", "EMAIL", address, {"IsEndpoint": True}, 1, NOW + timedelta(1)
    )
    endpoint = Endpoint(
        app_id=APP,
        endpoint_id=key,
        given_id=key,
        channel_type="EMAIL",
        address=address,
        is_active=True,
        is_opted_out=False,
        cohort_id=0,
        created_at=NOW,
        effective_at=NOW,
        request_id="r",
        user_id=f"user{number}",
        attributes={"Plan": ["gold"]},
        metrics={"Points": float(number % 500)},
        demographic={},
        location={"City": CITIES[number % len(CITIES)], "Country": "AT"},
        user_attributes={"FirstName": [names[number % len(names)]], "LastName": [f"Lee{number}"]},
    )
    return Delivery(row, plan, endpoint, NOW)


def microseconds(workshop: Workshop, plan: Plan, names: tuple[str, ...], *, has_letter: bool) -> float:
    """What a message takes of the CPU, in the best round: others may use it, too."""
    best = float("inf")
    for _ in range(ROUNDS):
        deliveries = [delivery_of(plan, number, names) for number in range(MESSAGES)]
        plan.emails_made = 0 if has_letter else EMAILS_BEFORE_LETTER  # the one after which there is a letter is past
        plan.compiled_letter = None
        started = time.process_time()
        for delivery in deliveries:
            pipeline.prepare(workshop, delivery)
        best = min(best, time.process_time() - started)
        assert all(delivery.email for delivery in deliveries)
    return best * 1e6 / MESSAGES


def run() -> list[dict[str, Any]]:
    results = []
    with tempfile.TemporaryDirectory(prefix="repoint-bench-") as folder:
        paths = ReturnPaths(
            Tokens(Seal.from_settings("", Path(folder))), public_url="https://t.example.com", bounce_domain=""
        )
        workshop = Workshop(Templates(), DateLine(), missing_fails=False)
        for language, (paragraph, subject, names) in LANGUAGES.items():
            plan = plan_of(paths, paragraph, subject)
            parts = microseconds(workshop, plan, names, has_letter=False)
            letter = microseconds(workshop, plan, names, has_letter=True)
            results.append(
                {
                    "name": f"letter, {language}",
                    "value": 1e6 / letter,
                    "unit": "messages/s",
                    "reference": f"made from its parts; CPU µs a message: {letter:.1f} against {parts:.1f}",
                    "reference_value": 1e6 / parts,
                    "ratio": parts / letter,
                    "goal": 2.0,
                }
            )
    return results
