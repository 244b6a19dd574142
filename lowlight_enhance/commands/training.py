"""Commands that train networks: `lowlight train`, one command for each kind of training, and `lowlight summary`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lowlight_enhance.commands.arguments import Commands, model, positive

if TYPE_CHECKING:
    from lowlight_enhance.training.data.pictures import Sources
    from lowlight_enhance.training.engine.network import LoadedNetwork


def add_train(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight train`."""
    parser = commands.add_parser(
        "train", help="run a recipe: check the data, train all networks, export and evaluate them"
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="YAML", help="recipe: data, networks, export, evaluation"
    )
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the files in the manifests (default: each manifest's)"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; a run that exists there is continued"
    )
    parser.set_defaults(run=_run_train)


def _run_train(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.recipe.config import load_recipe
    from lowlight_enhance.training.recipe.pipeline import run_recipe

    table = run_recipe(load_recipe(options.config), options.data_root, options.out)
    if table is not None:
        print(table.read_text(encoding="utf-8"), end="")
    return 0


def add_train_teacher(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight train-teacher`."""
    parser = commands.add_parser("train-teacher", help="train a teacher, against a discriminator where configured")
    _add_training_options(parser)
    parser.set_defaults(run=_run_train_teacher)


def _run_train_teacher(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.train_teacher import TrainTeacherConfig, train_teacher

    last = train_teacher(load_config(TrainTeacherConfig, options.config), _sources(options), options.out)
    print(f"{last} (next: lowlight distill {last} --out DIR)")
    return 0


def add_distill(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight distill`."""
    parser = commands.add_parser("distill", help="train a student to reproduce the output of a teacher")
    parser.add_argument("teacher", type=Path, metavar="TEACHER.pt", help="best.pt or last.pt of train-teacher")
    _add_training_options(parser)
    parser.add_argument(
        "--unlabelled", type=Path, nargs="+", default=[], metavar="CSV", help="manifests of dark pictures alone"
    )
    _add_init(
        parser, "student to start from: a checkpoint, or a safetensors or float32 ONNX file of the network in --config"
    )
    parser.set_defaults(run=_run_distill)


def _run_distill(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.distill import DistillConfig, distill
    from lowlight_enhance.training.networks import load_checkpoint

    config = load_config(DistillConfig, options.config)
    last = distill(config, load_checkpoint(options.teacher), _sources(options), options.out, _init(options))
    print(f"{last} (next: lowlight export {last} student.onnx)")
    return 0


def add_train_student(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight train-student`."""
    parser = commands.add_parser("train-student", help="train a student on references, or fine-tune one")
    _add_training_options(parser)
    _add_init(
        parser,
        "network to start from: a shipped model (student), a checkpoint, or a safetensors or float32 ONNX file; its "
        "size and model input become the defaults of --config",
    )
    parser.set_defaults(run=_run_train_student)


def _run_train_student(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.config import load_config
    from lowlight_enhance.training.train_student import TrainStudentConfig, fine_tuning_defaults, train_student

    init = _init(options)
    default = None if init is None else fine_tuning_defaults(init)
    config = load_config(TrainStudentConfig, options.config, default)
    last = train_student(config, _sources(options), options.out, init)
    print(f"{last} (next: lowlight export {last} student.onnx)")
    return 0


def add_summary(commands: Commands[argparse.ArgumentParser]) -> None:
    """Declare `lowlight summary`."""
    parser = commands.add_parser("summary", help="print parameters, memory and arithmetic of the networks")
    parser.add_argument(
        "--size", type=positive, help="pixels of the square input, a multiple of 32 (default: the paper's sizes)"
    )
    parser.set_defaults(run=_run_summary)


def _run_summary(options: argparse.Namespace) -> int:
    from lowlight_enhance.training.models import summary

    print("\n".join(summary.table(options.size)))
    return 0


def _sources(options: argparse.Namespace) -> Sources:
    from lowlight_enhance.training.data.pictures import Sources

    return Sources(options.pairs, options.photos, getattr(options, "unlabelled", ()), options.data_root)


def _add_init(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument(
        "--init", type=model, metavar="MODEL", help=f"{meaning}; ignored where a run in --out is continued"
    )


def _init(options: argparse.Namespace) -> LoadedNetwork | None:
    from lowlight_enhance.training.networks import load_network

    return None if options.init is None else load_network(options.init)


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pairs", type=Path, nargs="+", default=[], metavar="CSV", help="manifests of real pairs")
    parser.add_argument(
        "--photos", type=Path, nargs="+", default=[], metavar="CSV", help="manifests of well-exposed photographs"
    )
    parser.add_argument(
        "--data-root", type=Path, metavar="DIR", help="folder of the files in the manifests (default: each manifest's)"
    )
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings that differ from the defaults")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; a run that exists there is continued"
    )
