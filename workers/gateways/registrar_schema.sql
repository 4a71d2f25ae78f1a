-- The tables of Kamailio 5.6 that provisioning writes or that a registrar needs, with its names, types and versions; and
-- one of ours: which numbers are, as blocks of 1, 10 or 100 that begin at a multiple of their size.
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

INSERT INTO version (table_name, table_version)
VALUES ('version', 1), ('subscriber', 7), ('dbaliases', 1), ('usr_preferences', 2), ('location', 9)
ON CONFLICT (table_name) DO NOTHING;
