//! The schema, version by version, the same numbers and names for both databases.

use std::borrow::Cow;

use freehold_domain::{Error, Reason, Result};
use sqlx::{
    Acquire, PgPool, SqlSafeStr as _, SqliteConnection,
    migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator},
};

macro_rules! migrations {
    ($folder:literal: $($version:literal $name:literal),+ $(,)?) => {
        [$((
            $version,
            $name,
            include_str!(concat!("../../../migrations/", $folder, "/", $name, ".sql")),
        )),+]
    };
}

const POSTGRES: &[(i64, &str, &str)] = &migrations!("postgres": 1 "0001_foundation", 2 "0002_retention", 3 "0003_row_security", 4 "0004_master_key", 9 "0009_dependencies");
const SQLITE: &[(i64, &str, &str)] = &migrations!("sqlite": 1 "0001_foundation", 2 "0002_retention", 3 "0003_row_security", 4 "0004_master_key", 9 "0009_dependencies");

pub(crate) async fn postgres(pool: &PgPool) -> Result<()> {
    run(POSTGRES, pool).await
}

pub(crate) async fn sqlite(connection: &mut SqliteConnection) -> Result<()> {
    run(SQLITE, connection).await
}

async fn run<'a, A>(migrations: &[(i64, &'static str, &'static str)], database: A) -> Result<()>
where
    A: Acquire<'a>,
    <A::Connection as std::ops::Deref>::Target: Migrate,
{
    let migrations: Vec<Migration> = migrations
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(*version, Cow::Borrowed(*name), MigrationType::Simple, (*sql).into_sql_str(), false)
        })
        .collect();
    let migrator = Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT };
    migrator.run(database).await.map_err(|error| match error {
        MigrateError::VersionMissing(version) | MigrateError::VersionTooNew(version, _) => Error::new(
            Reason::StateNotAllowed,
            format!("a newer version of Freehold has written this database (schema {version}); start that version or a newer one"),
        ),
        MigrateError::VersionMismatch(version) => Error::new(
            Reason::StateNotAllowed,
            format!("schema {version} of this database is not the one of this version of Freehold; restore a backup or start the version that wrote it"),
        ),
        error => Error::new(Reason::DependencyDown, "the schema of the database cannot be brought up to date").caused_by(error),
    })
}
