"""The Celery application that the workers and beat run."""

from __future__ import annotations

from celery import Celery

from workers.signals import connect_signals

app = Celery("standorte")
app.config_from_object("celeryconfig")
app.set_default()
connect_signals()
