"""The scheduled jobs: each scans, and has mended what it can through the same steps as everything else."""

from __future__ import annotations

from datetime import timedelta

from tasks.reconcile.invoices import reconcile_invoices
from tasks.reconcile.job_run import ScheduledJob
from tasks.reconcile.mails import reconcile_mails
from tasks.reconcile.proofs import reconcile_proofs
from tasks.reconcile.registrar import reconcile_registrar
from tasks.reconcile.requests import reconcile_requests
from tasks.reconcile.retention import clear_leftovers

JOBS = {
    job.name: job
    for job in (
        # As long as a row may stand still before it counts.
        ScheduledJob("requests", timedelta(minutes=5), reconcile_requests),
        # Reminders and ends are a matter of days, and the rows' own times see to them.
        ScheduledJob("proofs", timedelta(minutes=15), reconcile_proofs),
        # A third of what a mail may take.
        ScheduledJob("mails", timedelta(minutes=5), reconcile_mails),
        # Reads the registrar's tables whole.
        ScheduledJob("registrar", timedelta(hours=1), reconcile_registrar),
        # Bills change by the day; whoever is put on one wants to see it soon.
        ScheduledJob("invoices", timedelta(minutes=10), reconcile_invoices),
        # What is kept for weeks may be kept for a day more.
        ScheduledJob("leftovers", timedelta(days=1), clear_leftovers),
    )
}
