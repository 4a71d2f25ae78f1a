"""Imported by the process from which tests fork programs: imports modules, and reads place facts and templates.

Otherwise each forked program would import Celery, read the facts about places and compile the mails' templates itself.
"""

from __future__ import annotations

import gc

import celery.apps.beat
import celery.apps.worker
import celery.bin.celery
import celery.concurrency.prefork
import kombu.transport.redis
from sqlalchemy.orm import configure_mappers

from models.telephony import place_facts
from models.telephony.area_codes import area_names
from tasks.outbox import order_pdf, render
from tests.faults import engine
from workers import beat, cli, process_pools

__all__ = ["beat", "celery", "cli", "engine", "kombu", "order_pdf", "process_pools"]

configure_mappers()
# The area codes of the tests' databases are these.
place_facts._known.append(place_facts.Places(area_names().items()))
for form in ("txt", "html"):
    environment = render._environment(form, "de")
    for template in environment.list_templates(["jinja"]):
        environment.get_template(template)
# The garbage collector of each worker would look through all this.
gc.collect()
gc.freeze()
