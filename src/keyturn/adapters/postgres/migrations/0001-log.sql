-- The log, append-only; what is derived from it; and a place for what is neither. See docs/guide/postgresql.md.

CREATE TABLE log.batch (
  first    bigint  PRIMARY KEY CHECK (first >= 0),
  count    integer NOT NULL CHECK (count BETWEEN 1 AND 1024),
  leaves   bytea   NOT NULL,   -- each a 2-byte length and the leaf
  frontier bytea   NOT NULL,   -- hashes of the complete subtrees that make the tree after this batch, largest first
  sha256   bytea   NOT NULL,   -- of first, count, leaves and frontier
  CHECK (octet_length(frontier) = 32 * length(replace((first + count)::bit(64)::text, '0', ''))),
  CHECK (sha256 = pg_catalog.sha256(int8send(first) || int4send(count) || leaves || frontier))
);
ALTER TABLE log.batch ALTER COLUMN leaves SET STORAGE EXTERNAL;

CREATE TABLE log.envelope (
  sha256  bytea  PRIMARY KEY,
  idx     bigint NOT NULL UNIQUE CHECK (idx >= 0),
  content bytea  NOT NULL,
  CHECK (sha256 = pg_catalog.sha256(content))
);

CREATE TABLE log.note (
  which text  PRIMARY KEY CHECK (which IN ('checkpoint', 'signed')),
  note  bytea NOT NULL
);

-- Grants keep the service from altering what was appended; these triggers keep its owner from doing so by mistake.
CREATE FUNCTION log.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
  RAISE EXCEPTION 'the log is append-only: % on %.% is refused', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log.batch EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON log.envelope EXECUTE FUNCTION log.refuse_change();
CREATE TRIGGER never_forgotten BEFORE DELETE OR TRUNCATE ON log.note EXECUTE FUNCTION log.refuse_change();

CREATE FUNCTION log.require_next() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
  size bigint := coalesce((SELECT first + count FROM log.batch ORDER BY first DESC LIMIT 1), 0);
BEGIN
  IF NEW.first <> size THEN
    RAISE EXCEPTION 'expected a batch at entry %, got one at %', size, NEW.first;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER in_order BEFORE INSERT ON log.batch FOR EACH ROW EXECUTE FUNCTION log.require_next();

CREATE TABLE index.entry (
  idx      bigint PRIMARY KEY,
  kind     text   NOT NULL COLLATE "C",
  record   bytea  NOT NULL,
  envelope bytea  NOT NULL,
  until    bigint
);
CREATE INDEX entry_by_kind ON index.entry (kind, idx);
CREATE INDEX entry_by_record ON index.entry (record, idx);

CREATE TABLE index.tag (
  tag text   NOT NULL COLLATE "C",
  idx bigint NOT NULL,
  PRIMARY KEY (tag, idx)
);

CREATE TABLE index.subtree (
  level smallint NOT NULL CHECK (level BETWEEN 1 AND 7),   -- of 256^level leaves: what tiles above the lowest hold
  idx   bigint   NOT NULL,
  hash  bytea    NOT NULL CHECK (octet_length(hash) = 32),
  PRIMARY KEY (level, idx)
);
