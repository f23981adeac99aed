"""How like a real cine the phantom's loops are, as distances of simple statistics.

    .venv/bin/python benchmarks/phantom_likeness.py FILE.dcm [FILE.dcm ...] [--out likeness.json]

Every file (of `echojepa simulate`, say) is compared with the real echocardiogram that pydicom-data ships. All
are first brought onto one polar grid, in mm along and across the beam, at the resolution of a picture 128
pixels high, so that sizes and layouts of screens do not matter. One real cine is one machine, one person and
one view: a distance says how far the phantom is from that, not from echocardiography.
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.stats import wasserstein_distance

from echojepa.data.reading.cine import CineLoop
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.reading.frames import luma
from echojepa.data.reading.recording import read_cine
from echojepa.data.sector.fan import fit_fan
from echojepa.data.sector.sector import find_sector

Floats = NDArray[np.floating]
HEIGHT = 128
"""Pixels over the depth of the picture that everything is compared at."""
BANDS = ((0.15, 0.4), (0.4, 0.65), (0.65, 0.95))
"""Near, middle and far, as shares of the depth."""
CYCLES = np.linspace(0.05, 0.25, 41)
"""Spatial frequencies at which spectra are compared, cycles a mm."""
STRUCTURE = 4.0
"""Standard deviation of the blur, mm, above which a detail counts as anatomy and not as speckle."""


@dataclass(frozen=True)
class Polar:
    """A loop in the beams' own coordinates."""

    frames: Floats
    """(T, ranges, angles) grey."""
    step: float
    """mm between ranges."""
    angle: float
    """Radians between angles."""
    depth: float
    """mm."""
    half_angle: float
    """Half the opening of the sector, radians."""

    def band(self, band: tuple[float, float]) -> slice:
        """The ranges of a band of depth."""
        count = self.frames.shape[1]
        return slice(int(band[0] * count), int(band[1] * count))

    def across(self, band: tuple[float, float]) -> float:
        """mm between angles in the middle of a band."""
        return self.depth * (band[0] + band[1]) / 2 * self.angle


@dataclass(frozen=True)
class Likeness:
    """What is compared; one value, or one for each band of depth."""

    half_angle_degrees: float
    depth_mm: float
    grey_mean: float
    black_share: float
    """Share of the sector that is (nearly) black."""
    tissue_quantiles: tuple[float, ...]
    """5, 25, 50, 75 and 95 % of the grey of the brightest third of the time-averaged sector."""
    blood_quantiles: tuple[float, ...]
    """The same of the darkest third within the middle of the sector."""
    speckle_contrast: float
    """Standard deviation of speckle over the mean grey, in tissue."""
    speckle_along_mm: tuple[float, ...]
    """Lag along the beam at which speckle's autocorrelation falls to a half."""
    speckle_across_mm: tuple[float, ...]
    """The same across the beam."""
    frame_correlation: float
    """Median correlation of a frame and the next."""
    frame_correlation_least: float
    """The lowest over the loop, in the fastest part of the beat."""
    speckle_correlation: float
    """Median correlation of a frame's speckle and the next's."""
    spectrum_slope: float
    """Slope of log power over log spatial frequency along the beam, over CYCLES."""


def to_polar(loop: CineLoop) -> Polar:
    """Resample a loop onto beams, one sample for each of HEIGHT pixels; needs a fan and its scale in mm."""
    frames: Any = luma(loop.frames) if loop.frames.ndim == 4 else loop.frames
    fan = fit_fan(find_sector(loop.frames, loop.regions).mask)
    scale = next((region.mm_per_pixel for region in loop.regions if region.mm_per_pixel), None)
    if fan is None or scale is None:
        raise SystemExit("a loop without a fan-shaped sector, or without a scale in mm, cannot be compared")
    depth, half_angle = fan.far * scale[0], (fan.right - fan.left) / 2
    ranges = (np.arange(HEIGHT) + 0.5) / HEIGHT * fan.far
    angles = np.linspace(0.96 * fan.left, 0.96 * fan.right, round(HEIGHT * 2 * half_angle))
    rows = fan.y + ranges[:, None] * np.cos(angles)
    columns = fan.x + ranges[:, None] * np.sin(angles)
    blur = max(0.0, 0.4 * (fan.far / HEIGHT - 1))
    smooth = (gaussian_filter(frame.astype(np.float32), blur) for frame in frames)
    polar = np.stack([map_coordinates(frame, (rows, columns), order=1) for frame in smooth])
    return Polar(polar, depth / HEIGHT, float(angles[1] - angles[0]), depth, half_angle)


def speckle(polar: Polar) -> Floats:
    """Frames (T, ranges, angles) less their blurred selves: details finer than STRUCTURE."""
    middle = 0.5 * polar.depth * polar.angle
    sigma = (0, STRUCTURE / polar.step, STRUCTURE / middle)
    return polar.frames - gaussian_filter(polar.frames, sigma)


def half_width(rows: Any, spacing: float) -> float:
    """Lag, in the units of `spacing`, at which the autocorrelation along the last axis falls to a half."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    count = rows.shape[-1]
    spectrum = np.abs(np.fft.rfft(centred, 2 * count, axis=-1)) ** 2
    correlation = np.fft.irfft(spectrum.reshape(-1, spectrum.shape[-1]).mean(axis=0))[:count]
    correlation = correlation / np.arange(count, 0, -1)
    correlation /= correlation[0]
    beyond = int(np.argmax(correlation < 0.5))
    above, below = correlation[beyond - 1], correlation[beyond]
    return spacing * (beyond - 1 + (above - 0.5) / (above - below))


def neighbours(frames: Floats) -> Floats:
    """Correlation of each frame (T, ...) with the next."""
    flat = frames.reshape(len(frames), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return np.einsum("ij,ij->i", flat[:-1], flat[1:])


def spectrum(polar: Polar) -> Floats:
    """Power along the beam in decibels, at CYCLES a mm."""
    lines: Any = polar.frames[:, polar.band((0.15, 0.95))]
    window = np.hanning(lines.shape[1])[:, None]
    centred = (lines - lines.mean(axis=1, keepdims=True)) * window
    power = (np.abs(np.fft.rfft(centred, axis=1)) ** 2).mean(axis=(0, 2))
    cycles = np.fft.rfftfreq(lines.shape[1], polar.step)
    return np.interp(CYCLES, cycles, 10 * np.log10(power))


def greys(polar: Polar) -> tuple[Floats, Floats]:
    """Greys of tissue (brightest third of the averaged sector) and of blood (darkest third of its middle)."""
    mean: Any = gaussian_filter(polar.frames.mean(axis=0), 2)
    tissue = mean >= np.quantile(mean, 2 / 3)
    middle = np.zeros(mean.shape, dtype=bool)
    quarter = mean.shape[1] // 4
    middle[polar.band((0.2, 0.8)), quarter:-quarter] = True
    blood = middle & (mean <= np.quantile(mean[middle], 1 / 3))
    return polar.frames[:, tissue].ravel(), polar.frames[:, blood].ravel()


def measure(polar: Polar) -> Likeness:
    """Every statistic of one loop."""
    fine, (tissue, blood) = speckle(polar), greys(polar)
    bright = gaussian_filter(polar.frames.mean(axis=0), 2)
    bright = bright >= np.quantile(bright, 2 / 3)
    shares = (0.05, 0.25, 0.5, 0.75, 0.95)
    along = [half_width(np.swapaxes(fine[:, polar.band(band)], 1, 2), polar.step) for band in BANDS]
    across = [half_width(fine[:, polar.band(band)], polar.across(band)) for band in BANDS]
    nearby = neighbours(polar.frames)
    return Likeness(
        half_angle_degrees=math.degrees(polar.half_angle),
        depth_mm=polar.depth,
        grey_mean=float(polar.frames.mean()),
        black_share=float((polar.frames < 3).mean()),
        tissue_quantiles=tuple(np.quantile(tissue, shares).tolist()),
        blood_quantiles=tuple(np.quantile(blood, shares).tolist()),
        speckle_contrast=float(fine[:, bright].std() / tissue.mean()),
        speckle_along_mm=tuple(along),
        speckle_across_mm=tuple(across),
        frame_correlation=float(np.median(nearby)),
        frame_correlation_least=float(nearby.min()),
        speckle_correlation=float(np.median(neighbours(fine))),
        spectrum_slope=float(np.polyfit(np.log10(CYCLES), spectrum(polar) / 10, 1)[0]),
    )


def distances(one: Polar, other: Polar) -> dict[str, float]:
    """Wasserstein distances of greys, as they are and over their mean; and of spectra, in decibels RMS."""
    apart = spectrum(one) - spectrum(other)
    found = {"spectrum_distance_db": float(np.std(apart))}
    for name, a, b in zip(("tissue", "blood"), greys(one), greys(other), strict=True):
        a, b = a[:: max(1, len(a) // 50_000)], b[:: max(1, len(b) // 50_000)]
        found[f"{name}_grey_distance"] = wasserstein_distance(a, b)
        found[f"{name}_shape_distance"] = wasserstein_distance(a / max(a.mean(), 1), b / max(b.mean(), 1))
    return found


def main() -> None:
    """Measure the files given, and print them beside the real cine."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="write everything as JSON")
    arguments = parser.parse_args()
    reference = to_polar(read_cine(example_cines()[1], b"likeness"))
    real, rows = measure(reference), []
    for path in arguments.files:
        polar = to_polar(read_cine(path, b"likeness"))
        rows.append({**asdict(measure(polar)), **distances(reference, polar)})
    print(f"{'':26}{'real':>10}{'phantom':>10}{'least':>10}{'most':>10}   over {len(rows)} loops")
    for name in rows[0]:
        values = np.array([np.atleast_1d(row[name]) for row in rows])
        truth = np.atleast_1d(getattr(real, name, np.nan))
        for number, column in enumerate(values.T):
            known = f"{truth[number]:10.3f}" if np.isfinite(truth[number]) else " " * 10
            spread = f"{np.median(column):10.3f}{column.min():10.3f}{column.max():10.3f}"
            print(f"{name if number == 0 else '':26}{known}{spread}")
    if arguments.out:
        arguments.out.write_text(json.dumps({"real": asdict(real), "phantom": rows}, indent=1))


if __name__ == "__main__":
    main()
