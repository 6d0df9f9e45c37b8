//! UserService.

use freehold_domain::{
    Result,
    iam::{self, User, UserState},
    names::TenantName,
};
use freehold_proto::iam::v1 as pb;
use freehold_service::users::{self, InviteUser};
use tonic::{Request, Response, Status};

use super::{Wire, parse, render, write};

#[tonic::async_trait]
impl pb::user_service_server::UserService for Wire {
    async fn invite_user(&self, request: Request<pb::InviteUserRequest>) -> Result<Response<pb::InviteUserResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, cmd) = parse::both(write(&body, &body.request_id, body.validate_only, ""), invite(body))?;
            let user = users::invite(&self.app, &caller, cmd, &write).await?;
            Ok(pb::InviteUserResponse { user: Some(message(&user)) })
        })
        .await
    }

    async fn get_user(&self, request: Request<pb::GetUserRequest>) -> Result<Response<pb::GetUserResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let user = users::get(&self.app, &caller, &parse::name("name", &body.name)?).await?;
            Ok(pb::GetUserResponse { user: Some(message(&user)) })
        })
        .await
    }

    async fn list_users(&self, request: Request<pb::ListUsersRequest>) -> Result<Response<pb::ListUsersResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let list = format!("users|{}", body.parent);
            let mut fields = parse::Fields::new();
            let parent = fields.text::<TenantName>("parent", &body.parent);
            let page = fields.page(body.page_size, &body.page_token, false, &list)?;
            let listed = users::list(&self.app, &caller, &fields.finish(|| parent)?, page).await?;
            Ok(pb::ListUsersResponse {
                users: listed.items.iter().map(message).collect(),
                next_page_token: parse::next_page_token(listed.next, &list),
            })
        })
        .await
    }

    async fn deactivate_user(
        &self,
        request: Request<pb::DeactivateUserRequest>,
    ) -> Result<Response<pb::DeactivateUserResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            let user = users::deactivate(&self.app, &caller, &name, &write).await?;
            Ok(pb::DeactivateUserResponse { user: Some(message(&user)) })
        })
        .await
    }

    async fn unlink_user_identity(
        &self,
        request: Request<pb::UnlinkUserIdentityRequest>,
    ) -> Result<Response<pb::UnlinkUserIdentityResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            let user = users::unlink(&self.app, &caller, &name, &write).await?;
            Ok(pb::UnlinkUserIdentityResponse { user: Some(message(&user)) })
        })
        .await
    }

    async fn delete_user(&self, request: Request<pb::DeleteUserRequest>) -> Result<Response<pb::DeleteUserResponse>, Status> {
        self.serve(request, |caller, body| async move {
            let (write, name) = parse::both(write(&body, &body.request_id, false, &body.etag), parse::name("name", &body.name))?;
            users::delete(&self.app, &caller, &name, body.allow_missing, &write).await?;
            Ok(pb::DeleteUserResponse {})
        })
        .await
    }
}

fn invite(body: pb::InviteUserRequest) -> Result<InviteUser> {
    let mut fields = parse::Fields::new();
    let parent = fields.text("parent", &body.parent);
    let id = fields.id("user_id", &body.user_id);
    let user = body.user.unwrap_or_default();
    let email = match user.email.as_str() {
        "" => {
            fields.wrong("user.email", "required");
            None
        }
        email => fields.check("user.email", iam::email(email)),
    };
    let described = fields.described("user", user.display_name, user.labels);
    fields.finish(|| Some(InviteUser { parent: parent?, id, described, email: email? }))
}

fn message(user: &User) -> pb::User {
    let meta = &user.meta;
    let state = match user.state {
        UserState::Invited => pb::UserState::Invited,
        UserState::Active => pb::UserState::Active,
        UserState::Deactivated => pb::UserState::Deactivated,
    };
    pb::User {
        name: user.name.to_string(),
        uid: meta.uid.to_string(),
        etag: meta.etag(),
        display_name: meta.display_name.clone(),
        labels: meta.labels.clone(),
        create_time: Some(render::time(meta.create_time)),
        update_time: Some(render::time(meta.update_time)),
        create_principal: meta.creator.clone(),
        email: user.email.clone(),
        state: state.into(),
        identity: user.identity.as_ref().map(|identity| pb::UserIdentity {
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            bind_time: Some(render::time(identity.bind_time)),
        }),
    }
}
