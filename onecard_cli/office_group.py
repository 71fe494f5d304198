"""`onecard office`: what the people who run a centre do on its own machine."""

from __future__ import annotations

import typer

from onecard_cli import (
    clerk,
    office_batch,
    office_cards,
    office_cases,
    office_link,
    office_photo,
    office_rules,
    office_stock,
    office_supervision,
)

office_app = typer.Typer(help="中心业务管理 / running a centre", no_args_is_help=True, add_completion=False)
office_app.add_typer(office_rules.rules_app, name="rules")
office_app.add_typer(clerk.tree_app, name="tree")
office_app.add_typer(office_stock.stock_app, name="stock")
office_app.add_typer(office_batch.batch_app, name="batch")
office_app.add_typer(office_cards.card_app, name="card")
office_app.add_typer(office_link.found_app, name="found")
office_app.add_typer(office_link.bank_app, name="bank")
office_app.add_typer(office_link.outbox_app, name="outbox")
office_app.add_typer(office_link.tasks_app, name="tasks")
office_app.command("photo")(office_photo.photo)
office_app.command("stuck")(office_cases.stuck)
office_app.command("next-action")(office_cases.next_action)
office_app.command("queues")(office_supervision.queues)
office_app.command("statistics")(office_supervision.statistics)
office_app.command("person-file")(office_supervision.person_file)
office_app.add_typer(office_supervision.alerts_app, name="alerts")
