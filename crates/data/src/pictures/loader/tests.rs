//! Batches: order, exact resume, threads, targets.

use super::*;
use crate::{
    labelled::Labels,
    pictures::{Class, Filter, Size, augment::Step, source::Draw},
};
use bedstone_kernels::pool;
use std::sync::Arc;

fn numbers(count: u64, target: impl Fn(u64) -> Target) -> PictureSet {
    let labels = Labels::new(vec!["even".into(), "odd".into()]).unwrap();
    let draw: Draw = Arc::new(|n| {
        let mut picture = Picture::filled(12, 10, [n as u8 * 10; 3]);
        picture.data_mut()[0] = 255;
        Ok(picture)
    });
    PictureSet::drawn("numbers", count, labels, target, draw).unwrap()
}

fn processor() -> Processor {
    Processor { size: Size::Exact { height: 8, width: 8 }, ..Processor::new(Class::ViT) }
}

fn options() -> LoaderOptions {
    let crop =
        Step::ResizedCrop { height: 8, width: 8, scale: [0.3, 1.0], ratio: [0.75, 1.5], filter: Filter::Bilinear };
    LoaderOptions {
        seed: 3,
        augment: Augment::new(vec![crop, Step::FlipHorizontal(0.5)]).unwrap(),
        processor: processor(),
        mix: Some(Mix { mixup: 0.5, cutmix: 0.5, probability: 0.7, switch: 0.5 }),
    }
}

fn class(n: u64) -> Target {
    Target::Class(n as usize % 2)
}

#[test]
fn every_picture_once_an_epoch() {
    let mut batches = Batches::new(numbers(7, class), options()).unwrap();
    let mut seen = Vec::new();
    for _ in 0..7 {
        let batch = batches.next_batch(2).unwrap();
        assert_eq!((batch.pixels.count, batch.pixels.height, batch.pixels.width), (2, 8, 8));
        let classes: Vec<usize> = batch.records.iter().map(|record| record % 2).collect();
        assert_eq!(batch.targets, Targets::Classes(classes));
        seen.extend(batch.records);
    }
    assert_eq!(batches.cursor(), Cursor { epoch: 2, index: 0 });
    let (mut first, mut second) = (seen[..7].to_vec(), seen[7..].to_vec());
    assert_ne!(first, second);
    first.sort_unstable();
    second.sort_unstable();
    assert_eq!((first, second), ((0..7).collect(), (0..7).collect()));
}

#[test]
fn the_same_after_an_interruption_ahead_and_for_any_number_of_threads() {
    let make = |threads| {
        let work = || {
            let mut batches = Batches::new(numbers(7, class), options()).unwrap();
            (0..6).map(|_| batches.next_batch(3).unwrap()).collect::<Vec<_>>()
        };
        pool::with_threads(threads, work).unwrap()
    };
    let want = make(1);
    assert!(want == make(3));
    assert!(want.iter().any(|batch| batch.mixed.is_some()));

    let mut loader = spawn(Batches::new(numbers(7, class), options()).unwrap(), 3, 2).unwrap();
    let first: Vec<Batch> = (0..4).map(|_| loader.next_batch().unwrap().unwrap()).collect();
    let mut resumed = Batches::new(numbers(7, class), options()).unwrap();
    resumed.seek(loader.cursor()).unwrap();
    let rest: Vec<Batch> = (0..2).map(|_| resumed.next_batch(3).unwrap()).collect();
    assert!([first, rest].concat() == want);
    assert!(resumed.seek(Cursor { epoch: 0, index: 8 }).is_err());
}

#[test]
fn in_order_without_changes() {
    let (set, processor) = (numbers(5, class), processor());
    let batches: Vec<Batch> = in_order(&set, &processor, 2).map(Result::unwrap).collect();
    let records: Vec<usize> = batches.iter().flat_map(|batch| batch.records.clone()).collect();
    assert_eq!(records, [0, 1, 2, 3, 4]);
    assert_eq!(batches[2].pixels.count, 1);
    let shade = (30.0 / 255.0 - 0.5) / 0.5;
    assert!((batches[1].pixels.values[3 * 64 + 63] - shade).abs() < 1e-6);
}

#[test]
fn boxes_of_a_padded_batch() {
    let objects = |n: u64| {
        let crowd = Object { crowd: true, ..Object::new(0, [0.0, 0.0, 12.0, 10.0]) };
        let outside = Object::new(0, [12.0, 0.0, 14.0, 5.0]);
        let reaching = Object::new(1, [6.0, 5.0, 18.0, 10.0]);
        Target::Objects(if n == 0 { vec![crowd, outside, reaching] } else { vec![] })
    };
    let set = numbers(2, objects);
    let detr = Processor {
        size: Size::Between { shortest: 20, longest: 24, multiple: 1 },
        pad_size: Some([40, 48]),
        ..Processor::new(Class::Detr)
    };
    let batch = in_order(&set, &detr, 2).next().unwrap().unwrap();
    // 12 x 10 becomes 24 x 20 in 48 x 40.
    let want = Object::new(1, [12.0, 10.0, 24.0, 20.0]);
    assert_eq!(batch.targets, Targets::Objects(vec![vec![Object { area: 120.0, ..want }], vec![]]));
    assert_eq!(batch.boxes(0), (vec![1], vec![[0.375, 0.375, 0.25, 0.25]]));
    assert_eq!(batch.boxes(1), (vec![], vec![]));
    assert_eq!(batch.original(0, [0.375, 0.375, 0.25, 0.25]), [6.0, 5.0, 12.0, 10.0]);

    let options = LoaderOptions { processor: detr, ..options() };
    let error = Batches::new(set, options).unwrap_err().to_string();
    assert_eq!(error, "mix: got pictures with boxes, want pictures with classes");
}

#[test]
fn errors_come_through_the_loader() {
    let labels = Labels::new(vec!["a".into(), "b".into()]).unwrap();
    let broken = |n: u64| Error::Empty { name: format!("{n}.png") };
    let draw: Draw = Arc::new(move |n| if n == 4 { Err(broken(n)) } else { Ok(Picture::filled(9, 9, [0; 3])) });
    let set = PictureSet::drawn("some", 6, labels, class, draw).unwrap();
    let mut loader = spawn(Batches::new(set, options()).unwrap(), 6, 1).unwrap();
    assert!(loader.next_batch().unwrap().unwrap_err().to_string().starts_with("4.png: "));
}

#[test]
fn pictures_that_do_not_fit_are_named() {
    let small = Processor { pad_size: Some([40, 48]), ..Processor::new(Class::Detr) };
    let set = numbers(3, |_| Target::Objects(Vec::new()));
    let error = in_order(&set, &small, 3).next().unwrap().unwrap_err().to_string();
    assert_eq!(error, "numbers, record 1: picture 0 of the batch is 960 x 800 pixels, pad_size is 48 x 40");
}
