"""Bodies as Stripe's clients write them: form fields with brackets, ``metadata[order]=7``."""

import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

from devnet.stripe_server.errors import InvalidParameterError

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def parse_form(text: str) -> dict[str, Any]:
    """Return nested dictionaries; lists (``expand[0]``, ``expand[]``) are dictionaries' values."""
    parsed: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True):
        match = _KEY.fullmatch(key)
        if match is None:
            msg = f"Invalid parameter name: {key}"
            raise InvalidParameterError(msg, param=key)
        place = parsed
        parts = [match[1], *re.findall(r"\[([^\]]*)\]", match[2])]
        for part in parts[:-1]:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                msg = f"Invalid parameter: {key}"
                raise InvalidParameterError(msg, param=key)
            place = inner
        place[parts[-1] or str(len(place))] = value
    return parsed


def check_known(form: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse what Stripe would not know."""
    for name in form:
        if name not in known:
            msg = f"Received unknown parameter: {name}"
            raise InvalidParameterError(msg, code="parameter_unknown", param=name)


def required(form: Mapping[str, Any], name: str) -> str:
    """Return a parameter that must be there."""
    if not form.get(name):
        msg = f"Missing required param: {name}."
        raise InvalidParameterError(msg, code="parameter_missing", param=name)
    return str(form[name])


def integer(form: Mapping[str, Any], name: str, *, least: int = 1) -> int:
    """Return a whole number that must be there."""
    text = required(form, name)
    if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) < least:
        msg = f"Invalid integer: {text}"
        raise InvalidParameterError(msg, code="parameter_invalid_integer", param=name)
    return int(text)


def values(form: Mapping[str, Any], name: str) -> list[str]:
    """Return a list parameter, such as ``expand``."""
    given = form.get(name, {})
    return [str(each) for each in given.values()] if isinstance(given, dict) else [str(given)]
