"""Assay: photos of a luxury item in, an evidence-backed authentication report out. An application of Fusee."""
