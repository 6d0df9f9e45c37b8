//! The client against a real server: TLS on a port of the system's choice, certificates of a CA made for the test.

mod channel;
mod credentials;
mod server;
