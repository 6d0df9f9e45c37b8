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

const POSTGRES: &[(i64, &str, &str)] = &migrations!(
    "postgres": 1 "0001_foundation", 2 "0002_retention", 3 "0003_row_security", 4 "0004_master_key", 5 "0005_queue",
    6 "0006_approvals", 7 "0007_registration", 8 "0008_drift", 9 "0009_dependencies", 10 "0010_managed_resources",
    11 "0011_events", 12 "0012_event_consumers", 13 "0013_webhooks", 14 "0014_connections", 15 "0015_chat",
    16 "0016_notifications", 17 "0017_scrapes", 18 "0018_sign_in", 19 "0019_secret_stores", 20 "0020_connection_quota"
);
const SQLITE: &[(i64, &str, &str)] = &migrations!(
    "sqlite": 1 "0001_foundation", 2 "0002_retention", 3 "0003_row_security", 4 "0004_master_key", 5 "0005_queue",
    6 "0006_approvals", 7 "0007_registration", 8 "0008_drift", 9 "0009_dependencies", 10 "0010_managed_resources",
    11 "0011_events", 12 "0012_event_consumers", 13 "0013_webhooks", 14 "0014_connections", 15 "0015_chat",
    16 "0016_notifications", 17 "0017_scrapes", 18 "0018_sign_in", 19 "0019_secret_stores", 20 "0020_connection_quota"
);

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

#[cfg(test)]
mod tests {
    use freehold_domain::{
        names::RunName,
        queue::Class,
        runs::{NewRun, Run, RunKind, RunPhase},
        time::{Timestamp, Uid},
    };
    use sqlx::{Connection as _, Executor as _};
    use uuid::Uuid;

    use super::*;

    fn run_in(phase: RunPhase, kind: RunKind) -> Run {
        let name = format!("tenants/acme/projects/shop/environments/dev/deployments/web/runs/{}", Uuid::now_v7());
        let name: RunName = name.parse().expect("a name");
        let new = NewRun {
            name,
            kind,
            deployment: Uid(Uuid::nil()),
            pool: "runnerPools/default".parse().expect("a name"),
            blueprint_version: "tenants/acme/blueprints/greeting/versions/1.0.0".parse().expect("a name"),
            blueprint_version_uid: Uid(Uuid::nil()),
            inputs: serde_json::Map::new(),
            engine: "native".to_owned(),
            target_revision: 0,
            generation: 1,
            auto_apply: false,
            demand: freehold_domain::approvals::Demand::default(),
            creator: "platform/admin".parse().expect("a principal"),
            message: String::new(),
            dependencies: Vec::new(),
            resolved: false,
        };
        let mut run = Run::new(new, Timestamp::from_micros(1_700_000_000_000_000));
        run.phase = phase;
        run
    }

    #[tokio::test]
    async fn runs_that_waited_before_there_were_classes_have_the_places_that_new_ones_get() {
        let mut db = SqliteConnection::connect("sqlite::memory:").await.expect("a database");
        db.execute("PRAGMA foreign_keys = OFF").await.expect("set");
        run(&SQLITE[..4], &mut db).await.expect("the schema before");
        let insert = "INSERT INTO tenants (uid, name, version, body, data_key) VALUES ($1, 'tenants/acme', 1, '{\"state\":\"Active\"}', x'00')";
        sqlx::query(insert).bind(Uuid::nil()).execute(&mut db).await.expect("a tenant");
        let phases = [RunPhase::Queued, RunPhase::ApplyQueued, RunPhase::Recovering, RunPhase::Planning, RunPhase::Done];
        let kinds = [RunKind::Plan, RunKind::Apply, RunKind::Destroy, RunKind::Rollback, RunKind::Drift];
        let runs: Vec<Run> = phases.iter().flat_map(|phase| kinds.map(|kind| run_in(*phase, kind))).collect();
        for run in &runs {
            sqlx::query(
                "INSERT INTO runs (tenant_id, uid, deployment, phase, pool, engine, version, epoch, body)
                 VALUES ($1, $2, $2, $3, 'runnerPools/default', 'native', 1, 0, $4)",
            )
            .bind(Uuid::nil())
            .bind(run.uid().0)
            .bind(run.phase.as_str())
            .bind(serde_json::to_string(run).expect("JSON"))
            .execute(&mut db)
            .await
            .expect("a run");
        }
        run(SQLITE, &mut db).await.expect("the schema of today");

        for run in &runs {
            let (class, place): (Option<String>, Option<i64>) = sqlx::query_as("SELECT class, place FROM runs WHERE uid = $1")
                .bind(run.uid().0)
                .fetch_one(&mut db)
                .await
                .expect("it is there");
            let expected = Class::of(run);
            assert_eq!(class.as_deref(), expected.map(Class::as_str), "{:?} {:?}", run.phase, run.kind);
            assert_eq!(place, expected.map(|class| class.place(run.create_time).as_micros()), "{:?} {:?}", run.phase, run.kind);
        }
        let places: (i64, i64) =
            sqlx::query_as("SELECT reserved, (SELECT COUNT(*) FROM reservations) FROM quotas WHERE dimension = 'queued_runs'")
                .fetch_one(&mut db)
                .await
                .expect("a quota");
        assert_eq!(places, (5, 5), "those that are queued");
    }
}
