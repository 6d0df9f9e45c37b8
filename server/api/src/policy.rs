//! Which methods exist, on which listener, and what each demands: the contract's table, health and reflection.

use std::time::Duration;

use freehold_proto::{
    Method,
    common::v1::{AuditLevel, MethodKind, ServiceClass},
};

/// The listeners. The same table decides on all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Surface {
    /// Mutual TLS for programs and people: everything but the runner protocol.
    Api,
    /// Server TLS for browsers, over gRPC-web: everything but the runner protocol and reflection.
    Web,
    /// Mutual TLS for runners: the runner protocol. Who joins has no certificate yet; without one, only the public method for that
    /// is reached.
    Runner,
    /// TLS for Terraform and OpenTofu, with a client certificate or a token: states, over their own protocol.
    State,
    /// Loopback without TLS, for the operator of the machine: health and reflection, to anybody.
    Admin,
}

impl Surface {
    /// Name in logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Web => "web",
            Self::Runner => "runner",
            Self::State => "state",
            Self::Admin => "admin",
        }
    }

    /// Whether callers prove themselves by a client certificate.
    pub const fn wants_certificate(self) -> bool {
        matches!(self, Self::Api | Self::Runner)
    }

    /// The method at `/package.Service/Method`, if this listener has it.
    pub fn method(self, path: &str) -> Option<&'static Method> {
        let service = path.strip_prefix('/')?.split_once('/')?.0;
        let here = match service {
            HEALTH => true,
            RUNNER => self == Self::Runner,
            STATE => matches!(self, Self::Api | Self::Web | Self::State),
            TOKEN => matches!(self, Self::Api | Self::Web | Self::State),
            _ if REFLECTION.contains(&service) => matches!(self, Self::Api | Self::Admin),
            _ => matches!(self, Self::Api | Self::Web),
        };
        let find = || freehold_proto::method(path).or_else(|| STANDARD.iter().find(|method| method.path == path));
        here.then(find).flatten()
    }

    /// Full names of the contract's services that this listener serves.
    pub fn services(self) -> Vec<&'static str> {
        let mut names: Vec<_> = freehold_proto::METHODS
            .iter()
            .filter(|method| self == Self::Admin || self.method(method.path).is_some())
            .filter_map(|method| method.path.strip_prefix('/')?.split_once('/'))
            .map(|(service, _)| service)
            .collect();
        names.dedup();
        names
    }
}

pub(crate) const HEALTH: &str = "grpc.health.v1.Health";
pub(crate) const REFLECTION: [&str; 2] = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"];
const RUNNER: &str = "freehold.runners.v1.RunnerService";
const STATE: &str = "freehold.deployments.v1.StateService";
const TOKEN: &str = "freehold.iam.v1.TokenService";

/// Methods that are not of the contract. Load balancers must be able to ask for health without an identity.
static STANDARD: [Method; 4] = [
    standard("/grpc.health.v1.Health/Check", true, Duration::from_secs(10), false),
    standard("/grpc.health.v1.Health/Watch", true, Duration::from_secs(3600), true),
    standard("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", false, Duration::from_secs(600), true),
    standard("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", false, Duration::from_secs(600), true),
];

const fn standard(path: &'static str, public: bool, max_deadline: Duration, streams: bool) -> Method {
    Method {
        path,
        permission: "",
        public,
        any_caller: !public,
        quota: None,
        kind: MethodKind::Read,
        audit: AuditLevel::None,
        service_class: ServiceClass::Essential,
        cost: 1,
        max_deadline,
        streams,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_has_its_methods_and_no_other() {
        let acquire = "/freehold.runners.v1.RunnerService/AcquireJob";
        let pools = "/freehold.runners.v1.RunnerPoolService/ListRunnerPools";
        let info = "/freehold.meta.v1.ServerInfoService/GetServerInfo";
        let check = "/grpc.health.v1.Health/Check";
        let reflect = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let table = [
            (Surface::Api, [false, true, true, true, true]),
            (Surface::Web, [false, true, true, true, false]),
            (Surface::Runner, [true, false, false, true, false]),
            (Surface::Admin, [false, false, false, true, true]),
        ];
        for (surface, expected) in table {
            let found = [acquire, pools, info, check, reflect].map(|path| surface.method(path).is_some());
            assert_eq!(found, expected, "{surface:?}");
            for wrong in
                ["", "/", "//", "/freehold.meta.v1.ServerInfoService", "/freehold.meta.v1.ServerInfoService/getServerInfo"]
            {
                assert!(surface.method(wrong).is_none(), "{wrong}");
            }
        }
        assert!(!Surface::Api.services().contains(&RUNNER));
        assert_eq!(Surface::Runner.services(), [RUNNER]);
    }
}
