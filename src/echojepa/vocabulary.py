"""The words of the field that appear in files and on the command line, each written once."""

from __future__ import annotations

from enum import StrEnum


class View(StrEnum):
    """Echocardiographic views (the thirteen classes of the EchoJEPA paper's view task)."""

    A2C = "A2C"
    A3C = "A3C"
    A4C = "A4C"
    A5C = "A5C"
    OTHER = "Other"
    PLAX = "PLAX"
    PSAX_AP = "PSAX-AP"
    PSAX_AV = "PSAX-AV"
    PSAX_MV = "PSAX-MV"
    PSAX_PM = "PSAX-PM"
    SSN = "SSN"
    SUBCOSTAL = "Subcostal"
    TEE = "TEE"


class Split(StrEnum):
    """Which part of the protocol a patient belongs to; one patient has one split."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class Kind(StrEnum):
    """What a stored file shows."""

    CINE = "cine"
    STILL = "still"
    DOPPLER = "doppler"
    MMODE = "mmode"


SYNTHETIC_MANUFACTURER = "echojepa phantom"
"""Manufacturer in the phantom's files, by which reports recognise synthetic loops."""


class Reason(StrEnum):
    """Why a file was not ingested: the closed list written to `rejected.parquet`."""

    NOT_DICOM = "not a DICOM file"
    NO_PIXELS = "no pixel data"
    NOT_ULTRASOUND = "not ultrasound"
    TRUNCATED = "truncated or damaged pixel data"
    UNSUPPORTED = "unsupported encoding"
    COLOUR_SPACE = "colour space that its pixels contradict"
    TOO_LARGE = "larger than the limits allow"
    NO_TIME = "no usable frame time"
    NO_SECTOR = "no ultrasound sector found"
    SEVERAL_SECTORS = "two sectors on one screen"
    DUPLICATE = "same pixels or same instance as an earlier file"
    UNREADABLE = "file could not be read"
    HELD_TEXT = "held for review: still text inside the picture"
    LIMITS = "needed more time or memory than allowed"
    PROGRAM = "error of this program"
    CRASHED = "its decoder crashed"
