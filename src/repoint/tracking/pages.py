"""The pages recipients see: plain HTML, no scripts, nothing fetched from anywhere."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape

from repoint.resources.tracking import Field, Tracking

STYLE = """
:root{color-scheme:light dark;--ink:#16191f;--paper:#fff;--quiet:#545b64;--line:#879596;--mark:#0a5fb4;--fault:#a61c1c}
@media(prefers-color-scheme:dark){:root{--ink:#eaeded;--paper:#16191f;--quiet:#aab7b8;--line:#879596;--mark:#7cc0ff;
--fault:#ff9d9d}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:17px/1.5 system-ui,sans-serif}
main{max-width:34rem;margin:0 auto;padding:3rem 1.25rem}
h1{font-size:1.6rem;line-height:1.25;margin:0 0 .5rem;text-wrap:balance}
p{margin:.5rem 0 1rem}
.quiet,.hint{color:var(--quiet)}.hint{font-size:.9rem;margin:.1rem 0 0}
fieldset{border:0;margin:1.5rem 0;padding:0}legend{font-weight:600;padding:0;margin-bottom:.25rem}
.field{padding:.75rem 0;border-top:1px solid color-mix(in srgb,var(--line) 45%,transparent)}
.check{display:flex;gap:.75rem;align-items:flex-start}
.check input{width:1.25rem;height:1.25rem;margin:.15rem 0 0;flex:none;accent-color:var(--mark)}
label{font-weight:500}
input[type=text],select{display:block;width:100%;margin-top:.35rem;padding:.55rem .65rem;font:inherit;color:inherit;
background:var(--paper);border:1px solid var(--line);border-radius:6px}
button{font:inherit;font-weight:600;color:var(--paper);background:var(--mark);border:0;border-radius:6px;
padding:.65rem 1.25rem;cursor:pointer}
a{color:var(--mark)}
:focus-visible{outline:3px solid var(--mark);outline-offset:2px}
.note{border-left:4px solid var(--mark);padding:.6rem .9rem;margin:1rem 0}
.fault{border-color:var(--fault);color:var(--fault)}
"""
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = [
    ("content-security-policy", POLICY),
    ("cache-control", "no-store, private"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("x-robots-tag", "noindex, nofollow"),
]


def page(title: str, *parts: str) -> bytes:
    """A whole page; the parts are HTML already."""
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{''.join(parts)}</main></body></html>"
    )
    return text.encode("utf-8", "replace")


def confirm_page(address: str, preferences: str | None) -> bytes:
    """Asks before it unsubscribes: mail scanners follow links, people press buttons."""
    return page(
        "Unsubscribe",
        f"<p>Stop sending messages to <strong>{escape(address)}</strong>?</p>",
        '<form method="post"><button name="confirm" value="yes">Unsubscribe</button></form>',
        f'<p class="quiet">Or <a href="{escape(preferences)}">choose what you get</a>.</p>' if preferences else "",
    )


def unsubscribed_page(preferences: str | None) -> bytes:
    """Done; it says so of an address that has gone as well, as there is nothing left to stop."""
    link = f'<p class="quiet"><a href="{escape(preferences)}">Change your mind</a></p>' if preferences else ""
    return page("You are unsubscribed", '<p role="status">You will get no more messages at this address.</p>', link)


def gone_page() -> bytes:
    """The link is ours, and what it is about is no longer there."""
    return page("Nothing to change", "<p>We no longer have this address, and send nothing to it.</p>")


def preferences_page(
    settings: Tracking, address: str, values: Mapping[str, Sequence[str]], *, is_opted_out: bool, note: str = ""
) -> bytes:
    """The form, filled in; `values` by attribute name, `note` is HTML."""
    fields = "".join(
        _field(number, field, values.get(field.attribute, ())) for number, field in enumerate(settings.fields)
    )
    checked = " checked" if is_opted_out else ""
    everything = (
        '<div class="field"><div class="check">'
        f'<input type="checkbox" id="all" name="opt_out" value="ALL"{checked} aria-describedby="all-hint">'
        '<div><label for="all">Stop all messages to this address</label>'
        '<p class="hint" id="all-hint">Whatever is chosen above, nothing more is sent.</p></div></div></div>'
    )
    return page(
        settings.title or "Your message preferences",
        f'<p class="quiet">For {escape(address)}</p>',
        note,
        '<form method="post">',
        f"<fieldset><legend>What you would like to get</legend>{fields}</fieldset>" if fields else "",
        f"<fieldset><legend>Everything</legend>{everything}</fieldset>",
        '<button name="save" value="yes">Save</button></form>',
    )


def saved_note() -> str:
    """After a change."""
    return '<p class="note" role="status">Your preferences are saved.</p>'


def fault_note(text: str) -> str:
    """After a change that was refused."""
    return f'<p class="note fault" role="alert">Nothing was saved: {escape(text)}</p>'


def _field(number: int, field: Field, values: Sequence[str]) -> str:
    name, own_id = escape(field.attribute), f"f{number}"
    described = f' aria-describedby="{own_id}-hint"' if field.hint else ""
    hint = f'<p class="hint" id="{own_id}-hint">{escape(field.hint)}</p>' if field.hint else ""
    label = f'<label for="{own_id}">{escape(field.label)}</label>'
    shown = f'<input type="hidden" name="shown" value="{name}">'
    if field.kind == "checkbox":
        checked = " checked" if field.on in values else ""
        box = f'<input type="checkbox" id="{own_id}" name="value={name}" value="on"{checked}{described}>'
        return f'<div class="field">{shown}<div class="check">{box}<div>{label}{hint}</div></div></div>'
    if field.kind == "choice":
        return f'<div class="field">{shown}{label}{_select(field, own_id, described, values)}{hint}</div>'
    value = escape(values[0]) if values else ""
    box = f'<input type="text" id="{own_id}" name="value={name}" value="{value}" maxlength="100"{described}>'
    return f'<div class="field">{shown}{label}{box}{hint}</div>'


def _select(field: Field, own_id: str, described: str, values: Sequence[str]) -> str:
    options = [("", "")] if not any(choice.value in values for choice in field.choices) else []
    options += [(choice.value, choice.label) for choice in field.choices]
    inner = "".join(
        f'<option value="{escape(value)}"{" selected" if value in values else ""}>{escape(label)}</option>'
        for value, label in options
    )
    return f'<select id="{own_id}" name="value={escape(field.attribute)}"{described}>{inner}</select>'
