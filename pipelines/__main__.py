"""`python -m pipelines` is `millstream`."""

from pipelines.cli import main

main()
