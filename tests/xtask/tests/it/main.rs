//! What holds for the repository as a whole, and no compiler says; and the load generator against a server.

mod contract;
mod files;
mod imports;
mod load;
mod repository;
