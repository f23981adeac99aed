"""DICOM out: loops as the ordinary Ultrasound Multi-frame Image files that a scanner stores."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
    UltrasoundMultiFrameImageStorage,
)

from echojepa.data.reading.cine import CineLoop, Region
from echojepa.data.reading.dicom.reader import VIEW_CODES
from echojepa.data.reading.dicom.regions import REGION_CODES
from echojepa.files.durable import write_file

Syntax = Literal["jpeg", "explicit", "implicit", "deflated", "rle", "jpeg-ls", "jpeg-2000"]
UIDS: dict[Syntax, UID] = {
    "jpeg": JPEGBaseline8Bit,
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg-2000": JPEG2000Lossless,
}
"""JPEG is baseline, quality 95; every other one keeps the pixels bit for bit."""
ENCODERS = {"rle": "pydicom", "jpeg-ls": "pyjpegls", "jpeg-2000": "pylibjpeg"}
"""Which of pydicom's plugins encodes; named, so that the bytes do not depend on what else is installed."""


def write_cine(
    path: Path,
    loop: CineLoop,
    *,
    patient_name: str,
    study_date: str,
    transfer_syntax: Syntax = "jpeg",
) -> None:
    """Write an Ultrasound Multi-frame Image in one of the transfer syntaxes `UIDS`.

    The loop's ids become PatientID, StudyInstanceUID and SOPInstanceUID as they are. Nothing is left at
    `path` unless the whole file is.
    """
    data = Dataset()
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = UIDS[transfer_syntax]
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = UID(loop.loop_id)
    data.file_meta = meta
    data.SOPClassUID, data.SOPInstanceUID = UltrasoundMultiFrameImageStorage, loop.loop_id
    data.StudyInstanceUID, data.SeriesInstanceUID = loop.study_id, f"{loop.study_id}.1"
    data.PatientID, data.PatientName, data.StudyDate = loop.patient_id, patient_name, study_date
    data.PatientBirthDate = data.StudyTime = data.AccessionNumber = ""
    data.PatientSex = loop.sex or ""
    if loop.age is not None:
        data.PatientAge = f"{int(loop.age):03d}Y" if loop.age >= 2 else f"{int(12 * loop.age):03d}M"
    data.ReferringPhysicianName = data.StudyID = ""
    data.Modality, data.Manufacturer = "US", loop.manufacturer
    data.SeriesNumber = data.InstanceNumber = 1
    data.FrameTime = f"{1000 * float(np.diff(loop.times).mean() if len(loop.times) > 1 else 0.04):.6g}"
    data.FrameIncrementPointer = 0x00181063
    if loop.heart_rate is not None:
        data.HeartRate = round(loop.heart_rate)
    if loop.r_waves:
        data.RWaveTimeVector = [1000 * seconds for seconds in loop.r_waves]
    if loop.view is not None and loop.view in VIEW_CODES:
        data.ViewCodeSequence = Sequence([_code_item(VIEW_CODES[loop.view])])
    data.SequenceOfUltrasoundRegions = Sequence([_region_item(region) for region in loop.regions])
    _put_pixels(data, loop.frames, transfer_syntax)
    write_file(path, lambda file: data.save_as(file, enforce_file_format=True))


def _code_item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code[:3]
    return item


def _region_item(region: Region) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = REGION_CODES[region.kind]
    item.RegionFlags = 2
    item.RegionLocationMinX0, item.RegionLocationMinY0 = region.x0, region.y0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = region.x1, region.y1
    if region.mm_per_pixel is not None:
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaY, item.PhysicalDeltaX = (size / 10 for size in region.mm_per_pixel)
    return item


def _put_pixels(data: Dataset, frames: NDArray[np.uint8], transfer_syntax: Syntax) -> None:
    colour = frames.ndim == 4
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape[:3]
    data.SamplesPerPixel = 3 if colour else 1
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    if colour:
        data.PlanarConfiguration = 0
    if transfer_syntax != "jpeg":
        data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
        data.PixelData = frames.tobytes() + b"\0" * (frames.size % 2)
        if transfer_syntax in ENCODERS:
            data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # what it is compressed from
            data.compress(
                UIDS[transfer_syntax], encoding_plugin=ENCODERS[transfer_syntax], generate_instance_uid=False
            )
        return
    encoded = []
    for frame in frames:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=95, subsampling="4:2:2")
        encoded.append(buffer.getvalue())
    data.PhotometricInterpretation = "YBR_FULL_422" if colour else "MONOCHROME2"
    data.PixelData = encapsulate(encoded)
    data["PixelData"].is_undefined_length = True
    data.LossyImageCompression, data.LossyImageCompressionMethod = "01", "ISO_10918_1"
    data.LossyImageCompressionRatio = round(frames.nbytes / max(1, sum(map(len, encoded))), 2)
