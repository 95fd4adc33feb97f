//! The bytes of the World are part of its interface: results measured on it must stay comparable.
//!
//! A hash that changes means that every data set made by an earlier release changes. Do that knowingly, and say so in
//! the changelog.

use bedstone_world::{Split, World};

#[track_caller]
fn check(rows: impl Iterator<Item = String>, want: &str) {
    let mut hasher = blake3::Hasher::new();
    for row in rows {
        hasher.update(row.as_bytes());
        hasher.update(b"\0");
    }
    assert_eq!(hasher.finalize().to_hex().as_str(), want);
}

#[test]
fn training_stories() {
    check(
        World::new(0).stories(Split::Train, 1000),
        "942149ead3a11b71cfac5e6315dfcf0c8daf52a391778b055d34e1750deba4c5",
    );
}

#[test]
fn validation_stories() {
    check(
        World::new(0).stories(Split::Validation, 1000),
        "154f93e468a6c5184c5a5cc43873edee2e05e79d49248842e476a011672ff948",
    );
}

#[test]
fn captions() {
    let world = World::new(0);
    let scenes = (0..1000).map(|index| world.scene(Split::Train, index));
    check(
        scenes.map(|scene| format!("{}\t{}", scene.caption_en(), scene.caption_zh())),
        "d05453c550c488bd771ac7e8b1b81104f889830c026736a8b9c6e412500f7e47",
    );
}

#[test]
fn labelled_sentences() {
    let rows = World::new(0).labelled_sentences(Split::Train, 1000);
    check(
        rows.map(|row| format!("{}\t{}", row.text, row.label.name())),
        "4081f661d10eb866bd0b5b09c079525bc1d4759d088bcd26bbea74811e08ccf8",
    );
}

#[test]
fn tagged_sentences() {
    let rows = World::new(0).tagged_sentences(Split::Train, 1000);
    check(
        rows.map(|row| format!("{}\t{}", row.words.join(" "), row.tags.join(" "))),
        "a9091bc9f53bed367c0015f3d166bef93c8f3ecac99adc8d67897188b6bac704",
    );
}

#[test]
fn caption_pairs() {
    let rows = World::new(0).caption_pairs(Split::Train, 1000);
    check(
        rows.map(|row| format!("{}\t{}\t{}", row.anchor, row.positive, row.negative)),
        "e871d2d058efa7900384b27503b35958addbaf56f2b5a4d016326d56bfda0231",
    );
}

#[test]
fn questions() {
    let rows = World::new(0).questions(Split::Train, 1000).flat_map(|story| story.questions);
    check(
        rows.map(|row| {
            let (text, start) = row.answer.map_or(("".into(), 0), |answer| (answer.text, answer.start));
            format!("{}\t{text}\t{start}", row.question)
        }),
        "2e32fb81e95b781d1bc1cbc7ead9fd3cc20ae50d5cde8d7146933706a1966705",
    );
}
