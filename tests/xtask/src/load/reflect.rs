//! What a server says about its methods: gRPC reflection v1, then v1alpha, or a file.

use std::{collections::BTreeSet, fs, path::Path};

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DescriptorPool, MethodDescriptor};
use prost_types::FileDescriptorProto;

use super::target::Target;
use crate::Failure;

/// The methods of `ServerReflectionInfo`, newest first; their messages are the same.
const REFLECTION: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Code of a server that does not have a method.
const UNIMPLEMENTED: &str = "12";

/// `grpc.reflection.v1.ServerReflectionRequest`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Ask {
    #[prost(string, tag = "1")]
    host: String,
    #[prost(string, optional, tag = "3")]
    file_by_filename: Option<String>,
    #[prost(string, optional, tag = "4")]
    file_containing_symbol: Option<String>,
}

/// `grpc.reflection.v1.ServerReflectionResponse`, as far as it is used.
#[derive(Clone, PartialEq, Message)]
struct Told {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "7")]
    error: Option<Refused>,
}

#[derive(Clone, PartialEq, Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    encoded: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Refused {
    #[prost(string, tag = "2")]
    message: String,
}

/// The method, as a file with an encoded `FileDescriptorSet` describes it.
pub fn from_file(file: &Path, call: &str) -> Result<MethodDescriptor, Failure> {
    let bytes = fs::read(file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let pool =
        DescriptorPool::decode(bytes.as_slice()).map_err(|error| format!("{} is no descriptor set: {error}", file.display()))?;
    find(&pool, call)
}

/// The method, as the server describes it.
pub async fn from_server(target: &Target, call: &str) -> Result<MethodDescriptor, Failure> {
    let (service, _) = split(call)?;
    let mut files = Vec::new();
    let (mut wanted, mut known) = (vec![None], BTreeSet::new());
    while let Some(name) = wanted.pop() {
        let question = Ask {
            host: String::new(),
            file_containing_symbol: name.is_none().then(|| service.to_owned()),
            file_by_filename: name,
        };
        for file in ask(target, &question).await? {
            if known.insert(file.name().to_owned()) {
                wanted.extend(file.dependency.iter().cloned().map(Some));
                files.push(file);
            }
        }
        wanted.retain(|name| name.as_ref().is_none_or(|name| !known.contains(name)));
    }
    let mut pool = DescriptorPool::new();
    pool.add_file_descriptor_protos(files)
        .map_err(|error| format!("what the server says of {service} does not fit together: {error}"))?;
    find(&pool, call)
}

fn split(call: &str) -> Result<(&str, &str), Failure> {
    call.trim_start_matches('/').split_once('/').ok_or_else(|| format!("`{call}` is not package.Service/Method").into())
}

fn find(pool: &DescriptorPool, call: &str) -> Result<MethodDescriptor, Failure> {
    let (service, method) = split(call)?;
    let Some(found) = pool.get_service_by_name(service) else { return Err(format!("there is no service {service}").into()) };
    let all: Vec<_> = found.methods().map(|method| method.name().to_owned()).collect();
    found
        .methods()
        .find(|candidate| candidate.name() == method)
        .ok_or_else(|| format!("{service} has no method {method}; it has {}", all.join(", ")).into())
}

/// Asks one question on a stream of its own.
async fn ask(target: &Target, question: &Ask) -> Result<Vec<FileDescriptorProto>, Failure> {
    let mut refusal = String::new();
    for path in REFLECTION {
        match once(target, path, question).await? {
            Ok(told) => {
                if let Some(error) = told.error {
                    return Err(format!("the server's reflection says: {}", error.message).into());
                }
                let files = told.files.unwrap_or_default().encoded;
                return files.iter().map(|bytes| Ok(FileDescriptorProto::decode(bytes.as_slice())?)).collect();
            }
            Err((code, message)) if code == UNIMPLEMENTED => refusal = message,
            Err((code, message)) => return Err(format!("the server's reflection fails with code {code}: {message}").into()),
        }
    }
    Err(format!("the server has no reflection ({refusal}); give --descriptor-set FILE").into())
}

/// The first answer, or the status that came in its place.
async fn once(target: &Target, path: &str, question: &Ask) -> Result<Result<Told, (String, String)>, Failure> {
    let body = question.encode_to_vec();
    let mut frame = BytesMut::with_capacity(body.len() + 5);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(body.len())?);
    frame.extend_from_slice(&body);

    let mut sender = target.connect().await?.ready().await?;
    let (response, mut stream) = sender.send_request(target.request(path)?, false)?;
    stream.send_data(frame.freeze(), true)?;
    let (head, mut body) = response.await?.into_parts();
    if head.status != 200 {
        return Err(format!("the server answers with HTTP status {}: it does not speak gRPC", head.status).into());
    }
    let status = |headers: &http::HeaderMap| {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        (text("grpc-status"), text("grpc-message"))
    };
    if head.headers.contains_key("grpc-status") {
        return Ok(Err(status(&head.headers)));
    }
    let mut received = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk: Bytes = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        received.extend_from_slice(&chunk);
    }
    if received.len() < 5 {
        return Ok(Err(body.trailers().await?.map_or_else(Default::default, |trailers| status(&trailers))));
    }
    let length = u32::from_be_bytes([received[1], received[2], received[3], received[4]]) as usize;
    let message = received.get(5..5 + length).ok_or("the server's reflection sent half a message")?;
    Ok(Ok(Told::decode(message)?))
}
