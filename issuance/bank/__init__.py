"""The bank link (社银联动): the financial side of a card, what is asked of the bank, and the daily reconciliation."""
