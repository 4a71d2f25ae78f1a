"""The part of a Celery worker that takes messages from the broker."""

from __future__ import annotations

from celery.worker.consumer import Consumer


class HintConsumer(Consumer):
    """Celery's consumer, without the queues for delayed messages, because no such message is ever sent.

    With quorum queues, Celery would declare 28 queues of this kind at RabbitMQ.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]
        """The steps in which the consumer starts: Celery's, without the step for delayed messages."""

        default_steps = [step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")]  # noqa: RUF012
