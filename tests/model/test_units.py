import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drillbook.model import units
from drillbook.model.units import Dimension


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("800ms", 0.8, Dimension.DURATION),
        ("90s", 90, Dimension.DURATION),
        ("2m", 120, Dimension.DURATION),
        ("95%", 0.95, Dimension.SHARE),
        ("6/s", 6, Dimension.RATE),
        ("120/min", 2, Dimension.RATE),
        ("3", 3, Dimension.COUNT),
    ],
    ids=lambda value: str(value),
)
def test_a_quantity_is_read_in_its_base_unit(text, value, dimension):
    assert units.parse(text) == units.Quantity(pytest.approx(value), dimension)


@pytest.mark.parametrize("text", ["", "s", "-3s", "1e9", "3 potatoes", "3%%", "٣s", "9" * 40, "nan", "inf"])
def test_what_is_no_quantity_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"quantity|unit"):
        units.parse(text)


def test_a_number_without_its_unit_is_no_duration():
    with pytest.raises(ValueError, match="a duration is wanted here"):
        units.parse_as("800", Dimension.DURATION)


@given(st.floats(min_value=0, max_value=1e9, allow_nan=False), st.sampled_from(list(Dimension)))
def test_what_is_written_exactly_is_read_back_as_it_was(value, dimension):
    text = units.exact(value, dimension)
    assert units.parse_as(text, dimension) == pytest.approx(value, rel=1e-9, abs=1e-8)


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(list(Dimension)))
def test_any_number_can_be_shown_to_a_person(value, dimension):
    assert units.show(value, dimension)


@given(st.text(max_size=30))
def test_no_text_crashes_the_reader(text):
    with contextlib.suppress(ValueError):
        assert math.isfinite(units.parse(text).value)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0s"), (0.0000005, "0us"), (0.812, "812ms"), (1.244, "1.24s"), (92, "92s"), (192, "3m 12s"), (7260, "2h 1m")],
)
def test_durations_are_shown_with_three_digits(seconds, shown):
    assert units.show(seconds, Dimension.DURATION) == shown


def test_a_share_just_below_one_is_not_rounded_up_to_it():
    assert units.show(0.9996, Dimension.SHARE) == "99.96%"
    assert units.show(1, Dimension.SHARE) == "100%"
