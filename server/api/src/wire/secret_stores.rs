//! SecretStoreService.

use freehold_domain::{
    Result,
    names::TenantName,
    secret_stores::{Directory, Driver, Environment, SecretStore, Vault},
};
use freehold_proto::secrets::v1 as pb;
use freehold_service::secret_stores::{self, CreateSecretStore, UpdateSecretStore};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::secret_store_service_server::SecretStoreService for Wire {
    async fn create_secret_store(
        &self,
        request: Request<pb::CreateSecretStoreRequest>,
    ) -> Result<Response<pb::CreateSecretStoreResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), create(body))?;
            let store = secret_stores::create(&self.app, &caller, cmd, &write).await?;
            Ok(pb::CreateSecretStoreResponse { secret_store: Some(message(&store)) })
        })
        .await
    }

    async fn get_secret_store(
        &self,
        request: Request<pb::GetSecretStoreRequest>,
    ) -> Result<Response<pb::GetSecretStoreResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let store = secret_stores::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetSecretStoreResponse { secret_store: Some(message(&store)) })
        })
        .await
    }

    async fn list_secret_stores(
        &self,
        request: Request<pb::ListSecretStoresRequest>,
    ) -> Result<Response<pb::ListSecretStoresResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("secretStores|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = secret_stores::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListSecretStoresResponse {
                secret_stores: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn update_secret_store(
        &self,
        request: Request<pb::UpdateSecretStoreRequest>,
    ) -> Result<Response<pb::UpdateSecretStoreResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let etag = body.secret_store.as_ref().map(|store| store.etag.as_str()).unwrap_or_default();
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, etag), update(body))?;
            let store = secret_stores::update(&self.app, &caller, cmd, &write).await?;
            Ok(pb::UpdateSecretStoreResponse { secret_store: Some(message(&store)) })
        })
        .await
    }

    async fn delete_secret_store(
        &self,
        request: Request<pb::DeleteSecretStoreRequest>,
    ) -> Result<Response<pb::DeleteSecretStoreResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            secret_stores::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteSecretStoreResponse {})
        })
        .await
    }
}

fn create(body: pb::CreateSecretStoreRequest) -> Result<CreateSecretStore> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("secret_store_id", &body.secret_store_id);
    let store = body.secret_store.unwrap_or_default();
    let described = fields.described("secret_store", store.display_name, store.labels);
    let description = fields.prose("secret_store.description", store.description, 1000);
    let driver = driver(&mut fields, store.driver);
    fields.finish(|| Some(CreateSecretStore { parent: parent?, id, described, description, driver: driver? }))
}

fn update(body: pb::UpdateSecretStoreRequest) -> Result<UpdateSecretStore> {
    const DRIVERS: [&str; 3] = ["vault", "environment", "directory"];
    let writable = ["display_name", "labels", "description", "vault", "environment", "directory"];
    let mask = parse::Mask::new(body.update_mask.as_ref(), &writable)?;
    let mut fields = parse::Fields::new();
    let store = body.secret_store.unwrap_or_default();
    let name = fields.text("secret_store.name", &store.name);
    let (display_name, labels) = (!store.display_name.is_empty(), !store.labels.is_empty());
    let has_description = !store.description.is_empty();
    let described = fields.described("secret_store", store.display_name, store.labels);
    let description = fields.prose("secret_store.description", store.description, 1000);
    let set = store.driver.as_ref().map(driver_name);
    // Of several ways to read secrets a store has one: whichever is named, it takes the place of the one before.
    let driver = match DRIVERS.iter().any(|known| mask.writes(known, set == Some(*known))) {
        true => driver(&mut fields, store.driver).map(Some),
        false => Some(None),
    };
    fields.finish(|| {
        Some(UpdateSecretStore {
            name: name?,
            display_name: mask.take("display_name", display_name, described.display_name),
            labels: mask.take("labels", labels, described.labels),
            description: mask.take("description", has_description, description),
            driver: driver?,
        })
    })
}

fn driver_name(driver: &pb::secret_store::Driver) -> &'static str {
    match driver {
        pb::secret_store::Driver::Vault(_) => "vault",
        pb::secret_store::Driver::Environment(_) => "environment",
        pb::secret_store::Driver::Directory(_) => "directory",
    }
}

fn driver(fields: &mut parse::Fields, given: Option<pb::secret_store::Driver>) -> Option<Driver> {
    let driver = match given {
        None => {
            fields.wrong("secret_store.driver", "required: one of vault, environment and directory");
            return None;
        }
        Some(pb::secret_store::Driver::Vault(pb::VaultDriver { address, namespace, mount, kv_version })) => {
            Driver::Vault(Vault { address, namespace, mount, kv_version })
        }
        Some(pb::secret_store::Driver::Environment(pb::EnvironmentDriver { prefix })) => {
            Driver::Environment(Environment { prefix })
        }
        Some(pb::secret_store::Driver::Directory(pb::DirectoryDriver { path })) => Driver::Directory(Directory { path }),
    };
    fields.all(|violations| driver.check("secret_store", violations));
    Some(driver)
}

fn message(store: &SecretStore) -> pb::SecretStore {
    let meta = &store.meta;
    let driver = match store.driver.clone() {
        Driver::Vault(Vault { address, namespace, mount, kv_version }) => {
            pb::secret_store::Driver::Vault(pb::VaultDriver { address, namespace, mount, kv_version })
        }
        Driver::Environment(Environment { prefix }) => pb::secret_store::Driver::Environment(pb::EnvironmentDriver { prefix }),
        Driver::Directory(Directory { path }) => pb::secret_store::Driver::Directory(pb::DirectoryDriver { path }),
    };
    pb::SecretStore {
        name: store.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        description: store.description.clone(),
        driver: Some(driver),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_wrong_with_a_store_is_named_at_once() {
        let driver = pb::VaultDriver { address: "http://vault".to_owned(), mount: "..".to_owned(), ..Default::default() };
        let store = pb::SecretStore { driver: Some(pb::secret_store::Driver::Vault(driver)), ..Default::default() };
        let body =
            pb::CreateSecretStoreRequest { secret_store_id: "A".to_owned(), secret_store: Some(store), ..Default::default() };
        let error = create(body).expect_err("five fields are wrong");
        let fields: Vec<&str> = error.violations().iter().map(|violation| violation.field.as_str()).collect();
        let at = "secret_store.vault";
        let expected = ["parent".to_owned(), "secret_store_id".to_owned()]
            .into_iter()
            .chain(["address", "mount", "kv_version"].map(|field| format!("{at}.{field}")));
        assert_eq!(fields, expected.collect::<Vec<_>>());
        let none = create(pb::CreateSecretStoreRequest { parent: "tenants/acme".to_owned(), ..Default::default() });
        assert_eq!(none.expect_err("no driver").violations()[0].field, "secret_store.driver");
    }
}
