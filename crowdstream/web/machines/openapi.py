"""The command table as OpenAPI 3.1, for whoever makes clients out of that."""

from __future__ import annotations

from typing import Any

from crowdstream.web.machines.commands import PLACES, Command, place_of

_KINDS = {"i": "integer", "f": "number", "s": "string"}
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
    """The document. `table`: the commands as control tells them."""
    paths: dict[str, Any] = dict(_fixed())
    for command in table:
        path = f"/api{command['address']}"
        parameters = _parameters(command["address"])
        if parameters:
            paths.setdefault(path, {})["parameters"] = parameters
        paths.setdefault(path, {})["post"] = _operation(command)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "CrowdStream", "version": version,
            "description": "The commands of docs/osc.md over HTTP. Changing needs the token where "
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


def schema(arg: dict[str, Any]) -> dict[str, Any]:
    """What one argument may be, as JSON Schema."""
    if arg["type"] == "*":
        return {"type": ["number", "string"], "description": arg["help"]}
    made: dict[str, Any] = {"type": _KINDS[arg["type"]]}
    if arg["choices"]:
        made["enum"] = list(arg["choices"])
    elif arg["type"] == "s":
        made["minLength"] = 0 if arg.get("default") == "" else 1
    if arg["low"] is not None:
        made["minimum"] = arg["low"]
    if arg["high"] is not None:
        made["maximum"] = arg["high"]
    if arg["words"]:
        made = {"anyOf": [made, {"type": "string", "enum": list(arg["words"])}]}
    unit = f" [{arg['unit']}]" if arg["unit"] else ""
    if arg["help"] or unit:
        made["description"] = (arg["help"] + unit).strip()
    if arg["rest"]:
        least = 0 if "default" in arg else 1
        return {"type": "array", "items": made, "minItems": least}
    if arg.get("default") is not None:
        made["default"] = arg["default"]
    return made


def _parameters(address: str) -> list[dict[str, Any]]:
    place = place_of(address)
    if not place:
        return []
    letters = list(PLACES[place])
    return [{
        "name": place, "in": "path", "required": True,
        "schema": {"type": "string", "enum": letters},
    }]  # fmt: skip


def _operation(command: Command) -> dict[str, Any]:
    args = command["args"]
    required = [arg["name"] for arg in args if "default" not in arg]
    by_name: dict[str, Any] = {
        "type": "object", "additionalProperties": False,
        "properties": {arg["name"]: schema(arg) for arg in args},
    }  # fmt: skip
    if required:
        by_name["required"] = required
    in_order = {
        "type": "object", "additionalProperties": False, "required": ["args"],
        "properties": {"args": {"type": "array", "items": {"type": ["number", "string"]}}},
    }  # fmt: skip
    notes = [command["help"]]
    if command["answers"]:
        notes.append(f"Answers {command['answers']}.")
    if command["quantized"]:
        notes.append("Quantized.")
    # Not its name in Python: `/deck/{deck}/eq` and `/deck_eq` share that.
    identity = command["address"].strip("/").replace("/", ".").replace("{", "").replace("}", "")
    return {
        "operationId": identity, "summary": command["help"].partition(". ")[0][:120],
        "description": "\n\n".join(notes), "tags": [command["address"].split("/")[1]],
        "requestBody": {
            "required": bool(required),
            "content": {"application/json": {"schema": {"anyOf": [by_name, in_order]}}},
        },
        "responses": _RESPONSES,
    }  # fmt: skip


def _responses() -> dict[str, Any]:
    def wrong(text: str) -> dict[str, Any]:
        content = {"application/json": {"schema": {"$ref": "#/components/schemas/Wrong"}}}
        return {"description": text, "content": content}

    answers = {"application/json": {"schema": {"$ref": "#/components/schemas/Answers"}}}
    return {
        "Done": {"description": "it has been carried out; the answers so far", "content": answers},
        "NoArguments": wrong("these are no arguments of it"),
        "NeedsToken": wrong("it needs the token"),
        "OtherOrigin": wrong("a page of another server asks"),
        "NoCommand": wrong("there is no such command"),
        "Failed": wrong("it failed, and nothing was changed"),
        "TooMany": wrong("too many requests"),
        "Busy": wrong("the server does not answer just now"),
    }  # fmt: skip


_RESPONSES = {
    status: {"$ref": f"#/components/responses/{name}"}
    for status, name in (
        ("200", "Done"), ("400", "NoArguments"), ("401", "NeedsToken"), ("403", "OtherOrigin"),
        ("404", "NoCommand"), ("422", "Failed"), ("429", "TooMany"), ("503", "Busy"),
    )
}  # fmt: skip


def _fixed() -> dict[str, Any]:
    def get(summary: str, kind: str = "object") -> dict[str, Any]:
        content = {"application/json": {"schema": {"type": kind}}}
        found = {"200": {"description": summary, "content": content}}
        return {"get": {"summary": summary, "responses": found}}

    message = {"type": "array", "minItems": 1, "items": {"type": ["number", "string"]}}
    named = {
        "type": "object", "required": ["address"], "properties": {"address": {"type": "string"}},
    }  # fmt: skip
    batch = {
        "type": "array", "minItems": 1, "maxItems": 256, "items": {"anyOf": [message, named]},
    }  # fmt: skip
    several = {"description": "some have failed, the others have been carried out"}
    return {
        "/api/commands": get("The command table", "array"),
        "/api/picture": get("Everything that pages show"),
        "/api/status": get("What /status answers, by name"),
        "/api/batch": {
            "post": {
                "operationId": "batch", "summary": "Several commands that act on one frame",
                "requestBody": {
                    "required": True, "content": {"application/json": {"schema": batch}},
                },
                "responses": {**_RESPONSES, "207": several},
            }
        },
    }  # fmt: skip
