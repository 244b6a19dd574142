"""Training batches: samples, encoded by the ``ModelInput`` that the runtime uses.

Every batch is a pure function of (seed, step), so a resumed run sees the batches of an uninterrupted one.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from lowlight_enhance.core.errors import ConfigError, DataError
from lowlight_enhance.core.inference.model_input import ModelInput
from lowlight_enhance.training.data.augment import drop_metadata, to_float
from lowlight_enhance.training.data.config import DataConfig
from lowlight_enhance.training.data.pictures import TrainingPictures
from lowlight_enhance.training.data.samples import Sample, SampleSource

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


class Batches(Dataset[Batch]):
    """Dataset whose item ``step`` is a whole batch.

    A batch is the network input (B, 5, s, s), the full-size dark and bright pictures (B, 3, S, S) in 0..1, and (B,)
    1 for labelled and 0 for unlabelled samples.
    """

    def __init__(
        self, pictures: TrainingPictures, config: DataConfig, model_input: ModelInput, seed: int, steps: int
    ) -> None:
        if not pictures.pairs and not pictures.photos:
            raise DataError("no training pictures: give --pairs, --photos or both")
        if pictures.pairs and pictures.photos and config.simulated in (0.0, 1.0):
            unused = "--photos" if config.simulated == 0.0 else "the training pairs of --pairs"
            raise ConfigError(
                f"data: simulated is {config.simulated:g}, so {unused} would never be used; omit them, or set the "
                "share of simulated samples between 0 and 1"
            )
        if pictures.unlabelled and not config.unlabelled:
            raise ConfigError(
                "data: unlabelled is 0, so --unlabelled would never be used; omit it, or set the share of unlabelled "
                "samples above 0"
            )
        self.config, self.model_input, self.seed, self.steps = config, model_input, seed, steps
        self.source = SampleSource(pictures, config)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        cv2.setNumThreads(1)
        config = self.config
        rng = np.random.Generator(np.random.SFC64([self.seed, step]))
        shape = config.shapes[rng.integers(len(config.shapes))]
        model_input = replace(self.model_input, working_size=shape.working_size)
        samples = [self._sample(shape.crop_size, rng) for _ in range(shape.batch_size)]
        captures = [
            drop_metadata(s.capture, config.metadata_dropout, config.metadata_dropout_single, rng) for s in samples
        ]
        inputs = [model_input.encode(s.dark, c, s.frame_counts)[0] for s, c in zip(samples, captures, strict=True)]
        return (
            torch.from_numpy(np.stack(inputs)),
            torch.from_numpy(np.stack([to_float(s.dark) for s in samples])),
            torch.from_numpy(np.stack([to_float(s.bright) for s in samples])),
            torch.tensor([float(s.labelled) for s in samples]),
        )

    def _sample(self, size: int, rng: np.random.Generator) -> Sample:
        sample = self.source.draw(size, rng)
        if not self.config.rotate or rng.random() >= self.config.rotate:
            return sample
        quarters = int(rng.integers(1, 4))
        counts = sample.frame_counts
        return Sample(
            dark=np.ascontiguousarray(np.rot90(sample.dark, quarters)),  # type: ignore[arg-type]
            bright=np.ascontiguousarray(np.rot90(sample.bright, quarters)),
            capture=sample.capture,
            frame_counts=None if counts is None else np.ascontiguousarray(np.rot90(counts, quarters)),
            labelled=sample.labelled,
        )
