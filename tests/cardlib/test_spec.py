"""The tables against the vectors, against themselves, and against facts of the circular that no vector shows."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from cardlib.spec import (
    Access,
    AccessKind,
    CardSpec,
    CodeList,
    FileClass,
    Generation,
    ItemSpec,
    ItemType,
    KeyType,
    Structure,
    code_lists,
    load,
)
from cardlib.spec.names import SSSE_NAME
from cardlib.spec.rcp import directory_records, key_record_header, pin_record_header, rcp_create_commands

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "vectors_card_crypto.json").read_text("utf-8"))

# Sizes of V2.0 files in bytes, as computed by hand from the item tables (T9, B3-B8).
SIZES = {
    "SSSEEF05": 64, "SSSEEF06": 91, "SSSEEF07": 768, "SSSEEF08": 4096,
    "DF01EF06": 173, "DF01EF15": 165, "DF01EF1A": 296, "DF02EF05": 436, "DF02EF07": 340, "DF03EF06": 401,
    "DF03EF19": 164, "DF04EF05": 182, "DF04EF08": 840, "DF05EF05": 506, "DF06EF05": 167, "DF06EF06": 217,
    "DF07EF06": 83,
}  # fmt: skip


@pytest.fixture(params=list(Generation))
def spec(request: pytest.FixtureRequest) -> CardSpec:
    return load(request.param)


@pytest.mark.parametrize("generation", ["2.0", "3.0"])
def test_structure_equals_the_vectors_byte_for_byte(generation: str) -> None:
    expected = [(row["file"], row["apdu"]) for row in VECTORS[f"rcp_structure_{generation.replace('.', '_')}"]]
    assert [(name, apdu.hex().upper()) for name, apdu in rcp_create_commands(load(generation))] == expected


def test_optional_applications_come_on_wish_and_fit_their_df() -> None:
    labels = [name for name, _ in rcp_create_commands(load("3.0"), with_optional=True)]
    assert {"DF05/EF05", "DF06/EF06"} <= set(labels)
    for generation in Generation:
        for df in load(generation).dfs:
            assert sum(ef.size for ef in df.files) <= df.size, df.name


def test_key_record_headers_equal_the_vectors() -> None:
    plain = {row["id"]: row["plain"] for row in VECTORS["vectors"] if row["kind"] == "rcp_write_key"}
    for name, key, algorithm in (
        ("rcp-write-key-3DES-IRK", "IRK", "3DES"),
        ("rcp-write-key-SM4-IRK", "IRK", "SM4"),
        ("rcp-write-key-3DES-STK8", "STK", "3DES"),
        ("rcp-write-key-3DES-UK_SSSE", "UK_SSSE", "3DES"),
        ("rcp-write-key-SM4-RK_SSSE", "RK_SSSE", "SM4"),
        ("rcp-update-master-SM4", "MK_SSSE", "SM4"),
    ):
        header = key_record_header(load("3.0").key(key), 1, algorithm)
        assert header.hex().upper() == plain[name][:16], name
    assert pin_record_header(load("2.0").pin).hex() == plain["rcp-write-pin-3DES"][:16]
    with pytest.raises(ValueError, match="versions"):
        key_record_header(load("3.0").key("STK"), 2, "SM4")


def test_root_levels_of_the_vectors_are_those_of_the_tables() -> None:
    spec = load("2.0")
    for name, root in VECTORS["meta"]["root_keys"].items():
        assert spec.key(name).root_level == root["level"], name
    for name, value in VECTORS["meta"]["card_keys"].items():
        algorithm, _, key = name.partition(":")
        if key != "STK16":
            assert spec.key(key).length(algorithm) == len(value) // 2, name


def test_psam_usage_byte_says_the_same_level_as_the_root() -> None:
    """Draft P9 §6.2: N diversifications are left; a level n root still needs levels n to 3. Provinces may differ."""
    for key in load("3.0").keys:
        if key.psam and key.psam.usage != 0x48:
            assert key.psam.levels == 4 - key.root_level, key.name
        elif key.psam:
            assert key.root_level == 2, key.name


def test_sizes_are_those_of_the_circular() -> None:
    for path, size in SIZES.items():
        assert load("2.0").ef(path).size == size, path


def test_third_generation_differs_only_where_it_should() -> None:
    old, new = load("2.0"), load("3.0")
    differing = [ef.path for df in new.dfs for ef in df.files if old.ef(ef.path) != ef]
    assert differing == ["SSSEEF06"]
    assert new.ef("SSSEEF06").items == old.ef("SSSEEF06").items
    assert new.ef("SSSEEF06").read == Access(AccessKind.KEY, "RK_SSSE", 0x0A)
    assert (old.algorithm_id, new.algorithm_id, new.version_text) == (0x00, 0x03, "3.00")
    assert old.key("STK").length(old.algorithm) == 8
    assert new.key("STK").length(new.algorithm) == 16


def test_first_generation_has_its_own_meanings() -> None:
    old = load("1.0")
    assert [item.slug for item in old.ef("SSSEEF06").items if item.tag == 0x4E] == []
    assert old.item("DF04EF05", "81").name_zh == "定点医疗机构名称1"
    assert old.ef("DF01EF07").read == Access(AccessKind.PIN_OR_KEY, "UK2DF01", 0x84)
    assert old.ef("DF04EF06").record_length == 6
    with pytest.raises(KeyError):
        old.ef("SSSEEF08")
    with pytest.raises(KeyError):
        old.df("DF07")
    with pytest.raises(KeyError):
        old.key("RK_SSSE")


def test_rewritten_items_shrink_and_keep_their_file() -> None:
    old, new = load("1.0"), load("2.0")
    places = {item.tag: ef.path for df in old.dfs for ef in df.efs for item in ef.items}
    for tag, length in old.rewritten.items():
        before, after = old.item(places[tag], tag), new.item(places[tag], tag)
        assert after.length == length, f"{tag:02X}"
        assert length < before.length or tag in (0x4B, 0x4F), f"{tag:02X}"
    for tag, leader in old.follows.items():
        assert places[tag] == places[leader]
        assert leader in old.rewritten


def test_slugs_and_tags_are_unique(spec: CardSpec) -> None:
    slugs = Counter(
        item.slug for df in spec.dfs for ef in df.efs if ef.structure is not Structure.CYCLIC for item in ef.items
    )
    assert [slug for slug, count in slugs.items() if count > 1] == []
    tags = Counter(item.tag for df in spec.dfs for ef in df.efs for item in ef.items if item.tag is not None)
    assert [tag for tag, count in tags.items() if count > 1] == [0x60]  # in one of two files (V2.0 T9)
    for slug in slugs:
        assert spec.find_item(slug)[1].slug == slug


def test_every_item_is_coherent(spec: CardSpec) -> None:
    for df in spec.dfs:
        for ef in df.efs:
            linear = ef.structure in (Structure.LINEAR_FIXED, Structure.LINEAR_VARIABLE)
            for item in ef.items:
                assert (item.tag is not None) == linear, f"{ef.path} {item.slug}"
                assert 0 < item.length <= (254 if linear else 4096)
                check_item(item)


def check_item(item: ItemSpec) -> None:
    assert item.name_zh
    assert item.name_en
    assert (item.type is ItemType.BTLV) == bool(item.inner)
    assert not item.is_gbk or item.type is ItemType.AN
    if item.code_list is not None:
        codes = code_lists()[item.code_list]
        longest = max([len(code) for code in codes.codes] + [part.start + part.length for part in codes.parts])
        assert longest <= item.length * (2 if item.type is ItemType.CN else 1), item.slug
    for inner in item.inner:
        check_item(inner)


def test_every_code_list_is_used_and_has_texts() -> None:
    used = {item.code_list for df in load("3.0").dfs for ef in df.efs for top in ef.items for item in (top, *top.inner)}
    assert used - {None} == set(code_lists())
    for codes in code_lists().values():
        assert codes.codes or codes.parts
        for part in codes.parts:
            assert {len(code) for code in part.codes} == {part.length}


@pytest.mark.parametrize("codes", code_lists().values(), ids=lambda codes: codes.name)
def test_every_code_has_an_english_text(codes: CodeList) -> None:
    for zh, en in ((codes.codes, codes.en), *((part.codes, part.en) for part in codes.parts)):
        assert en.keys() == zh.keys()
    names = [codes.name_en, *(part.name_en for part in codes.parts)]
    for text in (*names, *codes.en.values(), *(text for part in codes.parts for text in part.en.values())):
        assert re.fullmatch(r"[!-~](?:[ -~]*[!-~])?", text), text


def test_access_rules_name_keys_that_can_be_authenticated(spec: CardSpec) -> None:
    for df in spec.dfs:
        for ef in df.efs:
            for access in (ef.read, ef.write):
                if not access.names_key:
                    assert access.kid == 0
                    continue
                key = spec.key(access.key)
                assert key.type is KeyType.AUTHENTICATION
                assert not key.is_internal_only
                assert key.df in ("SSSE", df.name)
                assert bool(key.kid & 0x80) == (key.df != "SSSE")
            assert ef.write.kind is not AccessKind.FREE, ef.path


def test_keys_are_unambiguous_and_fit_the_key_file(spec: CardSpec) -> None:
    assert len({key.name for key in spec.keys}) == len(spec.keys)
    for df in spec.dfs:
        keys = spec.keys_of(df.name)
        references = [key.kid for key in keys if key.kid & 0x7F]
        assert len(set(references)) == len(references), df.name
        pin_records = 1 if df.is_environment else 0
        assert sum(key.versions for key in keys) + pin_records <= df.key_file.records
        assert {spec.key(f"MK_{df.name}").kid, spec.key(f"TMK_{df.name}").kid} == {df.master_kid}


def test_names_and_labels() -> None:
    spec = load("3.0")
    assert spec.df("SSSE").aid == SSSE_NAME == bytes.fromhex("7378312E73682EC9E7BBE1B1A3D5CF")
    assert spec.df("DF05").aid == bytes.fromhex("C9FAC3FCD3EBBDA1BFB5D0C5CFA2C7F8")
    for df in spec.dfs:
        assert 5 <= len(df.aid) <= 16
        assert len(df.label.encode("gbk")) <= 16
        assert df.is_optional == (df.name in ("DF05", "DF06"))
    assert {ef.klass for ef in spec.df("DF05").efs} == {FileClass.INFORMATIVE}


def test_directory_record_of_the_reference() -> None:
    records = directory_records(load("2.0"))
    assert records[0].hex().upper() == "61184F06D15600000500500EB9ABB9B2D3A6D3C3D0C5CFA2C7F8"
    assert len(records) == 5
    directory = load("2.0").df("SSSE").directory
    assert directory is not None
    assert len(directory_records(load("2.0"), with_optional=True)) <= directory.records
    assert sum(map(len, directory_records(load("2.0"), with_optional=True))) <= directory.size


def test_lookups_refuse_what_is_not_there() -> None:
    spec = load(Generation.V3)
    assert spec is load("3.0")
    assert spec.item("SSSEEF05", "07") is spec.ef("SSSEEF05").item(0x07)
    for lookup in (
        lambda: spec.ef("DF04EF07"),
        lambda: spec.item("SSSEEF05", "08"),
        lambda: spec.find_item("shoe_size"),
        lambda: spec.key("UK9"),
        lambda: spec.df("DF08"),
    ):
        with pytest.raises(KeyError):
            lookup()
    with pytest.raises(ValueError, match="Generation"):
        load("4.0")
