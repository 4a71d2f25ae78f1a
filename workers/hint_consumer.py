"""The part of a Celery worker that takes messages from the broker."""

from __future__ import annotations

from celery.worker.consumer import Consumer


class HintConsumer(Consumer):
    """Celery's consumer, except that it makes no queues for messages that are due later, which are never sent.

    With quorum queues Celery would declare 28 of them at RabbitMQ.
    """

    class Blueprint(Consumer.Blueprint):  # type: ignore[valid-type,misc]
        """The steps in which the consumer starts."""

        default_steps = [step for step in Consumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")]  # noqa: RUF012
