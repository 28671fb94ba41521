"""Rendering a template of 24 expressions, against handlebars.js on Node where that is at hand."""

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from repoint import handlebars

TEMPLATE = (
    "Hello {{User.UserAttributes.First}} {{User.UserAttributes.Last}}, your plan is {{Attributes.Plan}} and your city "
    "{{Location.City}} ({{Location.Country}}). {{#if Attributes.Vip}}Thank you, {{User.UserAttributes.First}}!{{else}}"
    "Join {{Attributes.Club}}.{{/if}} {{#each items}}{{@index}}: {{this}}; {{/each}}"
    "{{Metrics.a}} {{Metrics.b}} {{Metrics.c}} {{Demographic.Make}} {{Demographic.Model}} {{Demographic.Platform}} "
    "{{Address}} {{Id}} {{ChannelType}} {{a}} {{b}} {{c}} {{d}} {{e}}"
)
CONTEXT: dict[str, Any] = {
    "User": {"UserAttributes": {"First": "Ann", "Last": "Lee"}},
    "Attributes": {"Plan": "gold", "Vip": "yes", "Club": "us"},
    "Location": {"City": "Graz", "Country": "AT"},
    "Metrics": {"a": 1, "b": 2, "c": 3},
    "Demographic": {"Make": "Acme", "Model": "X", "Platform": "ios"},
    "items": ["one", "two", "three"],
    **{name: f"<{name}>" for name in ("Address", "Id", "ChannelType", "a", "b", "c", "d", "e")},
}
ROUNDS = 20_000
NODE = """
const H = require('handlebars'), [template, context, rounds] = JSON.parse(process.argv[1]);
const f = H.compile(template); let n = 0;
for (let i = 0; i < rounds; i++) n += f(context).length;
const s = process.hrtime.bigint();
for (let i = 0; i < rounds; i++) n += f(context).length;
console.log(rounds / (Number(process.hrtime.bigint() - s) / 1e9));
"""


def reference() -> float | None:
    if not shutil.which("node") or not shutil.which("npm"):
        return None
    folder = Path("build") / "bench-node"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules" / "handlebars").exists():
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "handlebars"]
        if subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode:
            return None
    arguments = ["node", "-e", NODE, json.dumps([TEMPLATE, CONTEXT, ROUNDS])]
    return float(subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True).stdout)


def run() -> list[dict[str, Any]]:
    template = handlebars.compile(TEMPLATE, escape=True)
    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(ROUNDS // 4):
            template.render(CONTEXT)
        best = max(best, ROUNDS / 4 / (time.perf_counter() - started))
    node = reference()
    return [
        {
            "name": "rendering, 24 expressions",
            "value": best,
            "unit": "renders/s",
            "reference": "handlebars.js on Node",
            "reference_value": node,
            "ratio": best / node if node else None,
            "goal": 1.0,
        }
    ]
