"""Networks as programs: a network's own `forward`, run once on a recording canvas, and compiled."""

from pixelrnn.program.machine import Machine
from pixelrnn.program.programs import Programs
from pixelrnn.program.steps import UnknownStepError
from pixelrnn.program.tables import Tables

__all__ = ["Machine", "Programs", "Tables", "UnknownStepError"]
