use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::{
    Split, World,
    lexicon::{BACKGROUNDS, Noun, WORN, nouns},
    split::any_held_out,
};

fn stories(split: Split, count: u64) -> Vec<String> {
    World::new(0).stories(split, count).collect()
}

/// What the text of a story names: actors, things worn, backgrounds. Longer names win, so "ice cream" is no ice.
fn named(text: &str) -> (Vec<&'static Noun>, Vec<&'static Noun>, Vec<&'static crate::lexicon::Background>) {
    let lower: String =
        text.to_lowercase().chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { ' ' }).collect();
    let mut words = format!(" {} ", lower.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut names: Vec<(&str, &'static Noun)> = nouns().flat_map(|n| [(n.singular, n), (n.plural, n)]).collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let (mut actors, mut worn) = (Vec::new(), Vec::new());
    for (name, noun) in names {
        let name = format!(" {name} ");
        if words.contains(&name) {
            words = words.replace(&name, " _ ");
            if noun.can_act() {
                actors.push(noun);
            } else if WORN.contains(noun) {
                worn.push(noun);
            }
        }
    }
    let places = BACKGROUNDS.iter().filter(|b| words.contains(&format!(" the {} ", b.name))).collect();
    (actors, worn, places)
}

#[test]
fn no_training_text_names_a_held_out_combination() {
    for story in stories(Split::Train, 3000) {
        let (actors, worn, places) = named(&story);
        assert!(!actors.is_empty() && !places.is_empty(), "{story}");
        assert!(!any_held_out(&actors, &worn, &places), "{story}");
    }
}

#[test]
fn every_other_validation_text_names_one() {
    for story in stories(Split::Validation, 1000).iter().step_by(2) {
        let (actors, worn, places) = named(story);
        assert!(any_held_out(&actors, &worn, &places), "{story}");
    }
}

#[test]
fn stories_are_distinct_and_words_are_few() {
    let stories = stories(Split::Train, 20_000);
    let distinct: BTreeSet<&String> = stories.iter().collect();
    assert!(distinct.len() >= 19_990, "{} distinct", distinct.len());
    let mut words = BTreeMap::new();
    for story in &stories {
        let lower = story.to_lowercase();
        for word in lower.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '\'').filter(|w| !w.is_empty()) {
            *words.entry(word.to_owned()).or_insert(0) += 1;
        }
    }
    assert!((800..2000).contains(&words.len()), "{} words", words.len());
}

#[test]
fn lengths_are_as_promised() {
    let lengths: Vec<usize> = stories(Split::Train, 5000).iter().map(|s| s.split_whitespace().count()).collect();
    let (shortest, longest) = (lengths.iter().min().unwrap(), lengths.iter().max().unwrap());
    let within = lengths.iter().filter(|&&n| (60..=160).contains(&n)).count();
    assert!(*shortest >= 50 && *longest <= 200 && within >= 4900, "{shortest} to {longest}, {within} within");
}

#[test]
fn texts_are_clean() {
    for story in stories(Split::Train, 5000).iter().chain(&stories(Split::Validation, 1000)) {
        for wrong in ["  ", " .", " ,", "{", "}", "“", "”", "..", ".,", "\n\n\n", " a a", "?.", "!."] {
            assert!(!story.contains(wrong), "{wrong:?} in {story}");
        }
        assert!(story.starts_with(|c: char| c.is_uppercase() || c == '"'), "{story}");
        assert!(story.ends_with(['.', '!', '?', '"']), "{story}");
        assert_eq!(story.matches('"').count() % 2, 0, "{story}");
        assert!(story.is_ascii(), "{story}");
        let words: Vec<&str> = story.split_whitespace().map(|w| w.trim_start_matches('"')).collect();
        for pair in words.windows(2) {
            let vowel = pair[1].starts_with(['a', 'e', 'i', 'o', 'u']) && !pair[1].starts_with("uni");
            let vowel = vowel || pair[1].starts_with("hon");
            match pair[0] {
                "a" | "A" => assert!(!vowel, "{pair:?} in {story}"),
                "an" | "An" => assert!(vowel, "{pair:?} in {story}"),
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn scenes_follow_the_split(seed: u64, index: u64) {
        let world = World::new(seed);
        let story = world.story(Split::Train, index);
        prop_assert!(story.scenes.len() >= 2);
        for scene in &story.scenes {
            prop_assert!(!scene.touches_held_out(), "{}", story.text);
        }
        let held_out = world.story(Split::Validation, index).scenes.iter().any(|scene| scene.is_held_out());
        prop_assert!(held_out || index % 2 == 1);
        prop_assert_eq!(story, world.story(Split::Train, index));
    }
}
