"""docs/training.md names commands, settings, defaults and files that exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lowlight_enhance.cli import build_parser
from lowlight_enhance.training.config import load_config
from lowlight_enhance.training.data.sid import COLUMNS
from lowlight_enhance.training.distill import DistillConfig
from lowlight_enhance.training.losses import HUE_CHROMA_FLOOR, SMALLEST_FOR_MS_SSIM
from lowlight_enhance.training.train_teacher import TrainTeacherConfig

FILE = Path(__file__).parents[2] / "docs/training.md"
TEXT = FILE.read_text(encoding="utf-8")
SETTING = r"`([a-z_]+: [^`]+)`"


def section(title: str) -> str:
    found = re.search(rf"^##+ {title}\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"docs/training.md has lost its section '{title}'"
    return found[1]


def commands() -> list[str]:
    """Every command of this package in a block of shell, without what starts it and without its comment."""
    blocks = "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)).replace("\\\n", " ")
    inline = re.findall(r"`lowlight ([a-z-]+ (?:-|make |check )[^`]+)`", TEXT)
    return re.findall(r"(?:^lowlight|lowlight_enhance\.cli) (.+)$", blocks, re.MULTILINE) + inline


@pytest.mark.parametrize("command", commands())
def test_every_command_is_one(command: str) -> None:
    build_parser().parse_args(shlex.split(command, comments=True))


def test_the_whole_way_is_shown() -> None:
    shown = {command.split()[0] for command in commands()}
    commands_of_training = "train dataset prepare-sid train-teacher distill train-student export evaluate figures"
    assert shown == set(commands_of_training.split())


@pytest.mark.parametrize("setting", re.findall(SETTING, section("Losses of the teacher")))
def test_every_setting_of_the_teacher_is_one(setting: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(setting)
    load_config(TrainTeacherConfig, tmp_path / "run.yaml")


@pytest.mark.parametrize("setting", ["network: {kind: paper}", "network: {kind: affine}"])
def test_every_setting_of_the_student_is_one(setting: str, tmp_path: Path) -> None:
    assert f"`{setting}`" in TEXT
    (tmp_path / "run.yaml").write_text(setting)
    load_config(DistillConfig, tmp_path / "run.yaml")


def test_defaults_are_the_codes() -> None:
    teacher, student = TrainTeacherConfig(), DistillConfig()
    losses, phases, weights = teacher.losses, teacher.phases, teacher.losses.reconstruction
    said = [
        f"losses: {{reconstruction: {{l1: {weights.l1}, ssim: {weights.ssim}}}, adversarial: {losses.adversarial}}}",
        f"{weights.l1} L1 + {weights.ssim} (1 - SSIM) + {losses.adversarial} A",
        f"phases: {{warmup: {phases.warmup}, cooldown_from: {phases.cooldown_from}, "
        f"cooldown_every: {phases.cooldown_every}}}",
        f"| {teacher.fit.epochs} and {teacher.fit.steps_per_epoch};",
        f"^2 + {HUE_CHROMA_FLOOR}^2)",
        f"MS-SSIM, from {SMALLEST_FOR_MS_SSIM} pixels on",
        f"`validation_max_mean` ({teacher.validation_max_mean:g} of 255)",
        f"last level has {teacher.network.paper.channels[-1]}",
        f"Dropout is {teacher.network.paper.dropout}",
        f"factor {student.plateau.factor} and patience {student.plateau.patience}",
    ]
    assert [text for text in said if text not in TEXT] == []


def test_columns_are_those_that_prepare_sid_writes() -> None:
    table = section("Data").partition("**Photographs**")[0]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == COLUMNS


def test_links_exist() -> None:
    links = re.findall(r"\]\(([^)]+)\)", TEXT)
    headings = {
        "#" + re.sub(r"[^\w -]", "", h).lower().replace(" ", "-") for h in re.findall(r"^#+ (.+)$", TEXT, re.M)
    }
    assert [link for link in links if not (link in headings or (FILE.parent / link).exists())] == []
