"""What may happen to a topic: it is created again, its records are removed, a position is not in it."""

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from patience import PATIENCE, wait_for

__all__ = ["commit", "committed", "create_again", "remove_records"]


def create_again(broker, topic, partitions):
    """Delete a topic and create it again."""
    admin = broker.admin()
    admin.delete_topics([topic])[topic].result(PATIENCE)

    def create():
        try:
            broker.create_topic(topic, partitions)
        except KafkaException:  # it is still being deleted
            return False
        return True

    wait_for(create, f"topic {topic} again", bool, pause=0.05)


def committed(broker, group):
    """What a group has committed: partitions with offset and metadata."""
    admin = broker.admin()  # its futures end with it
    [found] = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
    return found.result(PATIENCE).topic_partitions


def commit(broker, group, positions):
    """Commit positions for a group that nobody is in."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": group})
    consumer.commit(offsets=positions, asynchronous=False)
    consumer.close()


def remove_records(broker, topic, partitions, before=-1):
    """Remove the records before an offset of each partition, as retention does; all records by default."""
    admin = broker.admin()
    removed = admin.delete_records([TopicPartition(topic, p, before) for p in range(partitions)])
    for future in removed.values():
        future.result(PATIENCE)
