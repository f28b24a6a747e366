"""The six photographs that a case consists of."""

from __future__ import annotations

from enum import Enum


class View(Enum):
    """What one photograph shows. The order is that of the view model's outputs."""

    EXTERIOR = "exterior"
    LOGO = "logo"
    STITCHING = "stitching"
    HARDWARE = "hardware"
    DATE_CODE = "date_code"
    LINING = "lining"

    @property
    def title(self) -> str:
        return self.value.replace("_", " ")


VIEWS = tuple(View)
