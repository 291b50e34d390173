"""Run by Alembic, on the connection that `study_app.database.upgrading` hands over.

A new migration is drafted from the models with an empty database, and then read and put in order by hand:

    database = Database("sqlite:///draft.sqlite")
    upgrade(database)
    config = migrations()
    with database.writing() as session:
        config.attributes["connection"] = session.connection()
        command.revision(config, "What changes", autogenerate=True, rev_id="0002")
"""

from alembic import context

from study_app.database.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    user_module_prefix="models.",
    # The transaction, and its end, are those of the session that the connection is from.
    transactional_ddl=False,
)
context.run_migrations()
