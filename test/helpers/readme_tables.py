"""Tables of README.md that are made from the code: ``python test/helpers/readme_tables.py`` writes them anew."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

from lowlight_enhance.ros.parameters import NodeParams

README = Path(__file__).parents[2] / "README.md"

PARAMETERS = re.compile(r"(?<=<!-- parameters -->\n).*?(?=<!-- /parameters -->)", re.DOTALL)

WHEN = {"live": "", "configure": " Read when the node configures.", "start": " Fixed at start."}


def parameters_table() -> str:
    """Markdown: name, default and meaning of every parameter of the node, in the order of the code."""
    rows = ["| parameter | default | |", "|---|---|---|"]
    for entry in dataclasses.fields(NodeParams):
        text = entry.metadata["description"] + allowed(entry.metadata)
        rows.append(f"| `{entry.name}` | `{shown(entry.default)}` | {text} |")
    return "\n".join(rows) + "\n"


def allowed(metadata: Any) -> str:
    """What a value may be, as a sentence or two; empty where anything goes."""
    sentences = ""
    if metadata["choices"]:
        sentences += " One of " + ", ".join(f"`{shown(choice)}`" for choice in metadata["choices"]) + "."
    if metadata["limits"]:
        low, high = metadata["limits"]
        sentences += f" From {low:.10g} to {high:.10g}."
    sentences += WHEN[metadata["when"]]
    return sentences


def shown(value: Any) -> str:
    """``value`` as it stands in a YAML file."""
    if isinstance(value, tuple):
        return "[" + ", ".join(map(shown, value)) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value).replace("'", '"') if value == "" else str(value)


def with_tables(readme: str) -> str:
    """``readme`` with the tables that the code gives now."""
    return PARAMETERS.sub(lambda _: parameters_table(), readme)


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
