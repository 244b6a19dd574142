"""The model in flight, and its successor, which is loaded and warmed beside it and takes over between two frames."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from lowlight_enhance.core.enhancement.enhancer import Enhancer, open_enhancer
from lowlight_enhance.core.errors import LowlightError, ModelError
from lowlight_enhance.core.inference.model_file import ModelFile, read_model
from lowlight_enhance.core.inference.model_zoo import find_model
from lowlight_enhance.core.malloc import give_back
from lowlight_enhance.ros.parameters import NodeParameters

SHA_DIGITS = 12
"""Of the model file's digest, in the log and in diagnostics."""

_Request = tuple[ModelFile, NodeParameters]
"""What is to fly, as it was read when it was asked for, and all parameters then."""


@dataclass(frozen=True)
class Refusal:
    """Why a successor does not fly: ``reason``; ``wanted`` are the parameters that asked for it."""

    reason: str
    wanted: NodeParameters


def read_file(params: NodeParameters) -> ModelFile:
    """The model file that ``params`` name, looked at but not opened.

    Raises:
        ModelError: a file that may not be opened.
        ConfigError: no model of that name, or the shipped ones are not installed.
    """
    return read_model(find_model(params.model))


class ModelSlot:
    """One enhancer in use, at most one being loaded. For one thread; loading has a thread of its own."""

    def __init__(self, params: NodeParameters) -> None:
        """Load and warm the model of ``params``.

        Raises:
            LowlightError: it cannot be used.
        """
        self._file = read_file(params)
        self.params = params
        self.enhancer = _opened(self._file, params)
        self._is_open = True
        self._loading: _Loading | None = None
        self._next: _Request | None = None

    @property
    def is_loading(self) -> bool:
        """Whether a successor is on its way."""
        return self._loading is not None

    def describe(self) -> str:
        """What is in use, as a phrase."""
        used = self.enhancer
        return (
            f"model {used.path} (sha256 {used.sha256[:SHA_DIGITS]}) on {used.runtime}, "
            f"working size {used.working_size or 'full'}" + (f" ({used.fallback})" if used.fallback else "")
        )

    def values(self) -> dict[str, str]:
        """What is in use, by name."""
        return {
            "model": self.enhancer.name,
            "model_sha256": self.enhancer.sha256[:SHA_DIGITS],
            "runtime": self.enhancer.runtime,
            "provider": self.enhancer.providers[0] if self._is_open else "none: not active",
            "provider_fallback": self.enhancer.fallback,
            "working_size": str(self.enhancer.working_size),
        }

    def request(self, file: ModelFile, params: NodeParameters) -> None:
        """Begin to load a successor; of several requests the last one counts. What flies already is not loaded."""
        if self._loading is None and file.sha256 == self._file.sha256 and self._serves(params):
            self._next = None
            return
        self._next = (file, params)
        if self._loading is None:
            self._begin()

    def poll(self) -> Enhancer | Refusal | None:
        """The successor, which is in use from now on; why there is none; or None while nothing has happened."""
        if self._loading is None or self._loading.thread.is_alive():
            return None
        done, self._loading = self._loading, None
        if self._next is not None:
            if done.enhancer is not None:
                done.enhancer.close()
            self._begin()
            return None
        if done.enhancer is None:
            return Refusal(done.reason, done.params)
        self.enhancer.close()
        self._file, self.params, self.enhancer, self._is_open = done.file, done.params, done.enhancer, True
        give_back()
        return self.enhancer

    def suspend(self) -> None:
        """Free network and threads; the content of the file, and of the one requested last, is kept for ``resume``."""
        self._stop_loading()
        self.enhancer.close()
        self._is_open = False
        give_back()

    def resume(self, params: NodeParameters) -> None:
        """Be ready for frames, with the model that was requested last. What becomes of its file does not matter.

        Args:
            params: all that the node's parameters say now.

        Raises:
            LowlightError: it cannot be used; nothing has changed then.
        """
        self._stop_loading()
        if self._next is None and self._is_open:
            return
        file = self._file if self._next is None else self._next[0]
        enhancer = _opened(file, params)
        self.enhancer.close()
        self._file, self.params, self.enhancer, self._is_open = file, params, enhancer, True
        self._next = None

    def close(self) -> None:
        """Free everything."""
        self.suspend()

    def _serves(self, params: NodeParameters) -> bool:
        return params.model_values() == self.params.model_values()

    def _begin(self) -> None:
        assert self._next is not None
        self._loading, self._next = _Loading(*self._next), None

    def _stop_loading(self) -> None:
        """Wait for what is being loaded and drop it; what was requested last stays requested."""
        if self._loading is None:
            return
        self._loading.thread.join()
        if self._loading.enhancer is not None:
            self._loading.enhancer.close()
        self._next = self._next or (self._loading.file, self._loading.params)
        self._loading = None


class _Loading:
    """A model being opened and warmed in a thread."""

    def __init__(self, file: ModelFile, params: NodeParameters) -> None:
        self.file, self.params = file, params
        self.enhancer: Enhancer | None = None
        self.reason = ""
        self.thread = threading.Thread(target=self._run, name="load_model", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.enhancer = _opened(self.file, self.params)
        except LowlightError as error:
            self.reason = str(error)
        except Exception as error:  # a runtime's own; the node must hear of it, and its thread must not print it
            self.reason = f"{type(error).__name__}: {error}"


def _opened(file: ModelFile, params: NodeParameters) -> Enhancer:
    """The enhancer of ``file``, warm."""
    enhancer = open_enhancer(
        runtime=params.runtime,  # type: ignore[arg-type]
        precision=params.precision,  # type: ignore[arg-type]
        model=file,
        providers=params.providers,
        threads=params.threads or None,
        working_size=params.model_working_size,
        output_resolution=params.output.resolution,  # type: ignore[arg-type]
    )
    try:
        enhancer.warm_up()
    except ModelError:
        enhancer.close()
        raise
    return enhancer
