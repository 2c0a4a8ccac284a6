-- The number of the newest migration that was applied: one row.
CREATE TABLE vault_schema (version bigint NOT NULL);
INSERT INTO vault_schema (version) VALUES (0);

-- One version of one secret. The key alone keeps a version from being there twice.
CREATE TABLE vault_records (
    secret bytea NOT NULL,
    version bigint NOT NULL,
    header bytea NOT NULL,
    -- Nonce, ciphertext and tag; none of a tombstone.
    value bytea,
    PRIMARY KEY (secret, version)
);

-- What the vault knows of itself, by name.
CREATE TABLE vault_facts (
    name text PRIMARY KEY,
    value bytea NOT NULL
);
