"""`python -m pixelrnn`: the command line, for launchers that start modules."""

from pixelrnn.cli import main

main()
