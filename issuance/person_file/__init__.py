"""One card, one person, one file (一卡一人一档): everything about a holder in one view."""
