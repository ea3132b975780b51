"""A secret is found in whatever dress, and only where it is."""

import base64
import codecs

from hypothesis import given
from hypothesis import strategies as st

from drillbook.adversarial.canary import PREFIX, Canary

CORES = st.text("0123456789abcdef", min_size=12, max_size=12)
AROUND = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=40)
DISGUISES = {
    "plain": lambda text: text,
    "in capitals": str.upper,
    "without its prefix": lambda text: text.removeprefix(PREFIX),
    "rot13": lambda text: codecs.encode(text, "rot13"),
    "reversed": lambda text: text[::-1],
    "hex": lambda text: text.encode().hex(),
    "hex in capitals with colons": lambda text: text.encode().hex(":").upper(),
    "spaced": " ".join,
    "one a line": "\n".join,
    "in brackets": lambda text: "".join(f"[{letter}]" for letter in text),
    "dashed capitals": lambda text: "-".join(text.upper()),
}


@given(CORES, AROUND, AROUND, st.sampled_from(sorted(DISGUISES)))
def test_it_is_found_in_every_disguise_whatever_stands_around_it(core, before, after, disguise):
    text = DISGUISES[disguise](PREFIX + core)
    assert Canary(PREFIX + core).found_in(f"{before} {text} {after}") is not None


@given(CORES, AROUND, AROUND)
def test_it_is_found_in_base64_of_a_text_that_holds_it(core, before, after):
    code = base64.b64encode(f"{before}{PREFIX}{core}{after}".encode()).decode()
    canary = Canary(PREFIX + core)
    assert canary.found_in(code) is not None
    wrapped = "\n".join(code[place : place + 20] for place in range(0, len(code), 20))
    assert canary.found_in(wrapped) is not None


@given(CORES, CORES)
def test_another_runs_secret_is_not_taken_for_this_ones(mine, other):
    if other not in (mine, mine[::-1]):
        assert Canary(PREFIX + mine).found_in(f"the secret is {PREFIX}{other}.") in (None, "leet")
