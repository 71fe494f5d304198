"""Texts of coded values, beside the values: what a screen shows where the card stores a code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cardlib.codec import decode_code
from cardlib.spec import EfSpec, ItemSpec


def texts_of(ef: EfSpec, values: Any) -> Any:
    """The shape of `values` (as `CardFiles.read` gives them) with `{"zh", "en"}` for each code and nothing else.

    Lists keep their length, so that instances stay in parallel; empty where nothing has a text.
    """
    if isinstance(values, Mapping):
        return _of_items(ef.items, values)
    found = [_of_items(ef.items, record) for record in values]
    return found if any(found) else []


def text_of(item: ItemSpec, value: Any) -> dict[str, str]:
    """Chinese and English text of one code, empty for a value without a code list or an unused one."""
    if item.code_list is None or not value:
        return {}
    return {language: decode_code(item.code_list, str(value), language) for language in ("zh", "en")}


def _of_items(items: Iterable[ItemSpec], values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        value = values.get(item.slug)
        if isinstance(value, list):
            texts: Any = [_of_value(item, each) for each in value]
            texts = texts if any(texts) else {}
        else:
            texts = _of_value(item, value)
        if texts:
            found[item.slug] = texts
    return found


def _of_value(item: ItemSpec, value: Any) -> dict[str, Any]:
    return _of_items(item.inner, value) if isinstance(value, Mapping) else text_of(item, value)
