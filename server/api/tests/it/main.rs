//! The edge through its own front door: real TLS on port 0, real tokens, small handlers behind.

mod calls;
mod certificates;
mod console;
mod hostile;
mod lifetime;
mod support;
mod tokens;
mod web;
