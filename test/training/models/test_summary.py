import pytest
import torch
from torch import nn

from lowlight_enhance import cli
from lowlight_enhance.core.errors import ConfigError
from lowlight_enhance.training.models.summary import PRESETS, summarise, table


@pytest.mark.parametrize(
    ("name", "millions"),
    [("teacher", 38.1), ("discriminator", 4.9), ("student, as in the paper", 2.4), ("student, as shipped", 2.4)],
)
def test_sizes_are_the_papers_within_3_percent(name: str, millions: float) -> None:
    (found,) = (summarise(*preset) for preset in PRESETS if preset[0] == name)
    assert found.parameters / 1e6 == pytest.approx(millions, rel=0.03)
    assert found.megabytes == pytest.approx(4.0 * found.parameters / 1e6)


def test_the_papers_student_weighs_what_it_says() -> None:
    (found,) = (summarise(*preset) for preset in PRESETS if preset[0] == "student, as in the paper")
    assert found.megabytes == pytest.approx(9.6, abs=0.05)
    assert found.size == 128


def test_gmacs_are_those_of_the_closed_form() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(5, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 1))

    macs = 32 * 32 * (5 * 16 * 9 + 16 * 3)
    assert summarise("net", net, 5, 64).gmacs == pytest.approx(macs / 1e9)


def test_arithmetic_grows_with_the_area_and_nothing_is_computed() -> None:
    name, make, channels, _ = PRESETS[0]
    before = torch.get_rng_state()
    small, large = summarise(name, make, channels, 256), summarise(name, make, channels, 4096)
    assert large.gmacs == pytest.approx(256 * small.gmacs)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_table_has_a_line_for_each_network() -> None:
    lines = table()
    assert len(lines) == 1 + len(PRESETS)
    assert "38.08 M" in lines[1]
    assert "256x256" in lines[1]
    assert "512x512" in table(512)[1]


def test_a_size_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ConfigError, match="multiple of 32"):
        table(100)


def test_the_command_prints_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["summary", "--size", "64"]) == 0
    assert capsys.readouterr().out.splitlines() == table(64)
    assert cli.main(["summary", "--size", "100"]) == 2
