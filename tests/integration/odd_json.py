"""JSON as a sender may write it who means no good: odd texts, odd numbers, and no JSON at all."""

import json
from random import Random
from typing import Any

TEXTS = (
    "", " ", "x", "\n", "\r\n\t", "\x1b[31m", "\x7f", "\u2028", "\u202e", "\ufeff", "\uffff",
    "größe", "e\u0301", "ﬀ", "漢字", "🙂", "👩‍👩‍👧", "\U0010ffff", "'\";--", "<script>", "{{ x }}",
    "%s%n", "${HOME}", "../../etc/passwd", "~", ".", "file:///etc/passwd", "s3://key:pass@bucket/x",
    "german.yaml", "(none: the run below)", "(as configured)", "extend", "null", "1", "x" * 5000,
    "🙂" * 300,
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 1 - 2**63, 0.0, -0.0, 0.1, 1e16, 1e308, -1e308, 5e-324,
)  # fmt: skip


class Raw(str):
    """Written as it stands, whether it is JSON or not."""


def _nested(n: int, opened: str, closed: str) -> Raw:
    return Raw(opened * n + "1" + closed * n)


RAW = (
    *map(Raw, ("NaN", "-Infinity", "Infinity", "1e400", "-1e400", "01", "+1", "1.", ".5", "0x1")),
    *map(Raw, ("9" * 19, "9" * 20, "1" * 5000, "1" + "0" * 400 + ".0", "1e-999", "-0", "1E+2")),
    *map(Raw, ('"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\x"', '"\n"', '"', "'x'", "True")),
    *map(Raw, ("[1,]", '{"a":1,}', '{"a":1,"a":2}', '{"a":{"b":1,"b":1}}', '{"\\u0061":1,"a":1}')),
    *map(Raw, ('{"__prefect_kind":"json"}', '[[{"__prefect_x":1}]]', "[" * 90_000, "", "/**/1")),
    *(_nested(n, "[", "]") for n in (40, 46, 47, 48, 49, 50, 2000, 50_000)),
    *(_nested(n, '{"a":', "}") for n in (40, 46, 47, 48, 49, 50, 2000, 20_000)),
)


def odd(draw: Random, depth: int = 0) -> Any:
    """Any value; about one in twenty is none that a strict reader takes."""
    kind = draw.random()
    if kind < 0.05:
        return draw.choice(RAW)
    if kind < 0.35:
        return draw.choice(TEXTS)
    if kind < 0.6:
        return draw.choice(NUMBERS)
    if kind < 0.75 or depth > 3:
        return draw.choice((True, False, None))
    values = [odd(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    return values if kind < 0.87 else {draw.choice(TEXTS): value for value in values}


def altered(draw: Random, value: Any) -> Any:
    """The same with one place in it changed, taken out or added to."""
    if not isinstance(value, dict | list) or not value or draw.random() < 0.15:
        return odd(draw)
    is_list = isinstance(value, list)
    changed: Any = [*value] if is_list else {**value}
    at = draw.choice(range(len(value)) if is_list else list(value))
    kind = draw.random()
    if kind < 0.1:
        del changed[at]
    elif kind < 0.2 and not is_list:
        changed[draw.choice(TEXTS)] = odd(draw)
    else:
        changed[at] = altered(draw, value[at])
    return changed


def written(draw: Random, value: Any) -> str:
    """As JSON text; other letters than ASCII as themselves or escaped."""
    if isinstance(value, Raw):
        return value
    if isinstance(value, list):
        return f"[{','.join(written(draw, item) for item in value)}]"
    if isinstance(value, dict):
        pairs = [f"{written(draw, k)}:{written(draw, v)}" for k, v in value.items()]
        if pairs and draw.random() < 0.01:
            pairs.append(draw.choice(pairs))
        return f"{{{','.join(pairs)}}}"
    return json.dumps(value, ensure_ascii=draw.random() < 0.5)
