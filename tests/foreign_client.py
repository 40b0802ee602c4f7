"""Messages as C and Go clients may write them: headers whose names are any bytes, not only text."""

import ctypes
from pathlib import Path

import confluent_kafka

__all__ = ["write_with_header"]

_TOPIC, _VALUE, _KEY, _FLAGS, _HEADER, _END = 1, 4, 5, 7, 9, 0
_COPY = 2
_PRODUCER = 0


def write_with_header(address, topic, value, key, name, content, seconds=30):
    """Write one message with a header whose name is any bytes."""
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    library = ctypes.CDLL(str(next(folder.glob("librdkafka-*"))))
    library.rd_kafka_conf_new.restype = library.rd_kafka_new.restype = ctypes.c_void_p
    pointer, size = ctypes.c_char_p, ctypes.c_size_t
    settings = ctypes.c_void_p(library.rd_kafka_conf_new())
    why = ctypes.create_string_buffer(512)
    assert not library.rd_kafka_conf_set(settings, b"bootstrap.servers", address.encode(), why, 512), (
        why.value
    )
    client = ctypes.c_void_p(library.rd_kafka_new(_PRODUCER, settings, why, 512))
    assert client, why.value
    failed = library.rd_kafka_producev(
        client,
        *(ctypes.c_int(_TOPIC), pointer(topic.encode())),
        *(ctypes.c_int(_VALUE), pointer(value), size(len(value))),
        *(ctypes.c_int(_KEY), pointer(key), size(len(key))),
        *(ctypes.c_int(_FLAGS), ctypes.c_int(_COPY)),
        *(ctypes.c_int(_HEADER), pointer(name), pointer(content), ctypes.c_ssize_t(len(content))),
        ctypes.c_int(_END),
    )
    assert not failed, failed
    assert not library.rd_kafka_flush(client, 1000 * seconds)
    library.rd_kafka_destroy(client)
