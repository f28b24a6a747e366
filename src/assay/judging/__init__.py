"""From distances to a verdict with a stated error rate, and reasons in sentences."""

from assay.judging.calibration import calibrate
from assay.judging.calibration_file import read_calibration, write_calibration
from assay.judging.judge import check_network, judge

__all__ = ["calibrate", "check_network", "judge", "read_calibration", "write_calibration"]
