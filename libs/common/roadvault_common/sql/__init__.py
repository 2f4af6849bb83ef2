"""The database: connections, migrations, and SQL that several services share."""
