"""Send with boto3, and read what has arrived in the inbox."""

import uuid
from urllib.parse import quote

import psycopg

from repoint.db.embedded import dsn_of

CHANNELS = {
    "GCM": ("gcm", "GCMChannelRequest", {"ApiKey": "key"}),
    "APNS": ("apns", "APNSChannelRequest", {"Certificate": "c", "PrivateKey": "p"}),
    "APNS_SANDBOX": ("apns_sandbox", "APNSSandboxChannelRequest", {"Certificate": "c", "PrivateKey": "p"}),
    "APNS_VOIP": ("apns_voip", "APNSVoipChannelRequest", {"Certificate": "c", "PrivateKey": "p"}),
    "APNS_VOIP_SANDBOX": (
        "apns_voip_sandbox",
        "APNSVoipSandboxChannelRequest",
        {"Certificate": "c", "PrivateKey": "p"},
    ),
    "ADM": ("adm", "ADMChannelRequest", {"ClientId": "c", "ClientSecret": "s"}),
    "BAIDU": ("baidu", "BaiduChannelRequest", {"ApiKey": "a", "SecretKey": "s"}),
    "VOICE": ("voice", "VoiceChannelRequest", {"Enabled": True}),
    "SMS": ("sms", "SMSChannelRequest", {"Enabled": True}),
}


def enable(client, app_id, *channel_types, **more):
    """Configure channels, so that they can send."""
    for channel_type in channel_types:
        name, member, settings = CHANNELS[channel_type]
        getattr(client, f"update_{name}_channel")(ApplicationId=app_id, **{member: settings | more})


def send(client, app_id, **request):
    """SendMessages; the whole answer's document."""
    request.setdefault("MessageConfiguration", {})
    return client.send_messages(ApplicationId=app_id, MessageRequest=request)["MessageResponse"]


def text_somebody(client, body):
    """A text message to +14255550188, of a fresh application."""
    app_id = client.create_app(CreateApplicationRequest={"Name": "Texts"})["ApplicationResponse"]["Id"]
    content = {"SMSMessage": {"Body": body}}
    send(client, app_id, Addresses={"+14255550188": {"ChannelType": "SMS"}}, MessageConfiguration=content)


def send_users(client, app_id, users, **request):
    """SendUsersMessages; the results."""
    request = {"MessageConfiguration": {}, **request, "Users": users}
    answer = client.send_users_messages(ApplicationId=app_id, SendUsersMessageRequest=request)
    return answer["SendUsersMessageResponse"]["Result"]


def put(client, app_id, endpoint_id, channel_type, address, **more):
    """An endpoint."""
    given = {"ChannelType": channel_type, "Address": address, **more}
    client.update_endpoint(ApplicationId=app_id, EndpointId=endpoint_id, EndpointRequest=given)


def phone():
    """A number nobody else uses."""
    return f"+1425{uuid.uuid4().int % 10**7:07}"


def mailbox():
    """An address nobody else uses."""
    return f"{uuid.uuid4().hex}@example.com"


def token():
    """A device nobody else has."""
    return uuid.uuid4().hex


def arrived(server, recipient, count=1):
    """The messages for a recipient, newest first, each opened, as soon as there are so many."""
    listed = server.get(f"/inbox/api/wait?recipient={quote(recipient)}&count={count}&timeout=20")["messages"]
    assert len(listed) >= count
    return [server.get(f"/inbox/api/messages/{one['id']}") for one in listed]


def text(server, recipient):
    """The members of the one text message for a recipient."""
    (message,) = arrived(server, recipient)
    return message["message"]


def statuses(results):
    """The DeliveryStatus of each key."""
    return {key: result["DeliveryStatus"] for key, result in results.items()}


def events(server, message_id, count=1):
    """The log's (type, client id, document) of a message, in order; None while there are fewer than `count`."""
    with psycopg.connect(dsn_of(server.data_dir)) as connection:
        rows = connection.execute(
            """SELECT event_type, endpoint_id, document, event_at FROM logged_event
               WHERE document::text LIKE %s ORDER BY event_id""",
            [f"%{message_id}%"],
        ).fetchall()
    return rows if len(rows) >= count else None
