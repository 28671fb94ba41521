"""A real Postfix relays our email: a private instance on a high port, in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
from email import message_from_bytes, policy

import pytest

from tests.conftest import eventually, free_port
from tests.delivery.hostile_smtp import HostileRelay, in_thread
from tests.delivery.selecting import is_done, query, serving

POSTFIX = shutil.which("postfix", path="/usr/sbin:/usr/local/sbin") or ""
pytestmark = pytest.mark.skipif(
    not POSTFIX or os.geteuid() != 0, reason="needs Debian's postfix package, and root to start an instance of it"
)
MAIN = """
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = relay.example.com
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:{next_hop}
smtp_dns_support_level = disabled
smtp_tls_security_level = none
smtpd_tls_security_level = none
smtpd_recipient_restrictions =
  check_recipient_access inline:{{nobody@example.com=REJECT}}, permit_mynetworks, reject
smtputf8_enable = no
maillog_file = /dev/stdout
maillog_file_prefixes = /dev
alias_maps =
alias_database =
"""
SERVICES = (
    "{port} inet n - n - - smtpd",
    "pickup unix n - n 60 1 pickup",
    "cleanup unix n - n - 0 cleanup",
    "qmgr unix n - n 300 1 qmgr",
    "tlsmgr unix - - n 1000? 1 tlsmgr",
    "rewrite unix - - n - - trivial-rewrite",
    "bounce unix - - n - 0 bounce",
    "defer unix - - n - 0 bounce",
    "trace unix - - n - 0 bounce",
    "verify unix - - n - 1 verify",
    "flush unix n - n 1000? 0 flush",
    "proxymap unix - - n - - proxymap",
    "smtp unix - - n - - smtp",
    "relay unix - - n - - smtp",
    "error unix - - n - - error",
    "retry unix - - n - - error",
    "discard unix - - n - - discard",
    "anvil unix - - n - 1 anvil",
    "scache unix - - n - 1 scache",
    "postlog unix-dgram n - n - 1 postlogd",
)


def answers(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        return connection.recv(3) == b"220"
    return False


@contextlib.contextmanager
def postfix(folder, next_hop):
    """Postfix, handing everything on to `next_hop`; its port."""
    port, config = free_port(), folder / "etc"
    for name in ("etc", "queue", "data"):
        (folder / name).mkdir(parents=True)
    os.chown(folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
    (config / "main.cf").write_text(MAIN.format(folder=folder, next_hop=next_hop))
    (config / "master.cf").write_text("\n".join(SERVICES).format(port=f"127.0.0.1:{port}") + "\n")
    shutil.copy("/etc/postfix/dynamicmaps.cf", config)
    for parent in (folder, *folder.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o755)
    log = (folder / "postfix.log").open("wb")
    process = subprocess.Popen([POSTFIX, "-c", config, "start-fg"], stdout=log, stderr=log)
    try:
        eventually(lambda: answers(port) or process.poll() is not None)
        assert process.poll() is None, (folder / "postfix.log").read_text()
        yield port
    finally:
        subprocess.run([POSTFIX, "-c", config, "stop"], capture_output=True)
        process.wait(timeout=20)
        log.close()


def test_postfix_relays_what_we_send(tmp_path):
    parts = {name: {"Data": f"Grüße, {name}\n.\n..dots\n"} for name in ("Subject", "TextPart", "HtmlPart")}
    addresses = [f"p{number}@example.com" for number in range(20)] + ["nobody@example.com"]
    with (
        in_thread(HostileRelay()) as sink,
        postfix(tmp_path / "postfix", sink.port) as port,
        serving(tmp_path / "repoint", "--smtp-url", f"smtp://127.0.0.1:{port}") as (server, client, app_id),
    ):
        client.send_messages(
            ApplicationId=app_id,
            MessageRequest={
                "Addresses": {address: {"ChannelType": "EMAIL"} for address in addresses},
                "MessageConfiguration": {
                    "EmailMessage": {"FromAddress": "Größe & Co <shop@example.com>", "SimpleEmail": parts}
                },
            },
        )
        eventually(lambda: len(sink.messages) == 20 and is_done(server))
        refused = query(server, "SELECT address, status_code FROM message WHERE state = 'FAILED'")
    email = message_from_bytes(sink.messages[0][1], policy=policy.default)

    assert sorted(sink.recipients) == sorted(addresses[:-1])
    assert refused == [("nobody@example.com", 554)]
    assert email["From"].addresses[0].display_name == "Größe & Co"
    assert email.get_body(("plain",)).get_content().splitlines() == ["Grüße, TextPart", ".", "..dots"]
    assert not email.defects
