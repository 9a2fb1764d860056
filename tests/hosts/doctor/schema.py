"""Just enough of JSON Schema (draft 2020-12) for docs/doctor.schema.json."""
import json

from tests.lab.nginx import ROOT

SCHEMA = json.loads((ROOT / "docs/doctor.schema.json").read_text())

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
          "integer": int}
_KNOWN = {"type", "properties", "required", "additionalProperties", "items", "enum", "const",
          "$ref", "$defs", "$schema", "$id", "title", "description", "anyOf", "minimum",
          "maximum"}


def _is(value, word):
    if word == "integer" and isinstance(value, bool):
        return False
    return isinstance(value, _TYPES[word])


def errors(value, schema=SCHEMA, at="$"):
    """What is wrong with the value, as a list of places; empty if nothing is."""
    unknown = set(schema) - _KNOWN
    assert not unknown, f"teach the validator {unknown}"
    if "$ref" in schema:
        target = SCHEMA
        for part in schema["$ref"].removeprefix("#").split("/"):
            target = target[part] if part else target
        return errors(value, target, at)
    if "anyOf" in schema:
        tries = [errors(value, option, at) for option in schema["anyOf"]]
        return [] if [] in tries else min(tries, key=len)
    words = schema.get("type", [])
    words = [words] if isinstance(words, str) else words
    if words and not any(_is(value, word) for word in words):
        return [f"{at} is no {words}"]
    wrong = []
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{at} is none of {schema['enum']}")
    if "const" in schema and value != schema["const"]:
        wrong.append(f"{at} is not {schema['const']}")
    if "minimum" in schema and isinstance(value, int) and value < schema["minimum"]:
        wrong.append(f"{at} is below {schema['minimum']}")
    if "maximum" in schema and isinstance(value, int) and value > schema["maximum"]:
        wrong.append(f"{at} is above {schema['maximum']}")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        wrong += [f"{at}.{key} is missing" for key in schema.get("required", ())
                  if key not in value]
        for key, inner in value.items():
            if key in properties:
                wrong += errors(inner, properties[key], f"{at}.{key}")
            elif schema.get("additionalProperties") is False:
                wrong.append(f"{at}.{key} is not in the schema")
    if isinstance(value, list) and "items" in schema:
        for number, inner in enumerate(value):
            wrong += errors(inner, schema["items"], f"{at}[{number}]")
    return wrong
