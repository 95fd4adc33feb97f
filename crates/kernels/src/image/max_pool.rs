//! The largest number under a window.

use super::{Order, Pixels, Window};
use crate::{elementwise::rows_of, number::Number, pool, profile};

/// `y[b, p, q, c]` is the largest of the numbers of channel `c` under window `(p, q)`; what lies beyond the picture takes
/// no part, and a number that is not one wins.
///
/// `x` and `y` have their channels last. `places` receives the pixel, `row · W + column`, of each: the first of equal ones.
///
/// # Panics
/// If the window does not fit, or lies beyond the picture somewhere, or lengths differ from the shapes.
pub fn max_pool<T: Number>(y: &mut [T], places: &mut [i32], x: &[T], pixels: Pixels, window: Window) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let ([h, w], c, [kh, kw]) = (pixels.size, pixels.channels, window.kernel);
    let [down, across] = window.places(pixels.size).expect("a window that fits");
    assert!(pixels.order == Order::ChannelsLast && window.padding[0] < kh && window.padding[1] < kw);
    assert!(y.len() == pixels.batch * down * across * c && places.len() == y.len() && x.len() == pixels.numel());
    // First the places, then the numbers there.
    rows_of(places, c, |r, places| {
        let (b, p, q) = (r / (down * across), r / across % down, r % across);
        places.fill(-1);
        for tap in 0..kh * kw {
            let Some((iy, ix)) = window.under(0, p, tap / kw, h).zip(window.under(1, q, tap % kw, w)) else { continue };
            let (here, image) = (iy * w + ix, &x[b * h * w * c..(b + 1) * h * w * c]);
            for (channel, (place, new)) in places.iter_mut().zip(&image[here * c..(here + 1) * c]).enumerate() {
                let best = if *place < 0 { f32::NEG_INFINITY } else { image[*place as usize * c + channel].to_f32() };
                let new = new.to_f32();
                if *place < 0 || new > best || (new.is_nan() && !best.is_nan()) {
                    *place = here as i32;
                }
            }
        }
    });
    rows_of(y, c, |r, y| {
        let image = &x[r / (down * across) * h * w * c..];
        for (channel, (y, &place)) in y.iter_mut().zip(&places[r * c..]).enumerate() {
            *y = image[place as usize * c + channel];
        }
    });
}

/// The gradient of [`max_pool`]: `dx` (overwritten) of each pixel is the sum over the windows that it is the largest in.
///
/// # Panics
/// As [`max_pool`].
pub fn max_pool_backward<T: Number>(dx: &mut [f32], dy: &[T], places: &[i32], pixels: Pixels, window: Window) {
    let _time = profile::scope(profile::Kind::Elementwise);
    let ([h, w], c, [kh, kw]) = (pixels.size, pixels.channels, window.kernel);
    let [down, across] = window.places(pixels.size).expect("a window that fits");
    assert!(dx.len() == pixels.numel() && dy.len() == places.len());
    assert!(dy.len() == pixels.batch * down * across * c);
    let pixels = (pool::SMALL / c.max(1)).max(1);
    pool::for_chunks(dx, (pixels * c).max(1), |chunk, part| {
        part.fill(0.0);
        for (i, dx) in part.chunks_exact_mut(c).enumerate() {
            let i = chunk * pixels + i;
            let (b, iy, ix) = (i / (h * w), i / w % h, i % w);
            for tap in 0..kh * kw {
                let Some((p, q)) = window.over(0, iy, tap / kw, down).zip(window.over(1, ix, tap % kw, across)) else {
                    continue;
                };
                let from = ((b * down + p) * across + q) * c;
                let both = dy[from..from + c].iter().zip(&places[from..from + c]);
                for (dx, (dy, &place)) in dx.iter_mut().zip(both) {
                    *dx += if place as usize == iy * w + ix { dy.to_f32() } else { 0.0 };
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_match_the_definition() {
        for (batch, c, size) in [(1, 1, [1, 1]), (2, 3, [7, 8]), (1, 5, [9, 4])] {
            for window in [Window::square(3, 2, 1), Window::square(2, 2, 0), Window::square(3, 1, 1)] {
                let pixels = Pixels { batch, channels: c, size, order: Order::ChannelsLast };
                let Some([down, across]) = window.places(size) else { continue };
                let x: Vec<f32> = (0..pixels.numel()).map(|i| (i * 29 % 97) as f32 - 50.0).collect();
                let n = batch * down * across * c;
                let (mut y, mut places) = (vec![0.0; n], vec![0; n]);
                max_pool(&mut y, &mut places, &x, pixels, window);
                let dy: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
                let (mut dx, mut want_dx) = (vec![9.0; pixels.numel()], vec![0.0; pixels.numel()]);
                max_pool_backward(&mut dx, &dy, &places, pixels, window);
                for i in 0..n {
                    let (ch, q, p, b) = (i % c, i / c % across, i / c / across % down, i / c / across / down);
                    let mut best: Option<usize> = None;
                    for iy in 0..size[0] {
                        for ix in 0..size[1] {
                            let inside = |axis: usize, place: usize, at: usize| {
                                let start = place * window.stride[axis];
                                (start..start + window.kernel[axis]).contains(&(at + window.padding[axis]))
                            };
                            let at = ((b * size[0] + iy) * size[1] + ix) * c + ch;
                            if inside(0, p, iy) && inside(1, q, ix) && best.is_none_or(|best| x[at] > x[best]) {
                                best = Some(at);
                            }
                        }
                    }
                    let best = best.unwrap();
                    assert_eq!(y[i], x[best], "{size:?} {window:?} {i}");
                    want_dx[best] += dy[i];
                }
                assert_eq!(dx, want_dx, "{size:?} {window:?}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_not_hidden() {
        let pixels = Pixels { batch: 1, channels: 1, size: [2, 2], order: Order::ChannelsLast };
        let (mut y, mut places) = ([0.0f32], [0]);
        max_pool(&mut y, &mut places, &[1.0, f32::NAN, 3.0, 2.0], pixels, Window::square(2, 2, 0));
        assert!(y[0].is_nan() && places == [1]);
    }
}
