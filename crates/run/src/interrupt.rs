//! Ctrl-C and termination as a flag that the trainer looks at between steps.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use signal_hook::consts::{SIGINT, SIGTERM};

/// The exit code of a program that was interrupted.
pub const EXIT_CODE: i32 = 130;

/// Whether the user wants the run to stop.
///
/// Clones share the flag.
#[derive(Debug, Clone, Default)]
pub struct Interrupt {
    requested: Arc<AtomicBool>,
}

impl Interrupt {
    /// A flag of which the system knows nothing, for programs with signals of their own, and for tests.
    pub fn new() -> Self {
        Self::default()
    }

    /// The flag of this process, raised by Ctrl-C (SIGINT) and SIGTERM; the next of these signals ends the process at
    /// once with [`EXIT_CODE`].
    ///
    /// `noticed` is called from a thread when the first signal comes: a step may take long, and people want an answer.
    /// Calling this again gives the same flag. Hanging up is left to the system, so that `nohup` works.
    pub fn of_process(noticed: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        static FLAG: Mutex<Option<Interrupt>> = Mutex::new(None);
        let mut known = FLAG.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flag) = &*known {
            return Ok(flag.clone());
        }
        let flag = Self::new();
        let (mut heard, signalled) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // In this order: at the first signal the flag is still down when the shutdown looks at it.
            signal_hook::flag::register_conditional_shutdown(signal, EXIT_CODE, flag.requested.clone())?;
            signal_hook::flag::register(signal, flag.requested.clone())?;
            signal_hook::low_level::pipe::register(signal, signalled.try_clone()?)?;
        }
        thread::Builder::new().name("interrupt".into()).spawn(move || {
            if heard.read_exact(&mut [0]).is_ok() {
                noticed();
            }
        })?;
        *known = Some(flag.clone());
        Ok(flag)
    }

    /// Whether to stop: write a checkpoint, say how to resume, end with [`EXIT_CODE`].
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::SeqCst)
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.requested.store(true, Ordering::SeqCst);
    }
}

/// From now on Ctrl-C ends the process at once with [`EXIT_CODE`]: for work that needs no tidying.
///
/// Not together with [`Interrupt::of_process`], whose first signal asks.
pub fn exit_at_once() -> io::Result<()> {
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(SIGINT, EXIT_CODE, always)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_flag() {
        let flag = Interrupt::new();
        let other = flag.clone();
        assert!(!other.requested());
        flag.request();
        assert!(other.requested());
        assert!(!Interrupt::new().requested());
    }
}
