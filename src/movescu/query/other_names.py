"""Other names of keys: what people call an attribute that PS3.6 names by another keyword.

Names are folded: letters and digits in lower case. Imported only after a name that is no keyword, and for lists.
"""

from __future__ import annotations

from typing import Final

_UNMISTAKABLE: Final = {
    "PatientID": (
        "mrn mrns medicalrecordnumber medicalrecordno patid patno patientno patientnr patientnumber patientnum "
        "patientidentifier pid ptid hospitalnumber hospitalid"
    ),
    "AccessionNumber": "accession accessions accessionno accessionnr accessionid accessionnum acc accno accnr accnum "
    "accnumber acsn",
    "StudyInstanceUID": "studyuid studyuids studyinstanceid studyiuid suid siuid",
    "SeriesInstanceUID": "seriesuid seriesuids seriesinstanceid seriesiuid",
    "SOPInstanceUID": "sopuid sopuids sopiuid instanceuid imageuid objectuid sopinstance",
    "PatientBirthDate": "dob birthdate dateofbirth patientdob patientdateofbirth",
}
UNMISTAKABLE: Final = {name: keyword for keyword, names in _UNMISTAKABLE.items() for name in names.split()}
"""Names that mean a key wherever they stand, as in the heading of a column."""

_AS_A_KEY: Final = {
    "QueryRetrieveLevel": "level qrlevel querylevel retrievelevel queryretrieve qlevel",
    "StudyInstanceUID": "uid study studyinstance",
    "SeriesInstanceUID": "series seriesinstance",
    "SOPInstanceUID": "instance image object sop instanceid imageid",
    "PatientID": "id patient patients mrnnumber",
    "PatientName": "name patname lastname surname familyname",
    "PatientSex": "sex gender",
    "PatientBirthDate": "birthday born birth patientbirth",
    "StudyDate": "date examdate scandate dateofstudy studydatetime",
    "StudyTime": "time examtime scantime timeofstudy",
    "StudyDescription": "description studydesc examdescription procedure",
    "SeriesDescription": "seriesdesc seriesname",
    "ProtocolName": "protocol",
    "ModalitiesInStudy": "modalities studymodality",
    "BodyPartExamined": "bodypart",
    "ReferringPhysicianName": "referrer referringphysician referringdoctor",
    "InstitutionName": "institution hospital site",
    "StationName": "station scanner",
    "SpecificCharacterSet": "charset characterset encoding",
    "NumberOfStudyRelatedInstances": "numberofimages numberofinstances imagecount",
    "SOPClassUID": "sopclass class",
}
AS_A_KEY: Final = UNMISTAKABLE | {name: keyword for keyword, names in _AS_A_KEY.items() for name in names.split()}
"""Names that mean a key where a key is expected."""


def folded(name: str) -> str:
    """Return the letters and digits of a name in lower case."""
    return "".join(character for character in name.casefold() if character.isalnum())


def meant_by(name: str) -> str:
    """Return the keyword that the name of a key probably means, empty if it is not known."""
    return AS_A_KEY.get(folded(name), "")
