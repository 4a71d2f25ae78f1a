-- Run once, when the container's PostgreSQL is new.
CREATE DATABASE registrar;
