//! Batches made ahead by a thread.

use super::{Batch, Cursor, Error, Sampler};
use std::{
    sync::mpsc::{Receiver, TryRecvError, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Gives batches made by a thread of its own while earlier ones are used: those of [`Sampler::next_batch`], or of pictures.
///
/// For tokens the thread waits for the disk, not for the processor; it computes next to nothing. Pictures are decoded in
/// the pool that kernels use, too.
pub struct Loader<T = Batch> {
    batches: Option<Receiver<(T, Cursor)>>,
    thread: Option<JoinHandle<()>>,
    cursor: Cursor,
    waited: Duration,
}

impl Loader {
    /// Batches of `batch` samples from where `sampler` stands, at most `ahead` of them waiting.
    pub fn spawn(mut sampler: Box<dyn Sampler>, batch: usize, ahead: usize) -> Result<Self, Error> {
        Self::of(sampler.cursor(), ahead, move || (sampler.next_batch(batch), sampler.cursor()))
    }
}

impl<T: Send + 'static> Loader<T> {
    /// What `next` gives, each with the cursor after it, at most `ahead` of them waiting; `cursor` is where it stands.
    pub fn of(
        cursor: Cursor,
        ahead: usize,
        mut next: impl FnMut() -> (T, Cursor) + Send + 'static,
    ) -> Result<Self, Error> {
        let (sender, batches) = sync_channel(ahead.max(1));
        let work = move || {
            // Until nobody wants more.
            while sender.send(next()).is_ok() {}
        };
        let thread = thread::Builder::new().name("loader".into()).spawn(work).map_err(|_| Error::LoaderEnded)?;
        Ok(Self { batches: Some(batches), thread: Some(thread), cursor, waited: Duration::ZERO })
    }

    /// The next batch.
    pub fn next_batch(&mut self) -> Result<T, Error> {
        let batches = self.batches.as_ref().ok_or(Error::LoaderEnded)?;
        let (batch, cursor) = match batches.try_recv() {
            Ok(ready) => ready,
            Err(TryRecvError::Disconnected) => return Err(Error::LoaderEnded),
            Err(TryRecvError::Empty) => {
                let begin = Instant::now();
                let batch = batches.recv().map_err(|_| Error::LoaderEnded)?;
                self.waited += begin.elapsed();
                batch
            }
        };
        self.cursor = cursor;
        Ok(batch)
    }

    /// The cursor after the last batch that was taken, not after those made ahead: what a checkpoint keeps.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// How long [`Loader::next_batch`] waited, over all calls: time in which training stood still.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl<T> Drop for Loader<T> {
    fn drop(&mut self) {
        // Ends the thread's next attempt to send.
        self.batches = None;
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported to the one who waited for a batch.
            let _ = thread.join();
        }
    }
}
