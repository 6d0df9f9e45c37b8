//! The five statements that every named resource of a tenant has.

/// Writes `insert`, `get`, `list`, `update` and `delete` of a table whose rows are named resources of a tenant.
///
/// Further columns are given as `column = expression of the resource`.
macro_rules! entity {
    ($table:literal, $type:ty, $name:ty $(, $column:ident = $value:expr)* $(,)?) => {
        use freehold_domain::{
            Error, Reason, Result,
            access::TenantScope,
            resource::{Listed, Page},
        };
        use $crate::{
            Session, Tx,
            session::{OrExists as _, decode, encode},
        };

        /// Adds a row. Fails with `RESOURCE_EXISTS` when the name is taken, `RESOURCE_NOT_FOUND` when the parent is gone.
        pub async fn insert(tx: &mut Tx, tenant: TenantScope, parent: &str, item: &$type) -> Result<()> {
            execute!(
                tx,
                concat!(
                    "INSERT INTO ", $table, " (tenant_id, uid, name, parent, version, body", $(", ", stringify!($column),)*
                    ") VALUES ($1, $2, $3, $4, $5, $6", $(entity!(@next $column),)* ")"
                ),
                tenant.0.0,
                item.meta.uid.0,
                item.name.to_string(),
                parent,
                item.meta.version,
                encode(item)?,
                $($value(item),)*
            )
            .map_err(|failure| if failure.is_reference() { Err(Error::not_found(parent)) } else { Ok(failure) })
            .or_else(|refused| match refused {
                Err(error) => Err(error),
                Ok(failure) => Err::<u64, _>(failure).or_exists(&item.name),
            })
            .map(drop)
        }

        /// Reads one by its name.
        pub async fn get(db: &mut Session, tenant: TenantScope, name: &$name) -> Result<Option<$type>> {
            let row = fetch_optional!(
                (String,),
                db,
                concat!("SELECT body FROM ", $table, " WHERE tenant_id = $1 AND name = $2"),
                tenant.0.0,
                name.to_string(),
            )?;
            row.map(|(body,)| decode($table, &body)).transpose()
        }

        /// Whether there is one of this name; if so, it neither goes nor changes before this transaction ends.
        pub async fn hold(tx: &mut Tx, tenant: TenantScope, name: &$name) -> Result<bool> {
            let rows = execute!(
                tx,
                concat!("UPDATE ", $table, " SET version = version WHERE tenant_id = $1 AND name = $2"),
                tenant.0.0,
                name.to_string(),
            )?;
            Ok(rows == 1)
        }

        /// Reads a page of the resources of a parent.
        pub async fn list(db: &mut Session, tenant: TenantScope, parent: &str, page: Page) -> Result<Listed<$type>> {
            let rows = fetch_all!(
                (String,),
                db,
                concat!("SELECT body FROM ", $table, " WHERE tenant_id = $1 AND parent = $2 AND uid > $3 ORDER BY uid LIMIT $4"),
                tenant.0.0,
                parent,
                page.after.map_or(uuid::Uuid::nil(), |uid| uid.0),
                i64::from(page.size) + 1,
            )?;
            let items = rows.iter().map(|(body,)| decode($table, body)).collect::<Result<Vec<$type>>>()?;
            Ok(Listed::from_rows(items, page, |item| item.meta.uid))
        }

        /// Writes the next version. Fails with `ETAG_MISMATCH` when somebody else was first.
        pub async fn update(tx: &mut Tx, tenant: TenantScope, item: &$type) -> Result<()> {
            let rows = execute!(
                tx,
                concat!("UPDATE ", $table, " SET version = $1, body = $2 WHERE tenant_id = $3 AND uid = $4 AND version = $5"),
                item.meta.version,
                encode(item)?,
                tenant.0.0,
                item.meta.uid.0,
                item.meta.version - 1,
            )?;
            if rows == 1 { Ok(()) } else { Err(item.meta.etag_mismatch()) }
        }

        /// Removes the row. Fails with `RESOURCE_IN_USE` while something refers to it, with `ETAG_MISMATCH` when it has changed.
        pub async fn delete(tx: &mut Tx, tenant: TenantScope, item: &$type) -> Result<()> {
            let rows = execute!(
                tx,
                concat!("DELETE FROM ", $table, " WHERE tenant_id = $1 AND uid = $2 AND version = $3"),
                tenant.0.0,
                item.meta.uid.0,
                item.meta.version,
            )
            .map_err(|failure| {
                if failure.is_reference() {
                    Error::new(Reason::ResourceInUse, format!("{} is still in use; remove what is in it or refers to it first", item.name))
                        .with("resource", &item.name)
                } else {
                    failure.into()
                }
            })?;
            if rows == 1 { Ok(()) } else { Err(item.meta.etag_mismatch()) }
        }
    };
    (@next email) => { ", $7" };
    (@next blueprint) => { ", $7" };
}
