"""Every timeout, retry policy and limit of the workflows, each with its reason."""

from datetime import timedelta
from typing import Final

from temporalio.common import Priority, RetryPolicy

from domain.errors import ClockSkew, CredentialsRefused, RateLimited, StoreUnavailable, VenueUnavailable

TASK_TIMEOUT: Final = timedelta(seconds=3)
"""A workflow task of a dead worker is given to another after this long."""

HEARTBEAT_TIMEOUT: Final = timedelta(milliseconds=2500)
"""A worker killed with -9 is noticed after this long; activities beat every second."""

LEDGER_TIMEOUT: Final = timedelta(seconds=15)
"""One attempt of a ledger transaction: above the database's own statement timeout, so the database speaks first."""

VENUE_TIMEOUT: Final = timedelta(seconds=40)
"""One attempt at the venue: above the client's own timeout of 10 s for each of the calls that a step makes."""

CANCELS_FIRST: Final = Priority(priority_key=1)
"""Of the steps that wait in an account's queue for a worker, cancels start first: 1 is before 3, the usual."""

READS_LAST: Final = Priority(priority_key=4)
"""A burst of new tickets first lets those be sent that are admitted."""

UNTIL_DONE: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=5)
)
"""For steps that must happen. They are idempotent, and an outage of ours or theirs must not lose an order."""

UNTIL_RULES_ARE_READ: Final = RetryPolicy(
    initial_interval=UNTIL_DONE.initial_interval,
    maximum_interval=UNTIL_DONE.maximum_interval,
    non_retryable_error_types=[CredentialsRefused.code],
)
"""For `validate`: nothing is at the venue yet, so a key that is refused is told at once."""

UNLESS_THE_VENUE_FAILS: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=200),
    maximum_attempts=3,
    non_retryable_error_types=[
        error.code for error in (VenueUnavailable, RateLimited, ClockSkew, CredentialsRefused, StoreUnavailable)
    ],
)
"""For what a person waits for: a read that fails is told at once; only a worker that died is replaced."""

RESOLVE_TIMEOUT: Final = timedelta(seconds=15)
RESOLVE_PATIENCE: Final = timedelta(seconds=18)
"""How long a person's decision may take to be compared with the venue: below the callers' own patience."""

RESOLVE_ANSWER_WITHIN: Final = timedelta(seconds=5)
"""How long its answer waits for what follows: the next attempt's answer, or the end."""

APPROVAL_ANSWER_WITHIN: Final = RESOLVE_ANSWER_WITHIN
"""How long the answer to an approval waits for what follows: the venue's answer, or the end."""

VALIDATE_PATIENCE: Final = timedelta(seconds=20)
"""How long `validate` may look for the venue's rules before the order is denied for lack of data: nothing was sent."""

RISK_PATIENCE: Final = timedelta(seconds=60)
"""How long UNAVAILABLE is asked again before the order is denied for lack of data: nothing was sent."""

RISK_PATIENCE_BEFORE: Final = timedelta(seconds=15)
"""That of orders that were under way when it was lengthened."""

RISK_RETRY: Final = timedelta(milliseconds=500)
"""Pause between two askings of an unavailable gate; after a start it waits for the first reconciliation."""

MARKET_STANDS: Final = timedelta(seconds=2)
"""While the gate is unavailable the venue is looked at again this rarely: after a start many orders wait at once."""

SUBMIT_ATTEMPTS_MAX: Final = 5
"""Attempts that are proven unsent or never placed before the order is given up. A venue that is down stays down."""

SUBMIT_PAUSE_FIRST: Final = timedelta(milliseconds=500)
SUBMIT_PAUSE_MAX: Final = timedelta(seconds=8)
"""Pause before the next attempt; it doubles from half a second."""

RATE_LIMIT_PAUSE_MAX: Final = timedelta(minutes=5)
"""A venue that asks for a longer pause than this gets this one: the next attempt then meets its limit again."""

TURN_PATIENCE: Final = timedelta(minutes=25)
"""How long an order may wait for its turn at the venue before it is given up: as long as the five longest pauses that
a venue can ask for. Nothing was sent, and the market has moved on."""

DOUBT_PAUSE_FIRST: Final = timedelta(milliseconds=1200)
DOUBT_PAUSE_MAX: Final = timedelta(seconds=30)
"""In doubt the venue is asked again after 1.2 s, 2.4 s, 4.8 s … 30 s: soon while it may become visible, rarely later.
The fifth look falls at 18 s, after the usual time fence of 16 s; from 1 s it fell at 15 s, and the proof at 31 s."""

CANCEL_PAUSE_FIRST: Final = timedelta(milliseconds=500)
CANCEL_PAUSE_MAX: Final = timedelta(seconds=30)
"""A cancel that the venue has not carried out is asked for again, until the venue's word is final."""

SELF_CHECK_SOON: Final = timedelta(seconds=30)
"""An order that should be over at once (market, IOC, FOK) looks for itself after this long."""

SELF_CHECK: Final = timedelta(hours=6)
"""A resting order looks for itself this rarely; the account's feed tells it everything. 28 looks a week."""

CANCEL_ANSWER_WITHIN: Final = timedelta(seconds=20)
"""How long an update waits for the venue's final word before it answers with the state as it is."""

RECONCILE_TIMEOUT: Final = timedelta(minutes=5)
"""One attempt of a reconciliation; it asks the venue a few questions, and starts a workflow for each order left."""

RECONCILIATIONS: Final = 200
"""Reconciliations before the workflow continues as new, so that its history stays short."""

SWEEP_TIMEOUT: Final = timedelta(minutes=15)
"""One stretch of a sweep; it ends by itself before."""

SWEEP_RETRY: Final = RetryPolicy(initial_interval=timedelta(milliseconds=200), backoff_coefficient=1.0)
"""For the sweep: what a kill switch cancels is asked for again at once, however often its worker has died."""

SWEEPS: Final = 50
"""Stretches before the sweep continues as new, so that its history stays short."""

FOLLOW_HEARTBEAT_TIMEOUT: Final = HEARTBEAT_TIMEOUT
"""A feed whose worker died is taken over as soon as any other step: orders at rest hear of their fills only by it."""

FOLLOW_RETRY: Final = RetryPolicy(initial_interval=timedelta(milliseconds=500), backoff_coefficient=1.0)
"""For the feed. It waits out the venue's weather itself, so that what fails it is mostly its worker's death, and a
growing pause would count the deaths of a whole stretch: after five of them orders at rest waited 10 s for fills."""

FOLLOW_TIMEOUT: Final = timedelta(hours=1)
"""One stretch of following; it ends by itself well before."""

FOLLOW_STRETCHES: Final = 50
"""Stretches before the feed continues as new, so that its history stays short."""
