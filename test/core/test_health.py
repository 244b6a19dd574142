import pytest

from lowlight_enhance.core.errors import ConfigError, ImageError, MetadataError
from lowlight_enhance.core.health import ERROR, MAX_SAMPLES, OK, STALE, WARN, Health

S, MS = 1_000_000_000, 1_000_000


def run(health, start_ns, seconds, hz, enhanced=True):
    """Record images at ``hz`` with a report each second; return the last report."""
    report = None
    for second in range(seconds):
        for frame in range(hz):
            now_ns = start_ns + second * S + frame * S // hz
            health.record_received(now_ns)
            if enhanced:
                health.record_enhanced(20 * MS, 12 * MS)
        report = health.report(start_ns + (second + 1) * S)
    return report


def test_a_regular_stream_is_ok():
    report = run(Health(), 100 * S, 3, 30)
    assert report.level == OK
    assert report.message == "90 of 90 images enhanced at 30.00 Hz"
    assert report.values["input_rate_hz"] == report.values["output_rate_hz"] == "30.00"
    assert report.values["received"] == report.values["enhanced"] == "90"
    assert report.values["latency_median_ms"] == "20.00"
    assert report.values["processing_median_ms"] == "12.00"


def test_rates_are_of_the_window_and_counts_of_all_time():
    health = Health(window_s=2.0)
    run(health, 0, 10, 30)
    report = run(health, 10 * S, 4, 10)
    assert report.values["input_rate_hz"] == "10.00"
    assert report.values["received"] == "340"


def test_median_and_99th_percentile():
    health = Health()
    health.record_received(0)
    for ms in range(1, 201):
        health.record_enhanced(ms * MS, 2 * ms * MS)
    values = health.report(S).values
    assert (values["latency_median_ms"], values["latency_p99_ms"]) == ("100.00", "198.00")
    assert (values["processing_median_ms"], values["processing_p99_ms"]) == ("200.00", "396.00")


def test_the_latency_is_unknown_without_comparable_clocks():
    health = Health()
    health.record_received(0)
    health.record_enhanced(None, 3 * MS)
    values = health.report(S).values
    assert values["latency_median_ms"] == "unknown"
    assert values["processing_median_ms"] == "3.00"


def test_no_images_is_stale_with_a_remedy():
    health = Health(window_s=2.0)
    first = health.report(0)
    assert first.level == STALE
    run(health, 0, 2, 10)
    reports = [health.report((3 + second) * S) for second in range(4)]
    assert [report.level for report in reports] == [OK, STALE, STALE, STALE]
    assert "check the image topic" in reports[-1].message
    assert reports[-1].values["received"] == "20"


def test_a_few_failures_warn_with_the_last_error():
    health = Health()
    health.record_failed(ImageError("first"))
    health.record_failed(MetadataError("json_data is no JSON text"))
    health.record_failed(ImageError("step 7 is below a row"))
    report = run(health, 0, 1, 10)
    assert report.level == WARN
    assert "step 7 is below a row" in report.message
    assert report.values["errors.ImageError"] == "2"
    assert report.values["errors.MetadataError"] == "1"
    assert report.values["last_error"] == "ImageError: step 7 is below a row"
    assert report.values["failed"] == "3"


def test_the_warning_of_a_failure_ends_with_the_window():
    health = Health(window_s=2.0)
    health.record_received(0)
    health.record_failed(ImageError("once"))
    assert health.report(S).level == ERROR
    report = run(health, S, 4, 10)
    assert report.level == OK
    assert report.values["errors.ImageError"] == "1"


def test_no_image_enhanced_is_an_error():
    health = Health()
    for frame in range(10):
        health.record_received(frame * S // 10)
        health.record_failed(ImageError("encoding 'nv12' is not supported"))
    report = health.report(S)
    assert report.level == ERROR
    assert "none of 10 images" in report.message
    assert "nv12" in report.message


def test_failures_are_distinguished_from_missing_images():
    health = Health()
    health.record_failed(MetadataError("unreadable"))
    report = health.report(S)
    assert report.level == WARN
    assert "no image received" in report.message


def test_more_images_lost_than_received_warns():
    health = Health()
    health.record_dropped(2)
    health.record_dropped(1)
    assert run(health, 0, 1, 10).level == OK
    health.record_dropped(60)
    report = run(health, S, 1, 10)
    assert report.level == WARN
    assert "63 images lost" in report.message
    assert report.values["dropped"] == "63"


def test_metadata_matches_are_counted_by_kind():
    health = Health()
    for kind in ("exact", "exact", "nearest", "none"):
        health.record_match(kind)
    values = health.report(S).values
    assert {name: count for name, count in values.items() if name.startswith("metadata.")} == {
        "metadata.exact": "2",
        "metadata.nearest": "1",
        "metadata.none": "1",
    }


def test_a_clock_that_jumps_back_resets_the_rates():
    health = Health()
    run(health, 1000 * S, 3, 30)
    assert health.report(2 * S).values["input_rate_hz"] == "unknown"
    assert run(health, 2 * S, 2, 20).values["input_rate_hz"] == "20.00"


def test_memory_is_bounded_without_reports():
    health = Health()
    for frame in range(MAX_SAMPLES + 1000):
        health.record_received(frame)
        health.record_enhanced(MS if frame < 1000 else 2 * MS, MS)
    health.record_failed(ImageError("x" * 100_000))
    report = health.report(S)
    assert report.values["latency_median_ms"] == "2.00"
    assert report.values["enhanced"] == str(MAX_SAMPLES + 1000)
    assert len(report.message) < 1000
    assert all(len(value) <= 500 for value in report.values.values())


def test_values_are_strings():
    values = run(Health(), 0, 1, 5).values
    assert all(isinstance(name, str) and isinstance(value, str) for name, value in values.items())


@pytest.mark.parametrize("window_s", [0.0, -1.0, float("nan"), float("inf")])
def test_an_invalid_window_is_rejected(window_s):
    with pytest.raises(ConfigError, match="window_s"):
        Health(window_s)


def test_bypassed_frames_are_reported() -> None:
    health = Health()
    for number in range(3):
        health.record_received(number)
        health.record_enhanced(None, 1)
        if number:
            health.record_bypassed()
    report = health.report(10**9)
    assert report.level == OK
    assert report.message.endswith("; 2 of them passed unchanged")
    assert report.values["bypassed"] == "2"


def test_the_last_frames_metadata_and_its_age_are_reported() -> None:
    health = Health()
    values = health.report(1).values
    assert (values["metadata_source"], values["metadata_age_ms"]) == ("", "unknown")
    health.record_match("nearest", 1_500_000)
    values = health.report(2).values
    assert (values["metadata_source"], values["metadata_age_ms"], values["metadata.nearest"]) == (
        "nearest",
        "1.50",
        "1",
    )
    health.record_match("fallback")
    assert health.report(3).values["metadata_age_ms"] == "unknown"


def test_a_problem_with_one_metadata_value_is_reported_and_is_no_failure():
    health = Health()
    assert health.report(1).values["metadata_problem"] == ""
    health.record_received(2)
    health.record_enhanced(None, 1)
    health.record_metadata_problem("gain is 'n/a'" + "!" * 10_000)
    report = health.report(3)
    assert report.values["metadata_problem"].startswith("gain is 'n/a'!")
    assert len(report.values["metadata_problem"]) == 500
    assert (report.level, report.values["failed"]) == (OK, "0")
    health.record_metadata_problem("")
    assert health.report(4).values["metadata_problem"] == ""
