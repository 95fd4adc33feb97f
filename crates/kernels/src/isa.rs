//! Which instructions the processor has, as values that prove it.
//!
//! An [`Isa`] can only be made for features that were detected, so holding one (or a token taken from it) is the proof
//! that every `unsafe` call of an intrinsic cites. A program resolves it once and passes it on; nothing in this crate
//! looks at the processor again.

use std::{fmt, str::FromStr};

/// The instruction sets that kernels are written for, from the plainest to the richest. Each includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Plain Rust; what the compiler's default target has.
    Portable,
    /// AVX2 with FMA and F16C: 8 lanes of f32.
    Avx2,
    /// AVX-512 F, BW, DQ, VL: 16 lanes of f32.
    Avx512,
    /// AVX-512 with `vpdpbusd`: products of fours of int8.
    Avx512Vnni,
    /// AVX-512 with `vdpbf16ps`: products of bf16 pairs.
    Avx512Bf16,
    /// AMX tiles of bf16, which the operating system must grant as well.
    Amx,
}

impl Level {
    /// All levels, from the plainest.
    pub const ALL: [Level; 6] =
        [Level::Portable, Level::Avx2, Level::Avx512, Level::Avx512Vnni, Level::Avx512Bf16, Level::Amx];

    /// The name that `BEDSTONE_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
            Level::Avx512Vnni => "avx512vnni",
            Level::Avx512Bf16 => "avx512bf16",
            Level::Amx => "amx",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        Level::ALL.into_iter().find(|l| l.name() == name).ok_or_else(|| IsaError::Unknown { got: name.to_owned() })
    }
}

/// Why an instruction set was not given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsaError {
    /// The name is none of ours.
    #[error("BEDSTONE_ISA: got `{got}`, wanted one of portable, avx2, avx512, avx512vnni, avx512bf16, amx")]
    Unknown {
        /// The name given.
        got: String,
    },
    /// The machine lacks it.
    #[error("BEDSTONE_ISA: `{wanted}` is not available here: {reason}; the best available is `{best}`")]
    Missing {
        /// The level asked for.
        wanted: Level,
        /// The best that the machine has.
        best: Level,
        /// What is missing.
        reason: String,
    },
}

/// A detected instruction set: a proof that its instructions may be executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa {
    // Private: only made after detection.
    level: Level,
}

/// Proof of AVX2, FMA and F16C.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// Proof of AVX-512 F, BW, DQ, VL (and of all that [`Avx2`] proves).
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

/// Proof of AVX512-VNNI (and of all that [`Avx512`] proves).
#[derive(Clone, Copy, Debug)]
pub struct Avx512Vnni(());

/// Proof of AVX512-BF16.
#[derive(Clone, Copy, Debug)]
pub struct Avx512Bf16(());

/// Proof of AMX-BF16: by CPUID, by XCR0 and by the operating system's permission for this process.
#[derive(Clone, Copy, Debug)]
pub struct Amx(());

impl Avx512Bf16 {
    /// What this proves as well.
    pub fn avx512(self) -> Avx512 {
        Avx512(())
    }
}

impl Isa {
    /// Plain Rust, everywhere.
    pub const PORTABLE: Isa = Isa { level: Level::Portable };

    /// The best that this machine and its operating system allow.
    pub fn detect() -> Isa {
        // The processor is asked once a process.
        static BEST: std::sync::OnceLock<Level> = std::sync::OnceLock::new();
        let best = || Level::ALL.into_iter().take_while(|&l| missing(l).is_none()).last().unwrap_or(Level::Portable);
        Isa { level: *BEST.get_or_init(best) }
    }

    /// Exactly `level`, or an error that says what is missing.
    pub fn with_level(level: Level) -> Result<Isa, IsaError> {
        for wanted in Level::ALL.into_iter().take_while(|&l| l <= level) {
            if let Some(reason) = missing(wanted) {
                return Err(IsaError::Missing { wanted: level, best: Isa::detect().level, reason });
            }
        }
        Ok(Isa { level })
    }

    /// The level named by the environment variable `BEDSTONE_ISA`, or the best one where it is unset.
    pub fn from_env() -> Result<Isa, IsaError> {
        match std::env::var("BEDSTONE_ISA") {
            Ok(name) => Isa::with_level(name.parse()?),
            Err(std::env::VarError::NotPresent) => Ok(Isa::detect()),
            Err(std::env::VarError::NotUnicode(name)) => {
                Err(IsaError::Unknown { got: name.to_string_lossy().into_owned() })
            }
        }
    }

    /// Every level that can run here, from the plainest; tests go through them all.
    pub fn available() -> Vec<Isa> {
        let best = Isa::detect().level;
        Level::ALL.into_iter().filter(|&l| l <= best).map(|level| Isa { level }).collect()
    }

    /// Every level with products of bf16 that can run here, for tests: tiles run on every Linux machine that has the level
    /// below, in software where they are not there.
    #[cfg(test)]
    pub(crate) fn with_half() -> Vec<Isa> {
        let mut isas: Vec<Isa> = Isa::available().into_iter().filter(|isa| isa.has_bf16()).collect();
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if Isa::detect().level == Level::Avx512Bf16 {
            crate::gemm::half::emulate::install();
            isas.push(Isa { level: Level::Amx });
        }
        isas
    }

    /// The level proven.
    pub fn level(self) -> Level {
        self.level
    }

    /// Whether products of bf16 numbers have instructions of their own.
    pub fn has_bf16(self) -> bool {
        self.level >= Level::Avx512Bf16
    }

    /// Proof of AVX2, if this includes it.
    pub fn avx2(self) -> Option<Avx2> {
        (self.level >= Level::Avx2).then_some(Avx2(()))
    }

    /// Proof of AVX-512, if this includes it.
    pub fn avx512(self) -> Option<Avx512> {
        (self.level >= Level::Avx512).then_some(Avx512(()))
    }

    /// Proof of AVX512-VNNI, if this includes it.
    pub fn avx512_vnni(self) -> Option<Avx512Vnni> {
        (self.level >= Level::Avx512Vnni).then_some(Avx512Vnni(()))
    }

    /// Proof of AVX512-BF16, if this includes it.
    pub fn avx512_bf16(self) -> Option<Avx512Bf16> {
        (self.level >= Level::Avx512Bf16).then_some(Avx512Bf16(()))
    }

    /// Proof of AMX, if this includes it.
    pub fn amx(self) -> Option<Amx> {
        (self.level >= Level::Amx).then_some(Amx(()))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.level.fmt(f)
    }
}

/// What this machine lacks for `level` beyond the level before it; `None` if nothing.
pub fn missing(level: Level) -> Option<String> {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! lacking {
            ($($feature:tt),*) => {{
                let mut names: Vec<&str> = Vec::new();
                $(if !std::arch::is_x86_feature_detected!($feature) { names.push($feature); })*
                (!names.is_empty()).then(|| format!("the processor has no {}", names.join(", ")))
            }};
        }
        match level {
            Level::Portable => None,
            Level::Avx2 => lacking!("avx2", "fma", "f16c"),
            Level::Avx512 => lacking!("avx512f", "avx512bw", "avx512dq", "avx512vl"),
            Level::Avx512Vnni => lacking!("avx512vnni"),
            Level::Avx512Bf16 => lacking!("avx512bf16"),
            Level::Amx => amx::missing(),
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        (level != Level::Portable).then(|| "not an x86-64 processor".to_owned())
    }
}

#[cfg(target_arch = "x86_64")]
mod amx {
    use std::sync::OnceLock;

    /// `XFEATURE_XTILEDATA` of the Linux kernel: the state component that holds the tiles.
    #[cfg(target_os = "linux")]
    const XTILEDATA: usize = 18;
    /// `ARCH_REQ_XCOMP_PERM` of `arch_prctl(2)`.
    #[cfg(target_os = "linux")]
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;

    /// What AMX lacks. The system is asked once a process: its permission holds for all threads, also later ones.
    pub(super) fn missing() -> Option<String> {
        static MISSING: OnceLock<Option<String>> = OnceLock::new();
        MISSING.get_or_init(detect).clone()
    }

    fn detect() -> Option<String> {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        if __cpuid(0).eax < 7 {
            return Some("the processor has no amx-bf16".to_owned());
        }
        let edx = __cpuid_count(7, 0).edx;
        if edx >> 22 & 1 == 0 || edx >> 24 & 1 == 0 {
            return Some("the processor has no amx-bf16, amx-tile".to_owned());
        }
        if __cpuid(1).ecx >> 27 & 1 == 0 {
            return Some("the operating system does not save extended registers".to_owned());
        }
        // SAFETY: `xgetbv` exists: CPUID has just said OSXSAVE.
        let xcr0 = unsafe { xgetbv() };
        if xcr0 >> 17 & 3 != 3 {
            return Some("the operating system does not save the tile registers".to_owned());
        }
        request_permission()
    }

    #[target_feature(enable = "xsave")]
    fn xgetbv() -> u64 {
        // SAFETY: register 0 is XCR0, which exists wherever `xgetbv` does.
        unsafe { std::arch::x86_64::_xgetbv(0) }
    }

    #[cfg(target_os = "linux")]
    fn request_permission() -> Option<String> {
        // SAFETY: `arch_prctl` with this request reads two integers and touches no memory of ours.
        let status = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) };
        (status != 0).then(|| format!("the kernel refuses the tiles: {}", std::io::Error::last_os_error()))
    }

    #[cfg(not(target_os = "linux"))]
    fn request_permission() -> Option<String> {
        Some("no way to ask this operating system for the tiles is known".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn detection_is_the_richest_available() {
        assert_eq!(Isa::available().last().copied(), Some(Isa::detect()));
        assert_eq!(Isa::available()[0], Isa::PORTABLE);
    }

    #[test]
    fn names_round_trip() {
        for level in Level::ALL {
            assert_eq!(level.name().parse(), Ok(level));
        }
        assert_eq!("sse9".parse::<Level>(), Err(IsaError::Unknown { got: "sse9".into() }));
    }

    #[test]
    fn a_level_is_given_exactly_or_refused() {
        for level in Level::ALL {
            match Isa::with_level(level) {
                Ok(isa) => assert_eq!(isa.level(), level),
                Err(e) => assert!(matches!(e, IsaError::Missing { wanted, .. } if wanted == level), "{e}"),
            }
        }
    }
}
