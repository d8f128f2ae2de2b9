"""Networks as programs: a network's own `forward`, run once on a recording canvas, and compiled."""

from pixelrnn.program.machine import Machine
from pixelrnn.program.programs import Programs, UnknownStepError

__all__ = ["Machine", "Programs", "UnknownStepError"]
