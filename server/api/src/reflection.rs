//! `grpc.reflection`, v1 and v1alpha (older tools ask for that one first): the contract for grpcurl and its like.

use tonic::service::Routes;
use tonic_reflection::server::Builder;

use crate::{
    policy::{HEALTH, REFLECTION, Surface},
    setup::{Result, SetupError},
};

/// Adds both versions. They list what the listener serves; on `admin` the whole contract.
///
/// # Errors
/// When the embedded contract cannot be read, which no installation can cause.
pub fn add(routes: Routes, surface: Surface) -> Result<Routes> {
    let builder = || {
        let services = surface.services().into_iter().chain([HEALTH]).chain(REFLECTION);
        let start = Builder::configure()
            .register_encoded_file_descriptor_set(freehold_proto::DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Tools look here for what the details of an error mean.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
            // Each version registers its own file; the other's is needed too, since both are listed.
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .include_reflection_service(false);
        services.fold(start, Builder::with_service_name)
    };
    let broken = |e| SetupError::new("the embedded contract cannot be read").caused_by(e);
    Ok(routes.add_service(builder().build_v1().map_err(broken)?).add_service(builder().build_v1alpha().map_err(broken)?))
}
