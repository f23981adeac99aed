"""Seven screens: six after the habits of the trade, none after one maker, and the small one of the demo."""

from __future__ import annotations

import numpy as np

from echojepa.phantom.scanner.settings import Scanner
from echojepa.phantom.screen.screens import Painter, ScreenLayout, ecg_wave

TOP, LEFT, RIGHT, BOTTOM = 14, 12, 40, 34
"""Margins of the small screen around the sector, pixels: text above, scale beside, ECG below."""


def small_layout(scanner: Scanner) -> ScreenLayout:
    """The demo's screen, as wide as the sector needs: name, scale, grey bar, ECG; no previous sweep."""
    width = LEFT + scanner.width + RIGHT

    def still(paint: Painter) -> None:
        paint.text(2, 1, paint.case.identity.name, 200)
        paint.text(width - 36, 1, "MI 1.1", 180)
        for tick in range(0, int(scanner.depth) + 1, 10):
            y = TOP + tick / scanner.mm_per_pixel
            paint.pen.line((width - 14, y, width - (4 if tick % 50 else 8), y), fill=190)
        for level in range(48):
            paint.pen.line((width - 6, TOP + 20 + level, width - 2, TOP + 20 + level), fill=250 - 5 * level)

    def moving(paint: Painter) -> None:
        seconds = np.linspace(0, 1.5, width)
        rows = (paint.height - 5 - 20 * ecg_wave(seconds + paint.case.start, paint.case.r_waves)).astype(int)
        for column in np.flatnonzero(seconds <= paint.case.now):
            row, previous = int(rows[column]), int(rows[max(0, column - 1)])
            paint.pen.line((column, min(row, previous), column, max(row, previous)), fill=170)

    tall, apex = TOP + scanner.height + BOTTOM, (LEFT + scanner.width // 2, TOP)
    return ScreenLayout("small", width, tall, scanner.height, apex, still, moving)


def _still_a(paint: Painter) -> None:
    who = paint.case.identity
    paint.logo(8, 8, 26, (90, 160, 220))
    paint.text(42, 6, who.name, (235, 235, 235), 16)
    paint.text(42, 26, who.number, (200, 200, 200), 12)
    paint.text(530, 6, who.date, (200, 200, 200), 12)
    paint.text(530, 22, "TIS 0.8  MI 1.2", (200, 200, 200), 10)
    paint.text(8, 60, "Frq 2.5\nGn 54\nDR 60", (120, 190, 120), 11)
    paint.scale(622, (210, 210, 210), -1)
    paint.bar(8, 140, 120, (0, 0, 0), (255, 255, 255))
    paint.pen.ellipse((355, 38, 363, 46), fill=(80, 200, 255))
    paint.pen.polygon([(628, 250), (636, 246), (636, 254)], fill=(250, 200, 60))


def _moving_a(paint: Painter) -> None:
    paint.ecg(468, 24, (60, 230, 90), 3.0)
    paint.heart_rate(570, 440, (60, 230, 90), 13)


def _still_b(paint: Painter) -> None:
    who = paint.case.identity
    paint.text(10, 6, f"{who.name}   {who.number}", 220, 14)
    paint.text(640, 6, who.date, 200, 14)
    paint.text(640, 26, "General Hospital", 180, 12)
    paint.scale(46, 190, 1)
    paint.bar(770, 80, 256, 10, 250)
    paint.buttons(["FREEZE", "DEPTH", "GAIN", "CINE", "STORE", "EXIT"], 574, 70, 230)
    paint.text(420, 62, "V", 235, 14)
    paint.text(700, 400, "Sec 90\nPWR 0 dB\nFPS 41", 170, 12)


def _moving_b(paint: Painter) -> None:
    paint.ecg(500, 46, 245, 1.5)
    paint.recording_dot(610, 10, 240)


def _still_c(paint: Painter) -> None:
    who = paint.case.identity
    paint.pen.rectangle((0, 0, 1023, 34), fill=(50, 60, 90))
    paint.text(12, 8, who.name, (255, 255, 255), 18)
    paint.text(380, 10, who.number, (220, 220, 220), 15)
    paint.text(900, 10, who.date, (220, 220, 220), 15)
    paint.bar(1000, 90, 90, (20, 40, 220), (10, 10, 10))
    paint.bar(1000, 180, 90, (10, 10, 10), (230, 50, 30))
    paint.scale(30, (220, 220, 120), 1)
    paint.text(502, 148, "o", (90, 220, 250), 16)
    paint.logo(940, 640, 50, (120, 120, 200))
    paint.buttons(["1 Text", "2 Caliper", "3 Body mark", "4 Print"], 742, (50, 60, 90), (255, 255, 255))


def _moving_c(paint: Painter) -> None:
    paint.clock(60, 660, 24, (230, 230, 230))
    paint.ecg(730, 30, (240, 230, 60), 3.0)


def _still_d(paint: Painter) -> None:
    who = paint.case.identity
    paint.text(14, 580, f"{who.name}\n{who.number}\n{who.date}", 210, 17)
    paint.text(14, 10, "Adult echo\nS5 / 1.7 MHz", 160, 13)
    paint.scale(1000, 220, -1)
    paint.bar(14, 120, 200, 0, 255)
    paint.logo(536, 24, 18, 240)
    paint.text(850, 640, "STRESS REST", 140, 13)


def _moving_d(paint: Painter) -> None:
    paint.heart_rate(850, 120, 230, 22)
    paint.ecg(690, 24, 200, 2.5)


def _still_e(paint: Painter) -> None:
    who = paint.case.identity
    paint.text(3, 1, f"{who.name} {who.date}", 230, 10)
    paint.pen.rectangle((296, 3, 314, 10), outline=200)
    paint.pen.rectangle((297, 4, 308, 9), fill=200)
    paint.scale(300, 200, 1, numbers=False)
    paint.text(3, 222, who.number, 200, 10)
    paint.text(172, 16, "+", 255, 12)


def _moving_e(paint: Painter) -> None:
    paint.recording_dot(282, 224, 255)
    paint.heart_rate(200, 222, 220, 10)


def _still_f(paint: Painter) -> None:
    who = paint.case.identity
    paint.pen.rectangle((600, 0, 719, 575), fill=(60, 64, 80))
    for number, name in enumerate(["Patient", "Presets", "Measure", "Review", "End"]):
        paint.pen.rectangle((608, 60 + 44 * number, 711, 94 + 44 * number), fill=(90, 96, 120))
        paint.text(618, 68 + 44 * number, name, (240, 240, 240), 14)
    paint.text(6, 4, who.name, (250, 240, 200), 15)
    paint.text(6, 24, f"{who.number}  {who.date}", (250, 240, 200), 11)
    paint.scale(596, (200, 200, 230), -1, numbers=False)
    paint.bar(580, 40, 100, (0, 0, 0), (255, 220, 160))
    paint.logo(640, 520, 36, (240, 160, 60))


def _moving_f(paint: Painter) -> None:
    paint.text(622, 300, f"{paint.case.now + 7:08.3f} s", (255, 255, 255), 14)
    paint.ecg(560, 12, (255, 255, 255), 3.0)
    paint.recording_dot(690, 10, (255, 40, 40))


LAYOUTS = (
    ScreenLayout("layout-a", 640, 480, 390, (325, 44), _still_a, _moving_a, (0, 0, 0)),
    ScreenLayout("layout-b", 800, 600, 430, (400, 64), _still_b, _moving_b, 28),
    ScreenLayout("layout-c", 1024, 768, 610, (506, 60), _still_c, _moving_c, (18, 20, 30), face=0.18),
    ScreenLayout("layout-d", 1016, 708, 720, (508, 36), _still_d, _moving_d, 0),
    ScreenLayout("layout-e", 320, 240, 196, (154, 18), _still_e, _moving_e, 12),
    ScreenLayout("layout-f", 720, 576, 490, (250, 40), _still_f, _moving_f, (8, 10, 24)),
)
"""Grey and RGB, black and dark, phased and curved arrays; sectors cut off by the bottom (d) or a side (f)."""
