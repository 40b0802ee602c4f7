from pipelines.beam.streaming.sources.idle_consumers import IdleConsumers

HERE, THERE = ("topic/0", 7), ("topic/0", 8)


class Consumer:
    closed = 0

    def close(self):
        self.closed += 1


def test_a_consumer_is_taken_once_and_only_where_it_waits():
    consumers, one = IdleConsumers(), Consumer()
    consumers.leave(HERE, one)
    assert consumers.take(THERE) is None
    assert consumers.take(HERE) is one
    assert consumers.take(HERE) is None
    assert not one.closed


def test_of_two_at_a_place_the_first_is_closed():
    consumers, one, two = IdleConsumers(), Consumer(), Consumer()
    consumers.leave(HERE, one)
    consumers.leave(HERE, two)
    assert (one.closed, two.closed) == (1, 0)
    assert consumers.take(HERE) is two


def test_only_what_nobody_has_taken_is_dropped():
    consumers, one = IdleConsumers(), Consumer()
    first = consumers.leave(HERE, one)
    assert consumers.take(HERE) is one
    consumers.drop(HERE, first)
    second = consumers.leave(HERE, one)  # by whoever had taken it, and found nothing new
    consumers.drop(HERE, first)
    consumers.drop(THERE, second)
    assert not one.closed
    consumers.drop(HERE, second)
    assert one.closed == 1
    assert consumers.take(HERE) is None
