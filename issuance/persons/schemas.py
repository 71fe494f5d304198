"""Messages about persons."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from cardlib.wire import Message

Date8 = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}$")]


class PersonData(Message):
    """What goes onto the card about the holder (SSSE/EF06), codes as the card stores them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "social_security_number": "990100199001010012",
                    "name": "测试甲",
                    "sex": "1",
                    "ethnic_group": "01",
                    "birthplace": "990100",
                    "birth_date": "19900101",
                }
            ]
        }
    )

    social_security_number: str = Field(min_length=18, max_length=18, description="社会保障号码")
    name: str = Field(min_length=1, max_length=50, description="At most 50 bytes in GBK")
    sex: str = Field(pattern="^[129]$", description="CL02: 1 male, 2 female, 9 not stated")
    ethnic_group: str = Field(pattern="^[0-9]{2}$", description="GB 3304 code, 99 other")
    birthplace: str = Field(pattern="^[0-9]{6}$", description="GB/T 2260 code")
    birth_date: Date8 = Field(description="YYYYMMDD")


class PersonView(Message):
    """A holder as screens may show one."""

    name: str
    social_security_number: str
