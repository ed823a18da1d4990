"""Everything that can go wrong for a caller: one stable code, one HTTP status, one sentence each.

Use cases raise `Refused(code)`; the API renders it as problem+json in one place. Documentation lists this table.
"""

from typing import NamedTuple

from embeddings.errors import CODES as IMAGE_CODES


class Meaning(NamedTuple):
    status: int
    sentence: str


CODES: dict[str, Meaning] = {
    "unauthenticated": Meaning(401, "Send `Authorization: Bearer KEY` with a valid API key."),
    "missing_scope": Meaning(403, "This API key may not do that; its scopes do not include the one needed."),
    "not_found": Meaning(404, "There is nothing at this address."),
    "customer_not_found": Meaning(404, "No customer has this id: never enrolled, or erased."),
    "specimen_not_found": Meaning(404, "This customer has no specimen with this id."),
    "account_not_found": Meaning(404, "No account has this id."),
    "verification_not_found": Meaning(404, "No verification has this id."),
    "receipt_not_found": Meaning(404, "No receipt has this id."),
    "batch_not_found": Meaning(404, "No batch has this id among those that this API key may see."),
    "model_not_found": Meaning(
        404, "No bundle of this model version is at hand; put its folder where the setting says."
    ),
    "activation_not_found": Meaning(404, "No activation has this id."),
    "evidence_not_found": Meaning(404, "The image of this verification is not kept, or went with somebody erased."),
    "method_not_allowed": Meaning(405, "This address does not answer that method."),
    "customer_exists": Meaning(409, "A customer with this id is already enrolled; add specimens to it instead."),
    "account_not_enrolled": Meaning(409, "Nobody on this account has a usable specimen yet; enrol a signatory."),
    "specimen_not_pending": Meaning(409, "Only a pending specimen can be confirmed."),
    "verification_closed": Meaning(409, "This verification was not referred, or a person has decided it already."),
    "verification_claimed": Meaning(409, "Another API key has claimed this verification; ask again when that ends."),
    "verification_not_claimed": Meaning(409, "Nobody has claimed this verification; claim it first."),
    "verification_not_accepted": Meaning(409, "No person has decided that this verification is to be accepted."),
    "signature_not_assigned": Meaning(409, "This signature is assigned to nobody who is still enrolled."),
    "signature_enrolled": Meaning(409, "This signature is a specimen of its customer already."),
    "activation_running": Meaning(409, "Another activation is still embedding; one at a time. Ask for its progress."),
    "model_active": Meaning(409, "This model version is active already."),
    "model_not_previous": Meaning(409, "A rollback goes to the version that was active before, and to no other."),
    "model_broken": Meaning(409, "The bundle of this model version is damaged or not for this service; see the log."),
    "idempotency_mismatch": Meaning(409, "This Idempotency-Key was used for another request; use a new key."),
    "idempotency_in_progress": Meaning(
        409, "The first request with this Idempotency-Key is still running; ask again in a moment."
    ),
    "erased": Meaning(410, "What this request created has been erased since; it is not made again."),
    "too_large": Meaning(413, "The request or one of its images is larger than this server accepts."),
    "unsupported_media_type": Meaning(415, "Send multipart/form-data or application/json."),
    "malformed_body": Meaning(400, "The request body could not be parsed as its media type says."),
    "malformed_request": Meaning(400, "This is not an HTTP request that the server can read, or it is too long."),
    "invalid_field": Meaning(422, "A field is missing, unknown or has an unusable value; see `errors`."),
    "image_missing": Meaning(422, "The file that the manifest names is not there, or may not be read."),
    "unknown_customer": Meaning(422, "A signatory names a customer who is not enrolled."),
    "mandate_empty": Meaning(
        422, "A rule asks for nobody; see `errors`. No rules at all mean one signature of anyone."
    ),
    "mandate_contradictory": Meaning(422, "These rules cannot be meant so; see `errors` for which and why."),
    "amount_missing": Meaning(422, "What the account's mandate asks for depends on the amount; send `amount`."),
    "currency_missing": Meaning(422, "What the account's mandate asks for depends on the currency; send `currency`."),
    "target_far_unavailable": Meaning(
        422,
        "The active model was never measured to be so strict on an account like this; ask for a larger `target_far`.",
    ),
    "account_locked_out": Meaning(
        429, "This caller has missed this account too often; ask again when `Retry-After` says, or let a person look."
    ),
    "too_many_requests": Meaning(429, "Too many requests; slow down, and wait as long as `Retry-After` says."),
    "internal_error": Meaning(500, "Something broke on our side; it was logged with this `request_id`."),
    "tower_unavailable": Meaning(
        503, "The remote endpoint that embeds images gives no answer; nothing was stored, try again shortly."
    ),
    "tower_mismatch": Meaning(
        503, "The remote endpoint embeds with another model than this service scores with; an operator must mend it."
    ),
    "model_unavailable": Meaning(503, "This host has no usable bundle of the active model version; put it there."),
    "issuer_unavailable": Meaning(
        503, "The issuer of this token does not say whether it is good; try again shortly, or use an API key."
    ),
    "not_ready": Meaning(503, "The service is starting or cannot reach its database; try again shortly."),
} | {code: Meaning(422, sentence) for code, sentence in IMAGE_CODES.items()}


class Refused(Exception):
    """A use case said no. `code` is a key of `CODES`; `details` name fields and never repeat a caller's value.
    `retry_after` is how many seconds later it may say yes."""

    def __init__(self, code: str, retry_after: float | None = None, **details: object) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after = retry_after
        self.details = details
