"""Policies in IAM's JSON: which actions on which resources an access key may do.

Source: AWS's "IAM JSON policy elements reference". What is not supported is refused when the policy is read, never
ignored when it is applied.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

POLICY_CHARACTERS_MAX = 10_240
VERSIONS = ("2012-10-17", "2008-10-17")
ELEMENTS = frozenset({"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Condition"})
ENDPOINTS = "/endpoints/"
CONDITION_KEYS = frozenset({"aws:SourceIp", "aws:CurrentTime", "aws:RequestedRegion", "aws:SecureTransport"})
Test = Callable[[str], bool]


EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


class PolicyError(Exception):
    """A policy that cannot be read; says which element is at fault."""


class Decision(Enum):
    """What a policy says of a request."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicit deny"
    IMPLICIT_DENY = "implicit deny"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, compiled."""

    is_allow: bool
    matches_action: Test
    matches_resource: Test
    conditions: tuple[tuple[str, Test], ...] = field(default=())

    def applies(self, action: str, resource: str, context: Mapping[str, str]) -> bool:
        """Whether the statement speaks of this request."""
        return (
            self.matches_action(action.lower())
            and self.matches_resource(resource)
            and all(key in context and test(context[key]) for key, test in self.conditions)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy: a deny beats every allow, and what nothing allows is denied."""

    statements: tuple[Statement, ...]
    allows_everything: bool = False

    def decide(self, *, action: str, resources: Sequence[str], context: Mapping[str, str] | None = None) -> Decision:
        """May `action` be done on all of `resources`?"""
        facts = context or {}
        allowed = True
        for resource in resources:
            applying = [one for one in self.statements if one.applies(action, resource, facts)]
            if any(not one.is_allow for one in applying):
                return Decision.EXPLICIT_DENY
            allowed = allowed and bool(applying)
        return Decision.ALLOW if allowed else Decision.IMPLICIT_DENY


def parse_policy(document: str | Mapping[str, Any]) -> Policy:
    """Read a policy.

    Raises:
        PolicyError: naming the element at fault.
    """
    if isinstance(document, str):
        if len(document) > POLICY_CHARACTERS_MAX:
            raise PolicyError(f"the policy must be at most {POLICY_CHARACTERS_MAX} characters")
        try:
            document = json.loads(document)
        except (json.JSONDecodeError, RecursionError) as error:
            raise PolicyError(f"not JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise PolicyError("the policy must be a JSON object")
    unknown = sorted(set(document) - {"Version", "Id", "Statement"})
    if unknown:
        raise PolicyError(f"{unknown[0]}: no such element")
    if document.get("Version", VERSIONS[0]) not in VERSIONS:
        raise PolicyError(f"Version: must be {VERSIONS[0]}")
    statements = document.get("Statement")
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise PolicyError("Statement: is required")
    compiled = tuple(_statement(one, f"Statement[{index}]") for index, one in enumerate(statements))
    return Policy(compiled, allows_everything=statements == [EVERYTHING])


def _statement(given: Any, where: str) -> Statement:
    if not isinstance(given, Mapping):
        raise PolicyError(f"{where}: must be an object")
    unknown = sorted(set(given) - ELEMENTS)
    if unknown:
        raise PolicyError(f"{where}.{unknown[0]}: no such element")
    if given.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"{where}.Effect: must be Allow or Deny")
    return Statement(
        is_allow=given["Effect"] == "Allow",
        matches_action=_either(given, "Action", where, folds=True),
        matches_resource=_resource(given, where),
        conditions=_conditions(given.get("Condition", {}), f"{where}.Condition"),
    )


def _resource(given: Mapping[str, Any], where: str) -> Test:
    """Which resources: upper and lower case are the same in an endpoint's id, and nowhere else."""
    exact, folded = (_either(given, "Resource", where, folds=folds) for folds in (False, True))
    return lambda arn: folded(arn.lower()) if ENDPOINTS in arn else exact(arn)


def _either(given: Mapping[str, Any], name: str, where: str, *, folds: bool) -> Test:
    """`Action` or `NotAction`, `Resource` or `NotResource`: exactly one of the two."""
    if (name in given) == (f"Not{name}" in given):
        raise PolicyError(f"{where}: exactly one of {name} and Not{name} is required")
    element = name if name in given else f"Not{name}"
    patterns = _strings(given[element], f"{where}.{element}")
    test = _wildcards([pattern.lower() for pattern in patterns] if folds else patterns)
    return test if element == name else lambda value: not test(value)


def _strings(given: Any, where: str) -> list[str]:
    values = [given] if isinstance(given, str) else given
    if not isinstance(values, list) or not values or any(not isinstance(value, str) for value in values):
        raise PolicyError(f"{where}: must be a string or a list of strings")
    return values


def _wildcards(patterns: list[str]) -> Test:
    """`*` is any run of characters, `?` any one."""
    if "*" in patterns:
        return lambda _: True
    compiled = [_pattern(pattern) for pattern in patterns]
    return lambda value: any(one.fullmatch(value) for one in compiled)


def _pattern(pattern: str) -> re.Pattern[str]:
    """Each run between stars is matched at its first place and never given back, so no pattern is slow."""
    first, *rest = [re.escape(part).replace(r"\?", ".") for part in re.sub(r"\*+", "*", pattern).split("*")]
    if not rest:
        return re.compile(first, re.DOTALL)
    *middle, last = rest
    found = "".join(f"(?>.*?{part})" for part in middle)
    return re.compile(f"{first}{found}.*{last}", re.DOTALL)


def _conditions(given: Any, where: str) -> tuple[tuple[str, Test], ...]:
    if not isinstance(given, Mapping):
        raise PolicyError(f"{where}: must be an object")
    tests = []
    for operator, entries in given.items():
        make = OPERATORS.get(operator)
        if make is None:
            raise PolicyError(f"{where}.{operator}: not supported; there are {', '.join(sorted(OPERATORS))}")
        if not isinstance(entries, Mapping):
            raise PolicyError(f"{where}.{operator}: must be an object")
        for key, values in entries.items():
            if key not in CONDITION_KEYS:
                raise PolicyError(
                    f"{where}.{operator}.{key}: not supported; there are {', '.join(sorted(CONDITION_KEYS))}"
                )
            try:
                tests.append((key, make(_strings(values, f"{where}.{operator}.{key}"))))
            except ValueError as error:
                raise PolicyError(f"{where}.{operator}.{key}: {error}") from None
    return tuple(tests)


def _networks(values: list[str]) -> Test:
    networks = [ipaddress.ip_network(value, strict=False) for value in values]

    def within(value: str) -> bool:
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return False
        return any(address in network for network in networks)

    return within


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _before(values: list[str]) -> Test:
    bounds = [_moment(value) for value in values]
    return lambda value: any(_moment(value) < bound for bound in bounds)


def _after(values: list[str]) -> Test:
    bounds = [_moment(value) for value in values]
    return lambda value: any(_moment(value) > bound for bound in bounds)


def _equal(values: list[str]) -> Test:
    return lambda value: value in values


def _not(make: Callable[[list[str]], Test]) -> Callable[[list[str]], Test]:
    def negated(values: list[str]) -> Test:
        test = make(values)
        return lambda value: not test(value)

    return negated


def _same_truth(values: list[str]) -> Test:
    if any(value.lower() not in ("true", "false") for value in values):
        raise ValueError("must be true or false")
    return lambda value: value.lower() in [one.lower() for one in values]


OPERATORS: Mapping[str, Callable[[list[str]], Test]] = {
    "Bool": _same_truth,
    "DateGreaterThan": _after,
    "DateLessThan": _before,
    "IpAddress": _networks,
    "NotIpAddress": _not(_networks),
    "StringEquals": _equal,
    "StringLike": _wildcards,
    "StringNotEquals": _not(_equal),
}


def denial_message(user_arn: str, action: str, resource: str, decision: Decision) -> str:
    """Why, in the form AWS says it."""
    reason = (
        "with an explicit deny in an identity-based policy"
        if decision is Decision.EXPLICIT_DENY
        else f"because no identity-based policy allows the {action} action"
    )
    return f"User: {user_arn} is not authorized to perform: {action} on resource: {resource} {reason}"
