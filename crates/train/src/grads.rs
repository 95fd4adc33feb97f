//! Gradients of the micro-batches of a step, added in a fixed binary tree.

use bedstone_tensor::{Env, Grads};

/// Adds gradients as a binary tree over their number, however many there are, holding one set a level.
///
/// The tree depends on the number of micro-batches alone, so that several machines that each do a part of them can
/// give the same bits.
#[derive(Default)]
pub(crate) struct GradTree {
    /// Sums of `2^level` micro-batches, the highest level first.
    levels: Vec<(u32, Grads)>,
}

impl GradTree {
    /// Adds the next micro-batch.
    pub(crate) fn push(&mut self, grads: Grads, env: &Env<'_>) {
        self.levels.push((0, grads));
        while let [.., (a, _), (b, _)] = self.levels[..] {
            if a != b {
                break;
            }
            self.merge_last(env);
        }
    }

    /// The sum of all.
    pub(crate) fn finish(mut self, env: &Env<'_>) -> Option<Grads> {
        while self.levels.len() > 1 {
            self.merge_last(env);
        }
        self.levels.pop().map(|(_, grads)| grads)
    }

    fn merge_last(&mut self, env: &Env<'_>) {
        if let (Some((_, b)), Some((level, a))) = (self.levels.pop(), self.levels.last_mut()) {
            a.merge(b, env);
            *level += 1;
        }
    }
}
