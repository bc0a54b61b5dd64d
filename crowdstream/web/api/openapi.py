"""The command table as an OpenAPI 3.1 document, for generating clients."""

from __future__ import annotations

import re
from typing import Any

from crowdstream.web.api.commands import MAX_NUMBER, PLACES, Command, place_of, with_aliases

MAX_COMMANDS = 256  # in a batch

Arg = dict[str, Any]
"""An argument of a command, as in the table."""
Schema = dict[str, Any]

_KINDS = {"i": "integer", "f": "number"}
_ANSWERS = {
    "type": "array",
    "description": "OSC messages: address, then arguments",
    "items": {"type": "array", "minItems": 1, "items": {}},
}
_WRONG = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "string"}, "answers": _ANSWERS},
}
_NEEDS: list[dict[str, Any]] = [{"token": []}, {"cookie": []}, {}]


def openapi(table: list[Command], version: str) -> dict[str, Any]:
    """The OpenAPI document. `table`: the commands, as control sends them."""
    paths: dict[str, Any] = dict(_fixed())
    for command in with_aliases(table):
        path = f"/api{command['address']}"
        parameters = _parameters(command["address"])
        if parameters:
            paths.setdefault(path, {})["parameters"] = parameters
        paths.setdefault(path, {})["post"] = _operation(command)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CrowdStream", "version": version,
            "description": "The OSC commands over HTTP. Changing anything requires the token if "
            "other machines can reach the server.",
        },
        "security": _NEEDS,
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "crowdstream-<port>"},
            },
            "schemas": {"Answers": _ANSWERS, "Wrong": _WRONG},
            "responses": _responses(),
        },
    }  # fmt: skip


def schema(arg: Arg) -> Schema:
    """The JSON Schema of one argument in an object by name."""
    made = _value(arg)
    if arg["rest"]:
        least = 0 if "default" in arg else 1
        several = {"type": "array", "items": made, "minItems": least, "maxItems": arg["max_count"]}
        made = {"anyOf": [several, made]}
    unit = f" [{arg['unit']}]" if arg["unit"] else ""
    if arg["help"] or unit:
        made["description"] = (arg["help"] + unit).strip()
    if arg.get("default") is not None and not arg["rest"]:
        made["default"] = arg["default"]
    return made


def _value(arg: Arg) -> Schema:
    # The schema of one value, without its description.
    if arg["type"] == "*":
        return {
            "type": ["number", "string"], "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER,
            "maxLength": arg["max_length"],
        }  # fmt: skip
    if arg["type"] == "s":
        return _text(arg)
    low, high = arg["limits"]
    kind = _KINDS[arg["type"]]
    made: Schema = {
        "type": [kind, "boolean"] if arg["switch"] else kind, "minimum": low, "maximum": high,
    }  # fmt: skip
    others: list[Schema] = [{"type": "number", "const": 0}] if arg["or_zero"] else []
    if arg["words"]:
        others += _words(arg["words"])
    return {"anyOf": [made, *others]} if others else made


def _text(arg: Arg) -> Schema:
    if not arg["choices"]:
        least = 0 if arg.get("default") == "" else 1
        return {
            "type": "string", "minLength": least, "maxLength": arg["max_length"],
            "pattern": "^[^\\u0000]*$",
        }  # fmt: skip
    found = _words(arg["choices"])
    return found[0] if len(found) == 1 else {"anyOf": found}


def _words(words: list[str]) -> list[Schema]:
    # An enum: the words, and lower-case letters. Longer words match in any mix of cases.
    if all(sum(map(str.isalpha, word)) <= 1 for word in words):
        spelled = dict.fromkeys([*words, *map(str.lower, words)])
        return [{"type": "string", "enum": list(spelled)}]
    either = "|".join(
        "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else re.escape(c) for c in word)
        for word in words
    )
    return [{"type": "string", "enum": words}, {"type": "string", "pattern": f"^(?:{either})$"}]


def _by_name(command: Command) -> Schema:
    args = command["args"]
    made: Schema = {
        "type": "object", "additionalProperties": False,
        "properties": {arg["name"]: schema(arg) for arg in args},
    }  # fmt: skip
    required = [arg["name"] for arg in args if "default" not in arg]
    if required:
        made["required"] = required
    return made


def _in_order(command: Command) -> Schema:
    args = command["args"]
    if command["any_order"]:
        return _in_any_order(args)
    required = [number for number, arg in enumerate(args, 1) if "default" not in arg]
    made: Schema = {"type": "array", "minItems": required[-1] if required else 0}
    single = [_value(arg) for arg in args if not arg["rest"]]
    if single:
        made["prefixItems"] = single
    if len(single) < len(args):
        made["items"] = _value(args[-1])
    made["maxItems"] = len(single) + (args[-1]["max_count"] if len(single) < len(args) else 0)
    return made


def _in_any_order(args: list[Arg]) -> Schema:
    # At least one text, and optionally one number at any position.
    number, texts = _value(args[0]), _value(args[1])
    return {
        "type": "array", "minItems": 1, "items": {"anyOf": [number, texts]},
        "allOf": [
            {
                "contains": {"type": "string"}, "minContains": 1,
                "maxContains": args[1]["max_count"],
            },
            {"contains": {"type": "number"}, "minContains": 0, "maxContains": 1},
        ],
    }  # fmt: skip


def _parameters(address: str) -> list[Schema]:
    place = place_of(address)
    if not place:
        return []
    return [{
        "name": place, "in": "path", "required": True,
        "schema": _words(list(PLACES[place]))[0],
    }]  # fmt: skip


def _operation(command: Command) -> Schema:
    in_order = _in_order(command)
    wrapped = {
        "type": "object", "additionalProperties": False, "required": ["args"],
        "properties": {"args": in_order},
    }  # fmt: skip
    notes = [f"Alias of {command['alias_of']}."] if "alias_of" in command else []
    notes.append(command["help"])
    if command["answers"]:
        notes.append(f"Replies with {command['answers']}.")
    if command["quantized"]:
        notes.append("Quantized.")
    # Not the Python name: `/deck/{deck}/eq` and `/deck_eq` share one.
    identity = command["address"].strip("/").replace("/", ".").replace("{", "").replace("}", "")
    forms = {"anyOf": [_by_name(command), wrapped, in_order]}
    return {
        **({"deprecated": True} if "alias_of" in command else {}),
        "operationId": identity, "summary": command["help"].partition(". ")[0][:120],
        "description": "\n\n".join(notes), "tags": [command["address"].split("/")[1]],
        "requestBody": {
            "required": any("default" not in arg for arg in command["args"]),
            "content": {"application/json": {"schema": forms}},
        },
        "responses": _POST_RESPONSES,
    }  # fmt: skip


def _responses() -> dict[str, Any]:
    def wrong(text: str) -> dict[str, Any]:
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Wrong"}}}
        return {"description": text, "content": content}

    answers = {"application/json": {"schema": {"$ref": "#/components/schemas/Answers"}}}
    return {
        "Done": {"description": "carried out; the replies so far", "content": answers},
        "SomeFailed": wrong("some commands failed, the others were carried out"),
        "NoArguments": wrong("invalid JSON or invalid arguments"),
        "NeedsToken": wrong("the token is required"),
        "OtherOrigin": wrong("the request came from a page of another server"),
        "NoCommand": wrong("there is no such command"),
        "NotAllowed": wrong("method not allowed: `Allow` lists the allowed ones"),
        "TooSlow": wrong("the request did not arrive completely"),
        "TooLong": wrong("the body is too long"),
        "NotJson": wrong("the body is not declared as JSON"),
        "OtherName": wrong("the `Host` header is not a name of this server"),
        "Failed": wrong("the command failed, and nothing was changed"),
        "TooMany": wrong("too many requests"),
        "Busy": wrong("the server is not responding"),
    }  # fmt: skip


def _refer(**names: str) -> dict[str, Any]:
    return {
        status.strip("_"): {"$ref": f"#/components/responses/{name}"}
        for status, name in names.items()
    }


_GET_RESPONSES = _refer(
    _401="NeedsToken", _405="NotAllowed", _421="OtherName", _429="TooMany", _503="Busy",
)  # fmt: skip
_POST_RESPONSES = dict(sorted({
    **_GET_RESPONSES,
    **_refer(
        _200="Done", _400="NoArguments", _403="OtherOrigin", _404="NoCommand", _408="TooSlow",
        _413="TooLong", _415="NotJson", _422="Failed",
    ),
}.items()))  # fmt: skip


def _fixed() -> dict[str, Any]:
    def get(summary: str, kind: str = "object") -> dict[str, Any]:
        content = {"application/json": {"schema": {"type": kind}}}
        found = {"200": {"description": summary, "content": content}, **_GET_RESPONSES}
        return {"get": {"summary": summary, "responses": found}}

    argument = {
        "type": ["number", "string", "boolean"], "minimum": -MAX_NUMBER, "maximum": MAX_NUMBER,
    }  # fmt: skip
    message = {
        "type": "array", "minItems": 1, "prefixItems": [{"type": "string"}], "items": argument,
    }  # fmt: skip
    named = {
        "type": "object", "required": ["address"], "properties": {"address": {"type": "string"}},
    }  # fmt: skip
    batch = {
        "type": "array", "minItems": 1, "maxItems": MAX_COMMANDS,
        "items": {"anyOf": [message, named]},
        "description": "each command with its arguments, which the command's own path describes",
    }  # fmt: skip
    return {
        "/api/commands": get("The command table", "array"),
        "/api/openapi.json": get("This document"),
        "/api/picture": get("The complete state, as pages receive it"),
        "/api/status": get("The values of /status.reply by name"),
        "/api/batch": {
            "post": {
                "operationId": "batch",
                "summary": "Several commands that take effect on the same frame",
                "requestBody": {
                    "required": True, "content": {"application/json": {"schema": batch}},
                },
                "responses": {**_POST_RESPONSES, **_refer(_207="SomeFailed")},
            }
        },
    }  # fmt: skip
