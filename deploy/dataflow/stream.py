"""What the Flex Template `stream` starts."""

from pipelines.cli.template import launch

if __name__ == "__main__":
    launch("stream")
