"""Random changes of training images in memory (4.2)."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Random shift of at most `shift` pixels each way, filled with zeros, then a random horizontal flip (4.2)."""

    shift: int
    flip: bool

    def __call__(self, images: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Images (batch, height, width, channels), each shifted and flipped as `generator` draws."""
        count, height, width, _ = images.shape
        pad = self.shift
        tops, lefts = generator.integers(0, 2 * pad + 1, (2, count))
        flips = generator.integers(0, 2, (count,)) if self.flip else np.zeros(count, int)
        padded = np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        out = np.empty_like(images)
        for i, (top, left, flip) in enumerate(zip(tops, lefts, flips, strict=True)):
            crop = padded[i, top : top + height, left : left + width]
            out[i] = crop[:, ::-1] if flip else crop
        return out
