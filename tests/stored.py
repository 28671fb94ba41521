"""An endpoint as the store hands it out."""

from datetime import UTC, datetime

from repoint.resources.endpoints.store import Endpoint

MEMBERS = {
    "app_id": "app",
    "endpoint_id": "e",
    "given_id": "E",
    "channel_type": "EMAIL",
    "address": "a@example.com",
    "is_active": True,
    "is_opted_out": False,
    "cohort_id": 7,
    "created_at": datetime(2031, 5, 6, tzinfo=UTC),
    "effective_at": datetime(2031, 5, 6, tzinfo=UTC),
    "request_id": "r",
    "user_id": "u",
    "attributes": {"A": ["1"]},
    "metrics": {"M": 1.5},
    "demographic": {},
    "location": {},
    "user_attributes": {},
}


def stored_endpoint(**members):
    """One with these members, and otherwise the plainest."""
    return Endpoint(**MEMBERS | members)
