from __future__ import annotations

import pytest

from drillbook.errors import InvalidFileError, UsageError
from drillbook.load import prompts


def test_the_sets_that_come_along_can_be_read():
    sizes = {name: len(prompts.read(name)) for name in prompts.names()}
    assert sizes == {"chat": 43, "long": 12, "short": 20}


def test_a_set_that_is_misspelt_is_suggested():
    with pytest.raises(UsageError, match="'chatt'") as caught:
        prompts.read("chatt")
    assert caught.value.hint == (
        "did you mean 'chat'? the sets are chat, long, short; a set of your own is a file that ends in .jsonl"
    )


def test_a_file_of_the_users_own(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a", "id": 7}\n\n{"messages": [{"role": "user", "content": "b"}]}\n')
    assert prompts.read(str(file)) == ["a", [{"role": "user", "content": "b"}]]


def test_a_wrong_file_tells_every_wrong_line(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_bytes(b'{"prompt": "a"}\n{"prompt": 3}\nnot json\n{}\n{"prompt": "\xff"}\n' + b"[" * 10_000)
    with pytest.raises(InvalidFileError) as caught:
        prompts.read(str(file))
    assert [problem.line for problem in caught.value.problems] == [2, 3, 4, 5, 6]
    assert "Expected `str | null`, got `int` - at `$.prompt`" in str(caught.value.problems[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "No such file or directory"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_text("\n"), "1 problem"),
    ],
    ids=["missing", "folder", "empty"],
)
def test_a_file_that_holds_no_prompts_is_told(tmp_path, make, message):
    path = tmp_path / "mine.jsonl"
    make(path)
    with pytest.raises(UsageError, match=message):
        prompts.read(str(path))
