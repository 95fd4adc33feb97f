//! Something or somebody is looked for.

use super::*;

/// A coloured thing is lost; it lies somewhere, or somebody has it.
pub(super) fn lost(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, him, his, friend, fhe, fhis, third, a_third, the1, the2, at0, at2, the0, .. } = words;
    let [noun] = t.different(painted_things());
    let thing = noun.singular;
    let [hue, other] = t.two_colours();
    let (colour, another) = (hue.en, a(other.en));
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{when}, {name} wanted to play with {his} {colour} {thing}, but it was gone.",
        "{when}, {name} could not find {his} {colour} {thing}.",
        "{when}, {he} noticed that {his} {colour} {thing} had disappeared.",
        "{he} loved {his} {colour} {thing} more than anything else. But {when}, it was not in its place.",
    );
    t.fact(format!("What had {name} lost?"), &format!("{colour} {thing}"));
    tell!(
        t,
        "{name} looked everywhere {at0}, but there was no {thing}.",
        "{he} searched {the0} from end to end, but in vain.",
        "“Somebody must have seen it,” thought {name}.",
        "“I will not come home without it,” {he} said.",
    );

    t.go(cast, 1);
    tell!(t, "So {name} went to {the1}.", "{he} ran to {the1}.", "First {he} tried {the1}.");
    meeting(t, cast, words);
    tell!(
        t,
        "“Have you seen my {thing}?” asked {name}. “It is {colour}.”",
        "“I have lost my {colour} {thing},” said {name}. “Have you seen it?”",
        "“Please help me,” said {name}. “My {thing} is gone. It is {colour}.”",
    );
    if t.draws.percent(50) {
        tell!(
            t,
            "“I have only seen {another} one here,” said {friend}. “But there was something {colour} {at2}. Come!”",
            "{friend} thought for a moment. “Something {colour} blew past me this morning,” {fhe} said. “It flew to {the2}.”",
            "“Not here,” said {friend}, shaking {fhis} head. “Let us look in another place together.”",
        );
        t.go(cast, 2);
        t.show(cast.friend.object());
        t.show_some(noun, 1, Some(hue));
        let landmark = a(words.landmark2.singular);
        t.show(Object::one(words.landmark2));
        tell!(
            t,
            "The two of them hurried to {the2}. Behind {landmark} lay the {thing}.",
            "They walked to {the2} and looked behind {landmark}. There it was!",
            "It was a long way to {the2}. They were tired when they found the {thing} next to {landmark}.",
        );
        t.fact(format!("Near what did they find the {thing}?"), &landmark);
        tell!(
            t,
            "“That is my {thing}!” cried {name}. “It is as {colour} as ever.”",
            "“It is {colour}! It is mine!” cried {name}, and hugged {friend}.",
            "“Thank you, {friend},” said {name}. “Without you I would never have found my {colour} {thing}.”",
        );
    } else {
        tell!(
            t,
            "“I saw {a_third} with something {colour},” said {friend}. “It was on its way to {the2}.”",
            "“Ask the {third} {at2},” said {friend}. “It finds everything that others lose.”",
        );
        t.go(cast, 2);
        t.show(Object::one(cast.third));
        t.show_some(noun, 1, Some(hue));
        tell!(
            t,
            "{name} ran to {the2}. There sat the {third}, and beside it lay the {colour} {thing}.",
            "{at2}, {name} found the {third}. It was playing with the {colour} {thing}.",
        );
        t.fact(format!("Who had the {thing}?"), &format!("the {third}"));
        tell!(
            t,
            "“I am sorry,” said the {third}. “I thought it belonged to nobody.” It gave the {thing} back.",
            "“Is it yours?” asked the {third}. “Then you must have it back.”",
        );
        tell!(
            t,
            "{name} was so happy that {he} let the {third} play with it until the evening.",
            "“You may come and play with it every Sunday,” said {name}, and the {third} danced for joy.",
            "{name} thanked the {third}, and the {third} waved to {him} for a long time.",
        );
    }
    closing(t, words);
}

/// Hide-and-seek among three.
pub(super) fn hide(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, his, friend, a_friend, fhe, fhim, third, a_third, the1, at1, .. } = words;
    let fhimself = format!("{fhim}self");
    let [thing] = t.different(painted_things());
    let hue = t.draws.pick(COLOURS);
    let thing_name = format!("{} {}", hue.en, thing.singular);
    let prize = a(&thing_name);
    let (behind, count) = (a(words.landmark1.singular), number(t.draws.between(5, 12)));
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{he} had two friends: {friend}, {a_friend}, and {a_third}.",
        "{his} best friends were {friend}, {a_friend}, and {a_third}.",
    );
    t.go(cast, 1);
    tell!(
        t,
        "{when}, the three of them went to {the1} to play hide-and-seek.",
        "{when}, they played hide-and-seek {at1}.",
    );
    tell!(t, "The winner was to get {prize}.", "“Whoever is found last wins {prize},” said {friend}.",);
    t.fact("What was the prize of the game?".to_owned(), &prize);
    tell!(
        t,
        "{name} closed {his} eyes and counted to {count}.",
        "{name} had to seek. {he} covered {his} eyes and slowly counted to {count}.",
    );
    t.fact(format!("How far did {name} count?"), &count);
    let friend_first = t.draws.percent(50);
    t.show(cast.friend.object());
    t.show(Object::one(cast.third));
    t.show(Object::one(words.landmark1));
    t.show_some(thing, 1, Some(hue));
    if friend_first {
        tell!(
            t,
            "{friend} had hidden behind {behind}, but {fhe} had to laugh, and so {name} found {fhim} first.",
            "Soon {he} saw a foot behind {behind}. “Come out, {friend}!” {he} called.",
        );
        tell!(
            t,
            "But where was the {third}? {name} and {friend} looked and looked. At last they heard a little cough from above: it had been sitting over their heads all the time.",
            "The {third} was harder to find. It had made itself so small that nobody saw it until it sneezed.",
        );
        tell!(
            t,
            "So the {third} won the {thing_name}.",
            "“You win,” said {name}, and gave the {thing_name} to the {third}.",
        );
        t.fact("Who won the game?".to_owned(), &format!("the {third}"));
    } else {
        tell!(
            t,
            "The {third} had hidden behind {behind}, but it sneezed, and so {name} found it first.",
            "Soon {he} saw something move behind {behind}. It was the {third}. “Found you!” {he} called.",
        );
        tell!(
            t,
            "But where was {friend}? {name} looked high and low. At last {fhe} came out by {fhimself}, for {fhe} was getting hungry.",
            "{friend} was harder to find. {fhe} had lain down in the shade and fallen asleep.",
        );
        tell!(t, "So {friend} won the {thing_name}.", "“You win,” said {name}, and gave the {thing_name} to {friend}.",);
        t.fact("Who won the game?".to_owned(), friend);
    }
    let (winner, loser) = if friend_first {
        (format!("the {third}"), (*friend).to_owned())
    } else {
        ((*friend).to_owned(), format!("the {third}"))
    };
    tell!(
        t,
        "“Next time I will hide better,” said {loser}.",
        "{winner} shared it with {name} and {loser}, as friends do.",
        "“One more time!” cried {loser}, and they played until it was dark.",
    );
    closing(t, words);
}

/// Some of the food is gone; the crumbs lead to the thief, who makes up for it.
pub(super) fn crumbs(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, his, friend, fhe, third, a_third, the1, the2, at1, at2, .. } = words;
    let food = t.draws.pick(FOODS);
    let foods = food.plural;
    let (left, gone) = (t.draws.between(2, 5), t.draws.between(2, 5));
    let (n_left, n_gone, n_all) = (number(left), number(gone), number(left + gone));
    let when = when(t);

    opening(t, cast, words);
    t.show_some(food, left, None);
    tell!(
        t,
        "In the evening, {he} put {n_all} {foods} on a plate for a party. The next morning, only {n_left} were there.",
        "{he} had {n_all} {foods} in a bowl. But {when}, {he} counted again, and there were only {n_left}.",
        "{when}, {he} counted {his} {foods}. Yesterday there had been {n_all}; now there were {n_left}.",
    );
    tell!(
        t,
        "“Who took {n_gone} {foods}?” cried {name}.",
        "“So {n_gone} are missing,” said {name}. “I must find out who took them.”",
    );
    t.fact(format!("How many {foods} were missing?"), &n_gone);
    t.go(cast, 1);
    tell!(t, "There were crumbs on the floor, and {he} followed them to {the1}.", "A line of crumbs led to {the1}.",);
    meeting(t, cast, words);
    tell!(
        t,
        "“Did you eat my {foods}?” asked {name}. “No, I never eat {foods},” said {friend}. “But {a_third} came by with crumbs on its nose. It went to {the2}.”",
        "“Was it you?” asked {name}. “No,” laughed {friend}, “I have been {at1} all day. But the crumbs go on to {the2}.”",
    );
    t.go(cast, 2);
    t.show(Object::one(cast.third));
    tell!(
        t,
        "{friend} came along, and {at2} they found {a_third}, fast asleep, with crumbs all around it.",
        "{friend} came along, for {fhe} was curious, too. {at2} sat {a_third}. It looked very full.",
    );
    t.fact(format!("Who had taken the {foods}?"), a_third);
    tell!(
        t,
        "“I was so hungry,” said the {third}. “I will never do it again.”",
        "The {third} turned red. “I am sorry,” it whispered. “They smelled so good.”",
    );
    t.show_some(food, gone, None);
    tell!(
        t,
        "It worked all afternoon and brought {n_gone} new {foods}. Now there were {n_all} again.",
        "The next day it came with {n_gone} fresh {foods}. {n_left} and {n_gone} make {n_all}, so nothing was missing any more.",
    );
    if t.has_room() {
        tell!(
            t,
            "“Next time, just ask,” said {name}, and invited the {third} to the table.",
            "{name} was not angry for long. {he} gave the first one to the {third}.",
        );
    }
    closing(t, words);
}

/// A map leads to gems, which are shared equally.
pub(super) fn treasure(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, his, friend, fhe, third, a_third, the1, the2, at1, at2, .. } = words;
    let precious = ["gem", "bell", "shell", "cup", "doll", "feather"];
    let finds: Vec<_> = painted_things().iter().filter(|noun| precious.contains(&noun.singular)).collect();
    let find = *t.draws.pick(&finds);
    let [hue, lid] = t.two_colours();
    let (colour, lid, a_lid) = (hue.en, lid.en, a(lid.en));
    let each = t.draws.between(1, 6);
    let (n_each, n_all) = (number(each), number(2 * each));
    let (one, all) = (find.form(each), find.plural);
    let landmark = words.landmark2.singular;
    let behind = a(landmark);
    let when = when(t);

    opening(t, cast, words);
    tell!(
        t,
        "{when}, {he} found an old map in {his} pocket.",
        "{when}, an old map fell out of a letter.",
        "{when}, the wind blew an old map right in front of {his} feet.",
    );
    tell!(
        t,
        "On it was written: “Go to {the1}, then to {the2}. Look behind {behind}.”",
        "It showed a path from {the1} to {the2}, and a cross behind {behind}.",
    );
    t.fact("Behind what was the treasure?".to_owned(), &behind);
    t.go(cast, 1);
    tell!(t, "{name} went to {the1} at once.", "So {he} set off for {the1}.");
    meeting(t, cast, words);
    tell!(
        t,
        "“May I come with you?” asked {friend}. “Of course,” said {name}. “We will share what we find.”",
        "“Two can dig better than one,” said {friend}. “Then we will share it all,” said {name}.",
        "“I know the way,” said {friend}. “Half of it is yours if you show me,” said {name}.",
    );
    t.go(cast, 2);
    t.show(cast.friend.object());
    t.show(Object::one(words.landmark2));
    t.show_some(find, 2 * each, Some(hue));
    tell!(
        t,
        "{at2} there was only one {landmark}. Behind it they dug until they hit {a_lid} chest.",
        "They reached {the2} before dark. Behind the {landmark} they dug up a chest with {a_lid} lid.",
    );
    t.fact("What colour was the chest?".to_owned(), lid);
    if t.has_room() && t.draws.percent(60) {
        t.show(Object::one(cast.third));
        tell!(
            t,
            "{a_third} was watching them. “What is in it?” asked the {third}.",
            "“That chest belonged to my family,” said {a_third} that came by. “But you found it, so it is yours.”",
        );
    }
    tell!(t, "They opened it and found {n_all} {colour} {all}.", "Inside lay {n_all} {colour} {all}, as good as new.",);
    t.fact(format!("How many {all} did they find?"), &n_all);
    tell!(
        t,
        "“{n_each} for you and {n_each} for me,” said {name}.",
        "{friend} counted them twice. Then {fhe} took {n_each}, and {name} took {n_each}.",
        "They shared them as they had said: {n_each} {colour} {one} each.",
    );
    if t.has_room() {
        tell!(
            t,
            "They left the map in the {lid} chest for somebody else {at1}.",
            "“It was not the {all}, it was the way there that I liked,” said {friend}.",
        );
    }
    closing(t, words);
}

/// A strange sound in the night turns out to be music.
pub(super) fn noise(t: &mut Teller, cast: &Cast, words: &Words) {
    let Words { name, he, him, his, friend, fhe, fhis, third, a_third, the1, the2, at0, at1, at2, .. } = words;
    const SOUNDS: [(&str, &str); 5] =
        [("drum", "boom"), ("trumpet", "toot"), ("bell", "ding"), ("violin", "squeak"), ("guitar", "plonk")];
    let (instrument, sound) = *t.draws.pick(&SOUNDS);
    let hue = t.draws.pick(COLOURS);
    let coloured = a(&format!("{} {instrument}", hue.en));
    let noun = painted_things().iter().find(|noun| noun.singular == instrument);
    let times = t.draws.between(2, 6);
    let (n_times, n_more) = (number(times), number(times + 1));

    opening(t, cast, words);
    tell!(
        t,
        "One night, a strange sound woke {him} up. “{sound}!” it went, {n_times} times.",
        "One night, {he} could not sleep. From far away came a “{sound}”, {n_times} times, and then all was quiet.",
    );
    t.fact("How many times did the sound come in the first night?".to_owned(), &n_times);
    tell!(
        t,
        "The next night it came {n_more} times. {name} pulled the blanket over {his} head.",
        "The next night, {name} counted {n_more}. “Is it a monster?” {he} thought.",
    );
    t.go(cast, 1);
    tell!(
        t,
        "On the third night {he} took a lantern and followed the sound to {the1}.",
        "“I must know what it is,” {he} said, and went out into the dark, all the way to {the1}.",
    );
    if let Some(noun) = noun {
        t.show_some(noun, 1, Some(hue));
    }
    meeting(t, cast, words);
    tell!(
        t,
        "In front of {friend} stood {coloured}. “{sound}!” it went.",
        "{friend} was holding {coloured}. “{sound}!” it went once more.",
    );
    t.fact("What made the strange sound?".to_owned(), &coloured);
    tell!(
        t,
        "“So it was you,” said {name}. “I thought you were a monster!”",
        "“Do you always do this at night?” asked {name}, and had to laugh.",
    );
    tell!(
        t,
        "“I am practising for the concert {at2},” said {friend}. “I am too shy to do it by day.”",
        "“By day everybody laughs at me,” said {friend}, looking at {fhis} feet. “But on Saturday I must play {at2}.”",
    );
    t.fact(format!("Where was {friend} going to play?"), at2);
    tell!(
        t,
        "“I will listen to you,” said {name}, and so {fhe} played until the sun came up.",
        "“Then practise {at0}, with me,” said {name}. “I will clap.”",
    );
    t.go(cast, 2);
    t.show(cast.friend.object());
    t.show(Object::one(cast.third));
    tell!(
        t,
        "On Saturday, everybody came to {the2}. The {instrument} had never sounded so good, and {a_third} danced to it.",
        "The concert {at2} went well. “What a fine {instrument}!” said {a_third}, and the {third} clapped the loudest.",
    );
    if t.has_room() {
        tell!(
            t,
            "{friend} bowed to {name}. “{sound},” whispered {name}, and both of them laughed.",
            "Since then, nobody {at1} is afraid of the night any more.",
        );
    }
    closing(t, words);
}
