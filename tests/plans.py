"""Plans of workers, from settings as the command line has them."""

from pipelines.worker.configuration.plan import Plan
from pipelines.worker.configuration.settings import WorkerSettings

__all__ = ["plan_of"]

_REQUIRED = {"brokers": "b:1", "group": "g", "inputs": ["in"], "model": "m"}


def plan_of(*outputs, dead_letters="topic:dead", embedded=False, **settings):
    """The plan of a worker with these outputs."""
    told = {**_REQUIRED, "outputs": list(outputs), "dead_letters": dead_letters, **settings}
    return Plan.parse(WorkerSettings(**told), embedded=embedded)
