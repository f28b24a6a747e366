"""Picture files as model inputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from fusee.base.errors import RequestError
from fusee.base.types import Array
from fusee.images import Channels, ImageSteps, Resize, check_size, picture_layout, read_into

if TYPE_CHECKING:
    from fusee.cli.run import Picture

RESIZE_MODES = tuple(r.value for r in Resize)
MAX_PIXELS = 100_000_000  # larger images are refused before they are decoded


def read_image(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic], picture: Picture) -> Array:
    """The picture as a tensor [1,C,H,W], [1,H,W,C], [C,H,W] or [H,W,C]: where C is 1 or 3 tells which.

    Raises RequestError for a file that is no picture, or a shape that is no picture's.
    """
    found = picture_layout(shape)
    if found is None or any(d != 1 for d in shape[:-3]):
        text = "x".join(map(str, shape))
        raise RequestError(
            f"an image cannot fill an input of shape {text}; expected [1,3,H,W], [1,H,W,3] or one channel"
        )
    layout, channels, height, width = found
    resize, mean, std, scale, is_bgr = picture
    if resize not in RESIZE_MODES:
        raise RequestError(f"--resize {resize}: expected one of {', '.join(RESIZE_MODES)}")
    colour = Channels.BGR if is_bgr else Channels.RGB
    steps = ImageSteps(
        height,
        width,
        resize=Resize(resize),
        mean=mean,
        std=std,
        scale=scale,
        channels=colour if channels == 3 else Channels.GRAY,
        layout=layout,
        dtype=np.dtype(dtype),
    )
    tensor = np.empty(shape, dtype)
    try:
        image = Image.open(path)
        check_size(image, MAX_PIXELS)
        read_into(image, steps, tensor.reshape(steps.shape))
    except UnidentifiedImageError:
        raise RequestError(f"{path}: not an image that can be read; expected JPEG, PNG or the like") from None
    except RequestError as err:
        raise RequestError(f"{path}: {err}") from err
    return tensor
