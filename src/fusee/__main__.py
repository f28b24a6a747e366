"""``python -m fusee``: the command line."""

from fusee.cli import main

main()
