"""Every column of every table is classified, and sealed columns open with the context that the table names."""

from __future__ import annotations

import pytest
from sqlalchemy import LargeBinary

from issuance import models
from issuance.privacy.classification import CLASSES, classification, sealed_columns
from issuance.privacy.masks import MASKS, mask

METADATA = models.ApplicationRow.metadata


@pytest.mark.parametrize("table", sorted(METADATA.tables))
def test_every_column_is_classified(table: str) -> None:
    """One missing? Add it to issuance/privacy/classification.toml."""
    columns = {column.name for column in METADATA.tables[table].columns}
    given = classification().get(table, {})
    assert sorted(columns - set(given)) == [], "not classified"
    assert sorted(set(given) - columns) == [], "classified, but not there"
    assert set(given.values()) <= set(CLASSES)


def test_no_table_is_only_on_paper() -> None:
    assert set(classification()) == set(METADATA.tables)


def test_sealed_columns_say_what_they_are() -> None:
    """By their name, and the other way round: whatever is called sealed has a context made of its own row."""
    sealed = {(column.table.name, column.column.name) for column in sealed_columns()}
    named = {
        (table.name, column.name)
        for table in METADATA.tables.values()
        for column in table.columns
        if column.name.startswith("sealed") and isinstance(column.type, LargeBinary)
    }
    assert sealed == named
    for column in sealed_columns():
        assert set(column.table.primary_key.columns) >= set(column.key)
        assert column.parts or column.table.name == "singleton"


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("name", "测试甲", "测*甲"),
        ("guardian_name", "测父", "测*"),
        ("social_security_number", "990100199001010012", "**************0012"),
        ("telephone", "13900000000", "139****0000"),
        ("telephone", "010123", "****23"),
        ("telephone", "110", "***"),
        ("address", "某某市某某区保密路九号", "某某市某某****"),
        ("address", "京", "****"),
        ("document_number", "E12345678", "*******78"),
        ("document_number", "E1", "**"),
        ("account_number", "6217000010000000001", "621700*********0001"),
        ("card_number", "A00000011", "A0000****"),
        ("birth_date", "19900101", "****"),
        ("blood_group", "AB", "****"),
        ("name", "", ""),
    ],
)
def test_masks(kind: str, value: str, shown: str) -> None:
    assert mask(kind, value) == shown


@pytest.mark.parametrize("kind", sorted(MASKS))
def test_no_mask_shows_more_than_half_of_a_short_value(kind: str) -> None:
    for length in range(1, 6):
        value = "甲乙丙丁戊"[:length]
        assert sum(letter in value for letter in mask(kind, value)) <= (length + 1) // 2
