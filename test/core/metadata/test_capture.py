import math

import pytest

from lowlight_enhance.core.metadata.capture import (
    GAIN_KINDS,
    UNKNOWN,
    CaptureMetadata,
    iso_from_db_gain,
    iso_from_gain,
    iso_from_linear_gain,
)


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 0.0, -3.0, 1e30])
def test_implausible_values_are_unknown(value: float | None) -> None:
    assert CaptureMetadata.sanitized(value, value) == UNKNOWN
    assert CaptureMetadata.sanitized(value, 0.01) == CaptureMetadata(None, 0.01)


def test_plausible_values_are_kept() -> None:
    assert CaptureMetadata.sanitized(3200, 1 / 30) == CaptureMetadata(3200.0, 1 / 30)


def test_unknown_values_are_filled_from_another() -> None:
    assert CaptureMetadata(None, 0.01).filled_from(CaptureMetadata(800.0, 0.5)) == CaptureMetadata(800.0, 0.01)
    assert CaptureMetadata(400.0, None).filled_from(CaptureMetadata(800.0, None)) == CaptureMetadata(400.0, None)
    assert CaptureMetadata(400.0, 0.01).filled_from(UNKNOWN) == CaptureMetadata(400.0, 0.01)


def test_iso_of_linear_and_db_gain() -> None:
    assert iso_from_linear_gain(8.0) == 800.0
    assert iso_from_linear_gain(64.0, base_iso=200.0, gain_unity=16.0) == 800.0
    assert iso_from_db_gain(20.0) == pytest.approx(1000.0)
    assert iso_from_db_gain(6.0206) == pytest.approx(200.0, rel=1e-4)


def test_large_decibels_do_not_overflow() -> None:
    assert CaptureMetadata.sanitized(iso_from_db_gain(1e9), None) == UNKNOWN


@pytest.mark.parametrize("kind", GAIN_KINDS)
def test_iso_of_every_gain_unit(kind: str) -> None:
    reading = {"iso": 1000.0, "db": 20.0, "milli_db": 20_000.0, "linear": 40.0}[kind]
    assert iso_from_gain(reading, kind, base_iso=100.0, gain_unity=4.0) == pytest.approx(1000.0)


def test_base_iso_applies_to_every_unit_but_iso() -> None:
    doubled = {kind: iso_from_gain(10.0, kind, base_iso=200.0) / iso_from_gain(10.0, kind) for kind in GAIN_KINDS}
    assert doubled == {"iso": 1.0, "db": pytest.approx(2.0), "milli_db": pytest.approx(2.0), "linear": 2.0}
