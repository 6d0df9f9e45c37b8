//! The server that Freehold is measured against: tonic's codec behind the same acceptor, without layers, and a handler that
//! answers from memory (`GetDeployment`) or inserts one row in a transaction of its own (`CreateProject`).

use std::{convert::Infallible, future::Future, path::PathBuf, pin::Pin, sync::Arc};

use freehold_api::{
    listener::{Listener, Security, Settings},
    tls::{ClientFiles, ServerTls, TlsFiles},
};
use freehold_proto::{deployments::v1 as deployments, tenants::v1 as tenants};
use freehold_service::SystemClock;
use sqlx::{Executor as _, Sqlite, SqlitePool, postgres::PgPoolOptions, sqlite::SqlitePoolOptions};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Clone)]
enum Rows {
    Postgres(sqlx::PgPool),
    Sqlite(SqlitePool),
}

#[derive(Clone)]
struct Bare {
    deployment: Arc<deployments::Deployment>,
    rows: Rows,
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("arguments: PKI-FOLDER DATABASE-URL");
    let (pki, url) = (PathBuf::from(next()?), next()?);
    let create = "CREATE TABLE IF NOT EXISTS bare (id TEXT PRIMARY KEY, body TEXT NOT NULL)";
    let rows = match url.strip_prefix("sqlite:") {
        Some(path) => {
            let options = sqlx::sqlite::SqliteConnectOptions::new()
                .filename(path)
                .create_if_missing(true)
                .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
                .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
            let pool = SqlitePoolOptions::new().max_connections(1).test_before_acquire(false).connect_with(options).await?;
            pool.execute(create).await?;
            Rows::Sqlite(pool)
        }
        None => {
            let pool = PgPoolOptions::new().max_connections(16).test_before_acquire(false).connect(&url).await?;
            pool.execute(create).await?;
            Rows::Postgres(pool)
        }
    };
    let deployment = Arc::new(deployment());
    let tls = ServerTls::load(TlsFiles {
        cert: pki.join("server.crt"),
        key: pki.join("server.key"),
        clients: Some(ClientFiles { ca: pki.join("ca.crt"), optional: false, revoked: None }),
        tls12: false,
        http1: false,
    })?;
    let security = Security::Tls(Arc::new(tls));
    let listener = Listener::bind("127.0.0.1:0".parse()?, security, Settings::default(), Arc::new(SystemClock)).await?;
    println!("{}", listener.local_addr());
    listener.serve(Bare { deployment, rows }, CancellationToken::new()).await;
    Ok(())
}

/// As large as one of the sample.
fn deployment() -> deployments::Deployment {
    let name = "tenants/acme/projects/shop/environments/dev/deployments/web".to_owned();
    deployments::Deployment {
        uid: "01a1fe04-2681-748b-b297-5117ed33e88e".to_owned(),
        etag: "9-ed33e88e".to_owned(),
        blueprint_version: "tenants/acme/blueprints/greeting/versions/1.0.0".to_owned(),
        create_principal: "platform/admin".to_owned(),
        last_run: format!("{name}/runs/01a1fe04-268a-7164-9daf-af3a6b8caaba"),
        inputs: Some(prost_types::Struct::default()),
        create_time: Some(prost_types::Timestamp::default()),
        update_time: Some(prost_types::Timestamp::default()),
        generation: 1,
        name,
        ..deployments::Deployment::default()
    }
}

impl Bare {
    #[expect(clippy::disallowed_methods, reason = "the usual way is what is measured against")]
    async fn insert(&self, request: tenants::CreateProjectRequest) -> Result<tenants::CreateProjectResponse, Status> {
        let failed = |error: sqlx::Error| Status::internal(error.to_string());
        const INSERT: &str = "INSERT INTO bare (id, body) VALUES ($1, $2)";
        let body = "{\"name\":\"tenants/acme/projects/shop\",\"display_name\":\"\",\"labels\":{},\"description\":\"\"}";
        match &self.rows {
            Rows::Postgres(pool) => {
                let mut tx = pool.begin().await.map_err(failed)?;
                sqlx::query(INSERT).bind(&request.project_id).bind(body).execute(&mut *tx).await.map_err(failed)?;
                tx.commit().await.map_err(failed)?;
            }
            Rows::Sqlite(pool) => {
                let mut connection: sqlx::pool::PoolConnection<Sqlite> = pool.acquire().await.map_err(failed)?;
                connection.execute("BEGIN IMMEDIATE").await.map_err(failed)?;
                sqlx::query(INSERT).bind(&request.project_id).bind(body).execute(&mut *connection).await.map_err(failed)?;
                connection.execute("COMMIT").await.map_err(failed)?;
            }
        }
        Ok(tenants::CreateProjectResponse { project: request.project })
    }
}

type Answer<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

struct Get(Bare);

impl tonic::server::UnaryService<deployments::GetDeploymentRequest> for Get {
    type Response = deployments::GetDeploymentResponse;
    type Future = Answer<Self::Response>;

    fn call(&mut self, _: Request<deployments::GetDeploymentRequest>) -> Self::Future {
        let deployment = deployments::Deployment::clone(&self.0.deployment);
        Box::pin(async move { Ok(Response::new(deployments::GetDeploymentResponse { deployment: Some(deployment) })) })
    }
}

struct Create(Bare);

impl tonic::server::UnaryService<tenants::CreateProjectRequest> for Create {
    type Response = tenants::CreateProjectResponse;
    type Future = Answer<Self::Response>;

    fn call(&mut self, request: Request<tenants::CreateProjectRequest>) -> Self::Future {
        let bare = self.0.clone();
        Box::pin(async move { bare.insert(request.into_inner()).await.map(Response::new) })
    }
}

impl tower::Service<http::Request<Body>> for Bare {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut std::task::Context<'_>) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let bare = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/freehold.deployments.v1.DeploymentService/GetDeployment" => {
                    Grpc::new(ProstCodec::default()).unary(Get(bare), request).await
                }
                "/freehold.tenants.v1.ProjectService/CreateProject" => {
                    Grpc::new(ProstCodec::default()).unary(Create(bare), request).await
                }
                _ => Status::unimplemented("only what is measured").into_http(),
            })
        })
    }
}
