"""Ask the Java library that Pinpoint's dialect comes from what it makes of many templates; keep its answers as vectors.

    make vectors        needs Java 17 and Maven; leaves tests/handlebars/vectors/*.json

The tests need no Java. Where Repoint answers differently on purpose, tests/handlebars/differences.json says why.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
VECTORS = ROOT / "tests" / "handlebars" / "vectors"
JARS = ROOT / "build" / "oracle"
ORACLE = ROOT / "tools" / "oracle" / "Oracle.java"
ASKED: dict[str, Any] = json.loads((ROOT / "tools" / "oracle" / "questions.json").read_text())
VALUES: dict[str, Any] = ASKED["values"]
Question = dict[str, Any]


def ask(template: str, context: Any = None) -> Question:
    """A template and what it is rendered with."""
    return {"template": template, "context": VALUES if context is None else context}


def strings() -> Iterator[Question]:
    """Each string helper with each kind of value."""
    for helper, name in product(ASKED["string_helpers"], VALUES):
        yield ask(f"[{{{{{helper} {name}}}}}]")
        yield ask(f"[{{{{{{{helper} {name}}}}}}}]")
    for form, name in product(ASKED["string_calls"], VALUES):
        yield ask("{{" + form.format(name) + "}}")
    for literal, helper in product(ASKED["string_literals"], ASKED["string_literal_helpers"]):
        yield ask(f"{{{{{helper} {literal}}}}}")
    for text, helper in product(ASKED["string_texts"], ASKED["string_text_helpers"]):
        yield ask(f"{{{{{helper} v{' 5' if helper == 'abbreviate' else ''}}}}}", {"v": text})


def conditions() -> Iterator[Question]:
    """Each condition as a block and inline."""
    compared = ASKED["compared"]
    for helper, left, right in product(("eq", "neq", "gt", "gte", "lt", "lte"), compared, compared):
        yield ask(f"{{{{{helper} {left} {right}}}}}")
    for helper, left in product(("eq", "neq", "gt", "lte", "and", "or", "not"), (*VALUES, "missing")):
        yield ask(f'{{{{#{helper} {left} "x"}}}}T{{{{else}}}}F{{{{/{helper}}}}}')
        yield ask(f'{{{{{helper} {left} "x" yes="<Y>" no="N"}}}}')
        yield ask(f"{{{{#if ({helper} {left} 1)}}}}T{{{{else}}}}F{{{{/if}}}}")
        yield ask(f"{{{{{helper} {left} yes=1 no=text}}}}")
    for left, right in product(VALUES, VALUES):
        yield ask(f"{{{{eq {left} {right}}}}}{{{{and {left} {right}}}}}{{{{or {left} {right}}}}}")
    yield from map(ask, ASKED["condition_templates"])


def dates() -> Iterator[Question]:
    """The styles and patterns of dateFormat."""
    styles = ("", ' "full"', ' "long"', ' "medium"', ' "short"', ' format="full"', ' format="yyyy/MM/dd"')
    for date in ASKED["dates"]:
        context = {"d": {"$date": date}}
        for style in styles:
            yield ask(f"{{{{dateFormat d{style}}}}}", context)
            yield ask(f'{{{{dateFormat d{style} tz="America/New_York"}}}}', context)
        for style, time in product(("full", "long", "medium", "short"), ("medium", "short")):
            yield ask(f'{{{{dateFormat d "{style}" time="{time}"}}}}', context)
    for template in (
        "{{dateFormat nothing}}",
        '{{dateFormat missing "full"}}',
        "{{dateFormat one}}",
        "{{dateFormat text}}",
    ):
        yield ask(template)


def patterns() -> Iterator[Question]:
    """The letters of SimpleDateFormat."""
    for pattern, date, zone in product(ASKED["patterns"], ASKED["dates"], ASKED["zones"]):
        yield {"pattern": pattern, "date": date, "tz": zone}


def sections() -> Iterator[Question]:
    """Blocks on each kind of value."""
    names = (*VALUES, "missing", "nested.list", "nested.deep.deeper", "nested.nope.nope")
    for block, name in product(ASKED["section_blocks"], names):
        yield ask(block.replace("NAME", name))
    for block, literal in product(("if", "unless", "with", "each"), ASKED["section_literals"]):
        yield ask(f"{{{{#{block} {literal}}}}}A{{{{else}}}}B{{{{/{block}}}}}")
    yield from map(ask, ASKED["section_templates"])


def paths() -> Iterator[Question]:
    """Where names are looked up."""
    scopes = ASKED["scopes"]
    for name in ASKED["path_names"]:
        yield ask(f"{{{{{name}}}}}", scopes)
        yield ask(f"{{{{#each items}}}}{{{{{name}}}}},{{{{/each}}}}", scopes)
        yield ask(f"{{{{#with user}}}}{{{{{name}}}}}{{{{/with}}}}", scopes)
        yield ask(f"{{{{#if {name}}}}}y{{{{else}}}}n{{{{/if}}}}", scopes)
        yield ask(f"{{{{upper {name}}}}}", scopes)
    yield from (ask(template, scopes) for template in ASKED["path_templates"])


def nests() -> Iterator[Question]:
    """Names inside blocks inside blocks."""
    context = ASKED["nests"]
    for block, name in product(ASKED["nest_blocks"], ASKED["nest_names"]):
        yield ask(block.replace("NAME", f"{{{{{name}}}}}"), context)
    yield from (ask(template, context) for template in ASKED["nest_templates"])


def syntax() -> Iterator[Question]:
    """White space, escapes, comments, raw blocks, partials, and what is not a template."""
    yield from (ask(template, ASKED["scopes"]) for template in ASKED["syntax_templates"])


AREAS: tuple[Callable[[], Iterator[Question]], ...] = (
    strings,
    conditions,
    dates,
    patterns,
    sections,
    paths,
    nests,
    syntax,
)


def answers(questions: list[Question]) -> list[dict[str, str]]:
    """What the Java library says."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "asked.json", Path(folder) / "answered.json"
        asked.write_text(json.dumps(questions))
        command = ["java", "-cp", f"{JARS}/*", str(ORACLE), str(asked), str(answered)]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - our own program
        found: list[dict[str, str]] = json.loads(answered.read_text())
        return found


def kept(question: Question, answer: dict[str, str], contexts: list[Any]) -> Question:
    """One vector: that there was an error is kept, not its words."""
    shown = dict(question)
    if "context" in shown:
        if shown["context"] not in contexts:
            contexts.append(shown["context"])
        shown["context"] = contexts.index(shown["context"])
    return shown | ({"error": True} if "error" in answer else answer)


def written(area: str, questions: list[Question]) -> str:
    """One file: the contexts once, then a vector a line."""
    contexts: list[Any] = []
    vectors = [kept(question, answer, contexts) for question, answer in zip(questions, answers(questions), strict=True)]
    sys.stdout.write(f"{area}: {len(vectors)} vectors, {sum('error' in one for one in vectors)} of them errors\n")
    rows = ",\n".join(json.dumps(vector) for vector in vectors)
    return f'{{"contexts": {json.dumps(contexts)},\n"vectors": [\n{rows}\n]}}\n'


def main() -> None:
    """Ask everything and keep the answers."""
    VECTORS.mkdir(parents=True, exist_ok=True)
    for questions in AREAS:
        area = questions.__name__
        (VECTORS / f"{area}.json").write_text(written(area, list(questions())))


if __name__ == "__main__":
    main()
