"""Genuine photographs that cases are compared with: enrolled, versioned, hashed, searched exactly."""
