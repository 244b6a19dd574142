"""Stages that are finished once: each writes a folder with a record of its inputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lowlight_enhance.core.errors import DataError
from lowlight_enhance.core.files import make_folder, write_text

RECORD = "stage.json"
"""Name of the record in the folder of a stage: ``inputs``, and whether the stage is ``finished``."""


def run_stage(
    folder: Path, inputs: Mapping[str, Any], action: Callable[[], None], log: Callable[[str], None], redo: bool = False
) -> None:
    """Run a stage unless its folder shows that it is finished with the same inputs.

    Args:
        folder: of the stage; created where it does not exist.
        inputs: everything that the results depend on, as values of JSON.
        action: writes the results into ``folder``, and continues what an earlier call has begun.
        log: takes a line about the stage.
        redo: whether results of other inputs are replaced.

    Raises:
        DataError: the folder holds results of other inputs, without ``redo``; or it cannot be written.
    """
    name, record = folder.name, folder / RECORD
    wanted = json.loads(json.dumps(inputs))
    found = _read(record)
    if found is not None and found["inputs"] != wanted:
        if not redo:
            changed = sorted(key for key in wanted if found["inputs"].get(key) != wanted[key])
            raise DataError(
                f"{folder} was written with other inputs ({', '.join(changed) or 'fewer'}); give another --out, or "
                "remove the folder to start again"
            )
        found = None
    if found is not None and found["finished"]:
        log(f"{name}: finished before")
        return
    log(f"{name}: {'started' if found is None else 'continued'}")
    make_folder(folder)
    _write(record, wanted, finished=False)
    action()
    _write(record, wanted, finished=True)
    log(f"{name}: finished")


def _read(record: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {record} ({error}); remove the folder to start again") from error
    if not isinstance(found, dict) or not isinstance(found.get("inputs"), dict) or "finished" not in found:
        raise DataError(f"{record} is not a record of a stage; remove the folder to start again")
    return found


def _write(record: Path, inputs: Mapping[str, Any], finished: bool) -> None:
    write_text(record, json.dumps({"finished": finished, "inputs": inputs}, indent=1) + "\n")
