//! ConnectionAccountService.

use freehold_domain::{
    Result,
    connection_accounts::ConnectionAccount,
    names::{ConnectionAccountName, ConnectionName},
};
use freehold_proto::integrations::v1 as pb;
use freehold_service::connection_accounts;
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

/// Bytes of a code, at most; real ones are shorter.
const MAX_CODE: usize = 200;

#[tonic::async_trait]
impl pb::connection_account_service_server::ConnectionAccountService for Wire {
    async fn link_account(&self, request: Request<pb::LinkAccountRequest>) -> Result<Response<pb::LinkAccountResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, (parent, code)) = parse::both(write(&body, &body.request_id, false, ""), link(body))?;
            let linked = connection_accounts::link(&self.app, &caller, &parent, &code, &write).await?;
            Ok(pb::LinkAccountResponse { connection_account: Some(message(&linked)) })
        })
        .await
    }

    async fn list_connection_accounts(
        &self,
        request: Request<pb::ListConnectionAccountsRequest>,
    ) -> Result<Response<pb::ListConnectionAccountsResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("accounts|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<ConnectionName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = connection_accounts::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListConnectionAccountsResponse {
                connection_accounts: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn delete_connection_account(
        &self,
        request: Request<pb::DeleteConnectionAccountRequest>,
    ) -> Result<Response<pb::DeleteConnectionAccountResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let write = write(&body, &body.request_id, false, "");
            let (write, name) = parse::both(write, parse::name::<ConnectionAccountName>("name", &body.name))?;
            connection_accounts::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteConnectionAccountResponse {})
        })
        .await
    }
}

fn link(body: pb::LinkAccountRequest) -> Result<(ConnectionName, String)> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    if body.code.is_empty() || body.code.len() > MAX_CODE {
        fields.wrong("code", "required: what the other system answered to `link`");
    }
    fields.finish(|| Some((parent?, body.code)))
}

fn message(account: &ConnectionAccount) -> pb::ConnectionAccount {
    pb::ConnectionAccount {
        name: account.name.to_string(),
        uid: account.name.account.to_string(),
        create_time: Some(render::time(account.create_time)),
        external_id: account.external_id.clone(),
        display_name: account.display_name.clone(),
        principal: account.principal.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use freehold_proto::common::v1::MethodKind;
    use freehold_service::commands::METHODS;

    #[test]
    fn commands_need_what_the_methods_of_the_contract_need() {
        for known in METHODS {
            let method = freehold_proto::method(&format!("/{}", known.name)).expect(known.name);
            assert_eq!((method.permission, method.kind == MethodKind::Read), (known.permission, known.reads), "{}", known.name);
        }
    }
}
