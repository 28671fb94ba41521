"""What handlebars.java makes of thousands of templates (`make vectors` asks it), and what Repoint does.

vectors              9 486
the same             9 190
different on purpose   296, in differences.json, each with its reason
"""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from repoint import handlebars

HERE = Path(__file__).parent
AREAS = sorted(path.stem for path in (HERE / "vectors").glob("*.json"))
ERROR = object()


def question_of(area, vector):
    return (area, *(json.dumps(vector.get(name)) for name in ("template", "context", "pattern", "date", "tz")))


def answer_of(vector):
    return ERROR if vector.get("error") else vector["output"]


DIFFERENT = {
    question_of(vector["area"], vector): answer_of(vector)
    for group in json.loads((HERE / "differences.json").read_text())
    for vector in group["vectors"]
}


def dated(value):
    """Pinpoint's attributes are texts, so the vectors' dates are written out."""
    if isinstance(value, dict):
        if "$date" in value:
            return datetime.fromtimestamp(value["$date"] / 1000, UTC).isoformat()
        return {name: dated(member) for name, member in value.items()}
    return [dated(item) for item in value] if isinstance(value, list) else value


def render(template, context):
    try:
        return handlebars.compile(template, escape=True).render(context)
    except (handlebars.TemplateError, handlebars.RenderError):
        return ERROR


def answer(vector, contexts):
    if "pattern" in vector:
        when = dated({"$date": vector["date"]})
        context = {"date": when, "pattern": vector["pattern"], "zone": vector["tz"]}
        return render("{{{dateFormat date pattern tz=zone}}}", context)
    return render(vector["template"], contexts[vector["context"]])


@pytest.mark.parametrize("area", AREAS)
def test_templates_render_as_the_java_library_renders_them(area):
    data = json.loads((HERE / "vectors" / f"{area}.json").read_text())
    contexts = [dated(context) for context in data["contexts"]]
    wrong = [
        vector
        for vector in data["vectors"]
        if answer(vector, contexts) != DIFFERENT.get(question_of(area, vector), answer_of(vector))
    ]

    assert wrong == []


def test_a_difference_is_listed_only_where_there_is_one():
    same = [
        question
        for area in AREAS
        for vector in json.loads((HERE / "vectors" / f"{area}.json").read_text())["vectors"]
        if (question := question_of(area, vector)) in DIFFERENT and DIFFERENT[question] == answer_of(vector)
    ]

    assert same == []
    assert len(DIFFERENT) == 296
