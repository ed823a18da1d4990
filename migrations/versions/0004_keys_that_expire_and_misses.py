"""API keys that expire and are rotated, and verifications that failed, counted by key and account"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

ADDED = (
    ("name", sa.String(length=64)),
    ("expires_at", sa.DateTime(timezone=True)),
    ("last_used_at", sa.DateTime(timezone=True)),
    ("first_key_id", sa.String(length=16)),
)


def upgrade() -> None:
    for name, kind in ADDED:
        op.add_column("api_keys", sa.Column(name, kind, nullable=True))
    op.add_column("batches", sa.Column("counts_misses", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_table(
        "account_misses",
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=128), nullable=False),
        sa.Column("misses", sa.Integer(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("actor", "account_id", name=op.f("pk_account_misses")),
    )
    op.create_index(op.f("ix_account_misses_until"), "account_misses", ["until"])


def downgrade() -> None:
    op.drop_table("account_misses")
    op.drop_column("batches", "counts_misses")
    for name, _ in reversed(ADDED):
        op.drop_column("api_keys", name)
