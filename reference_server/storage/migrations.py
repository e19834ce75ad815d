"""The SQLite schema, as a list of steps that are each taken once."""

from __future__ import annotations

import sqlite3

#: Each step is (name, script). Never change one that was released; append.
STEPS: tuple[tuple[str, str], ...] = (
    (
        "enrollments, queue, results, identities, pushes, refusals, SCEP",
        """
        -- What every connect reads and writes: small rows, because each connect rewrites one.
        CREATE TABLE enrollments (
            id TEXT PRIMARY KEY,
            udid TEXT,
            user_enrollment_id TEXT,
            serial TEXT,
            status TEXT NOT NULL,
            identity TEXT,
            pending_identity TEXT,
            pending_after INTEGER NOT NULL DEFAULT 0,
            topic TEXT,
            push_token BLOB,
            push_magic TEXT,
            awaiting INTEGER,
            token_updates INTEGER NOT NULL DEFAULT 0,
            created_ms INTEGER NOT NULL,
            enrolled_ms INTEGER,
            last_seen_ms INTEGER,
            session INTEGER NOT NULL DEFAULT 0,
            session_open INTEGER NOT NULL DEFAULT 0,
            push_start_ms INTEGER,
            push_step INTEGER NOT NULL DEFAULT 0,
            push_due_ms INTEGER,
            push_dead INTEGER NOT NULL DEFAULT 0,
            push_sent INTEGER NOT NULL DEFAULT 0,
            push_status INTEGER,
            push_reason TEXT,
            push_ms INTEGER
        ) WITHOUT ROWID;
        CREATE INDEX enrollments_due ON enrollments (push_due_ms) WHERE push_due_ms IS NOT NULL;
        CREATE INDEX enrollments_serial ON enrollments (serial) WHERE serial IS NOT NULL;

        -- What an Authenticate told, and secrets in escrow: read rarely.
        CREATE TABLE details (
            enrollment TEXT PRIMARY KEY REFERENCES enrollments (id),
            authenticate BLOB NOT NULL,
            pending BLOB,
            unlock_token BLOB
        ) WITHOUT ROWID;

        CREATE TABLE identities (
            identity TEXT PRIMARY KEY,
            enrollment TEXT NOT NULL,
            state TEXT NOT NULL,
            opened_ms INTEGER NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX identities_enrollment ON identities (enrollment);

        CREATE TABLE commands (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            enrollment TEXT NOT NULL REFERENCES enrollments (id),
            uuid TEXT NOT NULL,
            request_type TEXT NOT NULL,
            body BLOB NOT NULL,
            state TEXT NOT NULL,
            open INTEGER,
            urgent INTEGER NOT NULL,
            queued_ms INTEGER NOT NULL,
            served INTEGER NOT NULL DEFAULT 0,
            unanswered INTEGER NOT NULL DEFAULT 0,
            session INTEGER NOT NULL DEFAULT -1,
            first_served_ms INTEGER,
            last_served_ms INTEGER,
            answered_ms INTEGER,
            not_now INTEGER NOT NULL DEFAULT 0,
            UNIQUE (enrollment, uuid)
        );
        CREATE INDEX commands_open ON commands (enrollment, seq) WHERE open = 1;
        CREATE INDEX commands_enrollment ON commands (enrollment, seq);

        CREATE TABLE results (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            command INTEGER NOT NULL REFERENCES commands (seq),
            status TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            late INTEGER NOT NULL,
            digest TEXT NOT NULL,
            body BLOB NOT NULL,
            UNIQUE (command, digest)
        );

        -- How often a server was started on this database: what it draws by chance must differ each time.
        CREATE TABLE starts (number INTEGER NOT NULL);
        INSERT INTO starts VALUES (0);

        CREATE TABLE refusals (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            udid TEXT,
            serial TEXT,
            at TEXT NOT NULL,
            created_ms INTEGER NOT NULL
        );

        CREATE TABLE challenges (
            challenge TEXT PRIMARY KEY,
            devices INTEGER,
            enrolled INTEGER NOT NULL DEFAULT 0,
            expires_ms INTEGER NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE issued (
            identity TEXT PRIMARY KEY,
            serial TEXT NOT NULL,
            subject TEXT NOT NULL,
            challenge TEXT,
            transaction_id TEXT NOT NULL,
            at_ms INTEGER NOT NULL,
            not_after_ms INTEGER NOT NULL,
            settled INTEGER NOT NULL DEFAULT 0
        ) WITHOUT ROWID;
        CREATE INDEX issued_challenge ON issued (challenge) WHERE challenge IS NOT NULL;
        """,
    ),
)


class TooNew(Exception):
    """The database was written by a newer version of this server."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date; each step in a transaction of its own. Raises TooNew."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(STEPS):
        raise TooNew(f"schema {version}, this server knows {len(STEPS)}: run the newer server, or use another file")
    for number, (_name, script) in enumerate(STEPS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
