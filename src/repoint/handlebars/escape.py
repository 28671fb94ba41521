"""HTML escaping, of many values at once."""

SEPARATOR = "\0"


def escape(text: str) -> str:
    """What HTML would take for markup, as entities: the seven characters handlebars.java escapes."""
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    if '"' in text:
        text = text.replace('"', "&quot;")
    if "'" in text:
        text = text.replace("'", "&#x27;")
    if "`" in text:
        text = text.replace("`", "&#x60;")
    if "=" in text:  # the entities before have none
        text = text.replace("=", "&#x3D;")
    return text


def escape_all(texts: list[str]) -> list[str]:
    """Each text escaped; all are searched at once, because most have nothing to escape."""
    joined = SEPARATOR.join(texts)
    escaped = escape(joined)
    if escaped is joined:
        return texts
    parts = escaped.split(SEPARATOR)
    return parts if len(parts) == len(texts) else [escape(text) for text in texts]
