"""The list of scheduled jobs and how often each runs.

Most scan the database for inconsistencies, and repair them by scheduling the ordinary work again.
"""

from __future__ import annotations

from datetime import timedelta

from tasks.reconcile.attempt_counts import clear_attempt_counts
from tasks.reconcile.audit import SEALING, check_audit_log, seal_audit_log
from tasks.reconcile.erasures import erase_people
from tasks.reconcile.factor_resets import reset_lost_factors
from tasks.reconcile.invoices import reconcile_invoices
from tasks.reconcile.job_run import ScheduledJob
from tasks.reconcile.leftovers import clear_leftovers
from tasks.reconcile.mails import reconcile_mails
from tasks.reconcile.office import tell_office
from tasks.reconcile.proofs import reconcile_proofs
from tasks.reconcile.registrar import reconcile_registrar
from tasks.reconcile.renewals import remind_of_renewals
from tasks.reconcile.requests import reconcile_requests
from tasks.reconcile.tokens import remind_of_tokens

JOBS = {
    job.name: job
    for job in (
        # As long as a request may be overdue before the job reports it.
        ScheduledJob("requests", timedelta(minutes=5), reconcile_requests),
        # Reminders and expiry are a matter of days, and `due_at` triggers both; this job only repairs.
        ScheduledJob("proofs", timedelta(minutes=15), reconcile_proofs),
        # A person reads it; how soon is a matter of minutes.
        ScheduledJob("office", timedelta(minutes=5), tell_office),
        # A third of the time that a mail may be overdue.
        ScheduledJob("mails", timedelta(minutes=5), reconcile_mails),
        # Reads all of the registrar's tables.
        ScheduledJob("registrar", timedelta(hours=1), reconcile_registrar),
        # Invoices change daily, and customers expect to see a change soon.
        ScheduledJob("invoices", timedelta(minutes=10), reconcile_invoices),
        # A person waits for it, without access meanwhile.
        ScheduledJob("erasures", timedelta(minutes=5), erase_people),
        # A person who waits to sign in has waited for a day.
        ScheduledJob("factor_resets", timedelta(minutes=5), reset_lost_factors),
        # Strangers can cause as many as they can send requests.
        ScheduledJob("attempt_counts", timedelta(minutes=5), clear_attempt_counts),
        # A day more or less does not matter two weeks before.
        ScheduledJob("tokens", timedelta(days=1), remind_of_tokens),
        # The reminder leaves a month before the last day for a notice.
        ScheduledJob("renewals", timedelta(days=1), remind_of_renewals),
        # Retention periods are weeks, so that a day more does not matter.
        ScheduledJob("leftovers", timedelta(days=1), clear_leftovers),
        # Until an entry has its seal, nobody notices that it was changed.
        ScheduledJob(SEALING, timedelta(minutes=5), seal_audit_log),
        # Reads the whole log.
        ScheduledJob("audit_check", timedelta(days=1), check_audit_log),
    )
}
