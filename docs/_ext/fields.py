"""What docstrings and the header's comments share: labelled paragraphs."""

from __future__ import annotations

import re

LABEL = re.compile(
    r"(Args|Attributes|Returns|Raises|Errors|Thread|Privilege|Since|Source)\b([^:]*):(?: (.*))?$"
)
SHORT = re.compile(r"(?<=\.) (?=(?:Thread|Privilege|Since|Source): )")
ENTRY = re.compile(r"(?:[\w.*]+(?:, )?)+: |[A-Z(].*")
LISTS = {"Args", "Attributes", "Raises"}


def as_fields(lines: list[str]) -> list[str]:
    """Labelled paragraphs as a reStructuredText field list, all else as it is."""
    found: list[str] = []
    field: list[str] | None = None
    for line in "\n".join(SHORT.sub("\n", line) for line in lines).splitlines():
        label = LABEL.match(line)
        if label:
            if field is None:
                found.append("")
            field = [f":{label[1]}{label[2]}:"]
            if label[3]:
                field.append(label[3])
            found.append(" ".join(field))
            is_list = label[1] in LISTS and not label[3]
        elif not line.strip():
            field = None
            found.append("")
        elif field is None:
            found.append(line)
        elif is_list and not line.startswith(" " * 5) and starts_entry(line, found[-1]):
            found.append("    * " + linked(line.strip()))
        else:
            found[-1] += " " + line.strip()
    return with_small_line(found)


def with_small_line(lines: list[str]) -> list[str]:
    """The kernel and the manual pages as one small line at the end, not as two fields."""
    facts = [line for line in lines if line.startswith((":Since:", ":Source:"))]
    if not facts:
        return lines
    texts = [fact.split(":", 2)[2].strip().rstrip(".") for fact in facts]
    rest = [line for line in lines if line not in facts]
    since = facts[0].startswith(":Since:")
    return [
        *rest,
        "",
        ".. container:: facts",
        "",
        "   " + "Since " * since + " · ".join(texts),
        "",
    ]


def linked(entry: str) -> str:
    """An entry of a list; the exceptions that it begins with are links."""
    head, colon, rest = entry.partition(": ")
    if colon and re.fullmatch(r"\w+Error(, \w+Error)*", head):
        head = re.sub(r"\w+", lambda name: f":py:exc:`{name[0]}`", head)
    return head + colon + rest


def starts_entry(line: str, before: str) -> bool:
    return before.startswith(":") or (before.endswith(".") and bool(ENTRY.match(line.strip())))
