"""Where the encoder looks in the loops that a number rests on, laid over them for the server's page by the
rule of `explain/films`."""

from __future__ import annotations

from echojepa.answer.model import Model
from echojepa.answer.values import LoopFinding, StudyAnswer
from echojepa.answer.writing.films import MOST_FRAMES, LoopFilm, film_of_frames
from echojepa.backbones.transformer import VideoTransformer
from echojepa.data.store.memory import loop_of
from echojepa.explain.films import as_colour, loop_map, overlay, top_of
from echojepa.explain.loops import ListedLoop, ShownLoop
from echojepa.explain.sources import source_of

SOURCE = "layer:-1"
"""Attention received in the last layer, the mean of its heads."""


def attention_films(answer: StudyAnswer, model: Model) -> tuple[float, dict[int, LoopFilm]]:
    """The top of the scale that the study's loops share, times an even share, and a film of each loop that a
    number rests on, by its number; none where the picture is withheld, or of an encoder whose attention lies
    on no grid."""
    backbone = model.backbone
    used = [loop for loop in answer.loops if loop.used_for and not loop.picture_withheld]
    if not used or not isinstance(backbone, VideoTransformer):
        return 1.0, {}
    source = source_of(SOURCE, backbone)
    maps = [loop_map(shown(loop), backbone, backbone.name, source) for loop in used]
    top = top_of(maps)
    films = {}
    for loop, one in zip(used, maps, strict=True):
        pixels = shown(loop)  # decoded again: the frames of all loops at once may be more than the memory
        films[loop.number] = film_of_frames(overlay(as_colour(pixels.frames), pixels, one, top), pixels.times)
    return top, films


def shown(loop: LoopFinding) -> ShownLoop:
    """The frames of a loop that a page shows."""
    pixels = loop_of(loop.row)
    count = min(len(pixels), MOST_FRAMES)
    facts = ListedLoop(str(loop.file), "", loop.view or "", loop.synthetic)
    return ShownLoop(facts, pixels.frames(range(count)), pixels.times[:count], pixels.mask)
