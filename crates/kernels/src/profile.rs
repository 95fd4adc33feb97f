//! How long kernels take, by kind: for benches that ask for it.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Instant,
};

/// What a kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Matrix products with what follows them.
    Product,
    /// Operands of products put in order.
    Pack,
    /// Attention, forwards.
    Attention,
    /// Attention, backwards.
    AttentionBackward,
    /// Normalisations, forwards and backwards.
    Norm,
    /// Cross-entropy.
    Loss,
    /// The optimizer.
    Optimizer,
    /// Sums, activations, conversions, tables.
    Elementwise,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] = [
        Kind::Product,
        Kind::Pack,
        Kind::Attention,
        Kind::AttentionBackward,
        Kind::Norm,
        Kind::Loss,
        Kind::Optimizer,
        Kind::Elementwise,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Product => "product",
            Kind::Pack => "pack",
            Kind::Attention => "attention",
            Kind::AttentionBackward => "attention backward",
            Kind::Norm => "norm",
            Kind::Loss => "loss",
            Kind::Optimizer => "optimizer",
            Kind::Elementwise => "elementwise",
        }
    }
}

static ON: AtomicBool = AtomicBool::new(false);
static NANOSECONDS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];
static CALLS: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

/// Starts counting from zero, or stops.
pub fn set(on: bool) {
    NANOSECONDS.iter().chain(&CALLS).for_each(|x| x.store(0, Relaxed));
    ON.store(on, Relaxed);
}

/// Seconds and calls of each kind since [`set`], as the calling threads saw them.
pub fn read() -> Vec<(Kind, f64, u64)> {
    let of = |k: Kind| (k, NANOSECONDS[k as usize].load(Relaxed) as f64 / 1e9, CALLS[k as usize].load(Relaxed));
    Kind::ALL.into_iter().map(of).collect()
}

/// Counts the time until it is dropped.
pub(crate) struct Scope(Option<(Kind, Instant)>);

/// Begins to count the time of a kernel; next to nothing where nobody asks for it.
#[inline]
pub(crate) fn scope(kind: Kind) -> Scope {
    Scope(ON.load(Relaxed).then(|| (kind, Instant::now())))
}

impl Drop for Scope {
    fn drop(&mut self) {
        if let Some((kind, begun)) = self.0 {
            NANOSECONDS[kind as usize].fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
            CALLS[kind as usize].fetch_add(1, Relaxed);
        }
    }
}
