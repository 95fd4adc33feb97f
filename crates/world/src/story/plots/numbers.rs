//! Counts that add up.

use super::*;

/// The hero needs so many of something, finds some and gets the rest.
pub(super) fn gather(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, him, his, friend, third, a_third, the0, the1, the2, at1, .. } = words;
    let food = t.draws.pick(FOODS);
    let foods = food.plural;
    let (found, given) = (t.draws.between(1, 6), t.draws.between(1, 6));
    let (n_found, n_given, n_all) = (number(found), number(given), number(found + given));
    let (food_found, food_given) = (food.form(found), food.form(given));
    let (were, them) = (if found == 1 { "was" } else { "were" }, if given == 1 { "it" } else { "them" });
    let feast = *t.draws.pick(&["picnic", "birthday party", "feast", "big breakfast", "tea party", "surprise"]);
    let a_feast = a(feast);
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{when}, {he} was planning {a_feast}. For that {he} needed {n_all} {foods}.",
        "{when}, {he} wanted to give {a_feast} for {a_third}. “The {third} likes {foods},” {he} thought. “I need {n_all} of them.”",
        "“I will make {a_feast},” {he} said {when}. “But I need {n_all} {foods}, and I have none.”",
    );
    t.fact(format!("How many {foods} did {name} need?"), &n_all);
    t.fact(format!("What was {name} planning?"), &a_feast);
    t.go(cast, 1);
    t.show_some(food, found, None);
    tell!(
        t,
        "{he} took a basket and went to {the1}. There {were} {n_found} {food_found}, and {he} put {n_found} into the basket.",
        "{at1}, {name} looked under every leaf and stone and found {n_found} {food_found}.",
        "{name} walked to {the1} and bought {n_found} {food_found}. There {were} no more to be had.",
    );
    tell!(
        t,
        "“That is not enough,” {he} thought. “I still need {n_given}.”",
        "“{n_given} more,” said {name}, and went on.",
        "Now only {n_given} more, and {he} would have {n_all}.",
    );
    t.go(cast, 2);
    tell!(t, "Next, {he} came to {the2}.", "{his} way led {him} to {the2}.");
    meeting(t, cast, words);
    t.show_some(food, given, None);
    tell!(
        t,
        "“Do you have any {foods}?” asked {name}. “I have {n_given},” said {friend}, “and you may have {them}.”",
        "“You look tired,” said {friend}. “I need {n_given} more {foods},” sighed {name}. {friend} smiled and gave {him} {n_given}.",
        "“What are you looking for?” asked {friend}. “For {foods},” said {name}. “Then take my {n_given} {food_given},” said {friend}.",
    );
    t.fact(format!("How many {foods} did {friend} give away?"), &n_given);
    tell!(
        t,
        "{n_found} and {n_given} make {n_all}!",
        "{name} counted: {n_found} and {n_given} make {n_all}.",
        "Now there were {n_all} {foods} in the basket.",
    );
    tell!(
        t,
        "{name} invited {friend}, and the {feast} was a great success. Not one of the {n_all} {foods} was left.",
        "“Come to my {feast},” said {name}. So they carried the {foods} to {the0} and ate all {n_all} of them together.",
        "The {feast} lasted until midnight, and {friend} sat next to {name} and ate the last of the {n_all} {foods}.",
    );
    closing(t, words);
}

/// The hero gives away one part after another.
pub(super) fn share(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, kind, he, him, his, friend, fhim, third, a_third, the0, the1, the2, at2, .. } = words;
    let food = t.draws.pick(FOODS);
    let foods = food.plural;
    let parts = [t.draws.between(1, 4), t.draws.between(1, 4), t.draws.between(1, 4)];
    let [first, second, rest] = parts;
    let [n_first, n_second, n_rest] = parts.map(number);
    let [food_first, _, food_rest] = parts.map(|n| food.form(n));
    let (n_all, n_then) = (number(first + second + rest), number(second + rest));
    let (was, had) = if rest == 1 { ("was", "one had") } else { ("were", "they had") };
    let when = when(t);

    opening(t, cast, words);
    t.show_some(food, first + second + rest, None);
    tell!(
        t,
        "{when}, {name} put {n_all} {foods} into a basket and set off for a walk.",
        "{when}, {he} got {n_all} {foods} from {his} aunt. “Eat them while they are fresh,” she had written.",
        "{when}, {he} won {n_all} {foods} in a game. “All for me!” {he} thought.",
    );
    t.fact(format!("How many {foods} did {name} have at first?"), &n_all);
    t.go(cast, 1);
    tell!(t, "{he} walked to {the1}.", "{he} took them to {the1} to eat in peace.", "{his} way led to {the1}.");
    meeting(t, cast, words);
    tell!(
        t,
        "“I have not eaten since yesterday,” said {friend}. {name} gave {fhim} {n_first} {food_first}.",
        "“Oh, {foods}!” said {friend}. “May I have {n_first}?” “Of course,” said {name}.",
        "{friend} looked at the {foods} with big eyes. “Here, take {n_first},” said {name}.",
    );
    tell!(
        t,
        "Now there were {n_then} left.",
        "“I still have {n_then},” {he} thought.",
        "So {he} went on with {n_then} {foods}.",
    );
    t.go(cast, 2);
    t.show(Object::one(cast.third));
    tell!(
        t,
        "{at2}, {a_third} was crying. “Somebody ate my lunch,” it said. {name} gave the {third} {n_second}, and it dried its tears.",
        "On {his} way past {the2}, {name} saw {a_third} that was too weak to walk. {he} gave it {n_second}, and soon the {third} was jumping about.",
        "Then {he} came to {the2}. {a_third} sat there all alone. “Let us eat together,” said {name}, and gave it {n_second}.",
    );
    t.fact(format!("How many {foods} did the {third} get?"), &n_second);
    tell!(
        t,
        "When {name} came home to {the0}, only {n_rest} {was} left.",
        "In the end, there {was} only {n_rest} {food_rest} in the basket.",
    );
    t.fact(format!("How many {foods} were left in the end?"), &n_rest);
    tell!(
        t,
        "But {he} was not sad, for {had} never tasted so good.",
        "“{n_all} {foods} are far too many for one {kind},” {he} thought, and ate what was left.",
        "The next day there was a letter for {him}. “Thank you,” it said. “Your friends {friend} and the {third}.”",
        "“I gave away {n_first} and {n_second},” {he} thought, “and I got two friends.”",
    );
}

/// Seeds are sown; some come up at once, the others later.
pub(super) fn garden(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, friend, third, a_third, the1, the2, at0, at2, .. } = words;
    let flowers: Vec<_> = PLANTS.iter().filter(|plant| plant.paintable).collect();
    let flower = *t.draws.pick(&flowers);
    let (one, many) = (flower.singular, flower.plural);
    let [hue, other] = t.two_colours();
    let (colour, another) = (hue.en, other.en);
    let (early, late) = (t.draws.between(1, 4), t.draws.between(2, 5));
    let (n_early, n_late, n_all) = (number(early), number(late), number(early + late));
    let (flower_early, was) = (flower.form(early), if early == 1 { "was" } else { "were" });
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{when}, {he} planted {n_all} seeds in a big pot. “They will be {many},” {he} said, “all of them {colour}.”",
        "{he} dreamed of {colour} {many}. So {when}, {he} put {n_all} seeds into a big pot.",
    );
    t.fact(format!("How many seeds did {name} plant?"), &n_all);
    t.fact(format!("What colour were the {many} to be?"), colour);
    tell!(
        t,
        "{he} waited for two weeks. Then {n_early} {flower_early} {was} there, but where were the other {n_late}?",
        "After a week, {n_early} {was} up, {colour} and fresh. The other {n_late} did not come.",
    );
    t.go(cast, 1);
    tell!(
        t,
        "{name} asked everyone for advice, and at last {he} went to {the1}.",
        "“I need help,” thought {name}, and walked to {the1}.",
    );
    meeting(t, cast, words);
    tell!(
        t,
        "“Only {n_early} of my {n_all} seeds came up,” said {name}. “Do you give them water?” asked {friend}. {name} had forgotten that.",
        "“My {many} do not grow,” said {name}. “They are thirsty,” said {friend}. “The best water comes from {the2}.”",
    );
    t.go(cast, 2);
    t.show(cast.friend.object());
    tell!(
        t,
        "So they went to {the2} with a bucket. {a_third} showed them a spring there, and {friend} helped {name} to carry the water home.",
        "{friend} had a big bucket. They filled it {at2}, where {a_third} kept a well.",
    );
    t.show(Object::one(cast.third));
    t.show_some(flower, early + late, Some(hue));
    tell!(
        t,
        "Three days later, the last {n_late} opened. Now {n_all} {colour} {many} stood {at0}.",
        "And really, after some days {name} could count them all: {n_early} and {n_late} make {n_all}.",
    );
    tell!(
        t,
        "{name} gave one {colour} {one} to {friend} and one to the {third}.",
        "“Next year I will plant {another} ones for you,” said {name} to {friend}.",
        "“They are as {colour} as I dreamed,” said {name}, and {friend} took a long, deep breath.",
    );
    closing(t, words);
}
