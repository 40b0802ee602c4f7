"""Markers of a table: what folders hold as small files, such as `_worker.json`, tables have as properties."""

from encoder.errors import NotInStore, StoreUnavailable
from encoder.store.objects import Objects
from pipelines.sinks.tables.port import ATTEMPTS, Conflict, Table, TableState, pause

__all__ = ["Markers", "TableMarkers"]


class TableMarkers:
    """The properties of a table as the markers of a folder.

    Args:
        table: the table; before it exists, it has no markers.
    """

    def __init__(self, table: Table) -> None:
        self.uri = table.uri
        self._table = table

    def stat(self, key: str) -> object | None:
        """The marker, or None if there is none."""
        state = self._table.look()
        return None if state is None else state.properties.get(_property(key))

    def read(self, key: str) -> bytes:
        """What a marker says.

        Raises:
            NotInStore: there is none.
        """
        if (found := self.stat(key)) is None:
            raise NotInStore(f"{self.uri} has no property {_property(key)}")
        return str(found).encode()

    def create(self, key: str, data: bytes | memoryview) -> bool:
        """Write a marker unless there is one; whether it was written."""
        return self._set(key, data, replace=False)

    def overwrite(self, key: str, data: bytes | memoryview) -> None:
        """Write a marker, whether there is one or not."""
        self._set(key, data, replace=True)

    def _set(self, key: str, data: bytes | memoryview, *, replace: bool) -> bool:
        name, value = _property(key), bytes(data).decode()
        for _ in range(ATTEMPTS):
            state: TableState | None = self._table.look()
            if state is None:
                raise NotInStore(f"there is no table {self.uri} any more")
            if name in state.properties and (not replace or state.properties[name] == value):
                return False
            try:
                state.set_property(name, value)
            except Conflict:
                pause()
            else:
                return True
        raise StoreUnavailable(f"{self.uri} changes too often to write its property {name}")


Markers = Objects | TableMarkers
"""Where a writer finds and leaves markers: a folder, or a table."""


def _property(key: str) -> str:
    """`_worker.json` is `millstream.worker`, and `payments/_input.json` is `millstream.input.payments`."""
    folder, _, file = key.rpartition("/")
    name = file.strip("_").removesuffix(".json")
    return f"millstream.{name}.{folder}" if folder else f"millstream.{name}"
