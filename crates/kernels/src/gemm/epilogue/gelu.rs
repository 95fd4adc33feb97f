//! GELU and its derivative for results that are rounded to bf16, from tables.
//!
//! `x G(x)` and its derivative `G(x) + x G'(x)`, where `G` is between 0 and 1 and `G(-x) = 1 - G(x)`: near the 32 points `i / 6` it is a
//! polynomial of the third degree in what is left of `6 |x|`. A vector of AVX-512 finds its polynomials in four instructions, and needs
//! 21 altogether, without a power or a division. Values are off by 2e-6 and derivatives by 2e-5, absolutely, where rounding to bf16 is off by
//! up to 2e-3 of a result: below -4, where values are smaller than 2e-4, it is these that are less exact.

use crate::simd::Simd;

/// Coefficients of each power, of 32 polynomials: those with the smallest squared error of the values and, a tenth as heavy, of the derivatives
/// of `x G(x)`, at Chebyshev's points. The last one is 1, so that far from 0 nothing is off.
pub(super) struct Table([[f32; 32]; 4]);

/// Polynomials to a unit of `x`.
const SCALE: f32 = 6.0;
/// The end of the last polynomial's reach.
const LIMIT: f32 = 31.49;

impl Table {
    /// The function and its derivative at `x`.
    #[inline(always)]
    pub(super) fn both<S: Simd>(&self, s: S, x: S::V) -> (S::V, S::V) {
        // The sum has no bits for a fraction: its last ones are the integer.
        let shift = s.splat(12_582_912.0);
        // In this order, what is not a number stays none.
        let a = s.min(s.splat(LIMIT), s.mul(s.abs(x), s.splat(SCALE)));
        let shifted = s.add(a, shift);
        let t = s.sub(a, s.sub(shifted, shift));
        let [c0, c1, c2, c3] = &self.0;
        let (c0, c1) = (s.lookup(c0, shifted), s.lookup(c1, shifted));
        let (c2, c3) = (s.lookup(c2, shifted), s.lookup(c3, shifted));
        let p = s.fma(c3, t, c2);
        let value = s.fma(s.fma(p, t, c1), t, c0);
        let slope = s.fma(s.fma(c3, t, s.add(p, p)), t, c1);
        let slope = s.fma(a, slope, value);
        let (zero, one) = (s.zero(), s.splat(1.0));
        let value = s.select_lt(x, zero, s.sub(one, value), value);
        let slope = s.select_lt(x, zero, s.sub(one, slope), slope);
        (s.mul(x, value), slope)
    }
}

/// `G` is the normal distribution: GELU.
pub(super) static PHI: Table = Table([
    [
        0.5, 0.56618375, 0.6305584, 0.6914621, 0.7475071, 0.7976712, 0.8413444, 0.8783272, 0.90878856, 0.9331927,
        0.9522096, 0.96662354, 0.9772499, 0.98486996, 0.9901848, 0.99379045, 0.9961697, 0.9976968, 0.99865013,
        0.9992291, 0.99957097, 0.99976736, 0.99987715, 0.9999368, 0.99996835, 0.99998456, 0.99999267, 0.9999966,
        0.99999845, 0.99999934, 0.9999997, 1.0,
    ],
    [
        0.06649033,
        0.06557302,
        0.06289691,
        0.058677282,
        0.053241115,
        0.04698515,
        0.040328346,
        0.033666387,
        0.02733499,
        0.02158627,
        0.016579542,
        0.012385219,
        0.00899852,
        0.0063587925,
        0.0043703318,
        0.002921395,
        0.0018993382,
        0.0012010204,
        0.0007386429,
        0.00044182947,
        0.000257046,
        0.00014544638,
        8.004438e-5,
        4.2844462e-5,
        2.2304594e-5,
        1.129353e-5,
        5.5616138e-6,
        2.663837e-6,
        1.2409379e-6,
        5.6224803e-7,
        2.4776585e-7,
        0.0,
    ],
    [
        -2.5322533e-15,
        -0.0009087655,
        -0.0017429115,
        -0.0024391888,
        -0.002951413,
        -0.003256451,
        -0.003354965,
        -0.003268543,
        -0.003034049,
        -0.0026965505,
        -0.0023022708,
        -0.0018927637,
        -0.001501029,
        -0.0011497732,
        -0.00085155905,
        -0.0006103131,
        -0.000423558,
        -0.00028479352,
        -0.0001856089,
        -0.000117295596,
        -7.189798e-5,
        -4.2758384e-5,
        -2.4677243e-5,
        -1.3823897e-5,
        -7.5179464e-6,
        -3.969812e-6,
        -2.0356442e-6,
        -1.0137887e-6,
        -4.904035e-7,
        -2.3044205e-7,
        -1.05198474e-7,
        0.0,
    ],
    [
        -0.00030729466,
        -0.00029354153,
        -0.00025757684,
        -0.00020272918,
        -0.00013621732,
        -6.6038905e-5,
        1.6648582e-7,
        5.6247452e-5,
        9.825823e-5,
        0.00012468426,
        0.00013621147,
        0.00013516852,
        0.00012481661,
        0.00010865583,
        8.987334e-5,
        7.099646e-5,
        5.3754473e-5,
        3.9109455e-5,
        2.7395216e-5,
        1.8502818e-5,
        1.2063664e-5,
        7.599885e-6,
        4.629721e-6,
        2.728972e-6,
        1.557298e-6,
        8.607352e-7,
        4.6095732e-7,
        2.3927097e-7,
        1.2041636e-7,
        5.8770322e-8,
        2.7822948e-8,
        0.0,
    ],
]);

/// `G` is `(1 + tanh(√(2/π) (x + 0.044715 x³))) / 2`: its approximation.
pub(super) static TANH: Table = Table([
    [
        0.5, 0.5661822, 0.6305471, 0.69142765, 0.7474364, 0.7975576, 0.84119165, 0.8781511, 0.9086139, 0.9330476,
        0.9521185, 0.9666013, 0.9772989, 0.9849806, 0.9903389, 0.9939664, 0.99634683, 0.99785906, 0.9987876,
        0.99933773, 0.9996517, 0.999824, 0.99991465, 0.9999604, 0.9999824, 0.99999255, 0.999997, 0.99999887, 0.9999996,
        0.9999999, 0.99999994, 1.0,
    ],
    [
        0.06649033,
        0.06556859,
        0.06288087,
        0.058647018,
        0.053200006,
        0.0469421,
        0.040295243,
        0.03365433,
        0.02735055,
        0.021629235,
        0.016642917,
        0.012457402,
        0.009066724,
        0.0064124116,
        0.004403185,
        0.002932364,
        0.0018915382,
        0.001180102,
        0.00071092584,
        0.00041282704,
        0.00023064743,
        0.00012374684,
        6.363172e-5,
        3.129716e-5,
        1.4694676e-5,
        6.573081e-6,
        2.7955195e-6,
        1.1281656e-6,
        4.311561e-7,
        1.5573424e-7,
        5.305898e-8,
        0.0,
    ],
    [
        -9.901359e-15,
        -0.0009130033,
        -0.0017497536,
        -0.002445879,
        -0.0029549233,
        -0.0032545347,
        -0.0033470264,
        -0.0032559664,
        -0.0030197997,
        -0.0026841855,
        -0.0022947611,
        -0.0018915985,
        -0.0015059144,
        -0.0011589553,
        -0.00086255354,
        -0.00062071317,
        -0.0004316366,
        -0.0002897605,
        -0.00018753816,
        -0.000116842304,
        -6.995572e-5,
        -4.0175197e-5,
        -2.2088665e-5,
        -1.16038955e-5,
        -5.8129854e-6,
        -2.771358e-6,
        -1.2549425e-6,
        -5.386879e-7,
        -2.1876733e-7,
        -8.389082e-8,
        -3.0317338e-8,
        0.0,
    ],
    [
        -0.00030880613,
        -0.00029474375,
        -0.0002580144,
        -0.00020214633,
        -0.00013469957,
        -6.401396e-5,
        2.0538484e-6,
        5.7363057e-5,
        9.8216806e-5,
        0.00012349001,
        0.00013423874,
        0.00013300084,
        0.00012302646,
        0.000107621876,
        8.9698515e-5,
        7.1535906e-5,
        5.471706e-5,
        4.0178442e-5,
        2.8322132e-5,
        1.9151934e-5,
        1.2408978e-5,
        7.692006e-6,
        4.5538536e-6,
        2.5701552e-6,
        1.3802578e-6,
        7.0396635e-7,
        3.4033252e-7,
        1.5566451e-7,
        6.723367e-8,
        2.7370135e-8,
        1.0482422e-8,
        0.0,
    ],
]);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gemm::Activation, isa::Isa, number::Lanes, simd::simd_fn};

    simd_fn! {
        fn both_of(s, table: &Table, y: &mut [f32], slopes: &mut [f32], x: &[f32]) {
            let mut i = 0;
            while i < x.len() {
                let (v, slope) = table.both(s, f32::at(s, x, i));
                f32::put(s, y, i, v);
                f32::put(s, slopes, i, slope);
                i += S::LANES;
            }
        }
    }

    #[test]
    fn tables_are_what_formulas_say() {
        let x: Vec<f32> =
            (-40_000..=40_000).map(|i| i as f32 / 4000.0).chain([0.0, -0.0, 1e-30, -70.0, 3e38]).collect();
        for isa in Isa::available() {
            for (table, activation) in [(&PHI, Activation::Gelu), (&TANH, Activation::GeluTanh)] {
                let (mut y, mut slopes) = (vec![0.0; x.len()], vec![0.0; x.len()]);
                both_of(isa, table, &mut y, &mut slopes, &x);
                let (mut want, mut want_slopes) = (vec![0.0; x.len()], vec![1.0; x.len()]);
                crate::gemm::activate(isa, activation, &mut want, &x);
                crate::gemm::activate_backward(isa, activation, &mut want_slopes, &x);
                for (i, &x) in x.iter().enumerate().filter(|(_, x)| x.abs() < 1e30) {
                    assert!((y[i] - want[i]).abs() < 2e-6 * (1.0 + x.abs()), "{isa} {activation:?}({x}) = {}", y[i]);
                    assert!((slopes[i] - want_slopes[i]).abs() < 2e-5, "{isa} {activation:?}'({x}) = {}", slopes[i]);
                }
                assert_eq!(&y[x.len() - 2..], [-0.0, 3e38]);
                assert_eq!(&slopes[x.len() - 2..], [0.0, 1.0]);
                let (mut y, mut slopes) = ([0.0; 3], [0.0; 3]);
                both_of(isa, table, &mut y, &mut slopes, &[f32::NAN, f32::INFINITY, -f32::NAN]);
                assert!(y[0].is_nan() && slopes[0].is_nan() && y[2].is_nan() && slopes[2].is_nan(), "{isa}");
                assert!(y[1] == f32::INFINITY && slopes[1] == 1.0, "{isa}");
            }
        }
    }
}
