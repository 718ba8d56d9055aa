# SPDX-License-Identifier: Apache-2.0
"""The page itself: one HTML file that needs nothing else, and runs nothing but its own script.

Names in models are written by strangers. They reach the page only inside a JSON block in which no
tag can end, the script shows them as text nodes, and the page's policy lets the browser run that
script alone (by its hash) and load nothing at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from importlib import resources
from typing import Any

SCRIPTS = ("dom.js", "graph.js", "details.js", "summary.js", "main.js")  # in the order they run


def page(data: dict[str, Any], title: str) -> bytes:
    """The HTML of a model described by ``rillet.page.describe`` and ``rillet inspect``."""
    style = _part("page.css")
    script = '"use strict";\n(() => {\n' + "".join(map(_part, SCRIPTS)) + "})();\n"
    policy = (
        f"default-src 'none'; base-uri 'none'; form-action 'none'; "
        f"script-src 'sha256-{_hash(script)}'; style-src 'sha256-{_hash(style)}'"
    )
    parts = {
        "policy": policy,
        "title": html.escape(title),
        "style": style,
        "script": script,
        "data": _json(data),
    }
    return re.sub(r"@(\w+)@", lambda mark: parts[mark[1]], _part("page.html")).encode()


def _part(name: str) -> str:
    return (resources.files("rillet.page") / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _json(data: dict[str, Any]) -> str:
    """ASCII JSON without the characters that mean something in HTML."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
