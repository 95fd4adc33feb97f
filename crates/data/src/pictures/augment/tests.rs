//! Random changes: what they keep, what follows them, and what they are keyed by.

use super::*;
use crate::pictures::testing::{array, fixture};
use bedstone_kernels::pool;
use rayon::prelude::*;

fn noise(width: usize, height: usize) -> Picture {
    let mut draws = Draws::new(9, 9, 9);
    Picture::new(width, height, (0..width * height * 3).map(|_| draws.bits() as u8).collect()).unwrap()
}

const SCALE: [f64; 2] = [0.08, 1.0];
const RATIO: [f64; 2] = [0.75, 4.0 / 3.0];

fn all() -> Augment {
    let crop = Step::ResizedCrop { height: 20, width: 24, scale: SCALE, ratio: RATIO, filter: Filter::Bicubic };
    let jitter = Step::ColourJitter { brightness: 0.4, contrast: 0.4, saturation: 0.4, hue: 0.1 };
    let erase = Step::Erase { probability: 0.5, scale: [0.02, 0.3], ratio: [0.3, 3.3] };
    let padded = Step::PaddedCrop { height: 22, width: 22, padding: 4 };
    let policy = Step::RandAugment { changes: 2, magnitude: 9 };
    let flips = [Step::FlipHorizontal(0.5), Step::FlipVertical(0.5)];
    Augment::new([vec![crop], flips.to_vec(), vec![jitter, policy, padded, erase]].concat()).unwrap()
}

#[test]
fn a_function_of_seed_epoch_and_record() {
    let (augment, picture) = (all(), noise(40, 31));
    assert_eq!(augment.size(), Some([22, 22]));
    let make = |threads| {
        let one = |n: u64| augment.apply(picture.clone(), &mut Draws::new(1, n / 8, n % 8));
        pool::with_threads(threads, || (0..16_u64).into_par_iter().map(one).collect::<Vec<_>>()).unwrap()
    };
    let (one, three) = (make(1), make(3));
    assert!(one == three);
    assert!(one.iter().all(|(picture, _)| (picture.width(), picture.height()) == (22, 22)));
    assert!((1..16).all(|n| one[n] != one[0]));
}

/// A picture that is black but for a white box: the box and its white pixels stay together.
#[test]
fn boxes_follow_crops_and_flips() {
    let bounds = [12.0, 8.0, 30.0, 20.0];
    let mut picture = Picture::filled(48, 32, [0; 3]);
    for y in 8..20 {
        picture.data_mut()[(y * 48 + 12) * 3..(y * 48 + 30) * 3].fill(255);
    }
    let crop = Step::ResizedCrop { height: 64, width: 64, scale: [0.2, 1.0], ratio: RATIO, filter: Filter::Bilinear };
    let padded = Step::PaddedCrop { height: 60, width: 60, padding: 3 };
    let steps = vec![crop, Step::FlipHorizontal(0.5), padded, Step::FlipVertical(0.5)];
    let augment = Augment::new(steps).unwrap();
    augment.allows_boxes().unwrap();
    let mut kept = 0;
    for record in 0..200 {
        let object = [Object::new(3, bounds)];
        let (got, objects) = augment.apply_with(picture.clone(), &object, &mut Draws::new(0, 0, record));
        let white = |x: usize, y: usize| got.pixel(x, y)[0] > 127;
        let places = || (0..60).flat_map(|y| (0..60).map(move |x| (x, y))).filter(|&(x, y)| white(x, y));
        let Some(object) = objects.first() else {
            assert!(places().next().is_none());
            continue;
        };
        let [left, top, right, bottom] = object.bounds;
        if object.size().iter().any(|&side| side < 2.0) {
            continue;
        }
        kept += 1;
        let (x, y) = (places().map(|p| p.0), places().map(|p| p.1));
        let seen = [x.clone().min(), y.clone().min(), x.max().map(|x| x + 1), y.max().map(|y| y + 1)];
        for (seen, edge) in seen.iter().zip([left, top, right, bottom]) {
            assert!((seen.unwrap() as f32 - edge).abs() <= 1.0, "{record}: {seen:?} {:?}", object.bounds);
        }
    }
    assert!(kept > 100, "{kept}");
}

#[test]
fn crops_have_the_shares_and_shapes_asked_for() {
    let picture = noise(100, 80);
    let mut shares = Vec::new();
    for record in 0..300 {
        let part = crop::part(&picture, [0.2, 0.6], [0.5, 2.0], &mut Draws::new(0, 0, record));
        assert!(part.x + part.width <= 100 && part.y + part.height <= 80);
        let shape = part.width as f64 / part.height as f64;
        assert!((0.45..2.2).contains(&shape), "{shape}");
        shares.push((part.width * part.height) as f64 / 8000.0);
    }
    let mean = shares.iter().sum::<f64>() / 300.0;
    assert!((mean - 0.4).abs() < 0.02 && shares.iter().all(|share| (0.18..0.62).contains(share)), "{mean}");
    // No part of a line is nearly square: the largest one that is allowed.
    let line = crop::part(&noise(50, 1), [0.9, 1.0], [0.9, 1.1], &mut Draws::new(0, 0, 0));
    assert_eq!((line.width, line.height), (1, 1));
}

#[test]
fn erasing_covers_a_part() {
    let step = Step::Erase { probability: 1.0, scale: [0.1, 0.2], ratio: [0.5, 2.0] };
    let augment = Augment::new(vec![step]).unwrap();
    let (got, placement) = augment.apply(Picture::filled(40, 40, [7; 3]), &mut Draws::new(0, 0, 1));
    let changed = got.data().iter().filter(|&&byte| byte != 7).count() as f64 / got.data().len() as f64;
    assert!((0.09..0.21).contains(&changed) && placement == Placement::of(40, 40), "{changed}");
}

#[test]
fn colours_as_torchvision() {
    let cases = fixture("colours.json");
    let (shape, data) = array(&cases);
    let picture = Picture::new(shape[1], shape[0], data).unwrap();
    for case in cases["cases"].as_array().unwrap() {
        let factor = case["factor"].as_f64().unwrap_or_default();
        let change = match case["name"].as_str().unwrap() {
            "brightness" => Change::Brightness(factor),
            "contrast" => Change::Contrast(factor),
            "saturation" => Change::Saturation(factor),
            "hue" => Change::Hue(factor),
            "sharpness" => Change::Sharpness(factor),
            "posterize" => Change::Posterize(factor as u32),
            "solarize" => Change::Solarize(factor as u8),
            "autocontrast" => Change::Autocontrast,
            _ => Change::Equalize,
        };
        let mut got = picture.clone();
        change.apply(&mut got);
        let want = array(case).1;
        let apart = got.data().iter().zip(&want).map(|(&a, &b)| a.abs_diff(b)).max().unwrap();
        assert!(apart <= 1, "{change:?}: {apart}");
    }
}

#[test]
fn mixes() {
    let values = |count: usize| (0..count * 3 * 16).map(|n| (n / 48) as f32).collect();
    let pixels = |count| super::super::Pixels { values: values(count), count, height: 4, width: 4, mask: None };
    let mixup = Mix { mixup: 0.8, cutmix: 0.0, probability: 1.0, switch: 0.5 };
    let mut got = pixels(3);
    let mixed = mixup.apply(&mut got, &mut Draws::new(0, 0, 0)).unwrap();
    let share = mixed.share[0];
    assert_eq!(mixed.partner, [2, 1, 0]);
    assert!((got.values[0] - 2.0 * (1.0 - share)).abs() < 1e-6 && (got.values[60] - 1.0).abs() < 1e-6);
    let targets = mixed.targets(&[0, 1, 3], 4, 0.1);
    let want = [0.9 * share + 0.025, 0.025, 0.025, 0.9 * (1.0 - share) + 0.025];
    assert!(targets[..4].iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-6), "{targets:?}");
    assert!((targets[5] - 0.925).abs() < 1e-6);

    let cutmix = Mix { mixup: 0.0, cutmix: 1.0, ..mixup };
    for record in 0..20 {
        let mut got = pixels(2);
        let mixed = cutmix.apply(&mut got, &mut Draws::new(0, 0, record)).unwrap();
        let own = got.values[..48].iter().filter(|&&x| x == 0.0).count() as f32 / 48.0;
        assert!((own - mixed.share[0]).abs() < 1e-6);
    }
    assert_eq!(Mix { probability: 0.0, ..mixup }.apply(&mut pixels(2), &mut Draws::new(0, 0, 0)), None);
    assert_eq!(mixup.apply(&mut pixels(1), &mut Draws::new(0, 0, 0)), None);
}

#[test]
fn numbers_out_of_bounds() {
    let check = |step: Step, want: &str| assert_eq!(Augment::new(vec![step]).unwrap_err().to_string(), want);
    check(Step::FlipHorizontal(1.5), "flip: got 1.5, want a probability");
    check(Step::RandAugment { changes: 2, magnitude: 31 }, "RandAugment: got 31, want a magnitude of 0 to 30");
    let crop = Step::ResizedCrop { height: 2, width: 2, scale: [0.0, 1.0], ratio: RATIO, filter: Filter::Bilinear };
    check(crop, "resized crop: got 0 to 1, want shares of the area, above 0 and at most 1");
    let policy = Augment::new(vec![Step::RandAugment { changes: 1, magnitude: 3 }]).unwrap();
    assert!(policy.allows_boxes().is_err());
    assert!(Mix { mixup: -1.0, cutmix: 0.0, probability: 1.0, switch: 0.5 }.check().is_err());
}
