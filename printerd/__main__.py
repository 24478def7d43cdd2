"""``python -m printerd``: the command line."""

from printerd.cli import main

main()
