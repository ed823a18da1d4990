"""Counters of this process; served for all processes together on an address of their own."""

from prometheus_client import Counter, Gauge, Histogram

requests = Counter("countersign_requests_total", "Answered requests", ["method", "route", "status"])
request_seconds = Histogram(
    "countersign_request_seconds",
    "Time from the first byte read to the answer",
    ["method", "route"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
verifications = Counter("countersign_verifications_total", "Verifications", ["outcome"])
decisions = Counter("countersign_review_decisions_total", "Referred verifications decided by people", ["decision"])
referrals = Gauge(
    "countersign_referrals",
    "Referred verifications that nobody has decided yet",
    ["state"],
    multiprocess_mode="livemostrecent",
)
oldest_referral_seconds = Gauge(
    "countersign_oldest_referral_seconds",
    "Age of the oldest of them; 0 where there is none",
    multiprocess_mode="livemostrecent",
)
index_templates = Gauge(
    "countersign_index_templates",
    "Templates in the search index of each living process",
    ["model_version"],
    multiprocess_mode="liveall",
)
active_model = Gauge(
    "countersign_active_model",
    "1 for the model version that is active",
    ["model_version"],
    multiprocess_mode="livemostrecent",
)
activation_specimens = Gauge(
    "countersign_activation_specimens",
    "Specimens of the activation on its way: done, total, needs_reenrolment; 0 where there is none",
    ["kind"],
    multiprocess_mode="livemostrecent",
)
batch_rows_waiting = Gauge(
    "countersign_batch_rows_waiting",
    "Rows of batches that wait for a worker, as a worker last saw it",
    multiprocess_mode="livemostrecent",
)
