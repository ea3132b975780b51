"""What YAML and Unicode refuse, told to someone who does not know the grammar of YAML by heart."""

from __future__ import annotations

import yaml

from drillbook.document.node import Document
from drillbook.errors import Problem

_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_EXPLAINED = {
    "mapping values are not allowed in this context": (
        "a ':' stands where no 'key: value' can begin",
        "is the line indented like its neighbours? A text that holds ': ' needs quotes around it",
    ),
    "could not find expected ':'": (
        "a key without its ':'",
        "write 'key: value'; the value of a line may begin in the next line only if that is indented",
    ),
    "found unexpected end of stream": ("the file ends inside quotes", "close the quote that was opened here"),
    "found unknown escape character": (
        "an escape that YAML does not know",
        "in double quotes a backslash begins an escape: double it, or use single quotes",
    ),
    "did not find expected '-' indicator": (
        "a list ends here, and something else stands at its depth",
        "begin the line with '- ', or indent it differently",
    ),
    "did not find expected comment or line break": (
        "a text that begins with '>' or '|' is taken for a folded block",
        "put quotes around it: '>= 95%'",
    ),
    "did not find expected <document start>": ("the text goes on after its value has ended", ""),
    "did not find expected key": (
        "a key is wanted here",
        "is the line indented like its neighbours? A text after a closing quote also ends here",
    ),
}


def decode(data: bytes, file: str, limit: int) -> tuple[str, Problem | None]:
    """The text of a file, or the problem that keeps it from being one."""
    if len(data) > limit:
        return "", Problem(file, 0, 0, f"larger than {limit // 1024} KiB", "a file of this kind has a few dozen lines")
    if data.startswith(_UTF16):
        return "", Problem(file, 1, 1, "this is UTF-16, and UTF-8 is wanted", "save it again with the encoding UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        document = Document(file, data[: error.start].decode("utf-8", "replace").removeprefix("\ufeff"))
        wrong = document.at(
            len(document.text),
            f"the byte 0x{data[error.start]:02x} is not UTF-8",
            "save the file again with the encoding UTF-8; if this is no text file, another path was meant",
            width=0,
        )
        return "", wrong
    for offset, char in enumerate(text):
        if (char < " " and char not in "\t\n\r") or char == "\x7f":
            what = "a NUL byte" if char == "\0" else f"the control character 0x{ord(char):02x}"
            return "", Document(file, text).at(offset, f"{what} stands in the text", "delete it", width=0)
    return text, None


def explain(error: yaml.YAMLError, document: Document) -> Problem:
    """A syntax error of the YAML parser as a problem with its place."""
    raw = str(getattr(error, "problem", None) or error).splitlines()[0]
    mark = getattr(error, "problem_mark", None)
    opened = getattr(error, "context_mark", None)
    offset = mark.index if mark is not None else int(getattr(error, "position", 0) or 0)
    if raw in ("found unexpected end of stream", "could not find expected ':'") and opened is not None:
        offset = opened.index
    if raw.startswith("did not find expected ',' or"):
        line, _ = document.place(opened.index if opened is not None else offset)
        bracket = "]" if "']'" in raw else "}"
        message, hint = f"a ',' or '{bracket}' is missing", f"the bracket that is open begins in line {line}"
    elif "cannot start any token" in raw:
        message, hint = _odd_start(document.text, offset)
    else:
        message, hint = _EXPLAINED.get(raw, (f"this is no YAML: {raw}", ""))
    return document.at(offset, message, hint)


def _odd_start(text: str, offset: int) -> tuple[str, str]:
    char = text[offset : offset + 1]
    before = text[text.rfind("\n", 0, offset) + 1 : offset]
    if char == "\t" or "\t" in before:
        return "a tab stands in the indentation", "YAML is indented with spaces: replace the tab"
    return f"a text cannot begin with {char!r} here", "put quotes around it"
