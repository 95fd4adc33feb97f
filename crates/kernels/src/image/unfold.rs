//! Windows as rows: convolutions become matrix products.

use super::{Order, Pixels, Window};
use crate::{elementwise::rows_of, number::Number, pool, profile};

/// `y[(b, p, q), (c, i, j)]` is the pixel under tap `(i, j)` of window `(p, q)`, zero beyond the picture: rows that meet
/// the weights `[out, C, i, j]` of a convolution as these lie.
///
/// Overwrites all of `y`, of `b · p · q` rows.
///
/// # Panics
/// If the window does not fit or lengths differ from the shapes: callers check, with better words.
pub fn unfold<T: Number>(y: &mut [T], x: &[T], pixels: Pixels, window: Window) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let [down, across] = window.places(pixels.size).expect("a window that fits");
    let width = pixels.channels * window.kernel[0] * window.kernel[1];
    assert!(x.len() == pixels.numel() && y.len() == pixels.batch * down * across * width);
    let image = pixels.numel().checked_div(pixels.batch).unwrap_or(0);
    rows_of(y, width, |r, row| {
        let (b, place) = (r / (down * across), [r / across % down, r % across]);
        let x = &x[b * image..(b + 1) * image];
        match pixels.order {
            Order::ChannelsFirst if window.dilation[1] == 1 => runs(row, x, pixels, window, place),
            _ => taps(row, x, pixels, window, place),
        }
    });
}

/// A window of pictures whose columns are neighbours in memory: a copy for each row of taps.
fn runs<T: Number>(row: &mut [T], x: &[T], pixels: Pixels, window: Window, place: [usize; 2]) {
    let ([kh, kw], [h, w]) = (window.kernel, pixels.size);
    let left = place[1] * window.stride[1];
    // Taps `first..end` are in the picture.
    let first = window.padding[1].saturating_sub(left).min(kw);
    let end = (w + window.padding[1]).saturating_sub(left).clamp(first, kw);
    for (k, taps) in row.chunks_exact_mut(kw).enumerate() {
        let Some(iy) = window.under(0, place[0], k % kh, h) else {
            taps.fill(T::zeroed());
            continue;
        };
        taps[..first].fill(T::zeroed());
        taps[end..].fill(T::zeroed());
        if first < end {
            let start = (k / kh * h + iy) * w + left + first - window.padding[1];
            taps[first..end].copy_from_slice(&x[start..start + end - first]);
        }
    }
}

/// A window of pictures in any order.
fn taps<T: Number>(row: &mut [T], x: &[T], pixels: Pixels, window: Window, place: [usize; 2]) {
    let ([kh, kw], [h, w], [channel, line, column]) = (window.kernel, pixels.size, pixels.strides());
    for tap in 0..kh * kw {
        let to = row[tap..].iter_mut().step_by(kh * kw);
        match window.under(0, place[0], tap / kw, h).zip(window.under(1, place[1], tap % kw, w)) {
            Some((iy, ix)) => {
                let from = x[iy * line + ix * column..].iter().step_by(channel);
                to.zip(from).for_each(|(to, x)| *to = *x);
            }
            None => to.for_each(|to| *to = T::zeroed()),
        }
    }
}

/// The way back: `dx` of each pixel is the sum over the windows and taps that it lies under, in the order of taps.
///
/// Overwrites all of `dx`; adds in f32. The gradient of [`unfold`].
///
/// # Panics
/// As [`unfold`].
pub fn fold<T: Number>(dx: &mut [f32], dy: &[T], pixels: Pixels, window: Window) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let places = window.places(pixels.size).expect("a window that fits");
    let ([kh, kw], [h, w], c) = (window.kernel, pixels.size, pixels.channels);
    let width = c * kh * kw;
    assert!(dx.len() == pixels.numel() && dy.len() == pixels.batch * places[0] * places[1] * width);
    // One row of a picture, of one channel or all.
    let (line, channels) = match pixels.order {
        Order::ChannelsFirst => (w, 1),
        Order::ChannelsLast => (w * c, c),
    };
    let lines = (pool::SMALL / line.max(1)).max(1);
    pool::for_chunks(dx, (lines * line).max(1), |chunk, part| {
        part.fill(0.0);
        for (i, part) in part.chunks_exact_mut(line).enumerate() {
            let i = chunk * lines + i;
            let (b, first, iy) = (i / h * channels / c, i / h * channels % c, i % h);
            for (ix, to) in part.chunks_exact_mut(channels).enumerate() {
                for tap in 0..kh * kw {
                    let (ky, kx) = (tap / kw, tap % kw);
                    let Some((p, q)) = window.over(0, iy, ky, places[0]).zip(window.over(1, ix, kx, places[1])) else {
                        continue;
                    };
                    let row = &dy[((b * places[0] + p) * places[1] + q) * width..][..width];
                    let from = row[first * kh * kw + tap..].iter().step_by(kh * kw);
                    to.iter_mut().zip(from).for_each(|(to, x)| *to += x.to_f32());
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::*;

    const WINDOWS: [Window; 6] = [
        Window { kernel: [1, 1], stride: [1, 1], padding: [0, 0], dilation: [1, 1] },
        Window { kernel: [1, 1], stride: [2, 3], padding: [0, 0], dilation: [1, 1] },
        Window { kernel: [4, 3], stride: [4, 3], padding: [0, 0], dilation: [1, 1] },
        Window { kernel: [3, 3], stride: [1, 2], padding: [1, 1], dilation: [1, 1] },
        Window { kernel: [3, 2], stride: [1, 1], padding: [2, 3], dilation: [2, 2] },
        Window { kernel: [7, 7], stride: [2, 2], padding: [3, 3], dilation: [1, 1] },
    ];

    /// Against the definition; and the two are adjoint: `⟨unfold(x), y⟩ = ⟨x, fold(y)⟩`.
    fn check<T: Number>(pixels: Pixels, window: Window) {
        let Some([down, across]) = window.places(pixels.size) else { return };
        let ([h, w], c, [kh, kw]) = (pixels.size, pixels.channels, window.kernel);
        let at = |b: usize, c_: usize, y: usize, x: usize| match pixels.order {
            Order::ChannelsFirst => ((b * c + c_) * h + y) * w + x,
            Order::ChannelsLast => ((b * h + y) * w + x) * c + c_,
        };
        let number = |i: usize| T::from_f32((i * 37 % 61) as f32 - 30.0);
        let x: Vec<T> = (0..pixels.numel()).map(number).collect();
        let n = pixels.batch * down * across * c * kh * kw;
        let mut got = vec![T::from_f32(99.0); n];
        unfold(&mut got, &x, pixels, window);
        let dy: Vec<T> = (0..n).map(|i| number(i + 7)).collect();
        let (mut dx, mut back) = (vec![99.0; pixels.numel()], vec![0.0; pixels.numel()]);
        fold(&mut dx, &dy, pixels, window);
        for i in 0..n {
            let (kx, ky, c_) = (i % kw, i / kw % kh, i / (kw * kh) % c);
            let row = i / (kw * kh * c);
            let (q, p, b) = (row % across, row / across % down, row / (across * down));
            let along = |axis: usize, place: usize, tap: usize, size: usize| {
                let at = (place * window.stride[axis] + tap * window.dilation[axis]) as i64;
                Some(at - window.padding[axis] as i64).filter(|at| (0..size as i64).contains(at)).map(|at| at as usize)
            };
            let from = along(0, p, ky, h).zip(along(1, q, kx, w)).map(|(y, x)| at(b, c_, y, x));
            let want = from.map_or(0.0, |from| x[from].to_f32());
            assert_eq!(got[i].to_f32(), want, "{pixels:?} {window:?} {i}");
            if let Some(from) = from {
                back[from] += dy[i].to_f32();
            }
        }
        assert_eq!(dx, back, "{pixels:?} {window:?}");
    }

    #[test]
    fn both_ways_match_the_definition() {
        for order in [Order::ChannelsFirst, Order::ChannelsLast] {
            for (batch, channels, size) in [(1, 1, [1, 1]), (2, 3, [8, 9]), (1, 5, [7, 4]), (3, 2, [5, 13])] {
                for window in WINDOWS {
                    check::<f32>(Pixels { batch, channels, size, order }, window);
                    check::<bf16>(Pixels { batch, channels, size, order }, window);
                }
            }
        }
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let pixels = Pixels { batch: 2, channels: 33, size: [40, 41], order: Order::ChannelsLast };
        let window = WINDOWS[3];
        let [down, across] = window.places(pixels.size).unwrap();
        let run = |threads| {
            pool::with_threads(threads, || {
                let x: Vec<f32> = (0..pixels.numel()).map(|i| (i as f32 * 0.7).sin()).collect();
                let mut rows = vec![0.0; pixels.batch * down * across * 33 * 9];
                unfold(&mut rows, &x, pixels, window);
                let mut back = vec![0.0; pixels.numel()];
                fold(&mut back, &rows, pixels, window);
                (rows, back)
            })
            .unwrap()
        };
        assert!(run(1) == run(3));
    }
}
