"""A customer's mail address, unique."""  # noqa: INP001 - Alembic's way to name a script

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # A batch: SQLite can't alter a table in place and gets a copy instead.
    with op.batch_alter_table("customers") as table:
        table.add_column(sa.Column("email", sa.String(320), nullable=True))
        table.create_index("ix_customers_email", ["email"], unique=True)


def downgrade() -> None:
    with op.batch_alter_table("customers") as table:
        table.drop_index("ix_customers_email")
        table.drop_column("email")
