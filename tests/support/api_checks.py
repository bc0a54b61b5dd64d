"""Schemathesis for the HTTP API: requests generated from its OpenAPI document, and the faults.

Its import takes a second, so only the process that needs it imports it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schemathesis.config import SchemathesisConfig

NO_KIND = frozenset({
    "description", "default", "minimum", "maximum", "maxLength", "minLength", "enum", "pattern",
    "maxItems", "minItems",
})  # fmt: skip
ARGUMENTS = {"properties", "required", "items", "prefixItems"}
# 422: the arguments are valid, but the state does not allow it, such as `play` on an empty deck.
TAKEN = ["2xx", "401", "403", "404", "409", "422"]


def kinds(document: dict[str, Any]) -> set[str]:
    """Return a few paths that together cover each kind of argument, ignoring numeric ranges.

    The features of a path are each argument and whether it is required, the number of arguments,
    the forms of a body, and the variables in the address.
    """
    features = {path: _features(path, item) for path, item in document["paths"].items()}
    missing = set().union(*features.values())
    chosen: set[str] = set()
    while missing:
        best = max(features, key=lambda path: len(features[path] & missing))
        chosen.add(best)
        missing -= features[best]
    return chosen


def _features(path: str, item: dict[str, Any]) -> set[str]:
    if "get" in item:
        return {path}
    body = item["post"].get("requestBody", {}).get("content", {}).get("application/json", {})
    forms = body.get("schema", {}).get("anyOf", [body])
    arguments = forms[0].get("properties", {})
    required = forms[0].get("required", [])
    other = {key: value for key, value in forms[0].items() if key not in ARGUMENTS}
    found: list[Any] = [
        ["address", item.get("parameters")],
        ["count", len(arguments)],
        ["form", other],
        *(["argument", value, name in required] for name, value in arguments.items()),
        *(["form", {k: v for k, v in form.items() if k not in ARGUMENTS}] for form in forms[1:]),
    ]
    return {json.dumps(_bare(feature), sort_keys=True) for feature in found}


def _bare(schema: Any) -> Any:
    # Remove names and descriptions, which are irrelevant, and ranges, which are tested alike.
    if isinstance(schema, list):
        return [_bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {k: _bare(v) for k, v in schema.items() if k not in NO_KIND}


def problems(
    load: Callable[[SchemathesisConfig], Any], paths: Collection[str], examples: int = 1
) -> tuple[int, list[str]]:
    """Return the number of requests made to these paths, and the faults in the responses.

    `load(config)` returns the schema. The requests are reproducible: all limits of each value,
    missing, additional and invalid values, other methods, and `examples` random ones.
    """
    from schemathesis.config import SchemathesisConfig
    from schemathesis.engine import events, from_schema

    config = SchemathesisConfig.from_dict({
        "seed": 1,
        "generation": {"max-examples": examples, "deterministic": True, "database": "none"},
        "phases": {"stateful": {"enabled": False}},
        "checks": {"positive_data_acceptance": {"expected-statuses": TAKEN}},
    })  # fmt: skip
    schema = load(config).include(lambda context: context.operation.path in paths)
    count, found = 0, []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            count += len(event.recorder.cases)
            found += _failures(event.recorder)
        elif isinstance(event, events.NonFatalError):
            found.append(f"{event.label}: {event.value}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    return count, found


def _failures(recorder: Any) -> list[str]:
    found = []
    for number, checks in recorder.checks.items():
        case = recorder.cases[number].value
        for check in checks:
            if check.failure_info is not None:
                failure = check.failure_info.failure
                found.append(
                    f"{check.name}: {case.method} {case.path} {case.path_parameters} "
                    f"{str(case.body)[:200]}: {failure.title}, {failure.message[:200]}"
                )
    return found
