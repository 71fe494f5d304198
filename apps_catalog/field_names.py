"""What people call the fields of an item: in differences, and as headings of lists to import."""

from __future__ import annotations

from typing import Final

from apps_catalog.model import Text

FIELD_NAMES: Final[dict[str, Text]] = {
    "name": Text("名称", "Name"),
    "summary": Text("内容", "What it is"),
    "domain": Text("领域", "Domain"),
    "level": Text("层级", "Level"),
    "areas": Text("可用地区", "Where"),
    "holders": Text("认可的发卡地", "Whose cards"),
    "carriers": Text("用卡方式", "Carriers"),
    "functions": Text("用途", "Use"),
    "channels": Text("办理渠道", "Channels"),
    "validation": Text("核验方式", "How it is checked"),
    "department": Text("主管部门", "Department"),
    "provider": Text("办理单位", "Provider"),
    "eligibility": Text("适用对象", "For whom"),
    "terms": Text("办理条件", "Terms"),
    "standing": Text("可信程度", "Standing"),
    "sources": Text("依据", "Sources"),
    "effective_from": Text("启用日期", "First day"),
    "effective_to": Text("停用日期", "Last day"),
    "generations": Text("卡的代数", "Card generations"),
    "accessibility": Text("无障碍", "Accessibility"),
    "rule": Text("条件", "Conditions"),
    "places": Text("地点", "Places"),
    "guide": Text("办理步骤", "Guide"),
    "materials": Text("材料", "Papers"),
    "equipment": Text("设备", "Equipment"),
    "returns": Text("提供给办理单位的信息", "Data given to the provider"),
    "differs": Text("与其他省份不同的原因", "Why it differs between provinces"),
}

_BOTH = 'write { zh = "…", en = "…" }, one line each, the first in Chinese, the second in English'
_LIST = 'write a list such as ["one", "two"], nothing twice'
_DAY = "write a day as 2026-01-31, without quotes"

FIELD_HELP: Final[dict[str, str]] = {
    "owner": 'write "joint" or the code of the province that answers for the file',
    "defaults": "a table [defaults] with fields that all items of the file share, but no id",
    "item": "at least one [[item]]",
    "id": "write owner-domain-name in small letters, used by no other item",
    "version": "write 1, and one more with every change of the item",
    "name": _BOTH,
    "summary": _BOTH,
    "domain": "write the key of a [[domain]] of catalog.toml",
    "level": "national or regional in joint files, province or city in a province's own",
    "areas": f"six-digit codes inside the regions of catalog.toml, for a province only its own; {_LIST}",
    "holders": f'six-digit codes, "local" for the offering area\'s own holders, or "000000" alone; {_LIST}',
    "carriers": f"contact, contactless, qr, bank_account; a benefit needs bank_account; {_LIST}",
    "functions": f"identity, payment, benefit, settlement, record, self_service, finance; {_LIST}",
    "channels": f"online, offline; online needs the carrier qr or bank_account; {_LIST}",
    "validation": "online, offline or either; a QR code outside transport is checked online",
    "department": _BOTH,
    "provider": _BOTH,
    "eligibility": _BOTH,
    "terms": _BOTH,
    "standing": "stated, inferred or planned",
    "sources": f"keys of [[source]] of catalog.toml; {_LIST}",
    "effective_from": f"{_DAY}; leave it out while the item is planned",
    "effective_to": f"{_DAY}, not before effective_from, or leave it out",
    "generations": f'"1.0", "2.0", "3.0", or leave it out for every generation; {_LIST}',
    "accessibility": f"{_BOTH}, or leave it out",
    "rule": "a table of age_from, age_to, card_states, ecard_level, categories, opened, whole; all optional",
    "places": 'tables such as { area = "110000", name = { zh = "…", en = "…" } }, with address and closed if need be',
    "guide": f"a list of steps: for each {_BOTH}",
    "materials": f"a list of papers: for each {_BOTH}",
    "equipment": f"contact_reader, contactless_reader, qr_scanner, pin_pad, camera, transit_validator; {_LIST}",
    "returns": 'write { data = ["name"], basis = "key of a source" }',
    "change": f"{_BOTH}; needed from version 2",
    "differs": f"{_BOTH}, or leave it out",
}
"""How to write each field of an item file: the remedy of a fault, and the description in the JSON Schema."""

HEAD_HELP: Final[dict[str, str]] = {
    "version": 'write year.week.number such as "2026.47.1"',
    "published": _DAY,
    "notice": _BOTH,
    "domain": "each [[domain]] has a key of small letters, a name and a glyph of one character, no key twice",
    "region": "each [[region]] has the code of a province, as 110000, and a name, no code twice",
    "area": "each [[area]] has the code of a city or county of the regions, and a name",
    "source": "each [[source]] has a key, a title, confidence high, medium or low, and may have expires; no key twice",
}
