//! Tensors, the autograd tape, and the operations that models are made of.
//!
//! An operation is a function `op(inputs, ctx) -> Result<Tensor>`. Where the context has a tape, it records what its
//! gradient needs; [`Ctx::backward`] then goes through the tape from the end and gives the gradient of every
//! parameter, written in place. Without a tape nothing is kept.

mod cache;
mod ctx;
mod error;
pub mod gradcheck;
mod grads;
pub mod ops;
mod params;
mod shape;
mod storage;
mod tape;
mod tensor;

pub use bedstone_kernels::{
    bf16,
    gemm::Activation,
    image::{Order, Window},
    isa::{Isa, IsaError, Level},
    loss::IGNORE,
    norm::Norm,
};
pub use cache::Cache;
pub use ctx::{Ctx, Env, Packing, Precision, Training};
pub use error::{Result, TensorError};
pub use grads::{Grads, ParamGradient, TableRows, WaitingGradient, WeightProduct};
pub use params::{Orientation, Param, ParamId, Params};
pub use shape::Shape;
pub use storage::{Dtype, Element};
pub use tape::{Backward, Recording, Var};
pub use tensor::Tensor;
