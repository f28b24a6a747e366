"""Genuine photographs that cases are compared with: enrolled, versioned, hashed, searched exactly."""

from assay.references.enrolment import EnrolmentPhoto, enrol
from assay.references.files import FileReferences
from assay.references.stores import open_references

__all__ = ["EnrolmentPhoto", "FileReferences", "enrol", "open_references"]
