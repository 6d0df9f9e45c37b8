//! moto, a server with the API of AWS, as a test runs and asks it.

use std::{path::Path, process::Command};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{Process, eventually};

/// A server that was started for one test.
pub struct Moto {
    /// Host and port.
    pub address: String,
    _process: Process,
}

impl Moto {
    /// Starts the program, with its log in this file.
    pub async fn start(program: &Path, log: &Path) -> Self {
        let mut command = Command::new(program);
        command.args(["-H", "127.0.0.1", "-p", "0"]).env("PYTHONUNBUFFERED", "1");
        let mut process = Process::start(command, log);
        let address = eventually("moto", || {
            let (said, ended) = (process.said(), process.ended());
            async move {
                assert!(ended.is_none(), "it ended: {said}");
                let address = said.split_once("Running on http://").and_then(|(_, rest)| rest.split_whitespace().next());
                address.map(str::to_owned).ok_or(said)
            }
        })
        .await;
        Self { address, _process: process }
    }

    /// Answer of EC2 to an action with its parameters, as a query string.
    pub async fn ec2(&self, action: &str) -> String {
        let (status, answer) = self.ask("ec2", "POST", "/", &format!("Action={action}&Version=2016-11-15")).await;
        assert_eq!(status, 200, "{action}: {answer}");
        answer
    }

    /// Status and answer of S3.
    pub async fn s3(&self, method: &str, path: &str) -> (u16, String) {
        self.ask("s3", method, path, "").await
    }

    /// moto finds the service in the scope of the credential, and checks no signature.
    async fn ask(&self, service: &str, method: &str, path: &str, body: &str) -> (u16, String) {
        let credential = format!("Credential=outsider/20260101/us-east-1/{service}/aws4_request");
        let head = format!(
            "{method} {path} HTTP/1.0\r\nhost: {}\r\nauthorization: AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut stream = TcpStream::connect(&self.address).await.expect("moto listens");
        stream.write_all(head.as_bytes()).await.expect("moto reads");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("moto answers");
        let answer = String::from_utf8_lossy(&answer);
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer of HTTP");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }
}

/// The texts of all elements of this name, in their order.
pub fn elements<'x>(xml: &'x str, name: &str) -> Vec<&'x str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    xml.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(text, _)| text).collect()
}
