"""Items of two published checklists, by number and heading; what they ask is told in our own words elsewhere.

TRIPOD+AI: Collins et al., BMJ 2024;385:e078378, 52 items of 27 numbers. CLAIM, update of 2024: Tejani et al.,
Radiology: Artificial Intelligence 2024;6(4):e240300, 44 items, whose headings are shortened here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

SOURCES = {
    "TRIPOD+AI": "Collins et al., BMJ 2024;385:e078378",
    "CLAIM": "update of 2024, Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300",
}
TRIPOD_HEADINGS = {
    "Title": "1", "Abstract": "2", "Background": "3a 3b 3c", "Objectives": "4", "Data": "5a 5b",
    "Participants": "6a 6b 6c", "Data preparation": "7", "Outcome": "8a 8b 8c", "Predictors": "9a 9b 9c",
    "Sample size": "10", "Missing data": "11", "Analytical methods": "12a 12b 12c 12d 12e 12f 12g",
    "Class imbalance": "13", "Fairness": "14", "Model output": "15", "Training versus evaluation": "16",
    "Ethical approval": "17", "Funding": "18a", "Conflicts of interest": "18b", "Protocol": "18c",
    "Registration": "18d", "Data sharing": "18e", "Code sharing": "18f",
    "Patient and public involvement": "19", "Participants, results": "20a 20b 20c",
    "Model development": "21", "Model specification": "22", "Model performance": "23a 23b",
    "Model updating": "24", "Interpretation": "25", "Limitations": "26",
    "Usability of the model in the context of current care": "27a 27b 27c",
}  # fmt: skip
TRIPOD = {number: name for name, numbers in TRIPOD_HEADINGS.items() for number in numbers.split()}
"""Heading of each item of TRIPOD+AI, by its number."""
CLAIM_HEADINGS = (
    "Title", "Abstract", "Background", "Objectives", "Study design", "Study goal", "Data sources",
    "Inclusion and exclusion criteria", "Data preprocessing", "Selection of data subsets",
    "De-identification", "Missing data", "Image acquisition protocol", "Reference standard: method",
    "Reference standard: rationale", "Reference standard: annotators", "Annotation of the test set",
    "Inter- and intrarater variability", "Assignment to partitions", "Level at which partitions are disjoint",
    "Intended sample size", "Model", "Software", "Initialization of parameters", "Training approach",
    "Selection of the final model", "Ensembling", "Metrics of performance", "Significance and uncertainty",
    "Robustness or sensitivity analysis", "Explainability or interpretability",
    "Evaluation on internal data", "Testing on external data", "Clinical trial registration",
    "Numbers included and excluded", "Demographic and clinical characteristics", "Model performance",
    "Estimates of performance and their precision", "Failure analysis", "Study limitations",
    "Implications for practice", "Full protocol or technical details", "Availability", "Funding",
)  # fmt: skip
CLAIM = {str(number): name for number, name in enumerate(CLAIM_HEADINGS, start=1)}
"""Heading of each item of CLAIM, by its number."""


def headings(names: dict[str, str], numbers: Sequence[str]) -> str:
    """Items as a reader of the checklist looks for them: '3a, 3b Background; 4 Objectives'."""
    groups = groupby(numbers, key=names.__getitem__)
    return "; ".join(f"{', '.join(group)} {name}" for name, group in groups)
