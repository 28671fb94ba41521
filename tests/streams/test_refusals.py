"""Far ends that take a part, or nothing, or never answer; records that are too large; bindings that change."""

import asyncio
import json
import subprocess
import threading
from datetime import UTC, datetime

import boto3
import httpx
import pytest
from botocore.config import Config

from repoint.bindings import store
from repoint.db import Database
from repoint.db.embedded import dsn_of
from repoint.sealing import Seal
from repoint.streams.sink import SinkError, StreamRecord, TooLargeError
from repoint.streams.sinks import webhook
from repoint.streams.sinks.firehose import FirehoseSink
from repoint.streams.sinks.kinesis import KinesisSink
from repoint.streams.sinks.webhook import WebhookSink
from tests.conftest import REPOINT, eventually
from tests.events.conftest import event
from tests.far_ends import dripping
from tests.streams.conftest import (
    arn_of,
    bind,
    in_order,
    lines_of,
    numbers_of,
    put_numbered,
    stream_to,
    streams,
)
from tests.streams.receivers import BatchService, Receiver

BIG = 900_000


def put_large(client, app, endpoint_id, size=BIG):
    """An event whose record is a little larger than so many bytes."""
    batch = {endpoint_id: {"Endpoint": {}, "Events": {"x": event("large", AppTitle="x" * size)}}}
    answer = client.put_events(ApplicationId=app, EventsRequest={"BatchItem": batch})
    assert answer["EventsResponse"]["Results"][endpoint_id]["EventsItemResponse"]["x"]["StatusCode"] == 202


# A stream's binding, changed.


def test_a_stream_follows_its_binding(streaming, client, app):
    """One without a binding, then one that fails, then one that works: each from the next event on."""
    file = streaming.data_dir / "streams" / f"{app}.jsonl"
    with Receiver(lambda body: (500, b"")) as failing, Receiver() as working:
        stream_to(client, app, arn_of(app))
        put_numbered(client, app, range(3))
        eventually(lambda: len(lines_of(file)) == 3)
        bind(streaming, arn_of(app), failing.url)
        put_numbered(client, app, range(3, 9))
        eventually(lambda: failing.attempts)
        bind(streaming, arn_of(app), working.url)
        eventually(lambda: len(working.records) >= 6)

    assert len(lines_of(file)) == 3
    assert numbers_of(lines_of(file) + working.records) == in_order(9)


def test_what_a_far_end_says_is_told_without_its_password(streaming, client, app):
    with Receiver(lambda body: (503, b"")) as failing:
        bind(streaming, arn_of(app), failing.url.replace("//", "//user:hidden@"))
        stream_to(client, app, arn_of(app))
        put_numbered(client, app, [0])
        eventually(lambda: streams(streaming)[app]["failures"] > 1)

    assert streams(streaming)[app]["last_error"] == failing.url.replace("//", "//user:***@") + ": HTTP 503"
    assert "hidden" not in streaming.data_dir.with_name("data.log").read_text()


def test_it_is_told_since_when_events_wait(streaming, client, app):
    with Receiver(lambda body: (503, b"")) as far_end:
        bind(streaming, arn_of(app), far_end.url)
        stream_to(client, app, arn_of(app))
        nothing = streams(streaming)[app]["waiting_since"]
        started = datetime.now(UTC)
        put_numbered(client, app, range(3))
        put = datetime.now(UTC)
        told = eventually(lambda: (one := streams(streaming)[app])["failures"] and one)
        waiting = datetime.fromisoformat(told["waiting_since"])
        listed = subprocess.check_output([REPOINT, "streams", "list", "--data-dir", streaming.data_dir], text=True)
        far_end.answer = lambda body: (204, b"")
        eventually(lambda: streams(streaming)[app]["forwarded"] == 3, seconds=30)

    assert nothing is None
    assert started <= waiting <= put
    assert f"0 events, none yet, others wait since {waiting:%Y-%m-%d %H:%M:%S}  failed" in listed
    assert streams(streaming)[app]["waiting_since"] is None


def test_a_stream_that_is_deleted_is_not_behind_any_more(streaming, client, app):
    lag = f'repoint_event_reader_lag_seconds{{reader="stream/{app}"}} '
    with Receiver(lambda body: (503, b"")) as failing:
        bind(streaming, arn_of(app), failing.url)
        stream_to(client, app, arn_of(app))
        put_numbered(client, app, [0])
        eventually(lambda: streams(streaming)[app]["failures"] > 1)
        behind = streaming.get("/metrics").partition(lag)[2].split("\n")[0]
        client.delete_event_stream(ApplicationId=app)

        assert float(behind) > 0
        assert eventually(lambda: lag + "0.0" in streaming.get("/metrics"))


def test_a_stream_that_fails_in_an_unforeseen_way_says_so_and_goes_on(streaming, client, app):
    """A binding as nobody can make it any more, until it is bound anew."""

    async def break_binding():
        db, seal = Database(dsn_of(streaming.data_dir)), Seal.from_settings("", streaming.data_dir)
        await db.open()
        await store.put(db, seal, store.Binding(arn_of(app), "http", "http://[::1"), datetime.now(UTC))
        await db.close()

    asyncio.run(break_binding())
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, range(3))
    eventually(lambda: streams(streaming)[app]["failures"] > 1)
    said = streams(streaming)[app]["last_error"]
    with Receiver() as working:
        bind(streaming, arn_of(app), working.url)
        eventually(lambda: len(working.records) == 3)
        eventually(lambda: streams(streaming)[app]["failures"] == 0)

    assert said == "ValueError: Invalid IPv6 URL"


@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:kinesis:us-east-1:123456789012:events",
        "arn:aws:kinesis:us-east-1:123456789012:stream/",
        "arn:aws:kinesis:us-east-1:12345:stream/events",
        "arn:aws:kinesis:us-east-1:123456789012:stream/" + "x" * 129,
        "arn:aws:firehose:us-east-1:123456789012:stream/events",
        "arn:aws:kinesis:us-east-1:123456789012:stream/../events",
    ],
)
def test_what_is_almost_a_streams_arn_is_refused(client, app, arn):
    with pytest.raises(client.exceptions.BadRequestException, match=r"arn:aws:kinesis:REGION:ACCOUNT:stream/NAME"):
        stream_to(client, app, arn)


# Records that are large.


def test_a_function_gets_no_more_than_a_payload_may_have(streaming, client, app, tmp_path):
    """Ten large events are more than 6 MB in base64."""
    (tmp_path / "count.py").write_text(
        f"def lambda_handler(event, context):\n"
        f"    open({str(tmp_path / 'counts')!r}, 'a').write(str(len(event['Records'])) + ' ')\n"
    )
    bind(streaming, arn_of(app), f"python:{tmp_path}/count.py")
    stream_to(client, app, arn_of(app))
    for number in range(10):
        put_large(client, app, f"e{number}")
    eventually(lambda: streams(streaming)[app]["forwarded"] == 10)

    counts = [int(text) for text in (tmp_path / "counts").read_text().split()]
    assert sum(counts) == 10
    assert max(counts) <= 4


def test_a_record_that_a_function_cannot_take_is_tried_alone(streaming, client, app, tmp_path):
    """It holds up what comes after it, but what came before is not repeated with it for ever."""
    calls, broken = tmp_path / "calls", tmp_path / "broken"
    broken.touch()
    (tmp_path / "picky.py").write_text(f"""import base64, json, os
def lambda_handler(event, context):
    numbers = [json.loads(base64.b64decode(one["kinesis"]["data"]))["attributes"]["n"] for one in event["Records"]]
    open({str(calls)!r}, "a").write(",".join(numbers) + "\\n")
    assert "5" not in numbers or not os.path.exists({str(broken)!r})
""")
    bind(streaming, arn_of(app), f"python:{tmp_path}/picky.py")
    stream_to(client, app, arn_of(app))
    put_numbered(client, app, range(10))
    eventually(lambda: calls.exists() and calls.read_text().splitlines()[-2:] == ["5", "5"])
    broken.unlink()
    eventually(lambda: streams(streaming)[app]["forwarded"] == 10)

    made = [line.split(",") for line in calls.read_text().splitlines()]
    assert sum("4" in numbers and "5" not in numbers for numbers in made) == 1
    assert made[-1][-1] == "9"


def test_a_record_that_is_too_large_is_set_aside_and_holds_nobody_up(streaming, client, app):
    """A webhook that takes 100 kB at a time: batches come in halves, what is larger by itself goes to a file."""
    aside = streaming.data_dir / "streams" / f"{app}.too-large.jsonl"
    with Receiver(lambda body: (413 if len(body) > 100_000 else 204, b"")) as small:
        bind(streaming, arn_of(app), small.url)
        stream_to(client, app, arn_of(app))
        put_numbered(client, app, range(3))
        for number in range(5):
            put_large(client, app, f"e{number}", 30_000)
        put_large(client, app, "e1")
        put_numbered(client, app, range(3, 9))
        eventually(lambda: streams(streaming)[app]["forwarded"] == 15)
        records = small.records

    assert numbers_of(one for one in records if one["event_type"] != "large") == in_order(9)
    assert sum(one["event_type"] == "large" for one in records) == 5
    assert [len(one["application"]["title"]) for one in lines_of(aside)] == [BIG]
    assert (streams(streaming)[app]["set_aside"], streams(streaming)[app]["failures"]) == (1, 0)


def test_a_small_record_is_not_what_is_too_large(streaming, client, app):
    """A far end that answers 413 to everything is at fault itself: the records wait."""
    with Receiver(lambda body: (413, b"")) as confused:
        bind(streaming, arn_of(app), confused.url)
        stream_to(client, app, arn_of(app))
        put_numbered(client, app, [0])
        eventually(lambda: streams(streaming)[app]["failures"] > 1)

    assert streams(streaming)[app]["set_aside"] == 0
    assert streams(streaming)[app]["last_error"].endswith(": HTTP 413")


@pytest.mark.parametrize(("character", "count", "status"), [("x", 1_000_000, 202), ("\x01", 200_000, 400)])
def test_an_event_is_as_large_as_its_json(client, app, character, count, status):
    """So that what is accepted fits into a record of Kinesis: a control character has six bytes there."""
    session = {"Id": character * count, "StartTimestamp": "2031-05-06T07:08:09Z"}
    for members in ({"AppTitle": character * count}, {"Session": session}):
        batch = {"e": {"Endpoint": {}, "Events": {"x": event(**members)}}}
        answer = client.put_events(ApplicationId=app, EventsRequest={"BatchItem": batch})

        assert answer["EventsResponse"]["Results"]["e"]["EventsItemResponse"]["x"]["StatusCode"] == status


# Sinks by themselves.


def record(number, keys=3, size=0):
    return StreamRecord(f"e{number % keys}", str(number), b"%d%b\n" % (number, b" " * size))


def client_of(service, url):
    return boto3.client(
        service,
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="k",
        aws_secret_access_key="s",
        config=Config(retries={"total_max_attempts": 1}),
    )


SINKS = [("kinesis", KinesisSink), ("firehose", FirehoseSink)]


@pytest.mark.parametrize(("service", "kind"), SINKS)
def test_what_was_taken_of_a_batch_is_not_sent_again(service, kind):
    """A service that takes two records of each call: it gets every one once, those of an endpoint in order."""
    takes = BatchService(lambda data, number: number < 2)

    async def write():
        sink = kind(lambda: client, arn_of("s", service))
        left, refusals = [record(number, keys=7) for number in range(40)], []
        while left:
            try:
                await sink.write(left)
                left = []
            except SinkError as error:
                refusals.append(str(error))
                left = error.left
        await sink.close()
        return refusals

    with Receiver(takes) as receiver:
        client = client_of(service, receiver.url)
        refusals = asyncio.run(write())

    numbers = [int(data) for data in takes.taken]
    assert sorted(numbers) == list(range(40))
    assert all([n for n in numbers if n % 7 == key] == list(range(key, 40, 7)) for key in range(7))
    assert refusals[0].endswith("5 of 7 records were refused: ProvisionedThroughputExceededException: slow down")


@pytest.mark.parametrize(("service", "kind"), SINKS)
def test_a_record_beyond_awss_limit_is_named_before_anything_is_written(service, kind):
    takes = BatchService(lambda data, number: True)
    records = [record(0), record(1, size=1024 * 1024), record(2)]

    async def write():
        sink = kind(lambda: client, arn_of("s", service))
        with pytest.raises(TooLargeError) as caught:
            await sink.write(records)
        await sink.write(caught.value.left[1:])
        await sink.close()
        return caught.value

    with Receiver(takes) as receiver:
        client = client_of(service, receiver.url)
        error = asyncio.run(write())

    assert error.left == [records[1], records[0], records[2]]
    assert [int(data) for data in takes.taken] == [0, 2]


def test_streams_whose_far_ends_hang_leave_other_threads_alone():
    release = threading.Event()

    def hang(body):
        release.wait(30)
        return BatchService(lambda data, number: True)(body)

    async def crowd():
        sinks = [KinesisSink(lambda: client, arn_of("s")) for _ in range(40)]
        writing = [asyncio.create_task(sink.write([record(0)])) for sink in sinks]
        while len(receiver.attempts) < len(sinks):  # noqa: ASYNC110 - the far end is on threads of its own
            await asyncio.sleep(0.01)
        done = await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 10)
        release.set()
        await asyncio.gather(*writing)
        for sink in sinks:
            await sink.close()
        return done

    with Receiver(hang) as receiver:
        client = boto3.client(
            "kinesis",
            region_name="us-east-1",
            endpoint_url=receiver.url,
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=Config(max_pool_connections=50),
        )
        assert asyncio.run(crowd()) == "free"


def post(url):
    async def write():
        sink = WebhookSink(httpx.AsyncClient(), url, "", lambda: 0.0)
        try:
            await sink.write([record(0)])
        finally:
            await sink.close()

    asyncio.run(write())


def test_a_webhook_that_drips_ends_at_the_time_limit(monkeypatch):
    monkeypatch.setattr(webhook, "TIMEOUT_SECONDS", 0.3)
    with dripping() as url, pytest.raises(SinkError, match=r"no answer within 0\.3 seconds"):
        post(url)


def test_a_long_answer_is_an_answer():
    with Receiver(lambda body: (200, b"x" * 10_000_000)) as chatty:
        post(chatty.url)

        assert len(chatty.records) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://exa mple/", "http://xn--/", "http://127.0.0.1:99999/"])
def test_a_url_nobody_can_post_to_is_an_error_to_try_again_after(url):
    with pytest.raises(SinkError):
        post(url)


def test_records_of_any_size_are_lines(streaming, client, app):
    """About 16 MB of the log are read at a time, however many events that is."""
    file = streaming.data_dir / "streams" / f"{app}.jsonl"
    stream_to(client, app, arn_of(app))
    for number in range(30):
        put_large(client, app, f"e{number % 3}")
        put_numbered(client, app, [number])
    eventually(lambda: streams(streaming)[app]["forwarded"] == 60, seconds=60)
    records = [json.loads(line) for line in file.read_text().splitlines()]

    assert numbers_of(one for one in records if one["event_type"] != "large") == in_order(30)
