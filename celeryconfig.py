"""The settings of Celery for the workers and beat, each with its reason.

A Celery message carries no content: it only says that rows of a PostgreSQL table are due to be processed.
"""

import os

from models.db.work_queue import WorkKind
from tasks import broker_address

_broker = broker_address.BrokerAddress(broker_address.broker_url(os.environ)).celery_settings
broker_url, broker_use_ssl, task_queues = _broker["broker_url"], _broker["broker_use_ssl"], _broker["task_queues"]
imports = ("tasks.celery_tasks",)

# Results are not used: they are in the request's row.
task_ignore_result = True
# A hint may be lost with its worker (the sweep sends another), so it is acknowledged when it is taken.
task_acks_late = False
# One hint is good for a whole batch: a process takes the next when it is free.
worker_prefetch_multiplier = 1
# A hint that cannot be sent at once is dropped: the sweep replaces it.
task_publish_retry = False

# Each kind of work has a queue of its name, so that no kind waits for another and each is scaled alone.
task_routes = {str(kind): {"queue": str(kind)} for kind in WorkKind}
# A message of an unknown task goes where no worker listens.
task_default_queue = "unknown"
# Seconds. Every wait within a task has a shorter limit: these are for what nobody has thought of. After the hard limit
# the process is killed, its claim ends, and another one goes on. A job may read whole tables of millions of rows.
task_soft_time_limit, task_time_limit = 120, 150
task_annotations = {str(WorkKind.JOBS): {"soft_time_limit": 3600, "time_limit": 3660}}

task_serializer = "json"
accept_content = ["json"]
timezone = "UTC"
enable_utc = True

# A broker that does not answer is noticed. What a customer waits for is set in tasks.hints, for the front alone.
broker_connection_timeout = 1
broker_transport_options = {
    "socket_connect_timeout": 1,
    # A worker asks for the next hint with a BRPOP that may take a second.
    "socket_timeout": 5,
    # Nobody reads with that limit while a worker waits for its next hint: without these a worker would not miss a
    # broker whose host has vanished, nor ask a sentinel for another one.
    "socket_keepalive": True,
    "socket_keepalive_options": broker_address.TCP_LIMITS,
    # A hint is not kept in Redis until it is acknowledged, as the sweep replaces a lost one. And where Redis takes no
    # acknowledgement, as while its host is away, Celery counts the hint for good: the worker never takes another one.
    "ack_emulation": False,
    "retry_on_timeout": False,
    # One list for each queue instead of one for each of four priorities, which nothing here has.
    "priority_steps": [0],
    # One more try at once when sending; kombu's default would wait two seconds in between.
    "max_retries": 1,
    "interval_start": 0,
    "interval_step": 0.1,
    "interval_max": 0.2,
} | _broker["broker_transport_options"]
# Seconds between the signs of life of a worker's connection and RabbitMQ: two that are missing break the connection.
broker_heartbeat = 10
# Workers wait for a broker that is not there yet, as long as it takes.
broker_connection_retry_on_startup = True
broker_connection_max_retries = None
# The same for a broker that answers with an error: one that has become a read-only replica, or lets nobody write.
broker_channel_error_retry = True

worker_consumer = "workers.hint_consumer:HintConsumer"
# Structured logging is set up by workers.signals, not by Celery.
worker_hijack_root_logger = False
worker_send_task_events = False
# For `celery inspect ping`, by which a container asks whether its worker is well.
worker_enable_remote_control = True


# Beat sends no message while one of its kind waits, so that nothing piles up while no worker runs.
beat_scheduler = "workers.beat:HintScheduler"
beat_schedule = {
    "sweep": {"task": str(WorkKind.SWEEP), "schedule": 1.0},
    # The jobs' rows say which are due: the most frequent ones every five minutes. A question that gets lost, or a run
    # that fails, costs little time.
    "jobs": {"task": str(WorkKind.JOBS), "schedule": 15.0},
}
