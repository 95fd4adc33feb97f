//! Models of the Hugging Face hub, fetched into its usual cache: what a program needs to read them, checked, and no more.
//!
//! ```text
//! id.rs        org/name@revision
//! settings.rs  HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, …
//! select.rs    which files of a repository are wanted
//! client.rs    requests, redirects, refusals
//! cache.rs     refs, blobs, snapshots, locks: the layout that Python's `huggingface_hub` shares
//! checksum.rs  SHA-256 and git's SHA-1
//! blob.rs      one file: resumed, tried again, checked
//! fetch.rs     a model: what it is at, what is there, what is missing
//! ```
//!
//! This is the only crate that uses the network, and only in [`Hub::fetch`].

mod blob;
mod cache;
mod checksum;
mod client;
mod error;
mod fetch;
mod id;
mod select;
mod settings;

pub use error::HubError;
pub use fetch::{Event, Hub, Watch};
pub use id::ModelId;
pub use select::Want;
pub use settings::Settings;
