//! The request as bytes, with places that are new for every call.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use uuid::Uuid;

use crate::Failure;

/// A request, framed for gRPC.
///
/// Placeholders have a fixed length, so that a call costs a copy and not an encoding.
#[derive(Clone, Debug)]
pub struct Payload {
    frame: Bytes,
    uuids: Vec<usize>,
    numbers: Vec<usize>,
}

/// What stands for `{{uuid}}` and `{{n}}` while the request is encoded: as long as what comes in its place, and in nobody's data.
const UUID: &str = "c3e8a1f4-6b27-7d90-8e55-f01b9d3a7c62";
const NUMBER: &str = "7305518264";

impl Payload {
    /// Encodes JSON as the method's request.
    ///
    /// # Errors
    /// When the JSON is not the request, or a placeholder is not in a string.
    pub fn encode(method: &MethodDescriptor, json: &str) -> Result<Self, Failure> {
        let text = json.replace("{{uuid}}", UUID).replace("{{n}}", NUMBER);
        let mut reader = serde_json::Deserializer::from_str(&text);
        let name = method.input().full_name().to_owned();
        let message = DynamicMessage::deserialize(method.input(), &mut reader)
            .and_then(|message| reader.end().map(|()| message))
            .map_err(|error| format!("the data are not a {name}: {error}"))?;
        let body = message.encode_to_vec();
        let mut frame = BytesMut::with_capacity(body.len() + 5);
        frame.put_u8(0); // not compressed
        frame.put_u32(u32::try_from(body.len())?);
        frame.extend_from_slice(&body);
        let (uuids, numbers) = (places(&frame, UUID), places(&frame, NUMBER));
        if (uuids.len(), numbers.len()) != (json.matches("{{uuid}}").count(), json.matches("{{n}}").count()) {
            return Err("{{uuid}} and {{n}} can stand in fields of the type string only".into());
        }
        Ok(Self { frame: frame.freeze(), uuids, numbers })
    }

    /// The bytes of call number `n`.
    pub fn bytes(&self, n: u64) -> Bytes {
        if self.uuids.is_empty() && self.numbers.is_empty() {
            return self.frame.clone();
        }
        let mut frame = BytesMut::from(&self.frame[..]);
        for at in &self.uuids {
            Uuid::now_v7().hyphenated().encode_lower(&mut frame[*at..*at + UUID.len()]);
        }
        if !self.numbers.is_empty() {
            let digits = format!("{:010}", n % 10_000_000_000);
            for at in &self.numbers {
                frame[*at..*at + NUMBER.len()].copy_from_slice(digits.as_bytes());
            }
        }
        frame.freeze()
    }
}

fn places(frame: &[u8], mark: &str) -> Vec<usize> {
    frame.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark.as_bytes()).map(|(at, _)| at).collect()
}

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use prost_types::{
        DescriptorProto, FieldDescriptorProto, FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto,
        field_descriptor_proto::{Label, Type},
    };

    use super::*;

    fn method() -> MethodDescriptor {
        let field = |name: &str, number, kind: Type| FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(Label::Optional.into()),
            r#type: Some(kind.into()),
            ..FieldDescriptorProto::default()
        };
        let file = FileDescriptorProto {
            name: Some("t.proto".to_owned()),
            package: Some("t".to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: vec![DescriptorProto {
                name: Some("M".to_owned()),
                field: vec![field("id", 1, Type::String), field("raw", 2, Type::Bytes)],
                ..DescriptorProto::default()
            }],
            service: vec![ServiceDescriptorProto {
                name: Some("S".to_owned()),
                method: vec![MethodDescriptorProto {
                    name: Some("C".to_owned()),
                    input_type: Some(".t.M".to_owned()),
                    output_type: Some(".t.M".to_owned()),
                    ..MethodDescriptorProto::default()
                }],
                ..ServiceDescriptorProto::default()
            }],
            ..FileDescriptorProto::default()
        };
        let mut pool = DescriptorPool::new();
        pool.add_file_descriptor_proto(file).expect("a file");
        pool.get_service_by_name("t.S").and_then(|service| service.methods().next()).expect("a method")
    }

    fn id(bytes: &Bytes) -> String {
        assert_eq!((bytes[0], u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]])), (0, bytes.len() as u32 - 5));
        let message = DynamicMessage::decode(method().input(), &bytes[5..]).expect("a message");
        message.get_field_by_name("id").and_then(|value| value.as_str().map(str::to_owned)).expect("an id")
    }

    #[test]
    fn placeholders_are_new_for_every_call() {
        let payload = Payload::encode(&method(), r#"{"id": "p-{{n}}-{{uuid}}-{{n}}"}"#).expect("encoded");
        let (first, second) = (id(&payload.bytes(7)), id(&payload.bytes(8)));
        assert!(first.starts_with("p-0000000007-") && first.ends_with("-0000000007"), "{first}");
        assert!(second.starts_with("p-0000000008-"), "{second}");
        let uuid = |text: &str| Uuid::parse_str(&text[13..49]).expect("a uuid");
        assert_ne!(uuid(&first), uuid(&second));
    }

    #[test]
    fn data_that_are_no_request_are_refused() {
        for wrong in [r#"{"nothing": 1}"#, "{", r#"{} {}"#, r#"{"raw": "{{n}}=="}"#] {
            assert!(Payload::encode(&method(), wrong).is_err(), "{wrong}");
        }
        assert_eq!(Payload::encode(&method(), "{}").expect("empty").bytes(0), Bytes::from_static(&[0; 5]));
    }
}
