"""`millstream worker --check`: everything that a worker needs, looked at and said."""

from pipelines.enrich.model_follower import ModelFollower
from pipelines.kafka.admin import check_transactions
from pipelines.kafka.config import shown
from pipelines.worker.plan import Plan, wanted_heads
from pipelines.worker.settings import WorkerSettings
from pipelines.worker.telemetry.tracing import OFF

__all__ = ["check"]


def check(settings: WorkerSettings) -> list[tuple[str, str]]:
    """Look at everything that a worker needs, without joining the group.

    Returns:
        What was found, name and value.

    Raises:
        MillstreamError: the first thing that is not as it must be.
    """
    follower = ModelFollower.start(settings.model, pin=True)
    follower.close()
    plan = Plan(settings, wanted_heads(settings, follower))
    follower.only_if(plan.maker(OFF).accept)
    if plan.written and settings.delivery == "exactly-once" and settings.instance is None:
        check_transactions(settings.brokers, settings.properties, f"{settings.group}-")
    heads = wanted_heads(settings, follower).names
    found = [
        ("model", follower.current().label + (" (from the cache)" if follower.from_cache else "")),
        ("heads", ", ".join(heads) or "none"),
        *(("input", f"topic {topic}, {n} partitions") for topic, n in plan.reads.items()),
    ]
    found += [
        (
            "output",
            f"topic {topic}, {plan.writes[topic]} partitions, {plan.max_bytes[topic]:,} bytes a message",
        )
        for topic in plan.topics
    ]
    found += [("output", output.target) for output in settings.parquet_outputs]
    if plan.schemas is not None:
        found.append(("schema registry", plan.schemas.registry.url))
        found += [("input schema", one.about) for one in plan.known]
    if plan.messages is not None:
        looks = plan.messages.look(one.schema for one in plan.known)
        found += [("output schema", f"subject {subject}, {what}") for subject, what in looks]
    if plan.schema is not None:
        found.append(("columns", ", ".join(f"{field.name}: {field.type}" for field in plan.schema)))
    letters = settings.dead_letters
    found.append(("dead letters", f"{letters.kind} {letters.target}"))
    found.append(("delivery", settings.delivery))
    found += [(f"property {key}", value) for key, value in sorted(shown(settings.properties).items())]
    return found
