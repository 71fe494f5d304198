"""Items written back into their files: what is read again is what was written, and the rest stays as it was."""

from __future__ import annotations

import tomllib

from apps_catalog.catalog import DATA, Catalog, read_catalog, read_files
from apps_catalog.reader import read_item
from apps_catalog.writing import table_of, with_item

FILES = read_files(DATA)


def test_every_item_is_read_as_it_was_written(shipped: Catalog) -> None:
    for item in shipped.items:
        assert read_item(table_of(item), owner=item.owner, head=shipped.head) == item


def test_one_item_changes_and_nothing_else(shipped: Catalog) -> None:
    """In every file the first, and the last: its text ends the file."""
    by_file = {name: [item["id"] for item in tomllib.loads(raw.decode())["item"]] for name, raw in FILES.items()
               if name != "catalog.toml"}  # fmt: skip
    for name, ids in by_file.items():
        for item_id in (ids[0], ids[-1]):
            item = shipped.item(item_id)
            table = table_of(item) | {"terms": {"zh": "另有“规定”\\。", "en": 'Other "rules" \\.'}}
            made = with_item(FILES, item_id, item.owner, table)
            assert {known for known in made if made[known] != FILES.get(known)} == {name}
            lost = set(FILES[name].decode().splitlines()) - set(made[name].decode().splitlines())
            assert sum(line.startswith(("#", "[")) for line in lost) == 0
            found = {known.id: known for known in read_catalog(made).items}
            assert found.pop(item_id).terms.en == 'Other "rules" \\.'
            assert found == {known.id: known for known in shipped.items if known.id != item_id}


def test_items_come_and_go(shipped: Catalog) -> None:
    item = shipped.items[0]
    gone = with_item(FILES, item.id, item.owner, None)
    assert len(read_catalog(gone).items) == len(shipped.items) - 1
    assert read_catalog(with_item(gone, item.id, item.owner, table_of(item))).items == shipped.items
    assert with_item(gone, item.id, item.owner, None) == gone
    assert with_item({"a.toml": file('id = "x-y-z"\n')}, "x-y-z", "x", None) == {}


def test_what_cannot_be_replaced_in_place_is_written_anew() -> None:
    """A default that the item must not have, and items that share a line."""
    table = {"id": "x-y-z", "domain": "y"}
    inline = b'owner = "x"\nitem = [{ id = "a-y-b", domain = "y" }, { id = "x-y-z", domain = "q" }]\n'
    for text in (file('id = "x-y-z"\n', '[defaults]\ndomain = "y"\nchange = "no"\n'), inline):
        made = with_item({"a.toml": text}, "x-y-z", "x", table)
        assert tomllib.loads(made["a.toml"].decode())["item"][-1] == table


def file(items: str, defaults: str = "") -> bytes:
    return f'owner = "x"\n{defaults}[[item]]\n{items}'.encode()
