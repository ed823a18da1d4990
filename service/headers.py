"""Headers of every answer: nothing here is to be framed, kept, guessed at or told to another site."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # addresses hold customers' ids
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
HSTS = {"Strict-Transport-Security": "max-age=31536000"}
"""Only where TLS is known to end in front: over plain HTTP browsers ignore it, and beside TLS that is not everywhere
it would lock them out for a year."""
