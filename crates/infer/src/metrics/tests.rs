//! Metrics against scikit-learn, scipy, seqeval and the rules of SQuAD, on stored cases (`bench/fixtures/metrics.py`).

use serde_json::Value;

use super::*;

fn cases(name: &str) -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures-extra/metrics.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = fixture[name].as_array().unwrap().clone();
    assert!(!cases.is_empty(), "{name}");
    cases
}

fn read<T: serde::de::DeserializeOwned>(case: &Value, field: &str) -> T {
    serde_json::from_value(case[field].clone()).unwrap_or_else(|e| panic!("{field} of {case}: {e}"))
}

/// `null` stands for `NaN`.
#[track_caller]
fn check(got: f64, want: &Value, what: &str, case: &Value) {
    match want.as_f64() {
        Some(want) => assert!((got - want).abs() <= 1e-12 * want.abs().max(1.0), "{what}: {got}, want {want}; {case}"),
        None => assert!(want.is_null() && got.is_nan(), "{what}: {got}, want {want}; {case}"),
    }
}

#[track_caller]
fn check_prf(got: Prf, want: &Value, what: &str, case: &Value) {
    check(got.precision, &want[0], &format!("{what} precision"), case);
    check(got.recall, &want[1], &format!("{what} recall"), case);
    check(got.f1, &want[2], &format!("{what} f1"), case);
    if let Some(support) = want.get(3) {
        check(got.support as f64, support, &format!("{what} support"), case);
    }
}

#[track_caller]
fn check_averages(got: &Averages, case: &Value, whole: &Value) {
    check_prf(got.micro, &case["micro"], "micro", whole);
    check_prf(got.macro_avg, &case["macro"], "macro", whole);
    check_prf(got.weighted, &case["weighted"], "weighted", whole);
}

#[test]
fn classes_as_scikit_learn() {
    for case in cases("classes") {
        let (truth, predicted): (Vec<usize>, Vec<usize>) = (read(&case, "truth"), read(&case, "predicted"));
        let got = Confusion::new(&truth, &predicted, read(&case, "classes")).unwrap();
        assert_eq!(got.counts(), read::<Vec<Vec<u64>>>(&case, "confusion"));
        check(got.accuracy(), &case["accuracy"], "accuracy", &case);
        check(got.matthews(), &case["matthews"], "matthews", &case);
        check_averages(&got.averages(), &case, &case);
        for (class, got) in got.per_class().into_iter().enumerate() {
            check_prf(got, &case["per_class"][class], &format!("class {class}"), &case);
        }
    }
}

#[test]
fn multilabel_as_scikit_learn() {
    for case in cases("multilabel") {
        let (truth, predicted): (Vec<Vec<usize>>, Vec<Vec<usize>>) = (read(&case, "truth"), read(&case, "predicted"));
        let classes = read(&case, "classes");
        let got = multilabel(&truth, &predicted, classes).unwrap();
        check_averages(&got.averages, &case, &case);
        for (class, got) in got.per_class.into_iter().enumerate() {
            check_prf(got, &case["per_class"][class], &format!("class {class}"), &case);
        }
        check(got.subset_accuracy, &case["subset_accuracy"], "subset accuracy", &case);
        check(hamming_loss(&truth, &predicted, classes).unwrap(), &case["hamming_loss"], "Hamming loss", &case);
    }
}

#[test]
fn numbers_as_scipy_and_scikit_learn() {
    for case in cases("numbers") {
        let (truth, predicted): (Vec<f64>, Vec<f64>) = (read(&case, "truth"), read(&case, "predicted"));
        for (name, metric) in [
            ("pearson", pearson as fn(&[f64], &[f64]) -> Result<f64>),
            ("spearman", spearman),
            ("mean_squared_error", mean_squared_error),
            ("mean_absolute_error", mean_absolute_error),
            ("r2", r2),
        ] {
            check(metric(&truth, &predicted).unwrap(), &case[name], name, &case);
        }
    }
    assert!(r2(&[1.0], &[1.0]).unwrap().is_nan() && pearson(&[1.0], &[1.0]).unwrap().is_nan());
}

#[test]
fn probabilities_as_scikit_learn() {
    for case in cases("log_loss") {
        let (truth, rows): (Vec<usize>, Vec<f64>) = (read(&case, "truth"), read(&case, "probabilities"));
        check(log_loss(&truth, &rows, read(&case, "classes")).unwrap(), &case["log_loss"], "log loss", &case);
    }
    for case in cases("roc_auc") {
        let (truth, scores): (Vec<bool>, Vec<f64>) = (read(&case, "truth"), read(&case, "scores"));
        check(roc_auc(&truth, &scores).unwrap(), &case["roc_auc"], "ROC AUC", &case);
    }
    assert!(roc_auc(&[true, true], &[0.0, 1.0]).unwrap().is_nan());
}

#[test]
fn spans_as_seqeval() {
    for case in cases("spans") {
        let (truth, predicted): (Vec<Vec<String>>, Vec<Vec<String>>) = (read(&case, "truth"), read(&case, "predicted"));
        for (mode, want) in [(SpanMode::Lenient, &case["lenient"]), (SpanMode::Strict, &case["strict"])] {
            let got = match span_report(&truth, &predicted, mode) {
                Ok(got) => got,
                Err(e) => {
                    assert!(want.is_null() && matches!(e, MetricError::Tag { .. }), "{e}; {case}");
                    continue;
                }
            };
            check(got.accuracy, &case["accuracy"], "accuracy", &case);
            let labels = want["per_label"].as_array().unwrap();
            if labels.is_empty() {
                // Ours is 0, as everything about nothing.
                assert!(want["macro"][0].is_null() && got.averages == Averages::default(), "{case}");
            } else {
                check_averages(&got.averages, want, &case);
            }
            assert_eq!(got.per_label.len(), labels.len(), "{case}");
            for ((label, got), want) in got.per_label.into_iter().zip(labels) {
                assert_eq!(label, want[0].as_str().unwrap(), "{case}");
                check_prf(got, &want[1], &label, &case);
            }
        }
    }
    let none = span_report(&[vec!["O"]], &[vec!["O"]], SpanMode::Strict).unwrap();
    assert_eq!((none.per_label.len(), none.averages, none.accuracy), (0, Averages::default(), 1.0));
}

#[track_caller]
fn check_answers(got: AnswerScore, want: &Value, case: &Value) {
    check(got.exact, &want["exact"], "exact", case);
    check(got.f1, &want["f1"], "f1", case);
    assert_eq!(got.total, read::<usize>(want, "total"), "{case}");
}

#[test]
fn answers_as_squad() {
    for case in cases("normalized") {
        let (text, want) = (case[0].as_str().unwrap(), case[1].as_str().unwrap());
        assert_eq!(normalize_answer(text), want, "{text:?}");
    }
    for case in cases("squad_v1") {
        let (predictions, answers): (Vec<String>, Vec<Vec<String>>) =
            (read(&case, "predictions"), read(&case, "answers"));
        check_answers(squad_v1(&predictions, &answers).unwrap(), &case, &case);
    }
    for case in cases("squad_v2") {
        let (predictions, answers): (Vec<String>, Vec<Vec<String>>) =
            (read(&case, "predictions"), read(&case, "answers"));
        let probabilities: Option<Vec<f64>> = read(&case, "probabilities");
        let threshold = read(&case, "threshold");
        let no_answer = probabilities.as_deref().map(|probabilities| NoAnswer { probabilities, threshold });
        let got = squad_v2(&predictions, &answers, no_answer).unwrap();
        check_answers(got.all, &case["all"], &case);
        for (got, want) in [(got.has_answer, &case["has_answer"]), (got.no_answer, &case["no_answer"])] {
            assert_eq!(got.is_none(), want.is_null(), "{case}");
            if let Some(got) = got {
                check_answers(got, want, &case);
            }
        }
        for (got, want) in [(got.best_exact, &case["best_exact"]), (got.best_f1, &case["best_f1"])] {
            assert_eq!(got.is_none(), want.is_null(), "{case}");
            if let Some(Best { score, threshold }) = got {
                check(score, &want[0], "best", &case);
                check(threshold, &want[1], "best threshold", &case);
            }
        }
    }
    // Where the rules differ: an answer of articles only.
    assert_eq!((exact_match("the", "a"), answer_f1("the", "a")), (true, 1.0));
    assert_eq!(squad_v1(&["the"], &[vec!["a"]]).unwrap(), AnswerScore { exact: 100.0, f1: 0.0, total: 1 });
}

#[test]
fn cosines() {
    for case in cases("cosine") {
        let (a, b): (Vec<f32>, Vec<f32>) = (read(&case, "a"), read(&case, "b"));
        let width: usize = read(&case, "width");
        let (matrix, pairs) = (cosine_matrix(&a, &b, width).unwrap(), cosine_pairs(&a, &b, width).unwrap());
        let want: Vec<f64> = read(&case, "matrix");
        let near = |got: f64, want: f64| assert!((got - want).abs() < 1e-6, "{got}, want {want}; {case}");
        matrix.iter().zip(&want).for_each(|(&got, &want)| near(got, want));
        assert_eq!(matrix.len(), want.len());
        (0..3).for_each(|row| near(pairs[row], want[row * 4]));
    }
    assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
}

#[test]
fn best_classes() {
    let scores = [0.1, 0.7, 0.2, 0.5, 0.5, 0.5, 3.0, 2.0, 1.0];
    let check = |truth: [usize; 3], k, want: f64| {
        assert_eq!(top_k_accuracy(&truth, &scores, 3, k).unwrap(), want, "{truth:?} {k}");
    };
    check([1, 0, 0], 1, 1.0);
    check([1, 1, 2], 1, 1.0 / 3.0);
    check([0, 1, 2], 2, 1.0 / 3.0);
    check([0, 2, 2], 5, 1.0);
    check_error(top_k_accuracy(&[0, 3], &[0.5; 6], 3, 1), "top-k accuracy: example 1 has class 3, want less than 3");
    check_error(top_k_accuracy(&[0], &[0.5], 3, 1), "top-k accuracy: 1 scores, want 3");
    check_error(top_k_accuracy(&[0], &[f32::NAN], 1, 1), "top-k accuracy: value 0 is NaN, want a number");
    check_error(top_k_accuracy(&[], &[], 3, 1), "top-k accuracy: there is not one example");
}

#[track_caller]
fn check_error<T: std::fmt::Debug>(got: Result<T>, want: &str) {
    assert_eq!(got.unwrap_err().to_string(), want);
}

#[test]
fn what_cannot_be_compared() {
    check_error(Confusion::new(&[0], &[0, 1], 2), "confusion matrix: 2 predictions, want 1");
    check_error(Confusion::new(&[], &[], 2), "confusion matrix: there is not one example");
    check_error(Confusion::new(&[0, 1], &[0, 2], 2), "confusion matrix: example 1 has class 2, want less than 2");
    check_error(multilabel(&[vec![3]], &[vec![]], 3), "multi-label: example 0 has class 3, want less than 3");
    check_error(pearson(&[1.0, f64::NAN], &[1.0, 2.0]), "Pearson correlation: value 1 is NaN, want a finite number");
    check_error(log_loss(&[0], &[0.5, 1.5], 2), "log loss: value 1 is 1.5, want a probability");
    check_error(log_loss(&[0, 2], &[0.5, 0.5, 0.5, 0.5], 2), "log loss: example 1 has class 2, want less than 2");
    check_error(roc_auc(&[true], &[f64::NAN]), "ROC AUC: value 0 is NaN, want a number");
    check_error(span_report(&[vec!["O"]], &[vec!["O", "O"]], SpanMode::Lenient), {
        "spans: sentence 0 has 2 predicted tags, want 1"
    });
    check_error(span_report(&[vec!["O"]], &[vec!["E-X"]], SpanMode::Strict), {
        "spans: sentence 0: tag 0: want B, I or O"
    });
    check_error(squad_v1(&["a"], &[Vec::<&str>::new()]), "SQuAD 1.1: 0 answers to a question, want 1");
    check_error(cosine_matrix(&[1.0, 2.0, 3.0], &[1.0], 2), "cosine: 3 values, want 4");
}
