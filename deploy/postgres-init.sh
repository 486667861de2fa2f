#!/bin/sh
# Run once by the postgres image, when its volume is empty: one owner per database, no more rights
# than each needs. The migration job makes the roles of the API, the workers and the signer.
set -eu

# psql reads the passwords from its environment: an argument would show in the list of processes.
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 --no-psqlrc <<'SQL'
\getenv temporal_password TEMPORAL_DATABASE_PASSWORD
\getenv owner_password OWNER_DATABASE_PASSWORD

CREATE ROLE temporal LOGIN PASSWORD :'temporal_password';
CREATE DATABASE temporal OWNER temporal;
CREATE DATABASE temporal_visibility OWNER temporal;

CREATE ROLE strongroom_owner LOGIN CREATEROLE PASSWORD :'owner_password';
CREATE DATABASE strongroom OWNER strongroom_owner;

-- Temporal's databases are for Temporal alone. Ours stays open to connections, because the roles
-- that will use it do not exist yet; the migration job takes everything inside away from PUBLIC.
REVOKE CONNECT ON DATABASE temporal, temporal_visibility FROM PUBLIC;
SQL
