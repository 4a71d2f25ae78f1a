"""Celery's settings, each with its reason. Messages are hints: the rows in PostgreSQL are the truth."""

import os

broker_url = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
imports = ("tasks.celery_tasks",)

# Results are not used: they are in the request's row.
task_ignore_result = True
# A hint may be lost with its worker (the sweep sends another), so it is acknowledged when it is taken.
task_acks_late = False
# One hint is good for a whole batch: a process takes the next when it is free.
worker_prefetch_multiplier = 1
# A hint that cannot be sent at once is dropped: the sweep replaces it.
task_publish_retry = False

task_serializer = "json"
accept_content = ["json"]
task_default_queue = "requests"
timezone = "UTC"
enable_utc = True

# A broker that does not answer is noticed. What a customer waits for is set in tasks.hints, for the front alone.
broker_connection_timeout = 1
broker_transport_options = {
    "socket_connect_timeout": 1,
    # A worker asks for the next hint with a BRPOP that may take a second.
    "socket_timeout": 5,
    "retry_on_timeout": False,
    # One more try at once when sending; kombu's default would wait two seconds in between.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
}
# Workers wait for a broker that is not there yet, as long as it takes.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# The same for a broker that answers with an error: one that has become a read-only replica, or lets nobody write.
broker_channel_error_retry = True

# Structured logging is set up by workers.signals, not by Celery.
worker_hijack_root_logger = False
worker_send_task_events = False
# For `celery inspect ping`, by which a container asks whether its worker is well.
worker_enable_remote_control = True


def _ask(job: str, seconds: float) -> dict[str, object]:
    """Return a beat entry that runs a job's task every few seconds. The job's row decides whether the job is due."""
    # An unprocessed message expires when the next one is sent.
    return {"task": "jobs.run", "args": (job,), "schedule": seconds, "options": {"expires": seconds}}


beat_schedule = {
    "sweep": {
        "task": "requests.sweep",
        "schedule": 2.0,
        # A sweep that was not picked up before the next one is due says nothing new.
        "options": {"expires": 2},
    },
    # Several times as often as each is due: a question that gets lost, or a run that fails, costs little time.
    # What stands still although all of the above works: due every five minutes.
    "requests": _ask("requests", 60.0),
    # Expiry and reminders, a matter of days: due every quarter of an hour.
    "proofs": _ask("proofs", 300.0),
    # Mails that have not left after a quarter of an hour: due every five minutes.
    "mails": _ask("mails", 60.0),
    # The registrar's tables against ours, read whole: due every hour.
    "registrar": _ask("registrar", 300.0),
    # Who is on which collective invoice: due every ten minutes.
    "invoices": _ask("invoices", 60.0),
    # Rows past their retention: due every day.
    "leftovers": _ask("leftovers", 3600.0),
}
