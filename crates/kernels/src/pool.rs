//! The one thread pool: kernels, loaders and tokenizers share rayon's.
//!
//! Work is cut into tasks by shape, never by the number of threads, and each task writes its own part of the result.
//! Sums over tasks go through a fixed binary tree. So any number of threads gives the same bits.

use std::sync::atomic::{
    AtomicBool,
    Ordering::{Acquire, Release},
};

use rayon::prelude::*;

/// Below this many numbers a simple elementwise kernel is faster on one thread than it is to share.
pub const SMALL: usize = 16 * 1024;

/// Sets how many threads the process uses, once and before any other use; `None` means one for each core.
///
/// An error if the pool is already running.
pub fn set_threads(threads: Option<usize>) -> Result<(), String> {
    rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(0)).build_global().map_err(|e| e.to_string())
}

/// The number of threads in use.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `f` on a pool of its own with `threads` threads: for tests that compare numbers of threads.
pub fn with_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> Result<R, String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|e| e.to_string())?;
    Ok(pool.install(f))
}

/// Runs `f` on a thread of the pool, which must not wait for other threads than by tasks of its own.
///
/// A thread from outside hands each kernel's work over and sleeps until it is done: two switches of threads a kernel, a tenth of the
/// time of a small model. Here it is handed over once, for all the kernels of a pass. Meanwhile the other threads look for work
/// without falling asleep, for waking them takes as long as a small kernel; they give way to whoever else wants their cores.
pub fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    /// Says that the pass is over, however it ends.
    struct Over<'a>(&'a AtomicBool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Release);
        }
    }
    let over = AtomicBool::new(false);
    rayon::scope(|scope| {
        let (own, over) = (rayon::current_thread_index(), &over);
        for _ in 1..threads() {
            // The thread of the pass may take this up while it waits for a task of its own, and must go on.
            scope.spawn(move |_| {
                while rayon::current_thread_index() != own && !over.load(Acquire) {
                    if rayon::yield_now() != Some(rayon::Yield::Executed) {
                        (0..SPINS).for_each(|_| std::hint::spin_loop());
                        std::thread::yield_now();
                    }
                }
            });
        }
        let _over = Over(over);
        f()
    })
}

/// Pauses of a thread without work before it looks again.
const SPINS: usize = 20;

/// Runs `task(i)` for `i` in `0..n` on all threads.
pub fn for_each(n: usize, task: impl Fn(usize) + Send + Sync) {
    match n {
        0 => {}
        1 => task(0),
        // One by one: of several in a row, none could go to a thread that has nothing left to do.
        _ => (0..n).into_par_iter().with_max_len(1).for_each(task),
    }
}

/// Cuts `y` into parts of `chunk` numbers and runs `task(i, part)` on all threads; one thread where `y` is small.
pub fn for_chunks<T: Send>(y: &mut [T], chunk: usize, task: impl Fn(usize, &mut [T]) + Send + Sync) {
    if y.len() <= SMALL.min(chunk) || y.len() <= chunk {
        y.chunks_mut(chunk).enumerate().for_each(|(i, part)| task(i, part));
    } else {
        y.par_chunks_mut(chunk).enumerate().for_each(|(i, part)| task(i, part));
    }
}

/// Sums `f(i)` over `i` in `0..n` in a fixed binary tree, in double precision.
pub fn sum(n: usize, f: impl Fn(usize) -> f64 + Send + Sync) -> f64 {
    let parts: Vec<f64> = (0..n).into_par_iter().map(f).collect();
    tree_sum(&parts)
}

/// The sum of `x` as a binary tree over its indices.
pub fn tree_sum(x: &[f64]) -> f64 {
    match x {
        [] => 0.0,
        [a] => *a,
        _ => {
            let (a, b) = x.split_at(x.len().next_power_of_two() / 2);
            tree_sum(a) + tree_sum(b)
        }
    }
}

/// Adds the rows of `parts` (`n` rows of `width`) into the first one, as a binary tree over the rows.
pub fn tree_add_rows(parts: &mut [f32], width: usize) {
    let n = parts.len().checked_div(width).unwrap_or(0);
    let mut step = 1;
    while step < n {
        for i in (0..n - step).step_by(2 * step) {
            let (a, b) = parts[i * width..].split_at_mut(step * width);
            for (a, b) in a[..width].iter_mut().zip(&b[..width]) {
                *a += b;
            }
        }
        step *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_task_waits_behind_another_on_a_busy_thread() {
        use std::{sync::mpsc::channel, time::Duration};
        let (sender, done) = channel();
        let done = std::sync::Mutex::new(done);
        with_threads(2, || {
            for_each(40, |i| match i {
                // As if its thread were slow: it ends when all others are done.
                0 => (1..40).for_each(|_| {
                    done.lock().unwrap().recv_timeout(Duration::from_secs(60)).unwrap();
                }),
                _ => sender.send(()).unwrap(),
            });
        })
        .unwrap();
    }

    #[test]
    fn a_pass_ends_whatever_its_tasks_do() {
        for threads in [1, 2, 5] {
            with_threads(threads, || {
                let sums = inside(|| inside(|| (0..50).map(|n| sum(n, |i| i as f64)).collect::<Vec<_>>()));
                assert_eq!(sums[49], 48.0 * 49.0 / 2.0);
                // A pass that panics lets the others go as well.
                let panics = std::panic::catch_unwind(|| inside(|| for_each(9, |i| assert!(i < 7, "as it should"))));
                assert!(panics.is_err());
            })
            .unwrap();
        }
    }

    #[test]
    fn trees_sum_everything() {
        for n in 0..40 {
            let x: Vec<f64> = (0..n).map(|i| i as f64).collect();
            let want = (n * (n.max(1) - 1) / 2) as f64;
            assert_eq!(tree_sum(&x), want);
            assert_eq!(sum(n, |i| i as f64), want);
            let mut rows: Vec<f32> = (0..n * 3).map(|i| (i / 3) as f32).collect();
            tree_add_rows(&mut rows, 3);
            assert!(n == 0 || rows[..3].iter().all(|&x| f64::from(x) == want), "{n}");
        }
    }
}
