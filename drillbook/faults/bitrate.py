"""Rates of links as experiments write them: ``500kbit``, ``10mbit``, ``1gbit``: bits a second, as ``tc`` reads them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

PATTERN = r"^[0-9]+(\.[0-9]+)?(kbit|mbit|gbit)$"
_UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


def parse(value: object) -> float:
    """Bits a second.

    :raises ValueError: it is no rate.
    """
    if not isinstance(value, str) or not re.match(PATTERN, value):
        raise ValueError(
            "the rate of a link is written with its unit in bits: 500kbit, 10mbit, 1gbit (a byte is 8 bits)"
        )
    return float(value[:-4]) * _UNITS[value[-4:]]


def write(rate: float) -> str:
    """As it stands in a file."""
    unit = next(unit for unit in ("gbit", "mbit", "kbit") if rate >= _UNITS[unit] or unit == "kbit")
    return f"{rate / _UNITS[unit]:.15g}{unit}"


BitRate = Annotated[
    float,
    BeforeValidator(parse),
    PlainSerializer(write, return_type=str),
    WithJsonSchema({"type": "string", "pattern": PATTERN, "examples": ["500kbit", "10mbit", "1gbit"]}),
]
