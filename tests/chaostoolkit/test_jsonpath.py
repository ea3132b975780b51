from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.chaostoolkit import jsonpath

SHOP = {
    "store": {
        "book": [
            {"author": "Rees", "price": 8.95, "title": "Sayings"},
            {"author": "Waugh", "price": 12.99, "isbn": "0-1"},
            {"author": "Melville", "price": 8.99},
        ],
        "bicycle": {"price": 399},
    },
    "odd name": 1,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("$", [SHOP]),
        ("$.store.bicycle.price", [399]),
        ("$.store.book[*].author", ["Rees", "Waugh", "Melville"]),
        ("$..author", ["Rees", "Waugh", "Melville"]),
        ("$.store.*", [SHOP["store"]["book"], SHOP["store"]["bicycle"]]),
        ("$['odd name']", [1]),
        ('$["store"]["bicycle"]', [{"price": 399}]),
        ("$.store.book[0,2].author", ["Rees", "Melville"]),
        ("$.store.book[-1].author", ["Melville"]),
        ("$.store.book[1:].author", ["Waugh", "Melville"]),
        ("$.store.book[::2].author", ["Rees", "Melville"]),
        ("$..book[?(@.isbn)].author", ["Waugh"]),
        ("$..book[?(@.price < 9)].author", ["Rees", "Melville"]),
        ("$..book[?(@.author = 'Rees')].price", [8.95]),
        ('$..book[?(@.author == "Rees" || @.price > 12)].price', [8.95, 12.99]),
        ("$..book[?(@.price < 9 && !(@.title))].author", ["Melville"]),
        ("$..book[?(@.author < 3)]", []),
        ("$.nothing.at.all", []),
        ("$.store.book[7]", []),
    ],
)
def test_a_path_finds_what_it_names(path, found):
    assert jsonpath.parse(path).find(SHOP) == found


@pytest.mark.parametrize("path", ["", "store", "$.", "$[", "$[?", "$[?(@.a ==)]", "$['a]", "$.a b", "$[::0]", "$[?(1]"])
def test_what_is_no_path_is_refused_with_its_place(path):
    with pytest.raises(ValueError):
        jsonpath.parse(path)


@given(st.text(alphabet="$.[]*?@()'\"=<>!&|,:-019ab \\", max_size=25))
def test_no_text_makes_the_parser_fail_in_another_way(text):
    try:
        jsonpath.parse(f"${text}").find(SHOP)
    except ValueError:
        return
