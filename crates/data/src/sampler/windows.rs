//! Shuffled windows for training.

use super::{Batch, Cursor, Error, Permutation, Sampler};
use crate::{random::mix, shards::TokenSet};

/// How windows are cut and shuffled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Tokens to predict in a window, `T`; a window takes one token more.
    pub length: usize,
    /// The seed of the order.
    pub seed: u64,
    /// Begins the windows of each epoch somewhere else, so that its cuts fall on other tokens. Up to `T - 1` tokens at
    /// the beginning are left out, different ones each time.
    pub shift: bool,
}

/// All windows of a set, in another order each epoch; neighbours share the one token where they meet.
///
/// The order is a function of the seed and the cursor: the same for any batch size, and after any interruption. Tokens
/// that do not fill a window at the end of the set are left out.
#[derive(Clone)]
pub struct Windows {
    set: TokenSet,
    options: Options,
    windows: u64,
    cursor: Cursor,
    epoch: Epoch,
}

/// What is drawn for an epoch.
#[derive(Clone, Copy)]
struct Epoch {
    order: Permutation,
    shift: u64,
}

impl Windows {
    /// Windows over `set` from the beginning.
    pub fn new(set: TokenSet, options: Options) -> Result<Self, Error> {
        let length = options.length.max(1) as u64;
        // Every epoch has as many windows as fit after the largest shift.
        let most = if options.shift { length - 1 } else { 0 };
        let windows = set.len().saturating_sub(1 + most) / length;
        if windows == 0 {
            let want = length + 1 + most;
            return Err(Error::TooShort { tokens: set.len(), want, length: length as usize });
        }
        let options = Options { length: length as usize, ..options };
        let epoch = Epoch::draw(&options, windows, 0);
        Ok(Self { set, options, windows, cursor: Cursor::default(), epoch })
    }

    /// Windows of an epoch.
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// How they are cut.
    pub fn options(&self) -> Options {
        self.options
    }

    fn set_cursor(&mut self, cursor: Cursor) {
        let cursor = match cursor.index == self.windows {
            true => Cursor { epoch: cursor.epoch + 1, index: 0 },
            false => cursor,
        };
        if cursor.epoch != self.cursor.epoch {
            self.epoch = Epoch::draw(&self.options, self.windows, cursor.epoch);
        }
        self.cursor = cursor;
    }
}

impl Sampler for Windows {
    fn cursor(&self) -> Cursor {
        self.cursor
    }

    fn seek(&mut self, cursor: Cursor) -> Result<(), Error> {
        // At the end of an epoch is as good as at the beginning of the next one.
        if cursor.index > self.windows {
            return Err(Error::Cursor { index: cursor.index, windows: self.windows });
        }
        self.set_cursor(cursor);
        Ok(())
    }

    fn next_batch(&mut self, batch: usize) -> Batch {
        let t = self.options.length;
        let mut ids = vec![0; batch * t];
        let (mut labels, mut samples, mut begins) = (ids.clone(), Vec::with_capacity(batch), Vec::with_capacity(batch));
        let mut window = vec![0; t + 1];
        for (ids, labels) in ids.chunks_exact_mut(t).zip(labels.chunks_exact_mut(t)) {
            let begin = self.epoch.shift + self.epoch.order.at(self.cursor.index) * t as u64;
            self.set.copy(begin..begin + t as u64 + 1, &mut window);
            ids.copy_from_slice(&window[..t]);
            labels.copy_from_slice(&window[1..]);
            samples.push(self.cursor.epoch * self.windows + self.cursor.index);
            begins.push(begin);
            self.set_cursor(Cursor { index: self.cursor.index + 1, ..self.cursor });
        }
        Batch { ids, labels, samples, begins, ..Batch::default() }
    }
}

impl Epoch {
    fn draw(options: &Options, windows: u64, epoch: u64) -> Self {
        let key = mix(options.seed, epoch);
        let shift = if options.shift { mix(key, u64::MAX) % options.length as u64 } else { 0 };
        Self { order: Permutation::new(windows, key), shift }
    }
}
