"""Functions: what an `arn:aws:lambda:…`, a function's name or an https:// URL stands for, called with a payload."""

import asyncio
import random
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from repoint.bindings import store
from repoint.bindings.clients import Clients
from repoint.bindings.far_ends import FarEnds
from repoint.bindings.local import INVOKE_SECONDS, LocalFailure, LocalFunction
from repoint.bindings.store import Binding
from repoint.bindings.webhooks import WebhookError, Webhooks, shown
from repoint.clock import Clock
from repoint.db import Database
from repoint.sealing import Seal

DEFAULT_REGION = "us-east-1"
HANDLER = "lambda_handler"
LAMBDA_CALLS_MAX = 64  # at once, each on a thread of its own
ATTEMPTS_MAX = 3
RETRY_SECONDS_FIRST = 0.5
# What callers may name a function by, and a webhook.
LAMBDA = re.compile(
    r"(arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:)?[A-Za-z0-9_-]{1,64}(:[A-Za-z0-9$_-]{1,128})?\Z"
)
_PLACE = r"[A-Za-z0-9][A-Za-z0-9._~:-]*([/?#][A-Za-z0-9._~?/#:;=&%-]*)?\Z"
_USER = r"[A-Za-z0-9._~!$&'()*+,;=%-]+(:[A-Za-z0-9._~!$&'()*+,;=%-]*)?@"
WEB_URL = re.compile(rf"https://{_PLACE}")
HOOK_URL = re.compile(rf"https://({_USER})?{_PLACE}")


class FunctionError(Exception):
    """A function could not be called, or failed; the text says which and how."""


class RestingError(FunctionError):
    """A far end has failed again and again, and is left alone for a while: it was not called."""


class AnswerError(FunctionError):
    """A far end took the payload, but what it answered is no JSON."""


class Functions:
    """Calls functions by ARN or name, as they are bound, and webhooks by their https:// URL.

    `seconds` is how long any of them may take, `retry_seconds` about how long after a failure a second attempt is made;
    `api_url` is where local functions find this server's API.
    """

    def __init__(  # noqa: PLR0913 - the last four have defaults
        self,
        db: Database,
        seal: Seal,
        clock: Clock,
        *,
        api_url: str = "",
        seconds: float = INVOKE_SECONDS,
        retry_seconds: float = RETRY_SECONDS_FIRST,
        far_ends: FarEnds | None = None,
    ) -> None:
        self.far_ends = far_ends or FarEnds()
        self._retry_seconds = retry_seconds
        self._db = db
        self._seal = seal
        self._api_url = api_url
        self._seconds = seconds
        self._webhooks = Webhooks(clock, seconds=seconds)
        self._threads = ThreadPoolExecutor(LAMBDA_CALLS_MAX, thread_name_prefix="lambda")
        self._clients = Clients("lambda", calls_max=LAMBDA_CALLS_MAX, read_seconds=seconds)
        self._local: dict[tuple[str, str], LocalFunction] = {}
        self._closing: set[asyncio.Task[None]] = set()

    async def invoke(self, uri: str, payload: Any) -> Any:
        """The far end's answer to a payload; None when it is empty.

        Raises:
            FunctionError: when nothing is bound to the name, or the function fails or takes too long.
            AnswerError: when it answers something else than JSON.
        """
        if is_url(uri):
            return await self._post(uri, uri, payload)
        binding = await bound(self._db, self._seal, uri)
        if binding.kind == "http":
            return await self._post(binding.arn, binding.target, payload, binding.secret)
        if binding.kind == "python":
            try:
                return await self._local_function(binding).invoke(payload, seconds=self._seconds)
            except LocalFailure as failure:
                raise FunctionError(f"{binding.arn}: {failure}") from failure
        return await self._call_lambda(binding, payload)

    async def call(self, uri: str, payload: Any, *, needs_answer: bool = True) -> Any:
        """Invoke with three attempts, the second and third a little later, as Pinpoint calls its customers' functions.

        Where no answer is needed, one that is no JSON is as good as none.

        Raises:
            FunctionError: the third time; the text is that of the last attempt.
            RestingError: nothing was called.
        """
        stop_if_resting(self.far_ends, uri)
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                answer = await self.invoke(uri, payload)
            except FunctionError as error:
                if isinstance(error, AnswerError) and not needs_answer:
                    self.far_ends.note_success(uri)
                    return None
                self.far_ends.note_failure(uri, str(error))
                if attempt == ATTEMPTS_MAX:
                    raise
                seconds = self._retry_seconds * 2 ** (attempt - 1)
                await asyncio.sleep(seconds * random.uniform(0.7, 1.3))  # noqa: S311 - spreads load, hides nothing
            else:
                self.far_ends.note_success(uri)
                return answer
        raise AssertionError  # the last attempt returns or raises

    async def probe(self, uri: str, account_id: str, *, loads: bool = False) -> None:
        """Make sure that a far end can be reached, without calling it.

        A URL has to answer the handshake. A name has to be bound; behind it, Lambda is asked whether we may invoke the
        function, an HTTP endpoint has to answer, and a local file is loaded if `loads`.

        Raises:
            FunctionError: saying what is amiss.
        """
        try:
            if is_url(uri):
                await self._webhooks.shake_hands(uri, account_id)
                return
            binding = await bound(self._db, self._seal, uri)
            if binding.kind == "http":
                await self._webhooks.head(binding.target)
            elif binding.kind == "aws":
                await self._call_lambda(binding, {}, invocation_type="DryRun")
            elif loads:
                await self._local_function(binding).load()
        except (WebhookError, LocalFailure) as error:
            raise FunctionError(str(error)) from error

    async def close(self) -> None:
        """Let go of connections, processes and threads."""
        await self._webhooks.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        for function in self._local.values():
            await function.close()

    def _local_function(self, binding: Binding) -> LocalFunction:
        function = self._local.get((binding.arn, binding.target))
        if function is None:
            self._close_former(binding.arn)
            parts = urlsplit(binding.target)
            environment = {
                "AWS_REGION": store.region_of(binding.arn) or DEFAULT_REGION,
                "AWS_DEFAULT_REGION": store.region_of(binding.arn) or DEFAULT_REGION,
            }
            if self._api_url:
                environment["AWS_ENDPOINT_URL_PINPOINT"] = self._api_url
            function = LocalFunction(binding.arn, Path(parts.path), parts.fragment or HANDLER, environment)
            self._local[binding.arn, binding.target] = function
        return function

    def _close_former(self, arn: str) -> None:
        """Let go of the processes of what an ARN was bound to before."""
        for key in [key for key in self._local if key[0] == arn]:
            closing = asyncio.create_task(self._local.pop(key).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def _post(self, name: str, url: str, payload: Any, secret: str = "") -> Any:
        try:
            content = await self._webhooks.post(url, payload, secret=secret)
        except WebhookError as error:
            raise FunctionError(str(error) if name == url else f"{name}: {error}") from error
        return _decoded(name, content)

    async def _call_lambda(self, binding: Binding, payload: Any, *, invocation_type: str = "RequestResponse") -> Any:
        """Lambda's answer; a thread that hangs is left to its own time limit."""
        body = msgspec.json.encode(payload)
        loop = asyncio.get_running_loop()
        calling = loop.run_in_executor(self._threads, self._invoke_lambda, binding, body, invocation_type)
        try:
            async with asyncio.timeout(self._seconds):
                answer, content = await calling
        except TimeoutError:
            raise FunctionError(f"{binding.arn}: no answer within {self._seconds:g} seconds") from None
        except (BotoCoreError, ClientError) as error:
            raise FunctionError(f"{binding.arn}: {error}") from error
        if answer.get("FunctionError"):
            raise FunctionError(f"{binding.arn}: {content.decode(errors='replace')[:1000]}")
        return _decoded(binding.arn, content)

    def _invoke_lambda(self, binding: Binding, body: bytes, invocation_type: str) -> tuple[dict[str, Any], bytes]:
        client = self._clients.of(store.region_of(binding.arn) or DEFAULT_REGION)
        answer = client.invoke(FunctionName=binding.arn, InvocationType=invocation_type, Payload=body)
        return answer, answer["Payload"].read()


def stop_if_resting(far_ends: FarEnds, name: str) -> None:
    """Call this before a far end is called.

    Raises:
        RestingError: when it is to be left alone.
    """
    if seconds := far_ends.admit(name):
        raise RestingError(f"{shown(name)}: failed again and again, and is left alone for {seconds:.0f} seconds more")


async def bound(db: Database, seal: Seal, name: str) -> Binding:
    """What stands behind an ARN, or behind a function's bare name.

    Raises:
        FunctionError: when that is nothing.
    """
    await db.settle()
    binding = await db.cached(store.load, (seal, name))
    if binding is None:
        arn = name if name.startswith("arn:") else f"arn:aws:lambda:REGION:ACCOUNT:function:{name}"
        raise FunctionError(f"nothing is bound to {name}: say `repoint bindings set {arn} TARGET`")
    return binding


def _decoded(name: str, content: bytes) -> Any:
    try:
        return msgspec.json.decode(content) if content.strip() else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AnswerError(f"{shown(name)}: answered no JSON") from error


def is_url(uri: str) -> bool:
    """Whether a far end is named by its address rather than by a function's name."""
    return uri.startswith("https://")
