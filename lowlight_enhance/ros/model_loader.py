"""ModelLoader: the model in use, and the next one, which is checked, opened and warmed up in a thread.

A load may take long (a large file, a provider that compiles the network) or never end (a damaged driver, a file on a
network drive that is gone). So nothing here waits for a load without a limit: one that is no longer wanted, or takes
longer than ``LOAD_TIMEOUT_S``, is abandoned. Its warm-up is cancelled, and its thread frees what it opened when it
ends.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from lowlight_enhance.core.enhancement.enhancer import Enhancer
from lowlight_enhance.core.errors import LowlightError, ModelError
from lowlight_enhance.core.inference.model_file import ModelFile
from lowlight_enhance.core.malloc import release_free_memory
from lowlight_enhance.ros.model_load import ModelLoad
from lowlight_enhance.ros.parameters import NodeParameters

SHA_DIGITS = 12
"""Digits of the model file's SHA-256 digest that are shown in the log and in diagnostics."""

CHECK_WAIT_S = 0.2
"""How long a parameter change waits for the check of the model file. A typo is then rejected at once."""

LOAD_TIMEOUT_S = 600.0
"""Limit for a load. TensorRT and OpenVINO may compile a network for minutes."""

STOP_WAIT_S = 2.0
"""How long deactivation waits for a load to end before it abandons it."""

MAX_ABANDONED = 4
"""Abandoned loads that may still run; further requests are rejected until one has ended."""


@dataclass(frozen=True)
class LoadFailure:
    """Result of a load that failed; ``reason`` is the error message."""

    reason: str


class ModelLoader:
    """One enhancer in use, and at most one load in progress. Call it from one thread.

    Attributes:
        enhancer: the enhancer in use; closed while suspended.
        params: the parameters that it was loaded with.
    """

    def __init__(self, params: NodeParameters, is_running: Callable[[], bool] = lambda: True) -> None:
        """Load and warm up the model of ``params``.

        Args:
            params: all parameters of the node.
            is_running: False once the process shuts down; waiting then ends.

        Raises:
            LowlightError: the model cannot be used, or does not load within ``LOAD_TIMEOUT_S``.
        """
        self._is_running = is_running
        self._abandoned: list[ModelLoad] = []
        self._load: ModelLoad | None = None
        self.params = params
        load = self._finished(ModelLoad(params))
        self._file, self.enhancer = load.opened()
        self._is_open = True

    @property
    def is_loading(self) -> bool:
        """True while a requested model is being checked or loaded."""
        return self._load is not None and not self._load.done.is_set()

    def describe(self) -> str:
        """Return the model in use as a phrase for the log."""
        used = self.enhancer
        return (
            f"model {used.path} (sha256 {used.sha256[:SHA_DIGITS]}) on {used.runtime}, "
            f"working size {used.working_size or 'full'}" + (f" ({used.fallback})" if used.fallback else "")
        )

    def values(self) -> dict[str, str]:
        """Return the model in use as diagnostic values."""
        return {
            "model": self.enhancer.name,
            "model_sha256": self.enhancer.sha256[:SHA_DIGITS],
            "model_loading": str(self.is_loading).lower(),
            "runtime": self.enhancer.runtime,
            "provider": self.enhancer.providers[0] if self._is_open else "none: not active",
            "provider_fallback": self.enhancer.fallback,
            "working_size": str(self.enhancer.working_size),
        }

    def request(self, params: NodeParameters, reload: bool = False) -> bool:
        """Begin to load the model of ``params`` unless it is in use or already being loaded.

        While suspended the file is only checked; ``resume`` opens it.

        Args:
            params: all parameters of the node.
            reload: read the file again even if the parameters of the model in use are the same.

        Returns:
            Whether a load has begun, or one was cancelled because the model in use was requested again.

        Raises:
            LowlightError: the file was rejected within ``CHECK_WAIT_S``, or too many abandoned loads still run.
        """
        requested = params.model_values()
        if not reload and self._load is not None and requested == self._load.params.model_values():
            return False
        if not reload and requested == self.params.model_values():
            return self._abandon()
        self._abandoned = [load for load in self._abandoned if not load.done.is_set()]
        if len(self._abandoned) >= MAX_ABANDONED:
            raise ModelError(f"{MAX_ABANDONED} earlier models are still loading; try again when they have ended")
        load = ModelLoad(
            params,
            in_use=self._file if requested == self.params.model_values() else None,
            check_only=not self._is_open,
        )
        if load.checked.wait(CHECK_WAIT_S) and load.is_rejected:
            load.checked_file()
        self._abandon()
        self._load = load
        return True

    def poll(self) -> Enhancer | LoadFailure | None:
        """Check for a finished load.

        Returns:
            The requested enhancer, which is in use from now on; the reason why it cannot be used; or None if no load
            has finished.
        """
        load = self._load
        if load is not None and not load.done.is_set() and time.monotonic() - load.begun > LOAD_TIMEOUT_S:
            self._abandon()
            return LoadFailure(_timeout_message(load))
        # While suspended, a load has only checked the file; ``resume`` opens it.
        if load is None or not load.done.is_set() or (load.error is None and not self._is_open):
            return None
        self._load = None
        if load.error is not None:
            return LoadFailure(str(load.error))
        if load.is_in_use:
            return None
        self._use(load, *load.opened())
        return self.enhancer

    def suspend(self) -> None:
        """Free the network and its threads. The content of the model files stays in memory for ``resume``."""
        if self._load is not None:
            self._load.done.wait(STOP_WAIT_S)
            self._load.close()
        self.enhancer.close()
        self._is_open = False
        release_free_memory()

    def resume(self, params: NodeParameters) -> None:
        """Open the model that was requested last, even if its file has changed or gone.

        Args:
            params: all parameters of the node.

        Raises:
            LowlightError: the model cannot be used, or does not load in time. If it is a model that was requested
                since, ``poll`` returns the failure, and the model in use before stays the one to resume.
        """
        if self._load is None and self._is_open:
            return
        file = self._file
        if self._load is not None:
            self._wait(self._load, self._load.checked)
            file = self._load.checked_file()
        load = self._finished(ModelLoad(params, file=file))
        try:
            opened = load.opened()
        except LowlightError as error:
            if self._load is not None:
                self._load.error = error
            raise
        self._abandon()
        self._use(load, *opened)

    def close(self) -> None:
        """Free everything."""
        self._abandon()
        self.enhancer.close()
        self._is_open = False
        release_free_memory()

    def _use(self, load: ModelLoad, file: ModelFile, enhancer: Enhancer) -> None:
        """Replace the enhancer in use by that of ``load``."""
        self.enhancer.close()
        self._file, self.params, self.enhancer, self._is_open = file, load.params, enhancer, True
        release_free_memory()

    def _abandon(self) -> bool:
        load, self._load = self._load, None
        if load is None:
            return False
        load.close()
        self._abandoned.append(load)
        return True

    def _finished(self, load: ModelLoad) -> ModelLoad:
        try:
            self._wait(load, load.done)
        except ModelError:
            load.close()
            self._abandoned.append(load)
            raise
        return load

    def _wait(self, load: ModelLoad, event: threading.Event) -> None:
        """Wait for ``event``, but no longer than ``LOAD_TIMEOUT_S`` and only while the process runs."""
        deadline = time.monotonic() + LOAD_TIMEOUT_S
        while not event.wait(0.1):  # in short steps, so that a shutdown ends the wait
            if not self._is_running():
                raise ModelError(f"model '{load.params.model}' was not loaded: the node shuts down")
            if time.monotonic() > deadline:
                raise ModelError(_timeout_message(load))


def _timeout_message(load: ModelLoad) -> str:
    return f"model '{load.params.model}' did not load within {LOAD_TIMEOUT_S:g} s"
