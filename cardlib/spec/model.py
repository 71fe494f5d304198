"""What the card specification describes: applications, files, data items, access rules, keys, code lists.

Sources: 人社信息函〔2012〕37号 (cited as V2.0, with its tables T) and the ten-part draft of
社会保障（个人）卡规范 (cited as draft P1 … P10). The values themselves are in `data/*.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from types import MappingProxyType


class Generation(StrEnum):
    """Generation of a card, as the first three characters of 规范版本 (tag 03) tell it (V2.0 §8.1.1.3)."""

    V1 = "1.0"
    V2 = "2.0"
    V3 = "3.0"


class Structure(IntEnum):
    """File structure; the number is the type byte of CREATE FILE in the reference COS profile."""

    TRANSPARENT = 0x28
    LINEAR_FIXED = 0x2A
    LINEAR_VARIABLE = 0x2C
    CYCLIC = 0x2E
    ACCOUNT = 0x2F
    KEY_FILE = 0x3F


class FileClass(StrEnum):
    """启用 in use, 预设 for later use, 预留 reserved space (V2.0 §5); informative annex; files of the COS itself."""

    IN_USE = "in_use"
    PRESET = "preset"
    RESERVED = "reserved"
    INFORMATIVE = "informative"
    SYSTEM = "system"


class ItemType(StrEnum):
    """Stored form of an item (V2.0 §7): packed BCD, characters, raw binary, constructed."""

    CN = "cn"
    AN = "an"
    B = "b"
    BTLV = "btlv"


class Format(StrEnum):
    """What the digits or bytes of an item mean, where the type alone does not say it."""

    PLAIN = "plain"
    HEX = "hex"
    NUMBER = "number"
    DATE = "date"  # YYYYMMDD
    DATETIME = "datetime"  # YYYYMMDDhhmmss
    YEAR_MONTH = "year_month"  # YYYYMM
    REGION = "region"  # GB/T 2260, six digits
    FEN = "fen"  # money in fen
    MONTHS = "months"  # a count of months, three digits
    ORGANISATION = "organisation"  # GB 11714, nine characters


class UnknownNameError(KeyError):
    """The specification has no file, item or key of this name."""

    failure = "INPUT_INVALID"

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class ItemSpec:
    """One data item. `length` is the stored length in bytes; a writer always fills it (V2.0 §7).

    `tag` is None for the fields of cyclic records and for transparent items. `count` is the number of records
    that carry the tag. `since` names the generation that gave the item its present meaning.
    """

    tag: int | None
    slug: str
    name_zh: str
    name_en: str
    type: ItemType
    length: int
    format: Format = Format.PLAIN
    code_list: str | None = None
    inner: tuple[ItemSpec, ...] = ()
    count: int = 1
    is_gbk: bool = False
    since: Generation = Generation.V1


class AccessKind(IntEnum):
    """Kind of an access rule; the number is the first byte of its AC coding (reference COS profile)."""

    FREE = 0x00
    NEVER = 0x01
    PIN = 0x02
    KEY = 0x03
    PIN_OR_KEY = 0x04
    PIN_AND_KEY = 0x05


@dataclass(frozen=True, slots=True)
class Access:
    """When a file may be read or written. `key` is the full key name, `kid` the P2 of EXTERNAL AUTHENTICATION.

    PIN counts as satisfied while the holder has set none (draft P5 §7.3, taken for every file).
    """

    kind: AccessKind
    key: str = ""
    kid: int = 0

    @property
    def names_key(self) -> bool:
        return self.kind in (AccessKind.KEY, AccessKind.PIN_OR_KEY, AccessKind.PIN_AND_KEY)

    def to_bytes(self) -> bytes:
        """AC coding of CREATE FILE (reference COS profile): kind, key reference."""
        return bytes((self.kind, self.kid))


@dataclass(frozen=True, slots=True)
class EfSpec:
    """One elementary file. `records` counts the stored records, 0 for a transparent file; `size` is in bytes.

    Fixed-length records have `record_length`, tag and length bytes included; 0 elsewhere.
    `fid` and `sfi` are numbers; `name` is EF05, DIR, KEY or account, `path` is DF04EF05 (driver notation).
    """

    df: str
    name: str
    fid: int
    sfi: int
    name_zh: str
    name_en: str
    structure: Structure
    size: int
    record_length: int
    records: int
    read: Access
    write: Access
    items: tuple[ItemSpec, ...]
    klass: FileClass

    @property
    def path(self) -> str:
        return self.df + self.name

    def item(self, tag: int | str) -> ItemSpec:
        """The item with this tag (a number, or hex digits). Raises UnknownNameError."""
        wanted = int(tag, 16) if isinstance(tag, str) else tag
        for item in self.items:
            if item.tag == wanted:
                return item
        raise UnknownNameError(f"{self.path} has no item {wanted:02X}")


class KeyType(IntEnum):
    """Type byte of WRITE KEY (reference COS profile; numbers of draft P9 §6.3 where it has one)."""

    MASTER = 0x00
    PIN = 0x01
    PURCHASE = 0x02
    MESSAGE = 0x08  # MAC and encryption
    AUTHENTICATION = 0x07
    LOAD = 0x09
    TAC = 0x0C


@dataclass(frozen=True, slots=True)
class PsamKey:
    """Where a PSAM holds the root: usage byte (bits 8-6 levels still to diversify) and key id (draft P9 §6.2)."""

    usage: int
    id: int

    @property
    def levels(self) -> int:
        return self.usage >> 5


@dataclass(frozen=True, slots=True)
class KeySpec:
    """One key of the card (draft P9 App. B). The root is diversified from level `root_level` on (1 … 3, 0 = not).

    `kid` has bit 8 set for a key of an application. `retry` is the most tries, 0 = no counter.
    `versions` is the number of groups, counted from 1.
    Transaction keys (PURCHASE, LOAD, TAC) have kid 0 and are found by type and version.
    `df` is empty for the transport key, which belongs to the chip.
    """

    name: str
    df: str
    kid: int
    type: KeyType
    root_level: int
    retry: int = 0
    versions: int = 1
    length_des: int = 16
    is_internal_only: bool = False
    psam: PsamKey | None = None
    since: Generation = Generation.V1

    def length(self, algorithm: str) -> int:
        """Length of the card key in bytes; only single-DES message keys are shorter than 16 (draft P9 App. B)."""
        return self.length_des if algorithm == "3DES" else 16


@dataclass(frozen=True, slots=True)
class PinSpec:
    """The one, global PIN (draft P7 §5.8): key object type 01 in the SSSE, packed BCD filled FF."""

    kid: int = 0x01
    tries: int = 3
    stored_length: int = 8
    min_digits: int = 4
    max_digits: int = 12  # of a PIN pad (draft P8 §6.2.4); VERIFY itself takes up to 16


@dataclass(frozen=True, slots=True)
class DfSpec:
    """One application (or the environment, SSSE). `efs` are its data files in order of creation.

    `size` and `block_kid` are parameters of CREATE FILE in the reference COS profile; `block_kid` names the key
    whose authentication allows APPLICATION BLOCK or CARD BLOCK (draft P7 §13).
    """

    name: str
    fid: int
    aid: bytes
    label: str
    name_en: str
    size: int
    block_kid: int
    is_optional: bool
    efs: tuple[EfSpec, ...]
    key_file: EfSpec
    directory: EfSpec | None = None
    account: EfSpec | None = None

    @property
    def is_environment(self) -> bool:
        return self.name == "SSSE"

    @property
    def master_kid(self) -> int:
        """P2 of EXTERNAL AUTHENTICATION with the master key of this DF (reference COS profile)."""
        return 0x00 if self.is_environment else 0x80

    @property
    def files(self) -> tuple[EfSpec, ...]:
        """Every file in order of creation: directory, keys, data files, account."""
        head = () if self.directory is None else (self.directory,)
        tail = () if self.account is None else (self.account,)
        return (*head, self.key_file, *self.efs, *tail)


@dataclass(frozen=True, slots=True, eq=False)
class CodePart:
    """A slice of a composed code with a list of its own (tags 4B, 4F, 81)."""

    start: int
    length: int
    name_zh: str
    name_en: str
    codes: Mapping[str, str]
    en: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class CodeList:
    """Codes and their texts, in `en` the English ones. A composed code has `parts` instead of `codes`."""

    name: str
    name_zh: str
    name_en: str
    codes: Mapping[str, str]
    en: Mapping[str, str]
    parts: tuple[CodePart, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class CardSpec:
    """Everything the specification says of one generation.

    `rewritten` and `follows` tell how old cards that were rewritten with 2.0 meanings are read
    (V2.0 App. C): tag -> bytes that count, tag -> tag whose state it shares. Empty beyond 1.0.
    """

    generation: Generation
    algorithm: str
    version_text: str
    dfs: tuple[DfSpec, ...]
    keys: tuple[KeySpec, ...]
    pin: PinSpec = PinSpec()
    rewritten: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    follows: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def algorithm_id(self) -> int:
        """Algorithm byte of FCI tag 86 and of the key records: 00 3DES, 03 SM4."""
        return 0x03 if self.algorithm == "SM4" else 0x00

    def df(self, name: str) -> DfSpec:
        for df in self.dfs:
            if df.name == name:
                return df
        raise UnknownNameError(f"{self.generation} has no {name}")

    def ef(self, path: str) -> EfSpec:
        """The file at a path such as SSSEEF05, DF04EF08, SSSEDIR. Raises UnknownNameError."""
        for ef in self.df(path[:4]).files:
            if ef.path == path:
                return ef
        raise UnknownNameError(f"{self.generation} has no file {path}")

    def item(self, path: str, tag: int | str) -> ItemSpec:
        return self.ef(path).item(tag)

    def find_item(self, slug: str) -> tuple[EfSpec, ItemSpec]:
        """The file and the item with this slug; fields of cyclic records are no items. Raises UnknownNameError."""
        for df in self.dfs:
            for ef in df.efs:
                for item in ef.items:
                    if item.slug == slug and ef.structure is not Structure.CYCLIC:
                        return ef, item
        raise UnknownNameError(f"{self.generation} has no item {slug}")

    def key(self, name: str) -> KeySpec:
        for key in self.keys:
            if key.name == name:
                return key
        raise UnknownNameError(f"{self.generation} has no key {name}")

    def keys_of(self, df: str) -> tuple[KeySpec, ...]:
        """Keys of one DF's key file; master keys live in the DF itself and are not among them."""
        return tuple(key for key in self.keys if key.df == df and key.type is not KeyType.MASTER)
