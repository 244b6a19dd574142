"""The tables, commands, links and make targets in README.md and docs/ exist in the code."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path

from lowlight_enhance.cli import build_parser
from lowlight_enhance.core.metadata.readers import READERS
from lowlight_enhance.ros import topic_names

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> set[str]:
    subparsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return set(subparsers.choices)


def test_the_table_of_topics_is_that_of_the_node() -> None:
    page = (ROOT / "docs/node.md").read_text(encoding="utf-8")
    section = page.partition("## Topics")[2].partition("## ")[0]
    rows = set(re.findall(r"^\| `([^`]+)` \| .+? \| (in|out)[:|]? ?", section, re.MULTILINE))
    assert rows == {(topic, "in") for topic in topic_names.INPUTS} | {(topic, "out") for topic in topic_names.OUTPUTS}


def test_every_command_is_named() -> None:
    page = (ROOT / "docs/commands.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `lowlight ([a-z-]+)` \|", page, re.MULTILINE))
    assert named == commands()


def test_every_metadata_type_is_named() -> None:
    page = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
    assert [name for name in READERS if name not in page] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", TEXT))
    assert {"demo", "test"} <= named <= targets


def test_links_and_pictures_exist() -> None:
    links = [target for target in re.findall(r"\]\(([^)#]+)", TEXT) if "://" not in target]
    assert [target for target in links if not (ROOT / target).exists()] == []


def test_launch_files_are_those_that_exist() -> None:
    page = (ROOT / "docs/launch.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `([a-z_]+\.launch\.py)` \|", page, re.MULTILINE))
    assert named == {path.name for path in (ROOT / "launch").glob("*.launch.py")}


def launch_arguments(file: Path) -> set[str]:
    """Keys of the dictionary ARGUMENTS of a launch file."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and [t.id for t in node.targets if isinstance(t, ast.Name)] == ["ARGUMENTS"]:
            assert isinstance(node.value, ast.Dict)
            return {key.value for key in node.value.keys if isinstance(key, ast.Constant)}
    raise AssertionError(f"{file} has no ARGUMENTS")


def test_launch_commands_use_arguments_that_exist() -> None:
    commands = re.findall(r"^ros2 launch lowlight_enhance (\S+)((?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
    assert commands
    for file, rest in commands:
        assert set(re.findall(r"(\w+):=", rest)) <= launch_arguments(ROOT / "launch" / file)


def test_the_readme_is_short() -> None:
    assert len(TEXT.splitlines()) < 180
