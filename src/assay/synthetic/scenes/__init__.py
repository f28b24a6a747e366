"""The six views: each draws one detail of an item on a surface and marks there what a defect changed."""

from __future__ import annotations

from collections.abc import Callable

from assay.synthetic.items import Made
from assay.synthetic.scenes.date_code import draw_date_code
from assay.synthetic.scenes.exterior import draw_exterior
from assay.synthetic.scenes.hardware import draw_hardware
from assay.synthetic.scenes.lining import draw_lining
from assay.synthetic.scenes.logo import draw_logo
from assay.synthetic.scenes.stitching import draw_stitching
from assay.synthetic.surface import Surface
from assay.views import View

SCENES: dict[View, Callable[[Surface, Made], None]] = {
    View.EXTERIOR: draw_exterior,
    View.LOGO: draw_logo,
    View.STITCHING: draw_stitching,
    View.HARDWARE: draw_hardware,
    View.DATE_CODE: draw_date_code,
    View.LINING: draw_lining,
}
