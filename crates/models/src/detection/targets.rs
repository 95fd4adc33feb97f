//! The objects of pictures, as callers give them.

use bedstone_tensor::{
    Result as OpResult, TensorError,
    ops::boxes::{Box4, of_slice},
};

use crate::Inputs;

/// The objects of one picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) classes: Vec<i32>,
    pub(super) boxes: Vec<Box4>,
}

/// The objects of each picture, or `None` if none has any word of them.
///
/// An error where only some pictures have labels, where boxes and classes differ in number, a class is not one of `classes`, or
/// a box has no size.
pub(super) fn targets(inputs: &Inputs, batch: usize, classes: usize) -> OpResult<Option<Vec<Target>>> {
    let wrong = |what: String| TensorError::Unsupported { op: "labels", what };
    if inputs.get("labels.0.class_labels").is_none() {
        return match inputs.get("labels") {
            Some(_) => {
                Err(wrong("labels of objects are labels.I.class_labels and labels.I.boxes for each picture".into()))
            }
            None => Ok(None),
        };
    }
    let target = |i: usize| {
        let need = |part: &str| {
            let name = format!("labels.{i}.{part}");
            inputs.get(&name).ok_or_else(|| wrong(format!("`{name}` is missing, for a batch of {batch} pictures")))
        };
        let (labels, boxes) = (need("class_labels")?, need("boxes")?);
        let (ids, numbers) = (labels.data::<i32>("labels")?, boxes.data::<f32>("labels")?);
        if numbers.len() != 4 * ids.len() {
            let wanted = format!("[{}, 4], for so many class_labels of picture {i}", ids.len());
            return Err(TensorError::Shape { op: "labels: boxes", got: boxes.shape(), wanted });
        }
        if let Some(place) = ids.iter().position(|&id| usize::try_from(id).map_or(true, |id| id >= classes)) {
            return Err(TensorError::Id { op: "labels: class", id: ids[place] as i64, place, limit: classes });
        }
        let fits = |b: &[f32]| b.iter().all(|x| x.is_finite()) && b[2] >= 0.0 && b[3] >= 0.0;
        if let Some(place) = numbers.chunks_exact(4).position(|b| !fits(b)) {
            let got = &numbers[4 * place..4 * place + 4];
            let what = format!("box {place} of picture {i} is {got:?}, wanted centre x, centre y, width, height");
            return Err(wrong(what));
        }
        Ok(Target { classes: ids.to_vec(), boxes: numbers.chunks_exact(4).map(of_slice).collect() })
    };
    (0..batch).map(target).collect::<OpResult<_>>().map(Some)
}

#[cfg(test)]
mod tests {
    use bedstone_tensor::Tensor;

    use super::*;

    fn inputs(classes: &[i32], boxes: &[f32]) -> Inputs {
        Inputs::new("labels.0.class_labels", Tensor::from_slice(classes, [classes.len()]))
            .with("labels.0.boxes", Tensor::from_slice(boxes, [boxes.len() / 4, 4]))
    }

    #[track_caller]
    fn check(inputs: &Inputs, batch: usize, want: &str) {
        assert_eq!(targets(inputs, batch, 3).unwrap_err().to_string(), want);
    }

    #[test]
    fn wrong_labels_are_named() {
        let boxes = [0.5f32, 0.5, 0.1, 0.2];
        assert_eq!(targets(&inputs(&[2], &boxes), 1, 3).unwrap().unwrap()[0].classes, [2]);
        assert_eq!(targets(&inputs(&[], &[]), 1, 3).unwrap().unwrap()[0].boxes, [] as [Box4; 0]);
        assert_eq!(targets(&Inputs::default(), 1, 3), Ok(None));
        check(&inputs(&[3], &boxes), 1, "labels: class: id 3 at place 0, wanted below 3");
        check(
            &inputs(&[1, 1], &boxes),
            1,
            "labels: boxes: got shape [1, 4], wanted [2, 4], for so many class_labels of picture 0",
        );
        check(&inputs(&[1], &boxes), 2, "labels: `labels.1.class_labels` is missing, for a batch of 2 pictures");
        let turned = [0.5f32, 0.5, -0.1, 0.2];
        check(
            &inputs(&[1], &turned),
            1,
            "labels: box 0 of picture 0 is [0.5, 0.5, -0.1, 0.2], wanted centre x, centre y, width, height",
        );
    }
}
