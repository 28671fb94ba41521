"""Which of several values a variable has: the highest of the recipient's, the channel message's, the default push
message's, the default message's, the endpoint's own, the template's default."""

import itertools
import json
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.messages.sending import arrived, enable, phone, put, send

LEVELS = ("personal", "channel", "push default", "default", "endpoint", "template")
NAMES = ("Attributes.a", "Attributes.b", "User.UserAttributes.c", "plain", "two.parts")
VALUE = st.text("xyz<>&'é", min_size=1, max_size=5)


def naive(levels, name):
    """The oracle: look through the levels from the top."""
    for level in LEVELS:
        if name in levels.get(level, {}):
            return levels[level][name]
    return ""


def lists(values):
    return {name: [value] for name, value in values.items()}


class Sender:
    """One application with a push channel, to which levels of values can be sent."""

    def __init__(self, server):
        self.server, self.client = server, server.client()
        app = self.client.create_app(CreateApplicationRequest={"Name": "Substitutions"})
        self.app_id = app["ApplicationResponse"]["Id"]
        enable(self.client, self.app_id, "GCM")

    def template(self, body, defaults):
        name = f"t-{uuid.uuid4().hex}"
        content = {"Default": {"Body": body}} | ({"DefaultSubstitutions": json.dumps(defaults)} if defaults else {})
        self.client.create_push_template(TemplateName=name, PushNotificationTemplateRequest=content)
        return {"PushTemplate": {"Name": name}}

    def endpoint(self, values):
        device = uuid.uuid4().hex
        found = {"Attributes": {}, "User": {"UserId": device, "UserAttributes": {}}}
        for name, value in values.items():
            kind, _, leaf = name.rpartition(".")
            target = found["Attributes"] if kind == "Attributes" else found["User"]["UserAttributes"]
            target[leaf] = [value]
        put(self.client, self.app_id, device, "GCM", device, **found)
        return device

    def send(self, body, recipients, shared):
        """Send to recipients of which each has levels of its own; the body each has read, by device."""
        configuration = {
            "GCMMessage": {"Substitutions": lists(shared.get("channel", {}))},
            "DefaultPushNotificationMessage": {"Substitutions": lists(shared.get("push default", {}))},
            "DefaultMessage": {"Substitutions": lists(shared.get("default", {}))},
        }
        devices = {self.endpoint(own.get("endpoint", {})): own for own in recipients}
        send(
            self.client,
            self.app_id,
            Endpoints={device: {"Substitutions": lists(own.get("personal", {}))} for device, own in devices.items()},
            MessageConfiguration=configuration,
            TemplateConfiguration=self.template(body, shared.get("template", {})),
        )
        return [(own, arrived(self.server, device)[0]["message"]["body"]) for device, own in devices.items()]


@pytest.fixture(scope="module")
def sender(server):
    return Sender(server)


@pytest.mark.parametrize("levels", itertools.product((True, False), repeat=4), ids=str)
def test_the_highest_level_that_has_a_value_wins(sender, levels):
    name = "Attributes.a"
    named = zip(("channel", "push default", "default", "template"), levels, strict=True)
    shared = {level: {name: level} for level, is_there in named if is_there}
    recipients = [
        {level: {name: level} for level in chosen}
        for chosen in ((), ("personal",), ("endpoint",), ("personal", "endpoint"))
    ]

    for own, body in sender.send(f"{{{{{name}}}}}", recipients, shared):
        assert body == naive({**shared, **own}, name)


def values(names):
    return st.dictionaries(st.sampled_from(names), VALUE, max_size=len(names))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shared=st.fixed_dictionaries(
        {}, optional={level: values(NAMES) for level in ("channel", "push default", "default", "template")}
    ),
    recipients=st.lists(
        st.fixed_dictionaries({}, optional={"personal": values(NAMES), "endpoint": values(NAMES[:3])}),
        min_size=1,
        max_size=4,
    ),
)
def test_any_names_at_any_levels_are_what_a_naive_reading_says(sender, shared, recipients):
    body = "|".join(f"{{{{{name}}}}}" for name in NAMES)

    for own, read in sender.send(body, recipients, shared):
        assert read == "|".join(naive({**shared, **own}, name) for name in NAMES)


def test_a_value_may_be_named_by_a_whole_path(server, pinpoint, app_id):
    number = phone()
    substitutions = {"User.UserAttributes.FirstName": ["Ann"], "order.id": ["7"]}
    body = "{{User.UserAttributes.FirstName}} {{order.id}} {{#if order.id}}yes{{/if}}"
    recipient = {number: {"ChannelType": "SMS", "Substitutions": substitutions}}
    send(pinpoint, app_id, Addresses=recipient, MessageConfiguration={"SMSMessage": {"Body": body}})

    assert arrived(server, number)[0]["message"]["body"] == "Ann 7 yes"


def test_a_value_of_several_is_joined_indexed_or_gone_through(server, pinpoint, app_id):
    number = phone()
    recipient = {number: {"ChannelType": "SMS", "Substitutions": {"items": ["a", "b"], "none": []}}}
    body = "{{items}} {{items.[1]}} {{#each items}}({{this}}){{/each}}{{none}}"
    send(pinpoint, app_id, Addresses=recipient, MessageConfiguration={"SMSMessage": {"Body": body}})

    assert arrived(server, number)[0]["message"]["body"] == "a,b b (a)(b)"
