"""What the Flex Template `stream` starts."""

from pipelines.commands.template import launch

if __name__ == "__main__":
    launch("stream")
