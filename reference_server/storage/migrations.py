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
    (
        "automated enrollment: Apple's device list, profiles there, what holds devices in Setup Assistant",
        """
        CREATE TABLE dep_accounts (
            name TEXT PRIMARY KEY,
            certificate BLOB NOT NULL,
            key BLOB NOT NULL,
            token BLOB,
            consumer_key TEXT,
            token_expires_ms INTEGER,
            account BLOB,
            account_ms INTEGER,
            cursor TEXT,
            fetching INTEGER NOT NULL DEFAULT 1,
            pass INTEGER NOT NULL DEFAULT 1,
            fetched_ms INTEGER,
            synced_ms INTEGER,
            next_ms INTEGER,
            failures INTEGER NOT NULL DEFAULT 0,
            trouble TEXT,
            trouble_ms INTEGER,
            created_ms INTEGER NOT NULL
        ) WITHOUT ROWID;

        CREATE TABLE dep_profiles (
            account TEXT NOT NULL,
            name TEXT NOT NULL,
            wishes BLOB,
            uuid TEXT,
            PRIMARY KEY (account, name)
        ) WITHOUT ROWID;

        -- Every definition that Apple was ever told: devices keep an old one until they are assigned anew.
        CREATE TABLE dep_definitions (
            account TEXT NOT NULL,
            uuid TEXT NOT NULL,
            name TEXT NOT NULL,
            definition BLOB NOT NULL,
            defined_ms INTEGER NOT NULL,
            PRIMARY KEY (account, uuid)
        ) WITHOUT ROWID;

        CREATE TABLE dep_devices (
            account TEXT NOT NULL,
            serial TEXT NOT NULL,
            gone INTEGER NOT NULL,
            status TEXT,
            profile_uuid TEXT,
            wanted TEXT NOT NULL,
            result TEXT,
            retry_ms INTEGER,
            record BLOB NOT NULL,
            op_date TEXT,
            pass INTEGER NOT NULL,
            PRIMARY KEY (account, serial)
        ) WITHOUT ROWID;
        CREATE INDEX dep_devices_serial ON dep_devices (serial);

        CREATE TABLE automated (
            serial TEXT PRIMARY KEY,
            udid TEXT NOT NULL,
            removable INTEGER NOT NULL,
            at_ms INTEGER NOT NULL
        ) WITHOUT ROWID;

        -- Whether a command must be answered before a device that is held in Setup Assistant is released.
        ALTER TABLE commands ADD COLUMN setup INTEGER NOT NULL DEFAULT 0;
        """,
    ),
    (
        "owners of what is issued for an enrollment, and the renewal that is under way",
        """
        ALTER TABLE challenges ADD COLUMN owner TEXT;
        CREATE INDEX challenges_owner ON challenges (owner) WHERE owner IS NOT NULL;
        ALTER TABLE issued ADD COLUMN renewal_of TEXT;
        CREATE INDEX issued_renewal_of ON issued (renewal_of) WHERE renewal_of IS NOT NULL;
        ALTER TABLE details ADD COLUMN renewal TEXT;
        """,
    ),
    (
        "how many profiles are outstanding, and which rows nobody needs any more",
        """
        ALTER TABLE challenges ADD COLUMN limited INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX challenges_limited ON challenges (expires_ms) WHERE limited = 1;
        CREATE INDEX challenges_expires ON challenges (expires_ms);
        CREATE INDEX issued_not_after ON issued (not_after_ms);
        """,
    ),
    (
        "users of devices that enrol automatically",
        """
        CREATE TABLE device_users (
            serial TEXT PRIMARY KEY,
            user TEXT,
            login INTEGER NOT NULL
        ) WITHOUT ROWID;
        ALTER TABLE challenges ADD COLUMN user TEXT;
        ALTER TABLE issued ADD COLUMN user TEXT;
        ALTER TABLE details ADD COLUMN user TEXT;
        """,
    ),
    (
        "what a question for readiness writes",
        """
        CREATE TABLE probe (number INTEGER NOT NULL, filling BLOB);
        INSERT INTO probe VALUES (0, NULL);
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
