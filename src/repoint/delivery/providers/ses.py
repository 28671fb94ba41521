"""Email through Amazon SES (API v2, SendEmail with raw content), or whatever answers at AWS_ENDPOINT_URL_SESV2."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from repoint.bindings.clients import Clients
from repoint.delivery.provider import DeliveryStatus, Email, Outcome

READ_SECONDS = 30
ARN_REGION_FIELD = 3
ARN_FIELDS = 6
# SES's errors (API reference, SendEmail): what slows down, what may heal, and by default what will not.
THROTTLED = frozenset(
    {"TooManyRequestsException", "LimitExceededException", "ThrottlingException", "Throttling", "RequestLimitExceeded"}
)
TEMPORARY = frozenset(
    {
        "SendingPausedException",
        "InternalFailure",
        "InternalServiceError",
        "InternalServiceErrorException",
        "ServiceUnavailable",
        "RequestTimeout",
        "RequestExpired",
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "AccessDeniedException",
        "InvalidSignatureException",
    }
)
SERVER_FAULT = 500


class SesProvider:
    """Sends over a fixed number of threads, which is how boto3 speaks to the network.

    A client is made for each region that an identity's ARN names. Credentials and regions are found as by any AWS
    client. With `is_reporting`, SES tells us of deliveries: that it took a message is then no delivery yet.
    """

    def __init__(self, *, is_reporting: bool, connections_max: int = 16) -> None:
        self._is_reporting = is_reporting
        self._threads = ThreadPoolExecutor(connections_max, thread_name_prefix="ses")
        # one attempt: the outbox tries again, with its own patience
        self._clients = Clients("sesv2", calls_max=connections_max, read_seconds=READ_SECONDS)

    async def send(self, emails: Sequence[Email]) -> list[Outcome]:
        """An outcome for each, in order."""
        loop = asyncio.get_running_loop()
        return list(await asyncio.gather(*(loop.run_in_executor(self._threads, self._send, one) for one in emails)))

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)

    def _send(self, email: Email) -> Outcome:
        identity = email.identity if len(email.identity.split(":")) >= ARN_FIELDS else ""
        request: dict[str, Any] = {
            "Destination": {"ToAddresses": [email.recipient]},
            "Content": {"Raw": {"Data": email.content}},
        }
        if identity:
            request["FromEmailAddressIdentityArn"] = identity
        if email.configuration_set:
            request["ConfigurationSetName"] = email.configuration_set
        try:
            region = identity.split(":")[ARN_REGION_FIELD] if identity else None
            answer = self._clients.of(region or None).send_email(**request)
        except ClientError as error:
            return outcome_of(error)
        except ParamValidationError as error:
            return Outcome(DeliveryStatus.PERMANENT_FAILURE, 400, f"SES: {error}"[:500])
        except BotoCoreError as error:  # no credentials, no connection, no answer
            return Outcome(DeliveryStatus.TEMPORARY_FAILURE, 503, f"SES: {error}"[:500])
        told = f"250 Ok {answer['MessageId']}"
        return Outcome(DeliveryStatus.SUCCESSFUL, 200, told, answer["MessageId"], is_told_later=self._is_reporting)


def outcome_of(error: ClientError) -> Outcome:
    """SES's refusal in Pinpoint's words."""
    detail = error.response.get("Error", {})
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    code = detail.get("Code", "")
    text = f"{code}: {detail.get('Message', '')}"[:500]
    if code in THROTTLED:
        return Outcome(DeliveryStatus.THROTTLED, 429, text)
    if code in TEMPORARY or status >= SERVER_FAULT:
        return Outcome(DeliveryStatus.TEMPORARY_FAILURE, status or 503, text)
    return Outcome(DeliveryStatus.PERMANENT_FAILURE, status or 400, text)
