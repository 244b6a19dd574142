"""Write the list of modules in docs/architecture.md from the docstrings of the modules.

``python test/helpers/module_list.py`` rewrites the text between the two markers; a test compares it with the code.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- modules -->\n", "<!-- end of modules -->"


def first_sentence(file: Path) -> str:
    """Return the first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    return re.split(r"(?<=[.!?]) (?=[A-Z`])", paragraph, maxsplit=1)[0]


def module_list() -> str:
    """Return the list as Markdown: a table for each folder of the package."""
    package = ROOT / "lowlight_enhance"
    lines: list[str] = []
    for folder in sorted({file.parent for file in package.rglob("*.py")}):
        files = sorted(file for file in folder.glob("*.py") if file.name != "__init__.py")
        if not files:
            continue
        purpose = first_sentence(folder / "__init__.py") if (folder / "__init__.py").exists() else ""
        lines += [f"\n### {folder.relative_to(ROOT).as_posix()}\n", f"{purpose}\n", "| module | |", "|---|---|"]
        lines += [f"| `{file.name}` | {first_sentence(file).replace('|', chr(92) + '|')} |" for file in files]
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return the page with the current list between the markers."""
    head, _, rest = text.partition(BEGIN)
    return head + BEGIN + module_list() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
