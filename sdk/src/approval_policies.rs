//! Approval policies: rules on whose approval plans need.

use std::{collections::BTreeMap, time::Duration};

use freehold_proto::approvals::v1 as pb;
use jiff::Timestamp;

use crate::{
    call::{Call, fields, options, request, service, updates},
    channel::new_id,
    list::{List, list},
    names::Kind,
    wire::resource,
};

resource! {
    /// Whose approval which changes need. Environments and projects name a policy; the first rule that matches a plan decides.
    ApprovalPolicy = pb::ApprovalPolicy {
        /// Resource name: `tenants/{tenant}/approvalPolicies/{approval_policy}`.
        name: String,
        /// UUIDv7, never used twice, not even after the name is.
        uid: String,
        /// Changes with every change a reader can see.
        etag: String,
        /// Name for people.
        display_name: String,
        /// Labels to find it by.
        labels: BTreeMap<String, String>,
        /// What it is for.
        description: String,
        /// In the order in which they are tried.
        rules: Vec<ApprovalRule>,
        /// Digest of the rules, `sha256:…`; receipts name it.
        digest: String,
        /// When it was created.
        create_time: Option<Timestamp>,
        /// When it last changed.
        update_time: Option<Timestamp>,
        /// Who created it.
        create_principal: String,
    }
}

resource! {
    /// What plans of one kind need.
    ApprovalRule = pb::ApprovalRule {
        /// Its name in the policy.
        name: String,
        /// Which plans it is about: a CEL expression that is true or false.
        when: String,
        /// What such a plan needs.
        require: Option<ApprovalRequirement>,
    }
}

resource! {
    /// What has to be there before a plan is applied.
    #[derive(Default)]
    ApprovalRequirement = pb::ApprovalRequirement {
        /// How many people have to approve it, 0 to 10; each counts once.
        approvals: i32,
        /// Whose approvals count: roles, `roles/approver`, and principals; empty means everybody who may approve.
        from: Vec<String>,
        /// The author of the run may be one of them.
        allow_self_approval: bool,
        /// How old the plan may be when its apply begins; absent means as old as it gets.
        max_plan_age: Option<Duration>,
        /// How long an approval counts; absent means as long as the run waits.
        expiry: Option<Duration>,
        /// Who approves has to say why.
        comment_required: bool,
    }
}

impl ApprovalRule {
    /// A rule that asks for so many approvals of plans of which this holds, for example `plan.irreversible > 0`.
    pub fn new(name: impl Into<String>, when: impl Into<String>, approvals: i32) -> Self {
        let require = ApprovalRequirement { approvals, ..Default::default() };
        Self { name: name.into(), when: when.into(), require: Some(require) }
    }

    fn require(mut self, set: impl FnOnce(&mut ApprovalRequirement)) -> Self {
        set(self.require.get_or_insert_default());
        self
    }

    /// Adds a role, `roles/approver`, or a principal, `users/ada`, whose approvals count; without one, everybody's do.
    pub fn from(self, approver: impl Into<String>) -> Self {
        self.require(|require| require.from.push(approver.into()))
    }

    /// The author of the run may be one of them.
    pub fn allow_self_approval(self) -> Self {
        self.require(|require| require.allow_self_approval = true)
    }

    /// How old the plan may be when its apply begins.
    pub fn max_plan_age(self, age: Duration) -> Self {
        self.require(|require| require.max_plan_age = Some(age))
    }

    /// How long an approval counts.
    pub fn expiry(self, expiry: Duration) -> Self {
        self.require(|require| require.expiry = Some(expiry))
    }

    /// Who approves has to say why.
    pub fn comment_required(self) -> Self {
        self.require(|require| require.comment_required = true)
    }
}

service! {
    /// Approval policies; see [`Client::approval_policies`](crate::Client::approval_policies).
    ApprovalPolicies
}

impl ApprovalPolicies {
    /// Starts building a policy; nothing is sent before [`send`](CreateApprovalPolicy::send).
    ///
    /// # Errors
    /// [`is_already_exists`](crate::Error::is_already_exists) if the name is taken,
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) with every expression that is wrong, and where.
    ///
    /// # Example
    /// ```no_run
    /// # async fn example(freehold: freehold::Client) -> freehold::Result<()> {
    /// use freehold::ApprovalRule;
    ///
    /// let two = ApprovalRule::new("irreversible", "plan.irreversible > 0", 2).from("roles/approver");
    /// let one = ApprovalRule::new("everything-else", "true", 1);
    /// freehold.approval_policies().create("careful").rule(two).rule(one).send().await?;
    /// freehold.environments().update("shop/prod").approval_policy("careful").send().await?;
    /// # Ok(()) }
    /// ```
    pub fn create(&self, name: impl AsRef<str>) -> CreateApprovalPolicy {
        let request = pb::CreateApprovalPolicyRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request).new_name(Kind::ApprovalPolicy, name.as_ref(), |request, parent, id| {
            (request.parent, request.approval_policy_id) = (parent, id);
        });
        CreateApprovalPolicy { call }
    }

    /// Reads one policy.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found).
    pub fn get(&self, name: impl AsRef<str>) -> GetApprovalPolicy {
        let call = Call::new(&self.core, pb::GetApprovalPolicyRequest::default());
        GetApprovalPolicy { call: call.name(Kind::ApprovalPolicy, name.as_ref(), |request, name| request.name = name) }
    }

    /// Lists the policies of the client's tenant by their creation, oldest first.
    pub fn list(&self) -> List<ApprovalPolicy> {
        let call = Call::new(&self.core, pb::ListApprovalPoliciesRequest::default())
            .in_tenant(|request, parent| request.parent = parent);
        list!(
            call,
            "/freehold.approvals.v1.ApprovalPolicyService/ListApprovalPolicies",
            pb::ListApprovalPoliciesResponse { approval_policies }
        )
    }

    /// Starts changing a policy: only what is set is written.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_etag_mismatch`](crate::Error::is_etag_mismatch),
    /// [`is_invalid_argument`](crate::Error::is_invalid_argument) as of [`create`](Self::create).
    pub fn update(&self, name: impl AsRef<str>) -> UpdateApprovalPolicy {
        let request = pb::UpdateApprovalPolicyRequest { request_id: new_id(), ..Default::default() };
        let call = Call::new(&self.core, request);
        UpdateApprovalPolicy {
            call: call.name(Kind::ApprovalPolicy, name.as_ref(), |request, name| {
                request.approval_policy.get_or_insert_default().name = name;
            }),
        }
    }

    /// Deletes a policy.
    ///
    /// # Errors
    /// [`is_not_found`](crate::Error::is_not_found), [`is_failed_precondition`](crate::Error::is_failed_precondition) while an
    /// environment or project names it, [`is_etag_mismatch`](crate::Error::is_etag_mismatch).
    pub fn delete(&self, name: impl AsRef<str>) -> DeleteApprovalPolicy {
        let request = pb::DeleteApprovalPolicyRequest { request_id: new_id(), ..Default::default() };
        DeleteApprovalPolicy {
            call: Call::new(&self.core, request).name(Kind::ApprovalPolicy, name.as_ref(), |request, name| request.name = name),
        }
    }
}

/// A rule as the contract has it; short names of principals become full ones.
macro_rules! rules {
    ($($builder:ident),*) => {$(
        impl $builder {
            fn add(mut self, rule: ApprovalRule) -> Self {
                let require = rule.require.unwrap_or_default();
                let mut from = Vec::new();
                for approver in require.from {
                    if approver.starts_with("roles/") || approver.starts_with("platform/") {
                        from.push(approver);
                    } else {
                        self.call = self.call.reference(Kind::Member, &approver, |_, full| from.push(full));
                    }
                }
                let time = |time: Option<Duration>| time.and_then(|time| time.try_into().ok());
                let require = pb::ApprovalRequirement {
                    approvals: require.approvals,
                    from,
                    allow_self_approval: require.allow_self_approval,
                    max_plan_age: time(require.max_plan_age),
                    expiry: time(require.expiry),
                    comment_required: require.comment_required,
                };
                let rule = pb::ApprovalRule { name: rule.name, when: rule.when, require: Some(require) };
                self.call.request.approval_policy.get_or_insert_default().rules.push(rule);
                self
            }
        }
    )*};
}
rules!(CreateApprovalPolicy, UpdateApprovalPolicy);

request! {
    /// A policy to create; see [`ApprovalPolicies::create`].
    CreateApprovalPolicy(pb::CreateApprovalPolicyRequest) -> ApprovalPolicy =
        "/freehold.approvals.v1.ApprovalPolicyService/CreateApprovalPolicy", pb::CreateApprovalPolicyResponse { approval_policy }
}
options!(CreateApprovalPolicy: request_id, validate_only);
fields! { CreateApprovalPolicy.approval_policy:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it is for, at most 1000 characters.
    description: text,
    /// Adds a label: keys `[a-z][a-z0-9_./-]{0,62}`, values at most 63 characters, at most 64 labels.
    labels: labels,
}

impl CreateApprovalPolicy {
    /// Adds a rule, to be tried after those before it; at most 32.
    pub fn rule(self, rule: ApprovalRule) -> Self {
        self.add(rule)
    }
}

request! {
    /// A policy to read; see [`ApprovalPolicies::get`].
    GetApprovalPolicy(pb::GetApprovalPolicyRequest) -> ApprovalPolicy =
        "/freehold.approvals.v1.ApprovalPolicyService/GetApprovalPolicy", pb::GetApprovalPolicyResponse { approval_policy }
}

request! {
    /// A policy to change; see [`ApprovalPolicies::update`].
    UpdateApprovalPolicy(pb::UpdateApprovalPolicyRequest) -> ApprovalPolicy =
        "/freehold.approvals.v1.ApprovalPolicyService/UpdateApprovalPolicy", pb::UpdateApprovalPolicyResponse { approval_policy }
}
options!(UpdateApprovalPolicy: request_id, validate_only);
updates! { UpdateApprovalPolicy.approval_policy:
    /// Name for people, at most 63 characters.
    display_name: text,
    /// What it is for, at most 1000 characters.
    description: text,
    /// Replaces all labels.
    labels: labels,
}

impl UpdateApprovalPolicy {
    /// Replaces all rules.
    pub fn rules(mut self, rules: impl IntoIterator<Item = ApprovalRule>) -> Self {
        self.call.request.approval_policy.get_or_insert_default().rules.clear();
        self.mask("rules");
        rules.into_iter().fold(self, Self::add)
    }
}

request! {
    /// A policy to delete; see [`ApprovalPolicies::delete`].
    DeleteApprovalPolicy(pb::DeleteApprovalPolicyRequest) -> () =
        "/freehold.approvals.v1.ApprovalPolicyService/DeleteApprovalPolicy", pb::DeleteApprovalPolicyResponse {}
}
options!(DeleteApprovalPolicy: request_id, etag, allow_missing);
