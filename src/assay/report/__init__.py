"""The report: one signed JSON document, and its renderings as a page and as PDF."""
