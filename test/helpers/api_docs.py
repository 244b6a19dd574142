"""Write the API reference: ``python test/helpers/api_docs.py out/docs``, or ``make docs``.

The command ``pdoc lowlight_enhance`` would write an almost empty page: pdoc reads ``__dict__`` of the package, which
does not contain the lazily imported public names, and lists only submodules that ``__all__`` names.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pdoc

import lowlight_enhance

PACKAGES = ("core", "ros", "simulation", "tools", "evaluation", "training")


def main(folder: Path) -> None:
    """Write the public API and every package into ``folder``."""
    for name in lowlight_enhance.__all__:
        setattr(lowlight_enhance, name, getattr(lowlight_enhance, name))
    # pdoc evaluates the annotations of inherited dataclass fields in the wrong module; it then shows them as text.
    warnings.filterwarnings("ignore", "Error parsing type annotation", UserWarning)
    pdoc.render.configure(docformat="google")
    modules = ["lowlight_enhance", *(f"lowlight_enhance.{package}" for package in PACKAGES)]
    pdoc.pdoc(*modules, output_directory=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
