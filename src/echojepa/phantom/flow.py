"""Blood."""

from __future__ import annotations

import numpy as np

from echojepa.phantom.motion import Motion
from echojepa.phantom.organs import BLOOD, find_organs
from echojepa.phantom.scene import Flow
from echojepa.phantom.ventricles import Floats


class Blood:
    """The moving blood of one patient."""

    def __init__(self, motion: Motion) -> None:
        self.motion = motion

    def at(self, points: Floats, time: float) -> Flow:
        """Blood at points (n, 3), mm, at a time."""
        state = self.motion.state(self.motion.anatomy.patient.rhythm.at(time))
        organ = find_organs(self.motion.anatomy, self.motion.rest(points, state)).organ
        return Flow(np.zeros((len(points), 3)), np.zeros(len(points)), organ <= BLOOD)
