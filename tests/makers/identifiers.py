"""A study that names its patient wherever a file can: in attributes, sequences, private elements, the file's
own header, UIDs, the pictures' comments, a text beside them, and the names of files and folders."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.encaps import encapsulate, generate_frames

ATTRIBUTES = {
    "PatientName": "SECRETNAME^A", "PatientID": "SECRETID-1", "IssuerOfPatientID": "SECRETISSUER",
    "PatientBirthDate": "19010203", "PatientBirthTime": "040517", "OtherPatientNames": "SECRETOTHER",
    "PatientBirthName": "SECRETMAIDEN", "PatientMotherBirthName": "SECRETMOTHER",
    "PatientAddress": "SECRETSTREET", "PatientTelephoneNumbers": "SECRETPHONE",
    "CountryOfResidence": "SECRETCOUNTRY", "RegionOfResidence": "SECRETREGION", "EthnicGroup": "SECRETORIGIN",
    "Occupation": "SECRETWORK", "MilitaryRank": "SECRETRANK", "BranchOfService": "SECRETBRANCH",
    "PatientReligiousPreference": "SECRETFAITH", "MedicalRecordLocator": "SECRETRECORD",
    "AdditionalPatientHistory": "SECRETHISTORY", "PatientComments": "SECRETCOMMENT",
    "ResponsiblePerson": "SECRETPARENT", "ResponsibleOrganization": "SECRETGUARDIAN",
    "AccessionNumber": "SECRETACC", "AdmissionID": "SECRETADMISSION", "StudyID": "SECRETSID",
    "CurrentPatientLocation": "SECRETWARD", "PatientInstitutionResidence": "SECRETHOME",
    "ReferringPhysicianName": "SECRETDOC", "ReferringPhysicianAddress": "SECRETPRACTICE",
    "PhysiciansOfRecord": "SECRETCHIEF", "NameOfPhysiciansReadingStudy": "SECRETREADER",
    "RequestingPhysician": "SECRETASKER", "PerformingPhysicianName": "SECRETPERF",
    "OperatorsName": "SECRETHAND", "InstitutionName": "SECRETHOUSE", "InstitutionAddress": "SECRETROAD",
    "InstitutionalDepartmentName": "SECRETUNIT", "StationName": "SECRETSTATION",
    "DeviceSerialNumber": "SECRETSER", "ManufacturerModelName": "SECRETMODEL",
    "StudyDescription": "SECRETSTUDY", "SeriesDescription": "SECRETSERIES", "ProtocolName": "SECRETPROTOCOL",
    "RequestedProcedureDescription": "SECRETREQUEST", "PerformedProcedureStepID": "SECRETSTEP",
    "ImageComments": "SECRETIMAGE", "StudyDate": "20110927", "StudyTime": "131415",
    "AcquisitionDateTime": "20091231235958", "StudyInstanceUID": "2.25.90919293949596",
    "SeriesInstanceUID": "2.25.80818283848586", "FrameOfReferenceUID": "2.25.70717273747576",
}  # fmt: skip
ELSEWHERE = {
    "an item of a sequence": "SECRETITEM", "a private element": "SECRETPRIVATE",
    "the file's own header": "SECRETSENDER", "a comment in a JPEG": "SECRETJPEG",
    "a UID": "2.25.60616263646566", "the name of a file": "SECRETFILE",
    "the name of a folder": "SECRETFOLDER", "a file that is no study": "SECRETTEXT",
}  # fmt: skip


@dataclass(frozen=True)
class PlantedStudy:
    """Where it is, and what must be found nowhere else."""

    folder: Path
    files: tuple[Path, ...]
    """Its DICOM files; a text file lies beside them."""
    words: tuple[str, ...] = tuple({**ATTRIBUTES, **ELSEWHERE}.values())

    def told_in(self, texts: Iterable[str]) -> list[str]:
        """Those of the words that stand in any of the texts."""
        together = "\n".join(texts)
        return [word for word in ("SECRET", *self.words) if word in together]


def plant(source: Path, root: Path) -> PlantedStudy:
    """Copies of a study's files with every kind of identifier in each."""
    folder = root / ELSEWHERE["the name of a folder"]
    folder.mkdir(parents=True)
    files = []
    for number, path in enumerate(sorted(source.iterdir())):
        data = pydicom.dcmread(path)
        for name, value in ATTRIBUTES.items():
            setattr(data, name, value)
        data.SOPInstanceUID = f"{ELSEWHERE['a UID']}.{number}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.file_meta.SourceApplicationEntityTitle = ELSEWHERE["the file's own header"]
        item = pydicom.Dataset()
        item.ScheduledProcedureStepDescription = ELSEWHERE["an item of a sequence"]
        data.RequestAttributesSequence = [item]
        block = data.private_block(0x0099, "ECHOJEPA TEST", create=True)
        block.add_new(1, "LO", ELSEWHERE["a private element"])
        comment_on_pictures(data, ELSEWHERE["a comment in a JPEG"].encode())
        files.append(folder / f"{ELSEWHERE['the name of a file']}{number}.dcm")
        data.save_as(files[-1])
    (folder / "SECRETNOTE.txt").write_text(ELSEWHERE["a file that is no study"])
    return PlantedStudy(folder, tuple(files))


def comment_on_pictures(data: pydicom.Dataset, words: bytes) -> None:
    """Put a comment (marker COM) behind the start of each JPEG."""
    comment = b"\xff\xfe" + (len(words) + 2).to_bytes(2) + words
    frames = generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames))
    data.PixelData = encapsulate([frame[:2] + comment + frame[2:] for frame in frames])
