"""Where a model that comes with the package lies, by its name."""

from __future__ import annotations

from pathlib import Path

from echojepa.errors import UserError

SHIPPED = "shipped:"
MODEL, ENCODER = "model.json", "encoder"
"""A model's card and the folder of its encoder."""
FOLDER = Path(__file__).parent


def located(model: Path | str) -> Path:
    """A model's folder: a path as it is, `shipped:NAME` in the package. UserError for an unknown name."""
    if not str(model).startswith(SHIPPED):
        return Path(model)
    names = sorted(path.name for path in FOLDER.iterdir() if (path / MODEL).is_file())
    name = str(model).removeprefix(SHIPPED)
    if name not in names:
        known = ", ".join(f"{SHIPPED}{one}" for one in names)
        raise UserError(f"no model '{name}' comes with this package; it has {known}")
    return FOLDER / name
