"""Evidence of verifications, reviews by people, and batches"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

SEALED = (("key_id", sa.String(length=32)), ("nonce", sa.LargeBinary(length=12)), ("sealed", sa.LargeBinary()))


def upgrade() -> None:
    op.drop_index("ix_verifications_queue", table_name="verifications")
    op.create_index("ix_verifications_queue", "verifications", ["state", "outcome", "id"])
    for name, kind in SEALED:  # not in a batch, which on SQLite would copy the table
        op.add_column("verification_signatures", sa.Column(name, kind, nullable=True))
    op.create_table(
        "questioned_images",
        sa.Column(
            "verification_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        *(sa.Column(name, kind, nullable=False) for name, kind in SEALED),
        sa.ForeignKeyConstraint(
            ["verification_id"],
            ["verifications.id"],
            name=op.f("fk_questioned_images_verification_id_verifications"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("verification_id", name=op.f("pk_questioned_images")),
    )
    op.create_table(
        "reviews",
        sa.Column(
            "verification_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("claimed_by", sa.String(length=40), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=True),
        sa.Column("decided_by", sa.String(length=40), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        *(sa.Column(name, kind, nullable=True) for name, kind in SEALED),
        sa.CheckConstraint("decision IN ('accept', 'reject')", name=op.f("ck_reviews_decision")),
        sa.ForeignKeyConstraint(
            ["verification_id"],
            ["verifications.id"],
            name=op.f("fk_reviews_verification_id_verifications"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("verification_id", name=op.f("pk_reviews")),
    )
    op.create_index("ix_reviews_claimed_by", "reviews", ["claimed_by", "verification_id"])
    op.create_index("ix_reviews_decided_at", "reviews", ["decided_at"])
    op.create_table(
        "batches",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('running', 'done')", name=op.f("ck_batches_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batches")),
        sa.UniqueConstraint("batch_id", name=op.f("uq_batches_batch_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_batches_state"), "batches", ["state"])
    op.create_table(
        "batch_rows",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("batch_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("problem", sa.String(length=40), nullable=True),
        sa.Column("verification_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        *(sa.Column(name, kind, nullable=True) for name, kind in SEALED),
        sa.CheckConstraint("state IN ('waiting', 'done', 'failed')", name=op.f("ck_batch_rows_state")),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["batches.id"], name=op.f("fk_batch_rows_batch_id_batches"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["verification_id"],
            ["verifications.id"],
            name=op.f("fk_batch_rows_verification_id_verifications"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_batch_rows")),
        sa.UniqueConstraint("batch_id", "position", name=op.f("uq_batch_rows_batch_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_batch_rows_state", "batch_rows", ["batch_id", "state"])
    op.create_index(op.f("ix_batch_rows_verification_id"), "batch_rows", ["verification_id"])


def downgrade() -> None:
    op.drop_table("batch_rows")
    op.drop_table("batches")
    op.drop_table("reviews")
    op.drop_table("questioned_images")
    for name, _ in reversed(SEALED):
        op.drop_column("verification_signatures", name)
    op.drop_index("ix_verifications_queue", table_name="verifications")
    op.create_index("ix_verifications_queue", "verifications", ["state", "outcome"])
