"""Rules for the schema."""

from __future__ import annotations

import pytest
from sqlalchemy import Index, Table

from roomcast.store.tables import METADATA


@pytest.mark.parametrize("table", METADATA.sorted_tables, ids=lambda table: table.name)
def test_each_foreign_key_has_an_index(table: Table) -> None:
    """A deletion in the other table reads the rows that refer to it, for each deleted row."""
    keys = [list(table.primary_key.columns), *(list(index.columns) for index in table.indexes if not is_partial(index))]
    beginnings = {key[0].name for key in keys if key}
    missing = [
        constraint.column_keys
        for constraint in table.foreign_key_constraints
        # Chats and epochs are not deleted.
        if constraint.referred_table.name not in {"chats", "epochs"} and constraint.column_keys[0] not in beginnings
    ]
    assert not missing, f"{table.name} needs an index that begins with {missing}"


def is_partial(index: Index) -> bool:
    return any(index.dialect_options[name].get("where") is not None for name in ("sqlite", "postgresql"))
