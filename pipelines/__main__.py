"""`python -m pipelines` is `millstream`."""

from pipelines.cli.app import main

main()
