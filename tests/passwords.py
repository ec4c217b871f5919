"""A private PostgreSQL that asks for a password."""

from __future__ import annotations

from tests import services
from tests.faults.servers import Server


def require_password(server: Server, password: str) -> None:
    """Let a private PostgreSQL have a user ``site`` who may do everything, with this password from now on."""
    import psycopg

    rules = server._folder / "data" / "pg_hba.conf"
    line = "host all site 127.0.0.1/32 scram-sha-256\n"
    if not rules.read_text().startswith(line):
        rules.write_text(line + rules.read_text())
    with psycopg.connect(services.plain(server.url), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'site'").fetchone() is None:
            connection.execute("CREATE ROLE site LOGIN SUPERUSER")
        connection.execute(f"ALTER ROLE site PASSWORD '{password}'")
        connection.execute("SELECT pg_reload_conf()")
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'site'")
