"""The ``lowlight`` command: parse the arguments, run one subcommand, report user errors in one line.

Each subcommand imports what it needs when it runs, so that ``--help`` is fast. The modules of the subcommands are
imported inside a function, so that Ctrl-C during these imports is handled too.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence

EXIT_INTERRUPTED = 128 + signal.SIGINT
EXIT_BROKEN_PIPE = 128 + signal.SIGPIPE if hasattr(signal, "SIGPIPE") else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand.

    Args:
        arguments: command-line arguments; None: those of this process.

    Returns:
        The exit status: that of the subcommand, 2 after an error that the user can fix, 130 after Ctrl-C unless
        the subcommand defines another status for it.

    Raises:
        SystemExit: wrong arguments (status 2), ``--help`` (0), or SIGTERM (143).
    """
    status = EXIT_INTERRUPTED
    try:
        from lowlight_enhance.core.signals import exit_on_sigterm, raise_on_sigint

        with raise_on_sigint() as interrupted:
            _escape_unencodable_output()
            options = build_parser().parse_args(arguments)
            status = getattr(options, "interrupted_status", EXIT_INTERRUPTED)
            with exit_on_sigterm():
                return _run_command(options, interrupted)
    except KeyboardInterrupt:
        if arguments is None:
            # The process ends now. A second Ctrl-C would print a traceback of the exit handler that it interrupts.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        return status


def _run_command(options: argparse.Namespace, interrupted: Callable[[], bool]) -> int:
    """Run the subcommand and report errors that the user can fix.

    Args:
        options: parsed arguments.
        interrupted: returns whether Ctrl-C has been pressed.
    """
    from lowlight_enhance.commands.failures import EXIT_USER_ERROR, failure_message

    try:
        _check_outputs(options)
        code: int = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of the output, such as `head`, has ended. Without this, Python's flush at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if interrupted():
            raise KeyboardInterrupt from None
        message = failure_message(error, options.command)
        if message is None:
            raise
        print(f"lowlight: {message}", file=sys.stderr)
        return EXIT_USER_ERROR
    return code


def _check_outputs(options: argparse.Namespace) -> None:
    """Check before the work starts that the targets can be written.

    In every subcommand ``--out`` names a folder and ``--json`` a file.
    """
    from lowlight_enhance.core.files import check_output_file, check_output_folder

    for name, check in (("out", check_output_folder), ("json", check_output_file)):
        target = getattr(options, name, None)
        if target is not None:
            check(target)


def _escape_unencodable_output() -> None:
    """Write characters that the terminal's encoding lacks as escapes, because file names may contain any character."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all subcommands.

    Each subcommand sets ``run``, a function from the parsed options to an exit status. It may set
    ``interrupted_status``, the exit status after Ctrl-C.
    """
    from lowlight_enhance import __version__
    from lowlight_enhance.commands import bags, dataset, evaluate, export, images, node, training, video

    parser = argparse.ArgumentParser(
        prog="lowlight", description="Enhance dark images, videos, ROS 2 bags and live camera topics."
    )
    parser.add_argument("--version", action="version", version=f"lowlight_enhance {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    images.add_image(commands)
    node.add_bench(commands)
    node.add_soak(commands)
    images.add_flicker(commands)
    video.add_video(commands)
    bags.add_bag(commands)
    bags.add_replay(commands)
    node.add_demo(commands)
    dataset.add_prepare_sid(commands)
    dataset.add_dataset(commands)
    export.add_noise_figure(commands)
    training.add_train(commands)
    training.add_train_teacher(commands)
    training.add_distill(commands)
    training.add_train_student(commands)
    training.add_summary(commands)
    export.add_export(commands)
    evaluate.add_evaluate(commands)
    export.add_figures(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
