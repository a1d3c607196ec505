"""The OpenAPI document as a page that a browser shows by itself, without scripts."""

import json
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{background:#f3f3f3}pre{padding:.7rem;overflow:auto}"
    "td{padding:.1rem .8rem .1rem 0;vertical-align:top}"
)


def openapi_page(document: dict[str, Any]) -> str:
    """An HTML page of operations, their answers, and the schemas.

    Args:
        document: OpenAPI 3.1.
    """
    info = document["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        f"<p>{escape(info['description'])}</p>",
        '<p>Machines read <a href="openapi.json">openapi.json</a>.</p>',
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(path, method, operation)
    for name, schema in document["components"]["schemas"].items():
        text = json.dumps(schema, indent=2, ensure_ascii=False)
        parts.append(f"<h3 id={escape(name)}>{escape(name)}</h3><pre>{escape(text)}</pre>")
    return "\n".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> list[str]:
    rows: list[tuple[str, str]] = [
        (f"{given['name']} ({given['in']})", given["description"])
        for given in operation.get("parameters", [])
    ]
    if "requestBody" in operation:
        rows.append(("body", _schema_name(operation["requestBody"])))
    for status, answer in operation["responses"].items():
        rows.append((status, f"{answer['description']} {_schema_name(answer)}"))
    cells = (f"<tr><td><code>{escape(left)}</code><td>{escape(right)}" for left, right in rows)
    return [
        f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}",
        f"<table>{''.join(cells)}</table>",
    ]


def _schema_name(described: dict[str, Any]) -> str:
    content = next(iter(described["content"].values()))
    return content["schema"]["$ref"].rpartition("/")[2]
