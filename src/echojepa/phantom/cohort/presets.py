"""Named complete orders of a cohort, and what a command's settings make of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from echojepa.config import SimulateConfig
from echojepa.errors import UserError
from echojepa.phantom.cohort.sites import APICAL_PAIR, BRIEF, SAMPLE, SITES, Protocol
from echojepa.phantom.scanner.settings import Nuisance

ALL_SITES = "all"
ARCHIVE, STORE = "archive", "store"


@dataclass(frozen=True)
class Order:
    """Everything that says which loops are made and what is written."""

    patients: int
    seconds: float
    """Length of a loop."""
    written_as: str
    """What is written: `archive`, `store` or a public data set's name."""
    site: str
    """A site, or `all`."""
    side: int
    """Longer side of a picture without a screen, pixels."""
    density: float
    """Scatterers, as a share of the full number; small pictures need fewer."""
    small_screen: bool
    """Whether files show the small screen and not those of their site."""
    protocol: Protocol | None = None
    """What studies hold; None for what their site's do."""
    out: Path = Path()
    seed: int = 0
    nuisance: Nuisance = Nuisance.STANDARD
    factor: str | None = None
    """What is moved, in a set of counterfactuals."""


PRESETS: dict[str, Order] = {
    "tiny": Order(8, 0.4, STORE, ALL_SITES, side=64, density=0.02, small_screen=True, protocol=SAMPLE),
    "demo": Order(200, 1.2, ARCHIVE, "teaching", side=120, density=0.05, small_screen=True, protocol=BRIEF),
    "benchmark": Order(3400, 2.5, STORE, ALL_SITES, side=128, density=0.06, small_screen=False),
    "counterfactual": Order(
        40, 1.5, STORE, "teaching", side=128, density=0.06, small_screen=False, protocol=APICAL_PAIR
    ),
}
"""`benchmark`: 3,400 patients are 170 blocks of the split, so 510 test patients. `counterfactual`: the same
pictures of the two views that LVEF is read from."""


def order_of(config: SimulateConfig) -> Order:
    """A preset with what was said in its place; UserError for what cannot be."""
    said = {
        "patients": config.patients,
        "seconds": config.seconds,
        "site": config.site,
        "written_as": config.layout,
    }
    said = {name: value for name, value in said.items() if value is not None}
    order = replace(
        PRESETS[config.preset],
        **said,
        out=config.out,
        seed=config.seed,
        nuisance=Nuisance(config.nuisance),
        factor=config.vary,
    )
    if order.patients < 1 or not 0.1 <= order.seconds <= 60:
        raise UserError(
            f"patients must be at least 1 and seconds 0.1 to 60; got {order.patients}, {order.seconds}"
        )
    if order.site not in (ALL_SITES, *SITES):
        raise UserError(f"unknown site '{order.site}'; the phantom has {', '.join(SITES)}, and '{ALL_SITES}'")
    return order
