//! From text in files to batches of token ids.
//!
//! The way of a document: [`corpus`] reads it piece by piece, [`tokenizer`] turns it into ids, [`shards`] keeps the ids
//! in mapped files under a content hash, [`sampler`] draws windows of them in an order that a cursor can resume.
//!
//! [`labelled`] reads what models are adapted with: texts with labels, words with tags, questions with answers, pairs.
//!
//! What is not here: models, devices, printing. Nothing reads a whole corpus into memory, and nothing depends on the
//! number of threads or on the clock.

pub mod corpus;
pub mod labelled;
pub mod pictures;
mod random;
pub mod sampler;
pub mod shards;
pub mod tokenizer;
pub mod walk;
