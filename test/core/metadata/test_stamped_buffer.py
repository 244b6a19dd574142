import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.core.metadata.stamped_buffer import StampedBuffer

S = 1_000_000_000


def filled(*stamps_ns, **options):
    buffer = StampedBuffer(**options)
    for stamp_ns in stamps_ns:
        buffer.add(stamp_ns, f"at {stamp_ns}")
    return buffer


def stamps(buffer, last_ns=50):
    """The stamps from 0 to ``last_ns`` whose values are in the buffer."""
    return [ns for ns in range(last_ns + 1) if buffer.nearest(ns, 0) is not None]


def test_a_tolerance_of_zero_finds_only_an_equal_stamp():
    buffer = filled(10, 20, 30)
    assert buffer.nearest(20, 0) == (20, "at 20")
    assert buffer.nearest(21, 0) is None


def test_nearest_takes_the_closer_neighbour_within_the_tolerance():
    buffer = filled(10, 20, 30)
    assert buffer.nearest(24, 5) == (20, "at 20")
    assert buffer.nearest(26, 5) == (30, "at 30")
    assert buffer.nearest(35, 5) == (30, "at 30")
    assert buffer.nearest(36, 5) is None
    assert buffer.nearest(4, 5) is None
    assert buffer.nearest(25, 5) == (20, "at 20")


def test_an_empty_buffer_finds_nothing():
    buffer = filled()
    assert (buffer.nearest(0, 10**18), buffer.latest()) == (None, None)


def test_values_may_arrive_out_of_order():
    buffer = filled(30, 10, 20)
    assert buffer.latest() == (30, "at 30")
    assert buffer.nearest(12, 5) == (10, "at 10")
    assert buffer.nearest(20, 0) == (20, "at 20")


def test_the_same_stamp_again_replaces_the_value():
    buffer = filled(10, 20)
    buffer.add(10, "corrected")
    assert buffer.nearest(10, 0) == (10, "corrected")
    assert stamps(buffer) == [10, 20]


def test_the_oldest_stamp_is_dropped_first():
    buffer = filled(30, 10, 20, 40, capacity=3)
    assert stamps(buffer) == [20, 30, 40]


def test_a_jump_back_in_time_drops_newer_values():
    buffer = filled(100 * S, 200 * S, 300 * S)
    buffer.add(150 * S, "second round")
    assert buffer.latest() == (150 * S, "second round")
    assert buffer.nearest(100 * S, 0) == (100 * S, "at 100000000000")
    assert buffer.nearest(300 * S, S) is None


def test_a_restarted_bag_drops_all_earlier_values():
    buffer = filled(5 * S, 6 * S, 7 * S, 5 * S)
    assert buffer.latest() == (5 * S, "at 5000000000")
    assert (buffer.nearest(6 * S, 0), buffer.nearest(7 * S, 0)) == (None, None)


def test_late_values_within_the_limit_are_kept():
    assert filled(2 * S, S, reorder_ns=S).latest() == (2 * S, "at 2000000000")
    assert filled(2 * S, S - 1, reorder_ns=S).latest() == (S - 1, "at 999999999")


@pytest.mark.parametrize("options", [{"capacity": 0}, {"reorder_ns": -1}])
def test_invalid_sizes_are_rejected(options):
    with pytest.raises(ConfigError, match="StampedBuffer"):
        StampedBuffer(**options)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=40), st.integers(-5, 55), st.integers(0, 20))
def test_nearest_agrees_with_a_linear_search(stamps_ns, wanted_ns, tolerance_ns):
    buffer = StampedBuffer(capacity=16)
    for stamp_ns in stamps_ns:
        buffer.add(stamp_ns, stamp_ns)
    kept = stamps(buffer)
    assert len(kept) <= 16
    assert kept[-1] == max(stamps_ns)
    best = min(kept, key=lambda ns: (abs(ns - wanted_ns), ns))
    assert buffer.nearest(wanted_ns, tolerance_ns) == ((best, best) if abs(best - wanted_ns) <= tolerance_ns else None)


def test_the_latest_up_to_a_stamp_is_preferred_to_later_ones():
    buffer = filled(10, 20, 30)
    assert buffer.latest(29) == (20, "at 20")
    assert buffer.latest(30) == (30, "at 30")
    assert buffer.latest(5) == (10, "at 10")
    assert filled().latest(5) is None
