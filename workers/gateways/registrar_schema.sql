-- The tables of Kamailio 5.6 that provisioning writes or that a registrar needs, with Kamailio's names, types and
-- versions; and our own table own_numbers: the carrier's numbers, as blocks of 1, 10 or 100 that begin at a multiple of
-- their size.
CREATE TABLE IF NOT EXISTS version (
    id serial PRIMARY KEY,
    table_name varchar(32) NOT NULL,
    table_version integer NOT NULL DEFAULT 0,
    CONSTRAINT version_table_name_idx UNIQUE (table_name)
);

CREATE TABLE IF NOT EXISTS subscriber (
    id serial PRIMARY KEY,
    username varchar(64) NOT NULL DEFAULT '',
    domain varchar(64) NOT NULL DEFAULT '',
    password varchar(64) NOT NULL DEFAULT '',
    ha1 varchar(128) NOT NULL DEFAULT '',
    ha1b varchar(128) NOT NULL DEFAULT '',
    CONSTRAINT subscriber_account_idx UNIQUE (username, domain)
);
CREATE INDEX IF NOT EXISTS subscriber_username_idx ON subscriber (username);

CREATE TABLE IF NOT EXISTS dbaliases (
    id serial PRIMARY KEY,
    alias_username varchar(64) NOT NULL DEFAULT '',
    alias_domain varchar(64) NOT NULL DEFAULT '',
    username varchar(64) NOT NULL DEFAULT '',
    domain varchar(64) NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS dbaliases_alias_user_idx ON dbaliases (alias_username);
CREATE INDEX IF NOT EXISTS dbaliases_alias_idx ON dbaliases (alias_username, alias_domain);
CREATE INDEX IF NOT EXISTS dbaliases_target_idx ON dbaliases (username, domain);

CREATE TABLE IF NOT EXISTS usr_preferences (
    id serial PRIMARY KEY,
    uuid varchar(64) NOT NULL DEFAULT '',
    username varchar(255) NOT NULL DEFAULT 0,
    domain varchar(64) NOT NULL DEFAULT '',
    attribute varchar(32) NOT NULL DEFAULT '',
    type integer NOT NULL DEFAULT 0,
    value varchar(128) NOT NULL DEFAULT '',
    last_modified timestamp NOT NULL DEFAULT '2000-01-01 00:00:01'
);
CREATE INDEX IF NOT EXISTS usr_preferences_ua_idx ON usr_preferences (uuid, attribute);
CREATE INDEX IF NOT EXISTS usr_preferences_uda_idx ON usr_preferences (username, domain, attribute);

CREATE TABLE IF NOT EXISTS location (
    id serial PRIMARY KEY,
    ruid varchar(64) NOT NULL DEFAULT '',
    username varchar(64) NOT NULL DEFAULT '',
    domain varchar(64),
    contact varchar(512) NOT NULL DEFAULT '',
    received varchar(128),
    path varchar(512),
    expires timestamp NOT NULL DEFAULT '2030-05-28 21:32:15',
    q real NOT NULL DEFAULT 1.0,
    callid varchar(255) NOT NULL DEFAULT 'Default-Call-ID',
    cseq integer NOT NULL DEFAULT 1,
    last_modified timestamp NOT NULL DEFAULT '2000-01-01 00:00:01',
    flags integer NOT NULL DEFAULT 0,
    cflags integer NOT NULL DEFAULT 0,
    user_agent varchar(255) NOT NULL DEFAULT '',
    socket varchar(64),
    methods integer,
    instance varchar(255),
    reg_id integer NOT NULL DEFAULT 0,
    server_id integer NOT NULL DEFAULT 0,
    connection_id integer NOT NULL DEFAULT 0,
    keepalive integer NOT NULL DEFAULT 0,
    partition integer NOT NULL DEFAULT 0,
    CONSTRAINT location_ruid_idx UNIQUE (ruid)
);
CREATE INDEX IF NOT EXISTS location_account_contact_idx ON location (username, domain, contact);
CREATE INDEX IF NOT EXISTS location_expires_idx ON location (expires);
CREATE INDEX IF NOT EXISTS location_connection_idx ON location (server_id, connection_id);

CREATE TABLE IF NOT EXISTS own_numbers (
    first_number bigint PRIMARY KEY,
    size integer NOT NULL
);
-- From here on our own additions: what the portal shows of a trunk, so that a local team can see why it does not ring.
-- registered_at is when a registration began: kept if it is renewed in time, set anew if it had expired.
ALTER TABLE location ADD COLUMN IF NOT EXISTS registered_at timestamptz NOT NULL DEFAULT now();
CREATE OR REPLACE FUNCTION begin_anew() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.registered_at := now();
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER location_begins_anew BEFORE UPDATE ON location
    FOR EACH ROW WHEN (NEW.last_modified >= OLD.expires) EXECUTE FUNCTION begin_anew();

-- The last refused login of a trunk. One row for each trunk, so that guessing secrets does not fill the table. `tries`
-- counts refusals with less than an hour between two of them.
CREATE TABLE IF NOT EXISTS refusals (
    username varchar(64) NOT NULL,
    domain varchar(64) NOT NULL,
    reason varchar(32) NOT NULL,
    address varchar(64) NOT NULL,
    tries integer NOT NULL DEFAULT 1,
    first_at timestamptz NOT NULL DEFAULT now(),
    last_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT refusals_account_idx PRIMARY KEY (username, domain)
);
CREATE INDEX IF NOT EXISTS refusals_last_at_idx ON refusals (last_at);

-- The results of calls, a row for each trunk that took part. A trigger keeps the 50 newest of a trunk. Other people's
-- numbers are stored without their last three digits; an unknown or hidden number is empty.
CREATE TABLE IF NOT EXISTS calls (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    username varchar(64) NOT NULL,
    domain varchar(64) NOT NULL,
    direction varchar(3) NOT NULL,
    own_number varchar(32) NOT NULL,
    other_number varchar(32) NOT NULL,
    status integer NOT NULL,
    result varchar(32) NOT NULL,
    forwarded_to varchar(32) NOT NULL DEFAULT '',
    forwarded_because varchar(32) NOT NULL DEFAULT '',
    CONSTRAINT calls_direction CHECK (direction IN ('in', 'out')),
    CONSTRAINT calls_other_number CHECK (other_number = '' OR other_number LIKE '%xxx'),
    CONSTRAINT calls_forwarded_to CHECK (forwarded_to = '' OR forwarded_to LIKE '%xxx')
);
CREATE INDEX IF NOT EXISTS calls_account_idx ON calls (username, domain, id);
CREATE INDEX IF NOT EXISTS calls_at_idx ON calls (at);
-- As the owner, because Kamailio's role may only add calls.
CREATE OR REPLACE FUNCTION keep_newest_calls() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    -- SKIP LOCKED: rows that another transaction deletes at this moment are not waited for.
    DELETE FROM calls WHERE id IN (
        SELECT id FROM calls WHERE id = ANY (ARRAY(
            SELECT id FROM calls WHERE username = NEW.username AND domain = NEW.domain
            ORDER BY id DESC OFFSET 50 LIMIT 10
        )) FOR UPDATE SKIP LOCKED
    );
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER calls_keep_newest AFTER INSERT ON calls
    FOR EACH ROW EXECUTE FUNCTION keep_newest_calls();

INSERT INTO version (table_name, table_version)
VALUES ('version', 1), ('subscriber', 7), ('dbaliases', 1), ('usr_preferences', 2), ('location', 9)
ON CONFLICT (table_name) DO NOTHING;
