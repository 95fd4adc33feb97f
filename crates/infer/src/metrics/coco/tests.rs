//! Against `pycocotools` on stored cases (`bench/fixtures/coco_cases.py`).

use super::*;
use serde_json::Value;

fn boxes(case: &Value, side: &str) -> Vec<Vec<[f64; 7]>> {
    serde_json::from_value(case[side].clone()).unwrap()
}

#[test]
fn as_pycocotools() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures-extra/coco.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = fixture.as_array().unwrap();
    assert!(cases.len() > 5);
    for case in cases {
        let name = &case["name"];
        let true_box = |&[class, x, y, w, h, area, crowd]: &[f64; 7]| TrueBox {
            class: class as usize,
            bounds: [x, y, w, h],
            area,
            crowd: crowd > 0.0,
        };
        let found_box =
            |&[class, x, y, w, h, score, _]: &[f64; 7]| FoundBox { class: class as usize, bounds: [x, y, w, h], score };
        let truth: Vec<Vec<TrueBox>> = boxes(case, "truth").iter().map(|p| p.iter().map(true_box).collect()).collect();
        let found: Vec<Vec<FoundBox>> =
            boxes(case, "found").iter().map(|p| p.iter().map(found_box).collect()).collect();
        let classes = case["classes"].as_u64().unwrap() as usize;
        let got = coco(&truth, &found, classes).unwrap();
        let stats = [
            got.ap,
            got.ap50,
            got.ap75,
            got.ap_small,
            got.ap_medium,
            got.ap_large,
            got.ar1,
            got.ar10,
            got.ar100,
            got.ar_small,
            got.ar_medium,
            got.ar_large,
        ];
        // `pycocotools` says -1 where there is nothing.
        let near = |got: Option<f64>, want: f64| (got.unwrap_or(-1.0) - want).abs() < 1e-9;
        let want: Vec<f64> = serde_json::from_value(case["stats"].clone()).unwrap();
        for (number, (got, want)) in stats.iter().zip(want).enumerate() {
            assert!(near(*got, want), "{name}: number {number} is {got:?}, want {want}");
        }
        let want: Vec<[f64; 3]> = serde_json::from_value(case["per_class"].clone()).unwrap();
        for (class, (got, want)) in got.per_class.iter().zip(want).enumerate() {
            let got = [got.ap, got.ap50, got.ar100];
            assert!((0..3).all(|n| near(got[n], want[n])), "{name}: class {class}: {got:?}, want {want:?}");
        }
    }
}

#[test]
fn the_same_for_any_number_of_threads() {
    let truth: Vec<Vec<TrueBox>> = (0..30)
        .map(|n| {
            let side = f64::from(n % 7 + 3);
            vec![TrueBox { class: n as usize % 5, bounds: [1.0, 2.0, side, side], area: side * side, crowd: false }]
        })
        .collect();
    let found: Vec<Vec<FoundBox>> = (0..30)
        .map(|n| vec![FoundBox { class: n as usize % 5, bounds: [1.5, 2.0, 6.0, 5.0], score: f64::from(n % 3) }])
        .collect();
    let make = |threads| bedstone_kernels::pool::with_threads(threads, || coco(&truth, &found, 5).unwrap()).unwrap();
    assert_eq!(make(1), make(3));
}

#[test]
fn what_cannot_be_compared() {
    let found = |class, score| vec![vec![FoundBox { class, bounds: [0.0, 0.0, 1.0, 1.0], score }]];
    let check = |truth: &[Vec<TrueBox>], found: &[Vec<FoundBox>], want: &str| {
        assert_eq!(coco(truth, found, 2).unwrap_err().to_string(), want);
    };
    check(&[], &[], "COCO: there is not one example");
    check(&[vec![], vec![]], &[vec![]], "COCO: 1 pictures with predictions, want 2");
    check(&[vec![]], &found(2, 0.0), "COCO: example 0 has class 2, want less than 2");
    check(&[vec![]], &found(1, f64::NAN), "COCO: value 0 is NaN, want a finite number");
    assert_eq!(coco(&[vec![]], &found(1, 0.5), 2).unwrap().ap, None);
}
