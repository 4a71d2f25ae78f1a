"""Imports modules and reads place facts, templates and fonts in the process from which tests fork programs.

Otherwise each forked program would import Celery or Flask, read the facts about places and compile the mails' templates
itself.
"""

from __future__ import annotations

import gc

import celery.apps.beat
import celery.apps.worker
import celery.bin.celery
import celery.concurrency.prefork
import gunicorn.app.wsgiapp
import gunicorn.workers.gthread
import kombu.transport.memory
import kombu.transport.redis
from sqlalchemy.orm import configure_mappers

from models.telephony import place_facts
from models.telephony.area_codes import area_names
from models.typefaces import WEIGHTS
from tasks.outbox import order_pdf, render
from tasks.outbox.pdf_typeface import font_name
from tests.faults import engine
from web import app, serve
from workers import beat, cli, process_pools

__all__ = ["app", "beat", "celery", "cli", "engine", "gunicorn", "kombu", "order_pdf", "process_pools", "serve"]

configure_mappers()
# The area codes of the tests' databases are these.
place_facts._known.append(place_facts.Places(area_names().items()))
for form in ("txt", "html"):
    environment = render._environment(form, "de")
    # Among them the layouts and parts that a mail's template includes.
    for template in environment.list_templates():
        environment.get_template(template)
for weight in WEIGHTS:
    font_name(weight)
# The garbage collector of each worker would look through all this.
gc.collect()
gc.freeze()
