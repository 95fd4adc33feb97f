//! The f32 micro-kernel: a tile of the product held in registers.

use crate::simd::Simd;

/// `acc[MR × NR] (+)= a[kc × MR]ᵀ b[kc × NR]`, `NR = NV · LANES`; all three packed, `acc` by rows.
///
/// `start` says that `acc` holds nothing yet.
#[inline(always)]
pub(crate) fn tile<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: &[f32],
    b: &[f32],
    acc: &mut [f32],
    start: bool,
) {
    let nr = NV * S::LANES;
    let mut c = [[s.zero(); NV]; MR];
    if !start {
        for (i, row) in c.iter_mut().enumerate() {
            for (j, v) in row.iter_mut().enumerate() {
                *v = s.load(&acc[i * nr + j * S::LANES..]);
            }
        }
    }
    for (a, b) in a.chunks_exact(MR).zip(b.chunks_exact(nr)) {
        let mut v = [s.zero(); NV];
        for (j, v) in v.iter_mut().enumerate() {
            *v = s.load(&b[j * S::LANES..]);
        }
        let b = v;
        for (i, row) in c.iter_mut().enumerate() {
            let a = s.splat(a[i]);
            for (v, b) in row.iter_mut().zip(b) {
                *v = s.fma(a, b, *v);
            }
        }
    }
    for (i, row) in c.iter().enumerate() {
        for (j, v) in row.iter().enumerate() {
            s.store(&mut acc[i * nr + j * S::LANES..], *v);
        }
    }
}
