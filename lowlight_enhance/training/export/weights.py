"""Float32 weights in safetensors files, from which users fine-tune a model that ships.

The metadata of a file hold one entry, a JSON object with the network configuration, the ``ModelInput`` and the
training step. With several entries, safetensors would write them in random order, and equal weights would give
different files.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lowlight_enhance.core.errors import DataError, LowlightError
from lowlight_enhance.core.files import make_folder, write_bytes
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.config import build
from lowlight_enhance.training.engine.checkpoint import load_weights
from lowlight_enhance.training.engine.network import LoadedNetwork
from lowlight_enhance.training.models.network import NetworkConfig, network_config

SUFFIX = ".safetensors"
METADATA_KEY = "lowlight_enhance"


def write_weights(loaded: LoadedNetwork, target: Path) -> None:
    """Write the float32 weights of a network.

    Raises:
        DataError: ``target`` cannot be written.
    """
    content = {
        "network": dataclasses.asdict(network_config(loaded.network)),
        "model_input": dataclasses.asdict(loaded.model_input),
        "step": loaded.step,
    }
    # In channels_last, where training keeps them, tensors are not contiguous.
    tensors = {name: value.contiguous() for name, value in loaded.network.state_dict().items()}
    make_folder(target.parent)
    write_bytes(target, save(tensors, {METADATA_KEY: json.dumps(content)}))


def read_weights(path: Path) -> LoadedNetwork:
    """Read a network that ``write_weights`` wrote, in inference mode.

    Raises:
        DataError: the file cannot be read, or is not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        content = json.loads(metadata[METADATA_KEY])
        config: NetworkConfig = build(NetworkConfig, content["network"], str(path))
        model_input: ModelInput = build(ModelInput, content["model_input"], str(path))
        step = int(content["step"])
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, LowlightError) as error:
        raise DataError(f"{path} is not a weights file of this package ({error!r})") from error
    return LoadedNetwork(load_weights(config.build(), tensors, path), model_input, step, "weights", path)
