"""Other names of keys: what people call an attribute that PS3.6 names by another keyword.

Names are folded: letters and digits in lower case. Imported only after a name that is no keyword, and for lists.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from movescu.dictionary import tags

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

_ALIKE: Final = 0.8
"""Lowest similarity of a spelling that counts as a typing error."""
_DIFFERENCE: Final = 4
_SHORTEST: Final = 6  # letters of a misspelt name that is no keyword: of shorter ones, too many are alike


def folded(name: str) -> str:
    """Return the letters and digits of a name in lower case."""
    return "".join(character for character in name.casefold() if character.isalnum())


def nearest(name: str) -> str:
    """Return the keyword that a name of a key probably means, by meaning or by spelling; empty if there is none."""
    if meant := AS_A_KEY.get(folded(name)):
        return meant
    lower = name.lower()
    alike = (k for k in tags.keywords() if k[0].lower() == lower[:1] and abs(len(k) - len(name)) < _DIFFERENCE)
    spelled = {keyword.lower(): keyword for keyword in alike}  # comparing all 5000 would be slow
    if near := get_close_matches(lower, spelled, n=1, cutoff=_ALIKE):
        return spelled[near[0]]
    near = get_close_matches(folded(name), AS_A_KEY, n=1, cutoff=_ALIKE) if len(name) >= _SHORTEST else []
    return AS_A_KEY[near[0]] if near else ""
