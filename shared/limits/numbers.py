"""The numbers of the limits' scripts. Durations are microseconds there, as all times of limits."""

from datetime import timedelta

US = timedelta(microseconds=1)


def _us(**duration: float) -> int:
    return timedelta(**duration) // US


CHECK_US = _us(seconds=3)
IDLE_SHARE = 0.8  # of a limit, and of a worker's places while others wait: what idle jobs may use up
PARK_LOOK_US = _us(seconds=10)
# Why something is parked, and news: of a failure that parks nothing yet, and of the end of a park.
BUSY, DOWN, FAILED_ONCE, FREE = "busy", "down", "failed", "free"
PARKED_REASON = "parked"
# What `explain` says of a wait beside those: a limit is used up, or has no more than what idle jobs leave to others, or
# others wait for it in line; a park's end is tried; the job crashed twice and waits for a process of its own.
FULL, SPARE, IN_LINE, PROBING, SUSPECT = "full", "spare", "line", "probing", "suspect"
NUMBERS = {
    "BUSY": BUSY,
    "DOWN": DOWN,
    "FAILED_ONCE": FAILED_ONCE,
    "FREE": FREE,
    "PARKED_REASON": PARKED_REASON,
    "FULL": FULL,
    "SPARE": SPARE,
    "IN_LINE": IN_LINE,
    "PROBING": PROBING,
    "SUSPECT": SUSPECT,
    "MINUTE_US": _us(minutes=1),
    "DEPTH": 1 / 120,  # of a minute's limit: what an idle bucket lets through at once, half a second's worth
    "STEADY": 0.995,  # of the limit: the rate beside those bursts
    "NEAR_US": _us(milliseconds=50),  # a start so near is granted at once, to be slept until
    "SHORTEST_US": _us(milliseconds=20),  # between two looks of who waits
    "LONGEST_LOOK_US": _us(milliseconds=500),
    "LINE_STALE_US": _us(seconds=2),  # who waits has gone when it has not come for so long
    "PARK_LOOK_US": PARK_LOOK_US,  # who waits in place for the end of a park shows so often that it does
    "LINE_KEPT_MS": 60_000,  # after somebody has come to it
    "LEVEL_KEPT_MS": 86_400_000,  # after its last request: the settings may not name it any more
    "SLOT_HASTE": 0.8,  # of the mean time to one's turn
    "LEARN": 0.1,  # weight of the newest in a mean
    "SAMPLES": 50,  # settlements that the mean of what reservations use is taken over
    "LEAST_SHARE": 0.1,
    "MOST_SHARE": 10,
    "MOST_UNCHARGED": 2,  # minutes' limits: what all on its way may use beyond what it was charged
    "THEIRS_KEPT_US": _us(minutes=2),  # what a provider's headers said of its limits
    "COLD": 3,  # settlements until that mean is trusted
    "CHECK_US": CHECK_US,  # between two looks whether the holder of a reservation lives
    "FIRST_PARK_US": _us(seconds=1),  # where the provider does not say how long; doubled each time
    "LONGEST_PARK_US": _us(seconds=60),
    "LONGEST_DOWN_US": _us(seconds=5),  # where nobody answers: how soon it is noticed that somebody does
    "PROBE_STEP_BUSY_US": _us(seconds=1),
    "PROBE_STEP_DOWN_US": _us(seconds=2),
    "PARK_KEPT_US": _us(hours=1),  # after its end, where nobody tries
    "FAILURES_IN_A_ROW": 3,  # jobs whose requests nobody answered
    "FAILING_MS": 600_000,  # so long the first of them is remembered
    "LANES_A_CLAIM": 50,
    "SHARED_LANE": "~",  # of all models that the settings do not name
    "IDLE_LANE": "~idle ",  # before a lane's name: where its idle jobs wait
    "IDLE_SHARE": IDLE_SHARE,
    "IDLE_MEMORY_US": round(_us(minutes=1) * (1 / IDLE_SHARE - 1)),  # what a minute of full use sets idle ones back
    "SYNC_LANE": "~sync",  # of the whole forking pool
    "LANE_BLIND_MS": 1000,  # at most until a lane that can't start anything is looked at again
    "MOST_PAID": 10**6,  # tokens of a run that its tenant pays for in turns, whatever a provider says; or ms
    "MOST_IN_A_ROW": 50,  # turns of one tenant, for what its runs before cost less than they were charged
    "UNKNOWN_COST": 1000,  # tokens at most, or ms, of a tenant's run before one has ended
    "AWAY_MS": 10_000,  # until a job that has left its lane for a park is looked at again; longer where many wait:
    "AWAY_EACH_MS": 10,  # a hundred looks a second at most
    "TURN_COST": 300,  # tokens, or ms, of a run that did not end its job or used none, if its forecast is as much
    "PLAIN_COST": 300,  # tokens of a job without a forecast
}
