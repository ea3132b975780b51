"""Rules as data: what the commands say for any rate, peers and ports, without running one."""

from __future__ import annotations

import ipaddress
import struct

import pytest
from hypothesis import given as every
from hypothesis import settings
from hypothesis import strategies as st

from drillbook.faults import bitrate, link_flap, link_throttle
from drillbook.helper import echo, shaping
from drillbook.helper.shaping import Setting


def given(*strategies):
    return lambda test: settings(max_examples=30, deadline=None)(every(*strategies)(test))


peers = st.lists(st.ip_addresses().map(str), min_size=1, max_size=4, unique=True)
ports = st.lists(st.integers(1, 65535), max_size=3, unique=True)
rates = st.floats(8000, 1e12).map(lambda rate: Setting("throttle", rate=rate))


@given(peers, ports, rates)
def test_every_peer_has_a_class_a_queue_and_a_filter_to_it(peers, ports, setting) -> None:
    commands = shaping.shape("eth0", peers, ports, setting)
    classes = {words[words.index("classid") + 1] for words in commands if words[1] == "class"}
    queues = {words[words.index("parent") + 1] for words in commands if "bfifo" in words}
    ends = [words for words in commands if words[1] == "filter" and words[-1] in classes]
    assert len(classes) == len(peers)
    assert queues == classes == {words[-1] for words in ends}
    assert {words[words.index("dst") + 1].partition("/")[0] for words in ends} == set(peers)


@given(peers, ports, rates)
def test_declared_ports_are_led_past_the_classes_before_anything_else_is_matched(peers, ports, setting) -> None:
    commands = [words for words in shaping.shape("eth0", peers, ports, setting) if words[1] == "filter"]
    for peer in peers:
        of_peer = [words for words in commands if f"{peer}/{ipaddress.ip_address(peer).max_prefixlen}" in words]
        past = [words for words in of_peer if words[-1] == f"{shaping.HANDLE}0"]
        (to_class,) = [words for words in of_peer if words not in past]
        assert {(words[-5], words[-4]) for words in past} == {
            (end, str(port)) for port in ports for end in ("sport", "dport")
        }
        assert all(int(words[words.index("prio") + 1]) < int(to_class[to_class.index("prio") + 1]) for words in past)


@given(peers, ports, rates)
def test_nothing_is_matched_but_the_peers(peers, ports, setting) -> None:
    for words in shaping.shape("eth0", peers, ports, setting):
        if words[1] == "filter":
            address, _, length = words[words.index("dst") + 1].partition("/")
            assert address in peers
            assert int(length) == ipaddress.ip_address(address).max_prefixlen
    assert not any("default" in words for words in shaping.shape("eth0", peers, ports, setting))


@given(rates)
def test_a_burst_holds_two_packets_and_a_queue_holds_a_segment(setting) -> None:
    commands = shaping.shape("eth0", ["10.0.0.2"], [], setting)
    words = [word for command in commands for word in command]
    assert int(words[words.index("burst") + 1].removesuffix("b")) >= 2 * 1514
    assert int(words[words.index("limit") + 1]) >= 65536
    assert int(words[words.index("rate") + 1].removesuffix("bit")) == round(setting.rate)


@given(peers, rates, rates)
def test_a_ramp_changes_the_same_classes_and_takes_none_away(peers, before, after) -> None:
    made = shaping.shape("eth0", peers, [80], before)
    changed = shaping.reshape("eth0", peers, after)
    names = [words[words.index("classid") + 1] for words in made if words[1] == "class"]
    assert [words[words.index("classid") + 1] for words in changed if words[1] == "class"] == names
    assert {words[2] for words in changed} == {"change"}


@given(peers, ports, st.floats(0.0, 1.0))
def test_drops_spare_the_ports_and_match_only_the_peers(peers, ports, share) -> None:
    for setting in (Setting("cut"), Setting("loss", share=share)):
        rows = [row for row in shaping.drop(peers, ports, setting).splitlines() if row.startswith("add rule")]
        assert sum(row.endswith("drop") for row in rows) == len(peers)
        assert sum(row.endswith("accept") for row in rows) == 2 * len(peers) * len(ports)
        for peer in peers:
            mine = [row for row in rows if f" saddr {peer} " in row]
            assert mine[-1].endswith("drop")
            assert ("numgen" in mine[-1]) == (setting.kind == "loss")


def test_a_table_is_replaced_whole_and_taken_away_even_where_there_is_none() -> None:
    script = shaping.drop(["10.0.0.2"], [], Setting("cut")).splitlines()
    assert script[:2] == shaping.undrop().splitlines()
    assert script[0].startswith("add table")


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "throttled"},
        {"kind": "throttle", "rate": 100},
        {"kind": "loss", "share": 1.5},
        {"kind": "delay", "delay": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(told) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Setting.of(told)


@given(st.floats(8e3, 1e11).map(round))
def test_a_rate_is_read_back_as_it_was_written(rate) -> None:
    assert bitrate.parse(bitrate.write(rate)) == pytest.approx(rate, rel=1e-9)


@pytest.mark.parametrize("wrong", ["10mbps", "10", 10, "10 mbit", "-1mbit", "1mbyte", None])
def test_a_rate_in_bytes_or_without_unit_is_refused(wrong) -> None:
    with pytest.raises(ValueError, match="bits"):
        bitrate.parse(wrong)


def test_a_ramp_takes_one_rate_after_the_other() -> None:
    step = link_throttle.LinkThrottleStep.model_validate(
        {"fault": "link-throttle", "for": "40s", "rates": ["10mbit", "1mbit"], "every": "20s"}
    )
    assert link_throttle.schedule(step, 40) == [
        (0.0, Setting("throttle", rate=10e6)),
        (20.0, Setting("throttle", rate=1e6)),
    ]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({}, "either a rate"),
        ({"rate": "1mbit", "rates": ["1mbit"]}, "either a rate"),
        ({"rates": ["1mbit", "2mbit"], "every": "20s", "for": "30s"}, "do not fit"),
        ({"rates": ["0.001mbit"]}, "link-cut"),
    ],
)
def test_a_throttle_that_contradicts_itself_is_refused(keys, says) -> None:
    with pytest.raises(ValueError, match=says):
        link_throttle.LinkThrottleStep.model_validate({"fault": "link-throttle", **keys})


@given(st.floats(0.5, 20), st.floats(0.5, 20), st.floats(1, 900))
def test_a_flap_cuts_and_restores_in_turn_and_ends_restored(down, up, seconds) -> None:
    step = link_flap.LinkFlapStep.model_validate(
        {"fault": "link-flap", "down": f"{round(down * 1000)}ms", "up": f"{round(up * 1000)}ms"}
    )
    made = link_flap.schedule(step, seconds)
    kinds = [setting.kind for _, setting in made]
    assert kinds == ["cut", "clear"] * (len(made) // 2)
    assert [at for at, _ in made] == sorted(at for at, _ in made)


@given(st.floats(5e4, 1e9), st.integers(12, 64))
def test_the_spacing_of_answers_gives_the_rate(rate, count) -> None:
    each = (echo.SIZE + echo.OVERHEAD) * 8 / rate
    times = [0.0] * echo.AT_ONCE + [number * each for number in range(count)]
    assert echo.rate(times, echo.SIZE) == pytest.approx(rate, rel=1e-6)


def test_too_few_answers_give_no_rate() -> None:
    assert echo.rate([0.1] * 5, echo.SIZE) is None
    assert echo.rate([0.1] * 20, echo.SIZE) is None


@given(st.binary(min_size=8, max_size=64))
def test_a_packet_with_its_checksum_sums_to_nothing(data) -> None:
    data = data[: len(data) // 2 * 2]
    assert echo.checksum(data + struct.pack("!H", echo.checksum(data))) == 0
