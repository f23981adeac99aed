"""A report in graded phrases, as a reader dictates it: several wordings of each grade, and never a number.

Grades of the left ventricle: American Society of Echocardiography, recommendations for chamber quantification
(J Am Soc Echocardiogr 2005; 18:1440-1463): ejection fraction 55 % and more, 45 to 54, 30 to 44, less; the
end-diastolic volume's by sex. The update of 2015 (28:1-39) splits normal from mild by sex as well; 2005 is
taken since not every data set tells the sex. Grades of the right ventricle's pressure: the peak velocities of
tricuspid regurgitation, 2.8 and 3.4 m/s, that part low, intermediate and high probability of pulmonary
hypertension (ESC/ERS 2015, Eur Respir J 46:903-975), by 4 v^2 and 5 mmHg of the right atrium: 36 and 51 mmHg.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass

from echojepa.vocabulary import View

Wordings = tuple[str, str, str]
WORDINGS = 3
"""Ways to say a grade."""
ANY_SEX = ""


@dataclass(frozen=True)
class Graded:
    """A label that is told by its grade."""

    label: str
    """Its name in `labels.parquet`."""
    bounds: Mapping[str, tuple[float, ...]]
    """From which value on each next grade is given, by sex (`M`, `F`) or for any."""
    grades: tuple[Wordings, ...]
    """From the lowest values on."""

    def grade(self, value: float, sex: str | None) -> Wordings | None:
        """The wordings of a value; None where it is not known, or its grades need a sex that is not."""
        bounds = self.bounds.get(ANY_SEX) or self.bounds.get(sex or ANY_SEX)
        return self.grades[bisect_right(bounds, value)] if bounds and value == value else None


def in_frames(*wordings: tuple[str, ...]) -> tuple[Wordings, ...]:
    """The wordings of each grade; each way to say them is a frame, and what stands in it for each grade."""
    first, second, third = ([frame.format(words) for words in each] for frame, *each in wordings)
    return tuple(zip(first, second, third, strict=True))


FUNCTION = Graded(
    "lvef",
    {ANY_SEX: (30, 45, 55)},
    in_frames(
        ("left ventricular systolic function is {}",
         "severely reduced", "moderately reduced", "mildly reduced", "normal"),
        ("{} ejection fraction",
         "severely impaired", "moderately impaired", "mildly impaired", "preserved"),
        ("the left ventricle contracts {}", "very poorly", "poorly", "slightly less than it should", "well"),
    ),
)  # fmt: skip
SIZE = Graded(
    "edv",
    {"F": (105, 118, 131), "M": (156, 179, 201)},
    in_frames(
        ("the left ventricle is {}", "not enlarged", "slightly enlarged", "clearly enlarged", "very large"),
        ("{} dilatation of the left ventricle", "no", "mild", "moderate", "severe"),
        ("left ventricular volume is {} increased", "not", "mildly", "moderately", "severely"),
    ),
)
PRESSURE = Graded(
    "rvsp",
    {ANY_SEX: (36, 51)},
    in_frames(
        ("right ventricular systolic pressure is {}", "not elevated", "elevated", "markedly elevated"),
        ("{}", "no sign of pulmonary hypertension", "pulmonary hypertension is possible",
         "pulmonary hypertension is likely"),
        ("pulmonary artery pressure is {}", "within limits", "raised", "very high"),
    ),
)  # fmt: skip
GRADED = (FUNCTION, SIZE, PRESSURE)
PLANES = {
    View.A2C: "apical two chamber",
    View.A3C: "apical three chamber",
    View.A4C: "apical four chamber",
    View.A5C: "apical five chamber",
    View.OTHER: "unusual",
    View.PLAX: "parasternal long axis",
    View.PSAX_AP: "parasternal short axis apical",
    View.PSAX_AV: "parasternal short axis aortic valve",
    View.PSAX_MV: "parasternal short axis mitral valve",
    View.PSAX_PM: "parasternal short axis papillary muscle",
    View.SSN: "suprasternal notch",
    View.SUBCOSTAL: "subcostal",
    View.TEE: "transoesophageal",
}
SEEN: dict[str, Wordings] = {
    view: (f"{plane} view", f"the {plane} window", f"recorded in the {plane} plane")
    for view, plane in PLANES.items()
}
SILENCE: Wordings = ("", "", "")
GRADES = (SILENCE, *SEEN.values(), *(words for graded in GRADED for words in graded.grades))
PHRASES = tuple(phrase for wordings in GRADES for phrase in wordings)
"""Every phrase: those of one grade stand together, silence first."""


def report(values: Mapping[str, float], view: str | None, sex: str | None) -> list[int]:
    """A loop's report: the number in PHRASES of the first wording of its view and of each graded label.

    What is not known is not told: 0, which is silence whatever the wording.
    """
    told = [SEEN.get(view or ""), *(one.grade(values[one.label], sex) for one in GRADED)]
    return [WORDINGS * GRADES.index(wordings or SILENCE) for wordings in told]
