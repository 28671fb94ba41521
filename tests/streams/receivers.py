"""Far ends of streams that do what they are told: webhooks, and stand-ins for Kinesis and Firehose."""

import base64
import json
from http.server import BaseHTTPRequestHandler

from tests.far_ends import HttpFarEnd


class Receiver(HttpFarEnd):
    """`answer` makes a status and a body of what it got. `bodies` are those it has answered 2xx."""

    def __init__(self, answer=lambda body: (204, b"")):
        super().__init__(self._handler())
        self.answer, self.bodies, self.attempts = answer, [], []

    @property
    def records(self):
        """The records of what it has taken."""
        return [json.loads(line) for body in self.bodies for line in body.splitlines()]

    def _handler(receiver):  # noqa: N805 - the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.attempts.append(body)
                status, answer = receiver.answer(body)
                if status < 300:
                    receiver.bodies.append(body)
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                """Quiet."""

        return Handler


class BatchService:
    """PutRecords and PutRecordBatch as AWS answers them (its API references), of a service that takes what it likes.

    `takes` says of each record's data, and its number in the call, whether it is taken; `taken` are those that were.
    """

    def __init__(self, takes):
        self.takes, self.taken = takes, []

    def __call__(self, body):
        document = json.loads(body)
        answers = []
        for number, record in enumerate(document["Records"]):
            data = base64.b64decode(record["Data"])
            if self.takes(data, number):
                self.taken.append(data)
                answers.append({"SequenceNumber": str(len(self.taken)), "ShardId": "s", "RecordId": "r"})
            else:
                answers.append({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"})
        is_firehose = "DeliveryStreamName" in document
        name, count = ("RequestResponses", "FailedPutCount") if is_firehose else ("Records", "FailedRecordCount")
        failed = sum("ErrorCode" in answer for answer in answers)
        return 200, json.dumps({name: answers, count: failed}).encode()
