"""RabbitMQ as message broker: its queues, time limits for waiting, and sending over a connection that may be broken.

The queues are quorum queues, of which RabbitMQ keeps copies on several nodes. Each holds one hint at most.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult

from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES, pyamqp

from models.db.work_queue import WorkKind

AMQP, AMQPS = "amqp", "amqps"
_ARGUMENTS = {"x-queue-type": "quorum", "x-max-length": 1, "x-overflow": "drop-head"}
"""The arguments of a quorum queue that holds one message: a new message replaces the one that waits.

So no queue grows while no worker runs.
"""


class PatientTransport(pyamqp.Transport):
    """Kombu's transport to RabbitMQ, except that every wait has a limit: `socket_timeout` of the transport options.

    Kombu's own would wait for ever for the answer of a server that hangs.
    """

    def establish_connection(self) -> Any:
        """Connect to the server, and return the connection. Raises an `OSError` or an error of `amqp` if that fails."""
        client: Any = self.client
        # Kombu replaces the None by the server's name, and would keep the name for the next server.
        if client.ssl:
            client.ssl = {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None}
        connection = super().establish_connection()
        connection.transport.sock.settimeout(client.transport_options["socket_timeout"])
        return connection


# Kombu finds a transport by the beginning of the URL.
for _scheme in (AMQP, AMQPS):
    TRANSPORT_ALIASES[_scheme] = f"{__name__}:PatientTransport"


def bounded_queue(name: str) -> Queue:
    """Return a quorum queue that holds one message at most, not yet declared."""
    return Queue(name, routing_key=name, queue_arguments=_ARGUMENTS)


def rabbitmq_settings(address: SplitResult, tcp_limits: dict[int, int]) -> dict[str, Any]:
    """Return Celery's settings for the RabbitMQ at this URL, in which several nodes may be named, separated by commas.

    `tcp_limits` are the TCP options of its sockets, as a dict of option number to value.
    """
    user, _, hosts = address.netloc.rpartition("@")
    names = hosts.split(",")
    login = f"{user}@" if user else ""
    return {
        "broker_url": ";".join(f"{address.scheme}://{login}{name}{address.path}" for name in names),
        "broker_use_ssl": {"cert_reqs": ssl.CERT_REQUIRED} if address.scheme == AMQPS else None,
        "broker_transport_options": {
            # Sending fails if no majority of the nodes has stored the hint.
            "confirm_publish": True,
            "socket_settings": tcp_limits,
            # One try at each node, each with a second of its own.
            "max_retries": len(names),
            "connect_retries_timeout": float(len(names)),
        },
        "task_queues": [bounded_queue(kind) for kind in WorkKind],
    }


def is_rabbitmq(connection: Any) -> bool:
    """Return whether this kombu connection, open or not, is one to RabbitMQ."""
    return bool(connection.transport.driver_type == AMQP)


def send_by(producer: Any, send: Callable[[], object]) -> None:
    """Call `send`, which sends by this kombu producer; if the connection broke while it was idle, call it once more.

    A connection over which sending failed is closed, because its late answer would be taken for that of the next
    message; the pool opens a new one. Raises what `send` raises.
    """
    connection = producer.connection
    was_open = connection.connected
    try:
        send()
    except BaseException as error:
        connection.collect()
        # Not after a timeout, which kombu may have wrapped: a customer waits.
        if not was_open or isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError):
            raise
        producer.revive(connection)
        try:
            send()
        except BaseException:
            connection.collect()
            raise


def write_to_all_queues(connection: Any, ready: str) -> None:
    """Check that RabbitMQ has the queue of each kind of work, and that it stores a message.

    A queue that is missing is created. The message goes to another queue, named `ready`. Raises an `OSError` or an
    error of `amqp` if a queue has other arguments, or if RabbitMQ does not take the message or does not answer.
    """
    try:
        channel = connection.default_channel
        for name in (*WorkKind, ready):
            bounded_queue(name).bind(channel).queue_declare()
        connection.Producer(channel).publish("", routing_key=ready)
    except BaseException:
        connection.collect()
        raise
