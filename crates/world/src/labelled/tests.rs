use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use crate::{
    Split, World,
    lexicon::{BACKGROUNDS, Family, WORN, nouns},
    split::any_held_out,
};

/// What a text names, longer names first: actors, things worn, backgrounds.
fn held_out_is_named(text: &str) -> bool {
    let mut words = format!(" {} ", text.to_lowercase().replace(['.', ','], " ").replace("  ", " "));
    let mut names: Vec<_> = nouns().flat_map(|noun| [(noun.singular, noun), (noun.plural, noun)]).collect();
    names.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let (mut actors, mut worn) = (Vec::new(), Vec::new());
    for (name, noun) in names {
        if words.contains(&format!(" {name} ")) {
            words = words.replace(&format!(" {name} "), " _ ");
            if noun.can_act() {
                actors.push(noun);
            } else if WORN.contains(noun) {
                worn.push(noun);
            }
        }
    }
    let places: Vec<_> = BACKGROUNDS.iter().filter(|b| words.contains(&format!(" the {} ", b.name))).collect();
    any_held_out(&actors, &worn, &places)
}

#[track_caller]
fn check_clean(text: &str) {
    for wrong in ["  ", " .", " ,", "..", ",.", " a a", "{", " is are", "a glasses"] {
        assert!(!text.contains(wrong), "{wrong:?} in {text}");
    }
    assert!(text.starts_with(|c: char| c.is_ascii_uppercase()) && text.ends_with('.') && text.is_ascii(), "{text}");
}

#[test]
fn phrasings_read_well() {
    let world = World::new(0);
    let texts: Vec<String> = world.labelled_sentences(Split::Train, 8).map(|sentence| sentence.text).collect();
    assert_eq!(texts.join("\n"), TEXTS);
}

const TEXTS: &str = "\
A guard is dancing under the sea.
You can see a swimming pilot in the jungle.
There are three princes in the kitchen.
Near the volcano, there is a chick wearing a top hat to the right of three yo-yos.
A grandmother dressed in a safety vest is running in the village, under four anchors.
There is a cooking frog by the river, to the right of four sleeping whales.
In this picture there is a dove at the station, over three crayons.
There is a thinking alien on the moon, next to a taxi.";

#[test]
fn sentences_of_all_families() {
    let mut counts: BTreeMap<Family, u32> = BTreeMap::new();
    for sentence in World::new(0).labelled_sentences(Split::Train, 4000) {
        check_clean(&sentence.text);
        assert!(!held_out_is_named(&sentence.text), "{}", sentence.text);
        *counts.entry(sentence.label).or_default() += 1;
    }
    assert_eq!(counts.len(), Family::ALL.len());
    assert!(counts.values().all(|&count| (60..2000).contains(&count)), "{counts:?}");
}

#[test]
fn tags_are_iob2_and_name_what_they_say() {
    let mut labels = BTreeSet::new();
    for sentence in World::new(0).tagged_sentences(Split::Train, 2000) {
        assert_eq!(sentence.words.len(), sentence.tags.len());
        let mut open = None;
        let mut name = String::new();
        let mut named = Vec::new();
        for (word, tag) in sentence.words.iter().zip(&sentence.tags) {
            assert!(!word.is_empty() && !word.contains([' ', ',']) || word == ",", "{word:?}");
            let label = tag.split_once('-').map(|(_, label)| label);
            if tag.starts_with("I-") {
                assert_eq!(open, label, "{sentence:?}");
                name += &format!(" {word}");
            } else {
                named.push((open, std::mem::replace(&mut name, word.to_lowercase())));
            }
            open = label;
        }
        named.push((open, name));
        for (label, name) in named {
            labels.extend(label);
            let noun = nouns().find(|noun| noun.singular == name || noun.plural == name);
            match label {
                Some("CREATURE") => assert!(noun.is_some_and(|noun| noun.can_act()), "{name} in {sentence:?}"),
                Some("OBJECT") => assert!(noun.is_some_and(|noun| !noun.can_act()), "{name} in {sentence:?}"),
                Some(_) => assert!(BACKGROUNDS.iter().any(|place| place.name == name), "{name} in {sentence:?}"),
                None => {}
            }
        }
    }
    assert_eq!(labels, BTreeSet::from(["CREATURE", "OBJECT", "PLACE"]));
}

#[test]
fn pairs_are_three_texts() {
    let pairs: Vec<_> = World::new(0).caption_pairs(Split::Train, 2000).collect();
    for pair in &pairs {
        for text in [&pair.anchor, &pair.positive, &pair.negative] {
            check_clean(text);
            assert!(!held_out_is_named(text), "{text}");
        }
        assert!(pair.anchor != pair.positive && pair.anchor != pair.negative && pair.positive != pair.negative);
    }
    let distinct: BTreeSet<&String> = pairs.iter().map(|pair| &pair.anchor).collect();
    assert!(distinct.len() > 1900, "{}", distinct.len());
}

#[test]
fn answers_stand_where_they_are_said_to() {
    let mut asked: BTreeMap<String, u32> = BTreeMap::new();
    for (index, story) in World::new(0).questions(Split::Train, 3000).enumerate() {
        assert_eq!(story.context, World::new(0).story(Split::Train, index as u64).text);
        assert_eq!(story.questions.len(), 4);
        let texts: BTreeSet<&String> = story.questions.iter().map(|question| &question.question).collect();
        assert_eq!(texts.len(), 4, "{story:?}");
        assert_eq!(story.questions.iter().filter(|question| question.answer.is_none()).count(), 1);
        for question in &story.questions {
            let text = &question.question;
            assert!(text.starts_with(|c: char| c.is_ascii_uppercase()) && text.ends_with('?'), "{text}");
            assert!(!text.contains(['{', '}', '"']), "{text}");
            if let Some(answer) = &question.answer {
                let there: String =
                    story.context.chars().skip(answer.start).take(answer.text.chars().count()).collect();
                assert_eq!(there, answer.text, "{text} in {}", story.context);
                let kind = text.split(' ').take(3).collect::<Vec<_>>().join(" ");
                *asked.entry(kind).or_default() += 1;
            }
        }
    }
    assert!(asked.len() > 60, "{asked:?}");
}

/// Every question that a plot notes finds its answer, in one version of the story or another.
#[test]
fn every_fact_is_told() {
    let world = World::new(0);
    let mut kinds: BTreeMap<String, u32> = BTreeMap::new();
    for index in 0..4000 {
        let story = world.story(Split::Train, index);
        assert!(story.facts.len() >= 4, "{story:?}");
        for fact in &story.facts {
            let mut question = fact.question.clone();
            for name in story.names {
                question = question.replace(name, "X");
            }
            *kinds.entry(question.split(' ').take(2).collect::<Vec<_>>().join(" ")).or_default() += 1;
        }
    }
    let starts: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(starts.join(", "), STARTS);
}

const STARTS: &str = "Behind what, How far, How long, How many, How much, Near what, What colour, What did, What had, What made, \
    What was, Where did, Where was, Which colour, Which place, Who had, Who was, Who won";

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_world_has_labels(seed: u64, index: u64, validation: bool) {
        let (world, split) = (World::new(seed), if validation { Split::Validation } else { Split::Train });
        let sentence = world.labelled_sentence(split, index);
        prop_assert_eq!(sentence.label, world.scene(split, index).objects[0].noun.family());
        prop_assert_eq!(&sentence, &world.labelled_sentence(split, index));
        let pair = world.caption_pair(split, index);
        prop_assert!(pair.anchor != pair.positive);
        if validation && index % 2 == 0 {
            prop_assert!(held_out_is_named(&pair.anchor) && held_out_is_named(&sentence.text));
        } else {
            prop_assert!(!held_out_is_named(&pair.negative));
        }
        prop_assert!(world.story_questions(split, index).questions.len() == 4);
        prop_assert!(!world.tagged_sentence(split, index).words.is_empty());
    }
}
