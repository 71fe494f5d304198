"""A centre with a bank behind it and a card on a phone."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.issuance.bank_stand import BankStand, stand
from tests.issuance.phone import Phone

__all__ = ["stand"]


@dataclass
class Owned:
    """`number`: of the card whose electronic one is on `phone`."""

    stand: BankStand
    number: str
    phone: Phone

    async def open_account(self) -> None:
        self.stand.bank.desk(self.number, "activate")
        await self.stand.notice(self.number, "activate")


@pytest.fixture
async def owned(stand: BankStand) -> Owned:
    number = await stand.card()
    phone = Phone(stand.centre)
    await phone.sign_up(1, number)
    return Owned(stand, number, phone)
