"""share_folder() and resource(): every kind of installation is found, and an error names all searched places."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from lowlight_enhance.core import resources
from lowlight_enhance.core.errors import ConfigError


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulate a machine without an installation; return the folder for prefixes."""
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "env"))
    code = tmp_path / "user/lib/python3/site-packages/lowlight_enhance/core/resources.py"
    monkeypatch.setattr(resources, "__file__", str(code))
    return tmp_path


def install(folder: Path) -> Path:
    (folder / "models").mkdir(parents=True)
    (folder / "package.xml").write_text("<package/>")
    (folder / "models/student.onnx").write_bytes(b"x")
    return folder


def test_every_entry_of_ament_prefix_path_is_searched(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    share = install(bare / "overlay/share/lowlight_enhance")
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join([str(bare / "other"), "", str(bare / "overlay")]))
    assert resources.share_folder() == share
    assert resources.resource("models/student.onnx") == share / "models/student.onnx"


def test_the_environment_is_searched_without_ament(bare: Path) -> None:
    share = install(bare / "env/share/lowlight_enhance")
    assert resources.share_folder() == share


def test_the_prefix_above_the_package_is_searched(bare: Path) -> None:
    share = install(bare / "user/share/lowlight_enhance")
    assert resources.share_folder() == share


def test_an_editable_checkout_is_its_own_share_folder(bare: Path) -> None:
    share = install(bare / "user/lib/python3/site-packages")
    assert resources.share_folder() == share


def test_ament_comes_before_the_environment(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(bare / "env/share/lowlight_enhance")
    overlay = install(bare / "overlay/share/lowlight_enhance")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(bare / "overlay"))
    assert resources.share_folder() == overlay


def test_a_folder_without_package_xml_is_skipped(bare: Path) -> None:
    (bare / "env/share/lowlight_enhance").mkdir(parents=True)
    share = install(bare / "user/share/lowlight_enhance")
    assert resources.share_folder() == share


def test_a_missing_share_folder_names_every_place_and_a_remedy(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(bare / "overlay"))
    with pytest.raises(ConfigError) as caught:
        resources.share_folder()
    message = str(caught.value)
    for place in ("overlay/share", "env/share", "user/share", "user/lib/python3/site-packages"):
        assert str(bare / place) in message
    assert "source the workspace" in message


def test_a_missing_file_is_named(bare: Path) -> None:
    share = install(bare / "env/share/lowlight_enhance")
    with pytest.raises(ConfigError, match="install the package again") as caught:
        resources.resource("models/other.onnx")
    assert str(share / "models/other.onnx") in str(caught.value)
