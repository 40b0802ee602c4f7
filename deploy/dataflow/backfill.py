"""What the Flex Template `backfill` starts."""

from pipelines.cli.template import launch

if __name__ == "__main__":
    launch("backfill")
