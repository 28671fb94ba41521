"""What Pinpoint's guide promises of its templates, and what Repoint adds."""

import re
from datetime import UTC, datetime

import pytest

from repoint import handlebars

ENDPOINT = {
    "Address": "ann@example.com",
    "Attributes": {"Plan": ["gold"], "Tags": ["a", "b"], "Empty": [], "Price": ["19.21"], "Vip": [""]},
    "Metrics": {"Visits": 3.0, "Spent": 12.5},
    "User": {"UserId": "u1", "UserAttributes": {"First": ["Ann"], "Last Name": ["O'Lee"]}},
    "RecommendationItems": ["x1", "x2"],
    "Recommendations": {"Title": ["T1", "T2"]},
}


def render(template, context=ENDPOINT, overrides=None, *, escape=False):
    now = datetime(2031, 11, 3, 14, 5, 9, tzinfo=UTC)
    return handlebars.compile(template, escape=escape).render(context, overrides, now=lambda: now)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{Attributes.Plan}}|{{Attributes.Plan.[0]}}|{{Attributes.Tags}}|{{Attributes.Tags.[1]}}", "gold|gold|a,b|b"),
        ("{{Attributes.Empty}}|{{Attributes.Empty.[0]}}|{{Attributes.Nope.[0]}}|{{Nope.Nope}}", "|||"),
        ("{{User.UserAttributes.[Last Name].[0]}} {{User.UserAttributes.[Last Name]}}", "O'Lee O'Lee"),
        ("{{RecommendationItems.[1]}} {{Recommendations.Title.[0]}} {{RecommendationItems}}", "x2 T1 x1,x2"),
        ("{{Metrics.Visits}} {{Metrics.Spent}} {{Address}} {{User.UserId}}", "3 12.5 ann@example.com u1"),
        ("{{#if Attributes.Vip}}vip{{else}}no{{/if}}", "no"),
        ("{{#with User.UserAttributes}}{{First}}{{/with}}", "Ann"),
        ("{{#each Attributes.Tags}}{{@index}}{{this}};{{/each}}", "0a;1b;"),
        (
            "{{#each Attributes.Tags}}{{ . }}{{lookup . 0}}{{ ../Address }};{{/each}}",
            "aaann@example.com;bbann@example.com;",
        ),
        ("{{#with User}}{{#if Nope}}no{{else}}{{User.UserId}}{{/if}}{{/with}}", "u1"),
        ("{{#with User}}{{#if Nope}}no{{else if Nope}}no{{else}}{{User.UserId}}{{/if}}{{/with}}", "u1"),
    ],
)
def test_an_endpoints_data_is_read_as_pinpoint_reads_it(template, text):
    assert render(template) == text


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (
            "{{add 5 2.3}} {{subtract 5 2.3}} {{multiply 5 2.3}} {{divide 5 2.3}} {{modulo 7 2}}",
            "7.3 2.7 11.5 2.17391304 1",
        ),
        ("{{ceiling 5.23}} {{floor 5.23}} {{round 19.21}} {{round Attributes.Price}}", "6 5 19 19"),
        ("{{add 0.1 0.2}} {{add Attributes.Price 1}} {{divide 6 3}}", "0.3 20.21 2"),
        ("{{ordinalize 1}} {{ordinalize 12}} {{ordinalize 22}} {{ordinalize 113}}", "1st 12th 22nd 113th"),
        ('{{inflect 3 "apple" "apples" includeCount=true}} {{inflect 1 "apple" "apples"}}', "3 apples apple"),
        ("{{encode64 'Hello World'}} {{decode64 'SGVsbG8='}}", "SGVsbG8gV29ybGQ= Hello"),
        ("{{md5 'Hello World'}}", "b10a8db164e0754105b7a99be72e3fe5"),
        ("{{sha256 'abc'}}", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ('{{dateFormat "09/19/2020" inputFormat="MM/dd/yyyy" outputFormat="full"}}', "Saturday, September 19, 2020"),
        ('{{now}} {{now "yyyy-MM-dd HH:mm z" tz="America/New_York"}}', "Nov 3, 2031 2031-11-03 09:05 EST"),
        (
            '{{ljust "ab" 4}}|{{rjust "ab" 4}}|{{ljust "ab" size=4}}|{{center "ab" size=5 pad="*"}}',
            "ab  |  ab|ab  |*ab**",
        ),
        ('{{gt 10 9}} {{gt "10" "9"}} {{gt "9" "17"}} {{eq 2 2.0}} {{eq "2" 2}}', "true false true true false"),
        ('{{yesno "true"}} {{yesno false no="never"}} {{yesno Nope}}', "yes never maybe"),
        (
            "{{slugify 'Los Angeles'}} {{capitalizeFirst (lower 'JANE')}} {{stripTags '<b>Art</b>'}}",
            "los-angeles Jane Art",
        ),
        ('{{and "x" 0 yes="Y" no="N"}} {{or "" "x" yes="Y" no="N"}} {{not ""}}', "N Y true"),
        ('{{join Attributes.Tags ", "}} {{join "a" "b" "-" prefix="(" suffix=")"}}', "a, b (a-b)"),
    ],
)
def test_helpers_answer_as_the_guide_says(template, text):
    assert render(template) == text


def test_every_uuid_is_another():
    first, second = render("{{uuid}} {{uuid}}").split()

    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)
    assert first != second


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"Attributes.Plan": ["silver"]}, "silver Ann"),
        ({"User.UserAttributes.First": "Bea", "Attributes.Plan": "tin"}, "tin Bea"),
        ({"User.UserAttributes.[First]": ["Cy"]}, "gold Cy"),
        ({"User": {"UserAttributes": {"First": "Di"}}}, "gold Di"),
        ({"Other.Deep.Name": "x"}, "gold Ann"),
        ({"Attributes.Plan.Deep": "x"}, "{Deep=x} Ann"),
        ({}, "gold Ann"),
    ],
)
def test_overrides_take_the_place_of_data(overrides, text):
    before = repr(ENDPOINT)

    assert render("{{Attributes.Plan}} {{User.UserAttributes.First}}", overrides=overrides) == text
    assert repr(ENDPOINT) == before


def test_an_override_is_read_by_index_and_inside_blocks_too():
    overrides = {"User.UserAttributes.Plan": "gold", "City": ["Graz"]}
    template = "{{User.UserAttributes.Plan.[0]}} {{#with User.UserAttributes}}{{Plan}}{{/with}} {{City}} {{City.[0]}}"

    assert render(template, overrides=overrides) == "gold gold Graz Graz"


def test_only_html_is_escaped_and_only_where_it_is_wanted():
    hostile = {"x": "<\"&'`=>", "plain": "a", "zero": "\0<"}

    assert render("{{x}}{{plain}}{{{x}}}", hostile, escape=True) == "&lt;&quot;&amp;&#x27;&#x60;&#x3D;&gt;a<\"&'`=>"
    assert render("{{x}}{{plain}}{{&x}}", hostile) == "<\"&'`=>a<\"&'`=>"
    assert render("{{zero}}{{plain}}", hostile, escape=True) == "\0&lt;a"


@pytest.mark.parametrize(
    ("source", "message", "place"),
    [
        ("Hi\n  {{#if a}}x", "{{#if}} is not closed", (2, 3)),
        ("{{#if a}}x{{/each}}", "{{/each}} closes {{#if}}", (1, 11)),
        ("a\n\n{{nope 1}}", "there is no helper 'nope'", (3, 3)),
        ("{{> header}}", "there is no inline partial 'header', and templates cannot include others", (1, 1)),
        ("{{a", "a {{ is not closed", (1, 1)),
        ('{{upper "a}}', "a string is not closed", (1, 9)),
        ("{{upper (lower a}}", "a ( is not closed", (1, 17)),
        ("{{#each}}{{/each}}", "each takes one argument", (1, 4)),
        ("{{=<% %>=}}", "the delimiters cannot be changed", (1, 1)),
        ("{{/if}}", "{{/if}} closes or continues nothing", (1, 1)),
        ("{{#upper a}}x{{/upper}}", "upper cannot be a block", (1, 4)),
    ],
)
def test_a_mistake_is_named_with_its_place(source, message, place):
    with pytest.raises(handlebars.TemplateError) as raised:
        handlebars.compile(source)

    assert (raised.value.message, (raised.value.line, raised.value.column)) == (message, place)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{gt 1 'a'}}", "gt: cannot compare '1' and 'a'"),
        ("{{abbreviate 'abcdef' 3}}", "abbreviate: the width must be at least 4"),
        ("{{add 'x' 1}}", "add: not a number: 'x'"),
        ("{{divide 1 0}}", "divide: division by zero"),
        ("{{substring 'abc' 2 9}}", "substring: 2 to 9 is not within a text of 3 characters"),
        ("{{now 'yyyy' tz='Mars/Olympus'}}", "now: no such time zone: 'Mars/Olympus'"),
        ("{{decode64 '%%'}}", "decode64: not Base64 of UTF-8 text"),
    ],
)
def test_a_helper_that_cannot_answer_says_why(template, message):
    with pytest.raises(handlebars.RenderError, match=re.escape(message)):
        render(template)


def test_variables_are_what_is_read_outside_blocks():
    template = handlebars.compile("{{a}} {{User.UserAttributes.[Last Name]}} {{#if b}}{{c}}{{/if}} {{upper d}}")

    assert template.variables == {"a", "User.UserAttributes.[Last Name]", "d"}
