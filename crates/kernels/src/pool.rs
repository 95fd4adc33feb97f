//! The one thread pool: kernels, loaders and tokenizers share rayon's.
//!
//! Work is cut into tasks by shape, and each task writes its own part of the result. Sums over tasks go through a fixed binary tree. Only
//! where tasks share no sum at all may their size depend on the number of threads. So any number of threads gives the same bits.

use std::{
    cell::Cell,
    sync::atomic::{
        AtomicBool,
        Ordering::{Acquire, Release},
    },
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
    struct Over<'a>(&'a AtomicBool, bool);
    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.store(true, Release);
            TAKEN.set(self.1);
        }
    }
    let over = AtomicBool::new(false);
    rayon::scope(|scope| {
        for _ in 1..threads() {
            let over = &over;
            scope.spawn(move |_| look_for_work(over));
        }
        let _over = Over(&over, TAKEN.replace(true));
        f()
    })
}

thread_local! {
    /// Whether this thread is that of a pass, or looks for work during one: it must not begin to look for work during another, which
    /// may wait for it.
    static TAKEN: Cell<bool> = const { Cell::new(false) };
}

/// Does what there is to do until a pass is over, or nothing was for some milliseconds: a thread may come here while it waits for a
/// task, for which in the end somebody else may wait.
fn look_for_work(over: &AtomicBool) {
    if TAKEN.replace(true) {
        return;
    }
    let mut idle = 0;
    while idle < ROUNDS && !over.load(Acquire) {
        if rayon::yield_now() == Some(rayon::Yield::Executed) {
            idle = 0;
        } else {
            idle += 1;
            (0..SPINS).for_each(|_| std::hint::spin_loop());
            std::thread::yield_now();
        }
    }
    TAKEN.set(false);
}

/// Pauses of a thread without work before it looks again.
const SPINS: usize = 20;
/// How often it looks in vain before it sleeps: some milliseconds.
const ROUNDS: usize = 4000;

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
    fn passes_beside_each_other_end() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let pass = || {
            let sums = || (0..20).map(|_| sum(64, |i| (0..500).map(|j| (i ^ j) as f64).sum())).collect::<Vec<f64>>();
            pool.install(|| inside(sums))
        };
        let want = pass();
        for _ in 0..50 {
            std::thread::scope(|s| {
                let others = [s.spawn(pass), s.spawn(pass)];
                assert_eq!(pass(), want);
                assert!(others.into_iter().all(|other| other.join().unwrap() == want));
            });
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
