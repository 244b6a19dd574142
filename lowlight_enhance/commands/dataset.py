"""Commands that prepare and check training data: `lowlight dataset` and `lowlight prepare-sid`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lowlight_enhance.commands.arguments import Commands, positive
from lowlight_enhance.commands.failures import EXIT_INCOMPLETE


def add_dataset(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight dataset`."""
    parser = commands.add_parser("dataset", help="check the files of a data set against manifests, or write manifests")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="compare files with the hashes in manifests")
    check.add_argument("manifests", type=Path, nargs="+", metavar="MANIFEST", help="CSV file with hashes")
    _add_data_root(check)
    check.set_defaults(run=_run_check)
    make = actions.add_parser("make", help="write a manifest with splits and hashes")
    make.add_argument("index", type=Path, metavar="INDEX", help="CSV file of pairs or photographs")
    make.add_argument("target", type=Path, metavar="MANIFEST", help="CSV file to write; file names stay as they are")
    _add_data_root(make)
    make.set_defaults(run=_run_make)


def _add_data_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the listed files (default: that of the CSV file)"
    )


def _run_check(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.data.verification import check_manifests

    checked = check_manifests(options.manifests, options.data_root)
    for problem in checked.problems:
        print(problem)
    if checked.problems:
        print(f"lowlight: {len(checked.problems)} problems in {checked.files} files", file=sys.stderr)
        return EXIT_INCOMPLETE
    print(f"{checked.files} files are as listed")
    return 0


def _run_make(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.data.verification import make_manifest

    rows = make_manifest(options.index, options.target, options.data_root)
    print(f"{options.target}: {rows} rows")
    return 0


def add_prepare_sid(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight prepare-sid`."""
    parser = commands.add_parser("prepare-sid", help="develop the raw files of See-in-the-Dark as pairs of pictures")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="holds Sony/, Fuji/ or both, and the data set's lists"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write; completed if it exists"
    )
    parser.add_argument(
        "--camera", choices=("sony", "fuji", "both"), help="whose photographs (default: those that are there)"
    )
    parser.add_argument(
        "--bits", type=int, choices=(8, 16), default=8, help="depth of the PNGs (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=positive, metavar="N", help="processes at once (default: one a core)")
    parser.set_defaults(run=_run_prepare_sid)


def _run_prepare_sid(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.data import sid

    if options.camera is None:
        cameras = sid.cameras_in(options.folder)
    else:
        cameras = sid.CAMERAS if options.camera == "both" else (options.camera,)
    prepared = sid.prepare(options.folder, options.out, cameras, options.bits, options.jobs)
    for index, pairs in prepared.pairs.items():
        print(f"{index}: {pairs} pairs")
    print(f"{prepared.developed} raw files developed, {prepared.kept} were there already")
    if not prepared.broken:
        return 0
    print(f"{len(prepared.broken)} left out:", *prepared.broken, sep="\n  ", file=sys.stderr)
    return 1
