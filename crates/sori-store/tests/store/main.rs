//! What the store promises, on every database that there is.
//!
//! SQLite always; PostgreSQL and MariaDB where `SORI_TEST_POSTGRES` and `SORI_TEST_MARIADB` name them, and an S3 server where
//! `SORI_TEST_S3` does: `eval "$(scripts/services start FOLDER)"`.

mod admission;
mod blobs;
mod control;
mod database;
mod kill;
mod leases;
mod model;
mod outbox;
mod records;
mod speed;
