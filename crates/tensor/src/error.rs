//! What can go wrong in an operation.

use crate::{Dtype, Shape};

/// The result of an operation.
pub type Result<T, E = TensorError> = std::result::Result<T, E>;

/// An operation's inputs do not fit it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TensorError {
    /// Wrong number or sizes of axes.
    #[error("{op}: got shape {got}, wanted {wanted}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The shape given.
        got: Shape,
        /// What it should have been, in words.
        wanted: String,
    },
    /// Wrong type of numbers.
    #[error("{op}: got {got} numbers, wanted {wanted}")]
    Dtype {
        /// The operation.
        op: &'static str,
        /// The type given.
        got: Dtype,
        /// The type it takes.
        wanted: Dtype,
    },
    /// An id has no row in its table.
    #[error("{op}: id {id} at place {place}, wanted below {limit}")]
    Id {
        /// The operation.
        op: &'static str,
        /// The id.
        id: i64,
        /// Its index in the tensor of ids.
        place: usize,
        /// Rows of the table.
        limit: usize,
    },
    /// A parameter took no part in the loss.
    #[error("parameter `{name}` got no gradient\nhint: {hint}")]
    NoGradient {
        /// The parameter.
        name: String,
        /// What to do.
        hint: &'static str,
    },
    /// No parameter of this name.
    #[error("no parameter `{name}`")]
    NoParameter {
        /// The name asked for.
        name: String,
    },
    /// A request that the operation cannot serve.
    #[error("{op}: {what}")]
    Unsupported {
        /// The operation.
        op: &'static str,
        /// What was asked for, and what would do instead.
        what: String,
    },
}

impl TensorError {
    /// Nothing to go back through.
    pub(crate) fn not_recorded() -> Self {
        let what = "the result was not recorded, or no trainable parameter takes part in it".to_owned();
        TensorError::Unsupported { op: "backward", what }
    }
}
