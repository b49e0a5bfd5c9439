"""Limits and times of the worker.

Layer: worker.
"""

from __future__ import annotations

from dataclasses import dataclass

from roomcast.chat.answers.context import DEFAULT_TOKEN_BUDGET


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """Limits and times of the worker, in seconds.

    Attributes:
        concurrency: Maximum number of turns answered at the same time. They mostly wait for their providers.
        lease_s: The turns of a dead worker can be claimed again after this time.
        heartbeat_s: Interval at which leases are renewed, and stored stops and time limits are noticed. A fraction of
            ``lease_s``, so that a slow database does not end leases.
        count_s: Interval at which the queued turns are counted.
        sweep_s: Longest wait between two queries of the queue.
        retry_s: Pause after the first failure of the database; doubled after each further failure, up to ``sweep_s``.
        max_attempts: Maximum number of claims for one turn, so that a message that crashes workers is not retried
            forever.
        max_tries: Maximum number of calls of a responder in one claim, while it yields nothing.
        try_pause_s: Pause after the first failed try, doubled after each further one.
        max_try_pause_s: Longest pause between two tries, also if the provider wishes more.
        context_messages: Maximum number of messages that are read for the prompt, before it is cut to its token budget.
        token_budget: See `roomcast.chat.answers.context.build_prompt`.
        system_prompt: See ``token_budget``.
        first_item_s: Time limit for the first item of a responder. Models that reason are silent for long.
        next_item_s: Time limit for each further item.
        turn_s: Time limit for the whole answer.
        coalesce_s: Chunks of this time are merged into one frame: 25 frames per second look continuous.
        checkpoint_s: Interval at which the partial answer is written to the database.
        flush_s: At the end of a turn, time limit for publishing the last chunks. The text is in the database anyway.
        store_patience_s: How long the end of a turn is retried while the database is away.
        stop_s: At the shutdown, time limit for storing the state of the turns that have not finished.
    """

    concurrency: int = 256
    lease_s: float = 10.0
    heartbeat_s: float = 1.0
    count_s: float = 5.0
    sweep_s: float = 15.0
    retry_s: float = 0.25
    max_attempts: int = 3
    max_tries: int = 3
    try_pause_s: float = 1.0
    max_try_pause_s: float = 30.0
    context_messages: int = 200
    token_budget: int = DEFAULT_TOKEN_BUDGET
    system_prompt: str | None = None
    first_item_s: float = 60.0
    next_item_s: float = 60.0
    turn_s: float = 600.0
    coalesce_s: float = 0.04
    checkpoint_s: float = 3.0
    flush_s: float = 0.4
    store_patience_s: float = 300.0
    stop_s: float = 0.75


@dataclass(frozen=True, slots=True)
class WebhookOptions:
    """Limits and times of webhooks, in seconds.

    Attributes:
        give_up_s: An event is dead if its last attempt so long after the first one fails.
        concurrent: Requests to one webhook at the same time, each of another chat.
        max_waiting: Undelivered events of one webhook beyond which it reads no new ones.
        retry_s: Longest pause after the first failure; doubled after each further one.
        max_retry_s: Longest pause between two attempts to send one event.
        probe_s: Longest pause between two attempts while a receiver is away.
        lease_s: The webhooks of a dead worker can be claimed again after this time.
        heartbeat_s: Interval at which leases are renewed, and changes of webhooks are noticed.
        poll_s: Interval at which new events are noticed.
        max_pause_s: Longest pause while the database is away.
    """

    give_up_s: int = 86_400
    concurrent: int = 8
    max_waiting: int = 10_000
    retry_s: float = 1.0
    max_retry_s: float = 3_600.0
    probe_s: float = 60.0
    lease_s: float = 10.0
    heartbeat_s: float = 2.0
    poll_s: float = 0.5
    max_pause_s: float = 15.0
