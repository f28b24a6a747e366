"""The whole application under load while its processes are killed, hung and stopped at random moments."""
