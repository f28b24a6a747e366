"""Models in folders: found, configured, built, loaded, replaced while they serve, compared."""
