"""One API request: read, verify, route, check, call, answer.

`handle` is the first hop of every walk through the code. It is one of the few places with a broad `except`: whatever
goes wrong behind it is logged with the request's id and answered as an error that AWS's SDKs know.
"""

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import falcon
import falcon.asgi
import msgspec

from repoint.gateway.bodies import BodyReader, BodyTimeoutError
from repoint.gateway.policy import Decision, Policy, denial_message
from repoint.gateway.proxies import Proxies
from repoint.gateway.rates import RateDecision, RateLimiter, rate_headers
from repoint.gateway.router import Router
from repoint.gateway.sigv4 import SignatureError, SignedRequest, SigningKeyCache, read_claim, verify
from repoint.wire.exceptions import TooManyRequestsException, WireError
from repoint.wire.model import Model, Operation, read_request

logger = logging.getLogger(__name__)

INVOCATION_HEADER = "amz-sdk-invocation-id"  # AWS's SDKs give a call and all its retries the same one
INVOCATION_CHARACTERS_MAX = 128
JSON = "application/json"
CORS_HEADERS = (
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "x-amzn-RequestId,x-amzn-ErrorType,x-amz-apigw-id,Date,Retry-After"),
)
PREFLIGHT_HEADERS = (
    ("access-control-allow-methods", "GET,POST,PUT,DELETE,OPTIONS"),
    ("access-control-allow-headers", "*,authorization"),
    ("access-control-max-age", "86400"),
)


@dataclass(frozen=True, slots=True)
class AccessKey:
    """What the gateway must know of an access key."""

    name: str
    secret: str
    policy: Policy
    expires_at: datetime | None


class Unavailable(Exception):  # noqa: N818 - it is a state, not a mistake
    """What the server needs is not there right now; the caller may try again."""


class Caller(NamedTuple):
    """Who has been let in: given to the operation with its request."""

    region: str
    access_key_name: str
    request_id: str
    invocation_id: str = ""


CallOperation = Callable[[str, Caller, dict[str, Any]], Awaitable[Any]]
FindKey = Callable[[str], Awaitable[AccessKey | None]]


class Observe(Protocol):
    """Told of every answered request."""

    def __call__(self, operation: str, status: int, seconds: float) -> None:
        """Count it."""


class Refusal(Exception):  # noqa: N818 - not an error of ours
    """A request is turned away before it reaches an operation."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Gateway:
    """The wire, put together: what `main` hands the HTTP server."""

    model: Model
    router: Router
    call: CallOperation
    find_key: FindKey
    account_id: str
    clock: Callable[[], datetime]
    observe: Observe
    rates: RateLimiter | None
    signing_keys: SigningKeyCache
    bodies: BodyReader
    proxies: Proxies

    async def handle(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        """Answer one request; a sink of the HTTP server for everything below /v1."""
        started = time.perf_counter()
        request_id = str(uuid.uuid4())
        name = "none"
        response.set_headers([("x-amzn-requestid", request_id), *CORS_HEADERS])
        try:
            if request.method == "OPTIONS":
                self._preflight(request, response)
                return
            body = await self.bodies.read(request)
            operation, parameters, caller = await self._admit(request, response, request_id, body)
            name = operation.name
            document = read_request(operation, parameters, request.scope["query_string"], body)
            answer = await self.call(name, caller, document)
            response.status = operation.status
            if operation.status != 204:  # noqa: PLR2004 - No Content
                response.content_type = JSON
                response.data = msgspec.json.encode(answer)
        except WireError as error:
            refuse(response, request_id, error.status, error.code, error.message)
        except Refusal as refusal:
            refuse(response, request_id, refusal.status, refusal.code, refusal.message)
        except BodyTimeoutError:
            refuse(response, request_id, 408, "RequestTimeoutException", "The body did not arrive in time")
        except Unavailable as error:
            logger.warning("unavailable: %s", error, extra={"request_id": request_id, "operation": name})
            refuse(
                response,
                request_id,
                503,
                "ServiceUnavailableException",
                "The service is unavailable; try again",
            )
        except Exception:
            logger.exception("request failed", extra={"request_id": request_id, "operation": name})
            message = f"An internal error, logged under request id {request_id}"
            refuse(response, request_id, 500, "InternalServerErrorException", message)
        finally:
            self.observe(name, response.status_code, time.perf_counter() - started)

    def _preflight(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        response.status = 200
        response.set_headers([*PREFLIGHT_HEADERS, ("allow", ", ".join(self.router.allowed(raw_path_of(request))))])

    async def _admit(
        self, request: falcon.asgi.Request, response: falcon.asgi.Response, request_id: str, body: bytes
    ) -> tuple[Operation, dict[str, str], Caller]:
        """Who asks for what, and may they: signature, route, policy, rate."""
        scope = request.scope
        signed = SignedRequest(
            method=request.method,
            raw_path=scope["raw_path"],
            raw_query=scope["query_string"],
            headers=scope["headers"],
            body=body,
        )
        key, region = await self._authenticate(signed, request_id)
        operation, parameters = self.router.match(request.method, raw_path_of(request))
        self._authorise(key, region, operation, parameters, request)
        if self.rates is not None:
            self._take(response, self.rates.take(operation.name), operation.name)
        invocation_id = request.get_header(INVOCATION_HEADER, default="")[:INVOCATION_CHARACTERS_MAX]
        return operation, parameters, Caller(region, key.name, request_id, invocation_id)

    async def _authenticate(self, signed: SignedRequest, request_id: str) -> tuple[AccessKey, str]:
        access_key_id = ""
        try:
            claim = read_claim(signed)
            access_key_id = claim.access_key_id
            key = await self.find_key(access_key_id)
            if key is None:
                raise SignatureError(
                    "UnrecognizedClientException", "The security token included in the request is invalid."
                )
            now = self.clock()
            verify(signed, claim, key.secret, now=now, signing_keys=self.signing_keys)
            if key.expires_at is not None and key.expires_at <= now:
                raise SignatureError("ExpiredTokenException", "The security token included in the request is expired")
        except SignatureError as error:
            logger.warning(
                "signature refused: %s",
                error.code,
                extra={"request_id": request_id, "access_key_id": access_key_id[:128]},
            )
            raise Refusal(403, error.code, error.message) from None
        return key, claim.region

    def _authorise(
        self,
        key: AccessKey,
        region: str,
        operation: Operation,
        parameters: Mapping[str, str],
        request: falcon.asgi.Request,
    ) -> None:
        if key.policy.allows_everything:
            return
        action = f"mobiletargeting:{operation.name}"
        resource = self._resource_arn(region, operation, parameters)
        context = {
            "aws:SourceIp": self.proxies.address(request),
            "aws:RequestedRegion": region,
            "aws:CurrentTime": self.clock().isoformat(),
            "aws:SecureTransport": "true" if self.proxies.is_secure(request) else "false",
        }
        decision = key.policy.decide(action=action, resources=[resource], context=context)
        if decision is not Decision.ALLOW:
            user = f"arn:aws:iam::{self.account_id}:user/{key.name}"
            logger.warning("policy refused", extra={"access_key": key.name, "action": action, "resource": resource})
            raise Refusal(403, "ForbiddenException", denial_message(user, action, resource, decision))

    def _resource_arn(self, region: str, operation: Operation, parameters: Mapping[str, str]) -> str:
        """What IAM calls the resource: the path under /v1; for tags, the tagged resource itself.

        SendUsersMessages has the resource of SendMessages (the guide's table of actions for IAM policies).
        """
        if "resource-arn" in parameters:
            return parameters["resource-arn"]
        path = operation.template.removeprefix("/v1/").rstrip("/")
        if path.startswith("templates/{template-name}/"):
            name, kind = "templates/{template-name}/", path.split("/")[2]
            path = name + (kind.upper() if "{" not in kind else parameters["template-type"].upper())
        path = path.removesuffix("users-messages") + "messages" if path.endswith("/users-messages") else path
        for name, value in parameters.items():
            path = path.replace(f"{{{name}}}", value)
        return f"arn:aws:mobiletargeting:{region}:{self.account_id}:{path}"

    def _take(self, response: falcon.asgi.Response, decision: RateDecision | None, operation: str) -> None:
        if decision is None:
            return
        response.set_headers(rate_headers(decision))
        if not decision.is_allowed:
            raise TooManyRequestsException(f"Rate exceeded: {operation} is limited to {decision.limit:g} a second")


def raw_path_of(request: falcon.asgi.Request) -> str:
    """The path as it came, percent signs and all."""
    raw: bytes = request.scope["raw_path"]
    return raw.decode("latin-1")


def refuse(response: falcon.asgi.Response, request_id: str, status: int, code: str, message: str) -> None:
    """Answer an error in the form SDKs raise as their own exception class."""
    response.status = status
    response.content_type = JSON
    response.set_header("x-amzn-errortype", code)
    response.data = msgspec.json.encode({"RequestID": request_id, "Message": message})
