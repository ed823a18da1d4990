"""Model versions and their way into service"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "activations",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("activation_id", sa.String(length=40), nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("from_version", sa.String(length=64), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("needs_reenrolment", sa.Integer(), nullable=False),
        sa.Column("problem", sa.String(length=40), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("shadow_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('shadow', 'switch', 'rollback')", name=op.f("ck_activations_mode")),
        sa.CheckConstraint(
            "state IN ('reembedding', 'shadowing', 'done', 'failed')", name=op.f("ck_activations_state")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_activations")),
        sa.UniqueConstraint("activation_id", name=op.f("uq_activations_activation_id")),
        sa.UniqueConstraint("slot", name=op.f("uq_activations_slot")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "active_model",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model_version", sa.String(length=64), nullable=False),
        sa.Column("previous_version", sa.String(length=64), nullable=False),
        sa.Column("switched_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_active_model_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_active_model")),
    )
    op.create_table(
        "shadow_results",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("activation_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("verification_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("customer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('accept', 'refer', 'reject', 'not_enrolled')", name=op.f("ck_shadow_results_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["activation_id"],
            ["activations.id"],
            name=op.f("fk_shadow_results_activation_id_activations"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["customer_id"],
            ["customers.id"],
            name=op.f("fk_shadow_results_customer_id_customers"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["verification_id"],
            ["verifications.id"],
            name=op.f("fk_shadow_results_verification_id_verifications"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shadow_results")),
        sa.UniqueConstraint("activation_id", "verification_id", name=op.f("uq_shadow_results_activation_id")),
    )
    op.create_index(op.f("ix_shadow_results_customer_id"), "shadow_results", ["customer_id"])
    op.create_index(op.f("ix_shadow_results_verification_id"), "shadow_results", ["verification_id"])
    # Not in a batch, which on SQLite would copy the table with all its images.
    op.add_column("specimens", sa.Column("needs_reenrolment", sa.String(length=64), nullable=True))
    op.create_index("ix_specimens_status", "specimens", ["status", "needs_reenrolment"])


def downgrade() -> None:
    op.drop_index("ix_specimens_status", table_name="specimens")
    op.drop_column("specimens", "needs_reenrolment")
    op.drop_index(op.f("ix_shadow_results_verification_id"), table_name="shadow_results")
    op.drop_index(op.f("ix_shadow_results_customer_id"), table_name="shadow_results")
    op.drop_table("shadow_results")
    op.drop_table("active_model")
    op.drop_table("activations")
