"""The settings: one list, from which the flags, the environment and the TOML file all follow.

`--data-dir`, `REPOINT_DATA_DIR` and `data_dir = …` in the file mean the same; a flag beats the environment, the
environment beats the file.
"""

import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

PORT_MAX = 65_535
DAYS_MAX = 36_500  # a hundred years: what is longer leads to before the calendar begins


def setting(default: Any, text: str, **more: Any) -> Any:
    """A setting's default and what its users should know about it.

    More can be said: `secret`; `choices`; `also`, a second name in the environment; `at_least` (0) and `at_most`, of a
    number.
    """
    metadata = {"secret": False, "choices": (), "also": "", "at_least": 0, "at_most": None, **more}
    return field(default=default, metadata={"help": text, **metadata})


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that can be set."""

    data_dir: Path = setting(
        Path("repoint-data"), "Where the embedded database, the secret key and local buckets are kept."
    )
    host: str = setting("127.0.0.1", "The address to listen on.")
    port: int = setting(8000, "The port to listen on; 0 takes a free one.", at_most=PORT_MAX)
    database_url: str = setting("", "A PostgreSQL 16 or newer to use instead of the embedded one.", secret=True)
    # What begins runs and what answers events each hold one while they ask for another.
    database_connections: int = setting(8, "Connections to PostgreSQL each process may hold; at least 3.", at_least=3)
    secret_key: str = setting(
        "", "64 hex digits that seal secrets at rest; made in the data directory if not given.", secret=True
    )
    account_id: str = setting("123456789012", "The AWS account id in ARNs: twelve digits.")
    api_processes: int = setting(1, "Processes that answer the API.", at_least=1)
    idle_seconds: float = setting(
        30.0,
        "A connection that is silent for so long, or takes so long to send a request's head, is closed.",
        at_least=1,
    )
    workers: int = setting(1, "Processes that deliver; 0 leaves delivery to `repoint work`.")
    metrics_port: int = setting(0, "The port where a `repoint work` shows its metrics; 0 shows none.", at_most=PORT_MAX)
    job_concurrency: int = setting(
        2, "Pieces of imports and exports each worker does at once; 0 leaves them to others."
    )
    bucket: tuple[str, ...] = setting(
        (),
        "What stands behind s3://NAME: NAME=URL, or *=URL for all others, with an s3:, gs:, az: or file: URL. Without "
        "one, a folder in the data directory's `buckets`.",
    )
    s3_endpoint_url: str = setting("", "Where s3: URLs of buckets lead, if not to AWS: any S3-compatible store.")
    smtp_url: tuple[str, ...] = setting(
        (),
        "An SMTP relay, smtp[s]://user:password@host:port; several share the load. Without one, email goes to the "
        "inbox.",
        secret=True,
    )
    ses_identity: tuple[str, ...] = setting(
        (),
        "Whose email goes by Amazon SES: a domain, an address, an email channel's Identity ARN, or * for all.",
    )
    public_url: str = setting(
        "",
        "The address recipients reach this server at, such as https://mail.example.com: pixels, links and "
        "unsubscribing lead there. Without one, mail to a relay has none, and mail to the inbox the server's own.",
    )
    trusted_proxies: int = setting(
        0,
        "Proxies in front of the server: their X-Forwarded-For and X-Forwarded-Proto say where requests, opens and "
        "clicks come from.",
        at_least=0,
    )
    bounce_domain: str = setting(
        "", "The domain bounces come back to; each mail then has an envelope sender of its own there (VERP)."
    )
    bounce_smtp_port: int = setting(
        0,
        "The port to take bounces, abuse reports and mail that unsubscribes at, by SMTP; 0 takes none.",
        at_most=PORT_MAX,
    )
    bounce_smtp_host: str = setting("0.0.0.0", "The address to take bounces at.")  # noqa: S104 - mail comes from outside
    ses_topic_arn: tuple[str, ...] = setting(
        (), "The SNS topics to take Amazon SES's notifications from, at /t/sns; all others are refused."
    )
    sns_trusted_url: str = setting(
        "", "A stand-in for Amazon SNS, such as http://localhost:4566, whose signing certificates are trusted too."
    )
    inbox: bool = setting(
        default=True, text="Show what has no provider at /inbox. Turn it off where strangers can reach the port."
    )
    inbox_smtp_port: int = setting(0, "A port for the inbox's SMTP server; 0 takes a free one.", at_most=PORT_MAX)
    inbox_messages_max: int = setting(10_000, "The inbox keeps this many messages, the newest.", at_least=1)
    inbox_hosts: tuple[str, ...] = setting((), "Host names, besides localhost and addresses, the inbox answers to.")
    send_deadline_seconds: int = setting(14_400, "How long a temporarily failing message is tried again.")
    campaign_late_seconds: int = setting(
        3_600,
        "A campaign's run that could not begin on time, because the server was down, still begins if it is late by no "
        "more than this; later it is recorded as cancelled, and its reason says so.",
    )
    campaign_call_endpoints_max: int = setting(
        50,
        "At most so many endpoints are in one call of a campaign's function or webhook; Pinpoint's limit is 50.",
        at_least=1,
    )
    campaign_calls_max: int = setting(
        8,
        "A worker has at most so many calls at once to one function, webhook or model of campaigns, and 64 in all.",
        at_least=1,
    )
    lease_seconds: float = setting(
        30.0, "How long a worker's claim on messages outlives it, if it is killed.", at_least=1
    )
    message_retention_days: int = setting(
        90, "How long the ledger of settled messages is kept.", at_least=1, at_most=DAYS_MAX
    )
    event_retention_days: int = setting(
        90, "How long the event log is kept.", also="REPOINT_EVENT_RETENTION", at_least=1, at_most=DAYS_MAX
    )
    rate_limits: str = setting(
        "off",
        "Limits on requests per second: off, or aws for the quotas of an AWS account.",
        choices=("off", "aws"),
    )
    rate_limit: tuple[str, ...] = setting((), "One operation's limit per second, such as SendMessages=500.")
    missing_variables: str = setting(
        "empty",
        "A template variable without a value renders as nothing (empty), or fails the message (fail).",
        choices=("empty", "fail"),
    )
    drain_seconds: int = setting(30, "How long a stopping server may take to finish what it has begun.")
    log_level: str = setting(
        "info", "The least severe log line that is written.", choices=("debug", "info", "warning", "error")
    )
    log_format: str = setting("json", "How log lines are written, to standard error.", choices=("json", "text"))


class SettingError(ValueError):
    """A setting has a value that cannot be used; says which, and why."""


def read_file(path: Path) -> dict[str, Any]:
    """The settings in a TOML file.

    Raises:
        SettingError: naming a setting that does not exist or is of another type, or what is not TOML.
    """
    try:
        document = tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: {error}") from None
    defaults = {entry.name: entry.default for entry in fields(Settings)}
    unknown = sorted(set(document) - set(defaults))
    if unknown:
        raise SettingError(f"{path}: no such setting: {', '.join(unknown)}")
    for name, value in document.items():
        is_list = isinstance(value, list) and all(isinstance(one, str) for one in value)
        if isinstance(defaults[name], tuple) and not is_list:
            raise SettingError(f'{path}: {name} must be a list of texts: {name} = ["..."]')
        if not isinstance(defaults[name], tuple) and isinstance(value, (list, dict)):
            raise SettingError(f"{path}: {name} must be one value")
    return document


def http_url(host: str, port: int) -> str:
    """The URL of a server that listens there."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def reachable(settings: Settings, port: int) -> Settings:
    """With the server's own address for links, where no other is given and mail goes no further than the inbox."""
    if settings.public_url or settings.smtp_url or settings.ses_identity:
        return settings
    host = "localhost" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - compared, not listened on
    return replace(settings, public_url=http_url(host, port))
